"""Feature maps of a network, from a named layer or the last ones in it."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus.errors import NetworkError
from saliencymixplus.mixing.saliency import pass_mode


def last_feature_map(model: nn.Module, images: Tensor) -> Tensor:
    """The last output (B, C, h, w) of any layer with more than one cell, in evaluation mode.

    Takes one forward pass without gradients, with a hook on every layer. Feature maps that the
    network turns into tokens (B, N, C), such as the patch embedding of a ViT, do not count.

    Raises:
        NetworkError: there is no such feature map.
    """
    network = getattr(model, "_orig_mod", model)  # hooks are not seen inside torch.compile
    found = _last_map(network, network.modules(), images, cells=2)
    if found is None or found.shape[0] != images.shape[0]:
        raise NetworkError(
            f"{type(network).__name__} has no layer that returns a feature map (B, C, h, w): "
            "pass saliency="
        )
    return found


def feature_map(model: nn.Module, images: Tensor, layer: str) -> Tensor:
    """The output (B, C, h, w) of the module called ``layer``, in evaluation mode.

    Takes one forward pass without gradients.

    Raises:
        NetworkError: the network has no such module, or it returns no feature map.
    """
    network = getattr(model, "_orig_mod", model)  # hooks are not seen inside torch.compile
    found = _last_map(network, [named_layer(network, layer, "layer")], images)
    if found is None:
        raise NetworkError(f"layer: {layer} returns no feature map (B, C, h, w)")
    return found


def named_layer(network: nn.Module, name: str, option: str) -> nn.Module:
    """The submodule ``name`` of the network, given by the mixing option ``option``.

    Raises:
        NetworkError: the network has no such module.
    """
    try:
        return network.get_submodule(name)
    except AttributeError:
        known = ", ".join(name for name, _ in network.named_children())
        raise NetworkError(f"{option}: the network has no {name!r}; it has {known}") from None


def _last_map(
    network: nn.Module, layers: Iterable[nn.Module], images: Tensor, *, cells: int = 1
) -> Tensor | None:
    """The last feature map with at least ``cells`` cells that one of ``layers`` returns.

    None if there is none, or if a later layer returns tokens. The ``output_fmt`` of timm's networks
    says whether their feature maps are channels-last (Swin).
    """
    channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
    found: list[Tensor] = []

    def watch(module: nn.Module, args: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        if output.ndim == 3 and output.shape[1] > 1:
            found.clear()
        elif output.ndim == 4:
            features = output.movedim(3, 1) if channels_last else output
            if features.shape[2:].numel() >= cells:
                found[:] = [features]

    hooks = [layer.register_forward_hook(watch) for layer in layers]
    try:
        with torch.no_grad(), pass_mode(network, "eval", "untouched"):
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None
