"""Feature maps of a network: that of a named layer, or the last one."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus.errors import NetworkError
from saliencymixplus.mixing.saliency import pass_mode


def last_feature_map(model: nn.Module, images: Tensor) -> Tensor:
    """The last output (B, C, h, w) with more than one cell of any layer, in evaluation mode.

    One forward pass without gradients, in which every layer is watched. A feature map that the
    network turns into tokens (B, N, C), such as the patch embedding of a ViT, does not count.

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

    One forward pass without gradients.

    Raises:
        NetworkError: the network has no such module, or it returns no feature map.
    """
    network = getattr(model, "_orig_mod", model)  # hooks are not seen inside torch.compile
    found = _last_map(network, [named_layer(network, layer, "layer")], images)
    if found is None:
        raise NetworkError(f"layer: {layer} returns no feature map (B, C, h, w)")
    return found


def named_layer(network: nn.Module, name: str, option: str) -> nn.Module:
    """The module called ``name``, which an option asks for.

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
    """The last feature map of at least so many cells that one of ``layers`` returns, if any.

    None if tokens follow it. Networks of timm that keep channels last (Swin) say so.
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
