"""Finding a network's last feature map, without side effects."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from saliencymixplus import mixing
from saliencymixplus.errors import NetworkError
from saliencymixplus.mixing.features import channels_first, last_feature_map
from saliencymixplus.models import create_model

IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(0)
    return create_model("resnet8", 10, 16).train()


def windows() -> nn.Module:
    """A Swin transformer of timm, whose layers return (B, h, w, C)."""
    size: dict[str, Any] = {"img_size": 16, "window_size": 2, "embed_dim": 8}
    timm = pytest.importorskip("timm")
    model: nn.Module = timm.create_model(
        "swin_tiny_patch4_window7_224", **size, depths=(1, 1), num_heads=(2, 2)
    )
    return model.train()


@pytest.mark.parametrize("make", [network, windows])
def test_it_is_what_the_head_pools(make: Callable[[], nn.Module]) -> None:
    model = make()
    pooled = []
    head = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
    hook = head.register_forward_hook(lambda layer, args, output: pooled.append(args[0]))
    features = last_feature_map(model, IMAGES)
    hook.remove()
    assert features.shape[0] == 3
    assert features.shape[2:].numel() > 1
    torch.testing.assert_close(features.mean((2, 3)), pooled[0])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 7, 5, 384), (2, 384, 7, 5)),  # NesT's last map
        ((2, 384, 7, 5), (2, 384, 7, 5)),
        ((2, 64, 384, 384), (2, 64, 384, 384)),  # as wide as the last map has channels
    ],
)
def test_undeclared_channels_are_told_from_places(
    shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    network = nn.Identity()
    network.__dict__["num_features"] = 384
    assert channels_first(network, torch.empty(shape, device="meta")).shape == expected


def test_tokens_are_not_a_feature_map() -> None:
    """Neither the patch embedding nor the (B, heads, N, D) inside the attention stands for it."""
    timm = pytest.importorskip("timm")
    model = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=4, depth=1)
    with pytest.raises(NetworkError, match="no layer that returns a feature map"):
        last_feature_map(model, IMAGES)


def test_nothing_stays_behind() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    features = last_feature_map(model, IMAGES)
    assert not features.requires_grad
    assert all(layer.training for layer in model.modules())
    assert not any(layer._forward_hooks for layer in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_failed_pass_leaves_no_hooks() -> None:
    model = network()
    with pytest.raises(RuntimeError):
        last_feature_map(model, torch.randn(3, 5, 16, 16))
    assert all(layer.training for layer in model.modules())
    assert not any(layer._forward_hooks for layer in model.modules())


def test_a_compiled_network_is_looked_into() -> None:
    model = network()
    compiled = torch.compile(model, backend="eager")
    torch.testing.assert_close(last_feature_map(compiled, IMAGES), last_feature_map(model, IMAGES))


def test_a_network_without_feature_maps_is_refused() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10))
    mixer = mixing.create("attentivemix")
    with pytest.raises(ValueError, match="pass saliency="):
        mixer(IMAGES, torch.arange(3), model=flat)


def test_the_networks_attention_is_that_of_its_features() -> None:
    model, labels = network(), torch.arange(3)
    mixer = mixing.create("attentivemix")
    draw = mixer.draw(3, 16, 16)
    given = mixer(IMAGES, labels, saliency=last_feature_map(model, IMAGES).mean(1), draw=draw)
    own = mixer(IMAGES, labels, model=model, draw=draw)
    assert torch.equal(own.images, given.images)
    assert own.saliency is not None
    assert own.saliency.shape == (3, 16, 16)  # for pictures, each cell repeated
