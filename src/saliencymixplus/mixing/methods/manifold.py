"""Manifold Mixup: mixup of the images or of the activations after one of the first stages.

Verma et al., "Manifold Mixup: Better Representations by Interpolating Hidden States", ICML 2019
(arXiv:1806.05236), algorithm 1: a layer is drawn for each batch, at which
h ← λ·h + (1 − λ)·h[partner]; the label is mixed alike. The released CIFAR code takes the binary
cross-entropy of the softmax; here the loss is the cross-entropy, as for every other method.

The mixing happens in the forward pass: use ``mixing.backward`` or ``Mixer.forward``. That pass goes
through the uncompiled network, since a compiled one would not see the layers' hooks.
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
from saliencymixplus.mixing.features import named_layer
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import MixingOptions, number, text


@dataclass(frozen=True, kw_only=True)
class ManifoldOptions(MixingOptions):
    """Options of Manifold Mixup. λ₀ and the layer are drawn once per batch, as published.

    Args:
        alpha: λ₀ ~ Beta(alpha, alpha); 0.05 … 100.
        layers: modules of the network, separated by commas, after which activations may be
            mixed; the input is the other choice. All are equally likely.
    """

    alpha: float = number(2.0, 0.05, 100.0)
    layers: str = text("layer1,layer2", r"[\w.]+(,[\w.]+)*")

    per_sample = False

    def __post_init__(self) -> None:
        if self.pairs == "half":
            raise ValueError("pairs: half leaves the second half without activations: use full")


def manifold(sources: Sources, draw: Draw, options: ManifoldOptions) -> Blend:
    """λ is λ₀. The images are mixed where the input is drawn; else ``mixed_forward`` mixes."""
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
    """The network's output with its activations mixed after the drawn layer.

    Raises:
        NetworkError: the network has no such layer.
    """
    network = getattr(model, "_orig_mod", model)  # hooks are not seen inside torch.compile
    inner = network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network
    layers = [named_layer(inner, name, "layers") for name in options.layers.split(",")]
    assert mixed.aux is not None
    with mixing_after(layers, list(mixed.aux), mixed.index_b):
        return network(mixed.images), mixed


@contextmanager
def mixing_after(
    layers: Sequence[nn.Module], weights: Sequence[Tensor], index_b: Tensor
) -> Iterator[None]:
    """Mix the output (B, …) of each layer with its weight of the first sample while this is open.

    A weight of 1 leaves a layer's output as it is, so that the layer is chosen without waiting for
    the device. No hook is left behind.
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
    share = weight.to(hidden.dtype).reshape(-1, *[1] * (hidden.ndim - 1))
    return share * hidden + (1.0 - share) * hidden.index_select(0, index_b)


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
