"""Manifold Mixup: mixup of the images or of the activations behind one of the first stages.

Verma et al., "Manifold Mixup: Better Representations by Interpolating Hidden States", ICML 2019
(arXiv:1806.05236), algorithm 1: a layer drawn for each batch, and there
h ← λ·h + (1 − λ)·h[partner]; the label is mixed alike. The released CIFAR code takes the binary
cross-entropy of the softmax; here the loss is the cross-entropy, as for every other method.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def mixing_after(
    layers: Sequence[nn.Module], weights: Sequence[Tensor], index_b: Tensor
) -> Iterator[None]:
    """Mix the output (B, …) of each layer with its weight of the first sample while this is open.

    A weight of 1 leaves a layer's output as it is, so that the layer is chosen without waiting for
    the device. No hook stays behind.
    """
    handles = []
    try:
        for layer, weight in zip(layers, weights, strict=True):

            def mix(
                module: nn.Module, inputs: object, output: Tensor, weight: Tensor = weight
            ) -> Tensor:
                return mixed(output, weight, index_b)

            handles.append(layer.register_forward_hook(mix))
        yield
    finally:
        for handle in handles:
            handle.remove()


def mixed(hidden: Tensor, weight: Tensor, index_b: Tensor) -> Tensor:
    """weight·h + (1 − weight)·h[partner] for activations (B, …)."""
    share = weight.to(hidden.dtype).reshape(-1, *[1] * (hidden.ndim - 1))
    return share * hidden + (1.0 - share) * hidden.index_select(0, index_b)
