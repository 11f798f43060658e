"""Initial weights: a network's published pretrained ones, or those in a file."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from saliencymixplus.errors import UserError, first_few, one_line
from saliencymixplus.models.pretrained import pretrained_weights
from saliencymixplus.workspace import checkout_root, expanded

PRETRAINED = "pretrained"  # as model.weights: those that torchvision or timm publish


@dataclass(frozen=True)
class Loaded:
    """The result of ``load_into``; ``str`` describes it in one line."""

    taken: int  # number of tensors loaded
    new_head: tuple[str, ...]  # not loaded: they are for another number of classes
    left_out: tuple[str, ...]  # given, but not in the network

    def __str__(self) -> str:
        parts = [f"{self.taken} tensors taken"]
        if self.new_head:
            parts.append(f"new for these classes: {', '.join(self.new_head)}")
        if self.left_out:
            parts.append(f"left out: {first_few(self.left_out, 4)}")
        return "; ".join(parts)


def load_into(
    model: nn.Module, weights: Mapping[str, Tensor], num_classes: int, source: str
) -> Loaded:
    """Load ``weights`` into ``model``, except a head for another number of classes.

    Args:
        source: what error messages call the weights.

    Raises:
        UserError: a tensor of the network is missing or has another shape, so that part of the
            network would silently keep its random weights.
    """
    own = model.state_dict()
    given = {name.removeprefix("module."): value for name, value in weights.items()}
    head, wrong, missing, fitting = [], [], [], {}
    for name, tensor in own.items():
        if name not in given:
            if not name.endswith("num_batches_tracked"):
                missing.append(name)
        elif given[name].shape == tensor.shape:
            fitting[name] = given[name]
        elif _is_head(tensor, given[name], num_classes):
            head.append(name)
        else:
            wrong.append(f"{name} {tuple(given[name].shape)} for {tuple(tensor.shape)}")
    if wrong or missing or not fitting:
        told = [f"missing: {first_few(missing)}"] if missing else []
        told += [f"other shapes: {first_few(wrong)}"] if wrong else []
        raise UserError(
            f"the weights of {source} do not fit the network ({'; '.join(told) or 'none taken'}): "
            "set model.name to the network they come from, and model.stem to its stem"
        )
    model.load_state_dict(fitting, strict=False)
    return Loaded(len(fitting), tuple(head), tuple(sorted(set(given) - set(own))))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors`` or ``.pth`` file, without running code in it.

    Raises:
        UserError: the file does not exist, is damaged, or contains anything but tensors.
    """
    if not path.is_file():
        raise UserError(f"the weights file {path} does not exist: set model.weights")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise many types for bad files
        raise UserError(
            f"{path} cannot be read as weights ({one_line(error)}): give a .safetensors file, or "
            "a .pth file that contains only tensors"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(f"{path} is not a state dict: save model.state_dict()")
    return dict(content)


def start_from(
    model: nn.Module, name: str, weights: str, num_classes: int, *, zero_head: bool = False
) -> Loaded:
    """Load the weights that ``model.weights`` names into the network ``name``.

    Args:
        zero_head: set a replaced head to zero (Kolesnikov et al. 2020, "Big Transfer",
            arXiv:1912.11370), instead of leaving it as the network initialised it.

    Raises:
        UserError: the weights cannot be read or downloaded, or do not fit the network.
    """
    given = pretrained_weights(name) if weights == PRETRAINED else read_weights(file_of(weights))
    loaded = load_into(model, given, num_classes, weights)
    if zero_head:
        own = model.state_dict()
        for tensor in loaded.new_head:
            own[tensor].zero_()
    return loaded


def file_of(weights: str) -> Path:
    """The file that ``model.weights`` names, relative to the project's root."""
    return checkout_root() / expanded(weights)


def fingerprint(weights: str) -> str:
    """The form of ``model.weights`` in a run's digest: a file's SHA-256, whatever its path."""
    if weights == PRETRAINED:
        return weights
    try:
        with file_of(weights).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"cannot read model.weights {weights}: {error.strerror or error}"
        ) from error


def _is_head(own: Tensor, given: Tensor, num_classes: int) -> bool:
    """Whether the two shapes differ only in the number of classes."""
    return (
        own.ndim == given.ndim >= 1
        and own.shape[0] == num_classes
        and own.shape[1:] == given.shape[1:]
        and math.prod(own.shape) > 0
    )
