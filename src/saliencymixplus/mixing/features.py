"""Feature maps of a network, from a named layer or the last ones in it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus.errors import NetworkError
from saliencymixplus.mixing.saliency import pass_mode


def uncompiled(model: nn.Module) -> nn.Module:
    """The network inside ``torch.compile``, which calls no hooks, or ``model`` if not compiled."""
    network: nn.Module = getattr(model, "_orig_mod", model)
    return network


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside ``torch.compile`` and ``DistributedDataParallel``."""
    network = uncompiled(model)
    if isinstance(network, nn.parallel.DistributedDataParallel):
        network = uncompiled(network.module)
    return network


def last_feature_map(model: nn.Module, images: Tensor) -> Tensor:
    """The last output (B, C, h, w) of any layer with more than one cell, in evaluation mode.

    Takes one forward pass without gradients, with a hook on every layer. Feature maps that the
    network turns into tokens (B, N, C), such as the patch embedding of a ViT, do not count.

    Raises:
        NetworkError: there is no such feature map.
    """
    network = uncompiled(model)
    found = _map_in_pass(network, network.modules(), images, cells=2)
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
    network = uncompiled(model)
    found = _map_in_pass(network, [named_layer(network, layer, "layer")], images)
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


def channels_first(network: nn.Module, output: Tensor) -> Tensor:
    """A feature map of ``network`` as (B, C, h, w).

    Some of timm's networks return (B, h, w, C). Swin says so in ``output_fmt``; NesT does not, but
    C is its ``num_features``.
    """
    declared = getattr(network, "output_fmt", "NCHW") == "NHWC"
    channels = getattr(network, "num_features", None)
    last = output.shape[3] == channels and channels not in output.shape[1:3]
    return output.movedim(3, 1) if declared or last else output


@contextmanager
def last_map(
    network: nn.Module, layers: Iterable[nn.Module], *, cells: int = 1
) -> Iterator[list[tuple[nn.Module, Tensor]]]:
    """Watch ``layers`` for the last feature map with at least ``cells`` cells.

    Yields a list that holds, after a forward pass, the layer and its output (B, C, h, w). It is
    empty if there is none, or if a later layer returns tokens (B, N, C).
    """
    found: list[tuple[nn.Module, Tensor]] = []

    def watch(module: nn.Module, args: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        if output.ndim == 3 and output.shape[1] > 1:
            found.clear()
        elif output.ndim == 4:
            features = channels_first(network, output)
            if features.shape[2:].numel() >= cells:
                found[:] = [(module, features)]

    hooks = [layer.register_forward_hook(watch) for layer in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _map_in_pass(
    network: nn.Module, layers: Iterable[nn.Module], images: Tensor, *, cells: int = 1
) -> Tensor | None:
    """The ``last_map`` of one pass without gradients, in evaluation mode."""
    with (
        last_map(network, layers, cells=cells) as found,
        torch.no_grad(),
        pass_mode(network, "eval", "untouched"),
    ):
        network(images)
    return found[0][1] if found else None
