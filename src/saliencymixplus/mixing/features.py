"""The last feature map of any convolutional network."""

from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus.errors import NetworkError
from saliencymixplus.mixing.saliency import pass_mode


def last_feature_map(model: nn.Module, images: Tensor) -> Tensor:
    """The last output (B, C, h, w) with more than one cell of any layer, in evaluation mode.

    One forward pass without gradients, in which every layer is watched; nothing stays behind.

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
