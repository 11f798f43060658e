"""Feature maps of a network: that of a named layer, or the last one."""

from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus.errors import NetworkError
from saliencymixplus.mixing.saliency import pass_mode


def last_feature_map(model: nn.Module, images: Tensor) -> Tensor:
    """The last output (B, C, h, w) with more than one cell of any layer, in evaluation mode.

    One forward pass without gradients, in which every layer is watched; no hook is left behind.

    Raises:
        NetworkError: no layer returns a feature map, as in a network of tokens.
    """
    found: list[Tensor] = []

    def watch(module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2:].numel() > 1:
            found[:] = [output]

    network = getattr(model, "_orig_mod", model)  # hooks are not seen inside torch.compile
    hooks = [layer.register_forward_hook(watch) for layer in network.modules()]
    try:
        with torch.no_grad(), pass_mode(network, "eval", "untouched"):
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not found or found[0].shape[0] != images.shape[0]:
        raise NetworkError(
            f"{type(network).__name__} has no layer that returns a feature map (B, C, h, w): "
            "pass saliency="
        )
    return found[0]


def feature_map(model: nn.Module, images: Tensor, layer: str) -> Tensor:
    """The output (B, C, h, w) of the module called ``layer``, in evaluation mode.

    One forward pass without gradients; no hook is left behind.

    Raises:
        NetworkError: the network has no such module, or it returns no feature map.
    """
    network = getattr(model, "_orig_mod", model)  # hooks are not seen inside torch.compile
    try:
        watched = network.get_submodule(layer)
    except AttributeError:
        known = ", ".join(name for name, _ in network.named_children())
        raise NetworkError(f"layer: the network has no {layer!r}; it has {known}") from None
    found: list[Any] = []
    hook = watched.register_forward_hook(lambda module, args, output: found.append(output))
    try:
        with torch.no_grad(), pass_mode(network, "eval", "untouched"):
            network(images)
    finally:
        hook.remove()
    if not found or not isinstance(found[-1], Tensor) or found[-1].ndim != 4:
        raise NetworkError(f"layer: {layer} returns no feature map (B, C, h, w)")
    features: Tensor = found[-1]
    return features
