"""The weights that torchvision and timm publish: where they come from, and their preprocessing."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, InvalidURL
from pathlib import Path
from ssl import SSLError
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import torch
from torch import Tensor

from saliencymixplus.errors import UserError, one_line

_PATIENCE = 5.0  # seconds to wait for a server's first answer
_TIMM = "timm/"


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing that pretrained weights were trained with."""

    mean: tuple[float, ...]  # per channel, of pixels in [0, 1]
    std: tuple[float, ...]
    input_size: tuple[int, int]  # (height, width) in pixels


@dataclass(frozen=True)
class PublishedWeights:
    """Published weights; ``str`` says whether they must be downloaded, and from where."""

    address: str
    cached: bool  # whether the library has a file of them
    fetch: Callable[[], Mapping[str, Tensor]]

    def __str__(self) -> str:
        return "in the cache" if self.cached else f"to be downloaded from {self.address}"


def preprocessing_of(name: str) -> Preprocessing | None:
    """The preprocessing of the published weights of the network ``name``; None if unknown."""
    if name.startswith(_TIMM):
        config = _timm_config(name)
        if config is None:
            return None
        height, width = config.input_size[1:]
        return Preprocessing(tuple(config.mean), tuple(config.std), (height, width))
    published = _torchvision_weights(name)
    if published is None:
        return None
    transform: Any = published.transforms()
    side = transform.crop_size[0]
    return Preprocessing(tuple(transform.mean), tuple(transform.std), (side, side))


def published_weights(name: str) -> PublishedWeights:
    """The published weights of the network ``name``, without downloading them.

    Raises:
        UserError: there are none.
    """
    if name.startswith(_TIMM):
        return _timm_published(name)
    found = _torchvision_weights(name)
    if found is None:
        raise UserError(f"torchvision publishes no weights for {name}: set model.weights to a file")
    return _at_address(found.url, lambda: found.get_state_dict(progress=True, check_hash=True))


def pretrained_weights(name: str) -> Mapping[str, Tensor]:
    """The published weights of the network ``name``, from the library's cache or downloaded.

    Raises:
        UserError: there are none, or they cannot be downloaded.
    """
    found = published_weights(name)
    try:
        return found.fetch()
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"the pretrained weights of {name} cannot be downloaded ({one_line(error)}): "
            "set model.weights to a .safetensors or .pth file of this network"
        ) from error


def _at_address(address: str, load: Callable[[], Mapping[str, Tensor]]) -> PublishedWeights:
    """Weights that ``torch.hub`` caches; without a network it would wait for minutes."""
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(address).path).name).is_file()

    def fetch() -> Mapping[str, Tensor]:
        if not cached and not _answers(address):
            raise OSError(f"{urlparse(address).netloc} does not answer")
        return load()

    return PublishedWeights(address, cached, fetch)


def _timm_published(name: str) -> PublishedWeights:
    import timm

    known, config = name.removeprefix(_TIMM), _timm_config(name)
    if config is None or not config.has_weights:
        raise UserError(f"timm publishes no weights for {known}: set model.weights to a file")

    def load() -> Mapping[str, Tensor]:
        state: Mapping[str, Tensor] = timm.create_model(known, pretrained=True).state_dict()
        return state

    if not config.hf_hub_id:
        return _at_address(config.url, load)
    from huggingface_hub import constants

    def fetch() -> Mapping[str, Tensor]:
        with _from_cache_if_unreachable():
            return load()

    return PublishedWeights(
        f"{constants.ENDPOINT}/{config.hf_hub_id}", _in_cache(config.hf_hub_id), fetch
    )


def _in_cache(hub_id: str) -> bool:
    """Whether the Hugging Face client has a weights file of ``OWNER/NAME`` or ``…@REVISION``."""
    from huggingface_hub import snapshot_download

    repository, _, revision = hub_id.partition("@")
    try:
        folder = snapshot_download(repository, revision=revision or None, local_files_only=True)
    except OSError:  # not in the cache
        return False
    return any(path.suffix in (".safetensors", ".bin") for path in Path(folder).iterdir())


@contextmanager
def _from_cache_if_unreachable() -> Iterator[None]:
    """Let the Hugging Face client look only in its cache if it cannot reach its server.

    Otherwise it would repeat its requests for a minute before it does that.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers(address: str) -> bool:
    try:
        urlopen(Request(address, method="HEAD"), timeout=_PATIENCE).close()
    except HTTPError:
        return True
    except (ValueError, InvalidURL) as error:
        raise UserError(f"HF_ENDPOINT: {address!r} is not a URL: correct or unset it") from error
    except HTTPException:  # an answer, but not by HTTP
        return False
    except OSError as error:  # the client may accept certificates that Python does not
        return isinstance(getattr(error, "reason", error), SSLError)
    return True


def _torchvision_weights(name: str) -> Any:
    from torchvision import models

    try:
        return models.get_model_weights(name).DEFAULT
    except (ValueError, AttributeError):
        return None


def _timm_config(name: str) -> Any:
    import timm

    return timm.get_pretrained_cfg(name.removeprefix(_TIMM))
