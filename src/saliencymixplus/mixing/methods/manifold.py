"""Manifold Mixup: mixup of the images or of the activations after one of the first stages.

Verma et al., "Manifold Mixup: Better Representations by Interpolating Hidden States", ICML 2019
(arXiv:1806.05236), algorithm 1: for each batch a layer is drawn, whose output becomes
λ·h + (1 − λ)·h[partner]; labels are mixed likewise. The released CIFAR code uses the binary
cross-entropy of the softmax; here the loss is the cross-entropy, as for all other methods.

Activations are mixed in the forward pass: use ``mixing.backward`` or ``Mixer.forward``. They call
the uncompiled network, as a compiled one would ignore the hooks on its layers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus.mixing.batch import Blend, MixedBatch, Sources
from saliencymixplus.mixing.combine import blend
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.features import named_layer, uncompiled, unwrapped
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import MixingOptions, number, text


@dataclass(frozen=True, kw_only=True)
class ManifoldOptions(MixingOptions):
    """Options of Manifold Mixup. λ₀ and the layer are drawn once per batch, as published.

    Args:
        alpha: λ₀ ~ Beta(alpha, alpha); 0.05 … 100.
        layers: modules of the network, separated by commas, whose output may be mixed. These and
            the input are equally likely.
    """

    alpha: float = number(2.0, 0.05, 100.0)
    layers: str = text("layer1,layer2", r"[\w.]+(,[\w.]+)*")

    per_sample = False

    def __post_init__(self) -> None:
        if self.pairs == "half":
            raise ValueError("pairs: half leaves the second half without activations: use full")


def manifold(sources: Sources, draw: Draw, options: ManifoldOptions) -> Blend:
    """λ is λ₀. Mixes the images if the input is drawn; otherwise ``mixed_forward`` mixes."""
    lam0, uniform = draw.take("lam0", "uniform")
    layers = options.layers.count(",") + 2
    drawn = (uniform[0, 0] * layers).long().clamp_max(layers - 1)
    lam = lam0.float()
    places = torch.arange(layers, device=lam.device)
    weights = torch.where(places == drawn, lam, 1.0)  # of the first image, at each place
    at_input = 1.0 - weights[:1].reshape(1, 1, 1, 1)
    mask = at_input.expand(-1, 1, sources.height, sources.width)
    return Blend(blend(sources, at_input), mask, lam=lam, aux=weights[1:])


def mixed_forward(
    model: nn.Module, mixed: MixedBatch, options: ManifoldOptions
) -> tuple[Any, MixedBatch]:
    """The network's output with activations mixed after the drawn layer.

    Raises:
        NetworkError: the network has no such layer.
    """
    network = uncompiled(model)
    layers = [named_layer(unwrapped(model), name, "layers") for name in options.layers.split(",")]
    assert mixed.aux is not None
    with mixing_after(layers, list(mixed.aux), mixed.index_b):
        return network(mixed.images), mixed


@contextmanager
def mixing_after(
    layers: Sequence[nn.Module], weights: Sequence[Tensor], index_b: Tensor
) -> Iterator[None]:
    """Within the block, mix the output (B, …) of each layer by its weight of the first sample.

    A weight of 1 leaves a layer's output unchanged, so the layer is chosen without waiting for the
    device.
    """
    handles = []
    try:
        for layer, weight in zip(layers, weights, strict=True):

            def mix(
                module: nn.Module, inputs: object, output: Tensor, weight: Tensor = weight
            ) -> Tensor:
                return interpolated(output, weight, index_b)

            handles.append(layer.register_forward_hook(mix))
        yield
    finally:
        for handle in handles:
            handle.remove()


def interpolated(hidden: Tensor, weight: Tensor, index_b: Tensor) -> Tensor:
    """weight·h + (1 − weight)·h[partner] for activations (B, …)."""
    weight = weight.to(hidden.dtype).reshape(-1, *[1] * (hidden.ndim - 1))
    return weight * hidden + (1.0 - weight) * hidden.index_select(0, index_b)


METHOD = Method(
    name="manifold",
    label="Manifold Mixup",
    year=2019,
    summary="mixup of hidden activations",
    paper="arXiv:1806.05236",
    options=ManifoldOptions,
    apply=manifold,
    forward=mixed_forward,
)
