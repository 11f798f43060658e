"""Weights that torchvision and timm publish: their preprocessing, cache and download."""

import io
from email.message import Message
from http.client import BadStatusLine
from pathlib import Path
from ssl import SSLCertVerificationError
from urllib.error import HTTPError, URLError
from urllib.request import Request

import pytest
import torch
from torch import nn

from saliencymixplus.errors import UserError
from saliencymixplus.models import pretrained
from saliencymixplus.models.pretrained import (
    preprocessing_of,
    pretrained_weights,
    published_weights,
)


def test_the_publishers_preprocessing() -> None:
    found = preprocessing_of("resnet50")
    assert found is not None
    assert found.mean == (0.485, 0.456, 0.406)
    assert found.input_size == (224, 224)
    assert preprocessing_of("resnet8") is None
    pytest.importorskip("timm")
    lite = preprocessing_of("timm/tf_efficientnet_lite0")
    assert lite is not None
    assert lite.mean == lite.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("answer", "offline"),
    [
        (None, False),
        (HTTPError("", 403, "Forbidden", Message(), None), False),
        (URLError(SSLCertVerificationError("a certificate of the company's own")), False),
        (URLError("no"), True),
        (BadStatusLine("SSH-2.0-OpenSSH_9.6"), True),
    ],
)
def test_without_a_network_the_cache_is_tried_at_once(
    monkeypatch: pytest.MonkeyPatch, answer: Exception | None, offline: bool
) -> None:
    timm = pytest.importorskip("timm")
    from huggingface_hub import constants

    def asked(request: Request, timeout: float) -> io.BytesIO:
        if answer:
            raise answer
        return io.BytesIO()

    def created(name: str, *, pretrained: bool) -> nn.Module:
        assert offline == constants.HF_HUB_OFFLINE
        raise FileNotFoundError("cannot find the requested files in the local cache")

    monkeypatch.setattr(pretrained, "urlopen", asked)
    monkeypatch.setattr(timm, "create_model", created)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(UserError, match=r"cannot be downloaded .*: set model.weights to"):
        pretrained_weights("timm/tf_efficientnet_lite0")
    assert not constants.HF_HUB_OFFLINE


@pytest.mark.parametrize("address", ["mirror", "https://a mirror", "http://mirror:port"])
def test_an_endpoint_that_is_not_a_url_is_named(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    pytest.importorskip("timm")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    with pytest.raises(UserError, match=f"HF_ENDPOINT: '{address}' is not a URL"):
        pretrained_weights("timm/tf_efficientnet_lite0")


def test_an_offline_client_is_not_made_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    from huggingface_hub import constants

    monkeypatch.setattr(pretrained, "urlopen", lambda *_, **__: pytest.fail("asked"))
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: nn.Linear(2, 2))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert pretrained_weights("timm/tf_efficientnet_lite0")
    assert constants.HF_HUB_OFFLINE


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of ``torch.hub``."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    return tmp_path / "checkpoints"


def test_torchvisions_weights_are_taken_from_the_cache_without_a_network(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "urlopen", lambda *_, **__: pytest.fail("asked"))
    found = published_weights("resnet18")
    assert not found.cached
    assert str(found) == f"to be downloaded from {found.address}"
    hub.mkdir()
    torch.save({"fc.bias": torch.ones(3)}, hub / Path(found.address).name)
    assert str(published_weights("resnet18")) == "in the cache"
    assert pretrained_weights("resnet18")["fc.bias"].equal(torch.ones(3))


@pytest.mark.parametrize("name", ["resnet18", "timm/gcvit_tiny"])
def test_without_a_network_a_download_is_not_waited_for(
    hub: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name.startswith("timm/"):
        pytest.importorskip("timm")

    def unreachable(request: Request, timeout: float) -> io.BytesIO:
        raise URLError("no network")

    monkeypatch.setattr(pretrained, "urlopen", unreachable)
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_: pytest.fail("waited"))
    with pytest.raises(UserError, match=r"\.(org|com) does not answer\): set model.weights to"):
        pretrained_weights(name)


def test_timms_weights_in_the_cache_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("timm")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    name, commit = "timm/tf_efficientnet_lite0", "0" * 40
    repository = tmp_path / "models--timm--tf_efficientnet_lite0.in1k"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (snapshot / "config.json").write_text("{}")
    address = "https://huggingface.co/timm/tf_efficientnet_lite0.in1k"
    assert str(published_weights(name)) == f"to be downloaded from {address}"
    (snapshot / "model.safetensors").touch()
    assert str(published_weights(name)) == "in the cache"
