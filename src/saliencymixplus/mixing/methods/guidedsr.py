"""Guided-SR: every pixel weighted by the two images' spectral-residual saliency.

Kang and Kim, "GuidedMixup: An Efficient Mixup Strategy Guided by Saliency Maps", AAAI 2023
(arXiv:2306.16612): the maps are blurred and normalised to a sum of 1, and partners are chosen
greedily so that the salient regions are far apart. The weight of the first image at each pixel is
s_a / (s_a + s_b), and λ is the mean weight.

The default map does not depend on the images' normalisation: it is the spectral residual of the
luma stretched to 0 … 255, with OpenCV's constants. ``variant: published`` is the released code
(3neutronstar/GuidedMixup, CIFAR folder): the plain logarithm of the normalised image's spectrum,
and two blurs of 7 taps. At 32 pixels, the correlation of the two maps is 0.92, and 39 % of all
images get the same partner. The released code is meant to pair greedily, but passes a name that
its pairing function does not know and so pairs at random; ``guidedsr-random-pairs`` does the same.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from saliencymixplus.mixing.batch import Batch, Blend, Sources
from saliencymixplus.mixing.combine import blend
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.maps import sum_to_one
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import Label, MixingOptions, number
from saliencymixplus.mixing.spectral import grey, released_residual, spectral_residual

_LARGEST = 128  # side of the spectrum, as in the paper's code


@dataclass(frozen=True, kw_only=True)
class GuidedSROptions(MixingOptions):
    """Options of Guided-SR.

    Args:
        variant: ``corrected`` or ``published``, see above.
        pairs: ``greedy`` is the paper's pairing; for the others see ``MixingOptions``.
        residual: the map: ``stretched``, of the luma stretched to 0 … 255, or ``released``, of the
            normalised image.
        smoothing: σ in pixels of a Gaussian blur of the maps, 0 … 64; 0: none.
        smoothing_taps: width of the smoothing kernel in pixels, 0 … 127; 0: 3σ on either side.

    Examples:
        >>> from saliencymixplus.mixing import create
        >>> mixed = create("guidedsr")(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> sorted(mixed.index_b.tolist())  # each image is a partner once
        [0, 1, 2, 3]
    """

    PUBLISHED = {"residual": "released", "smoothing_taps": 7}

    variant: Literal["corrected", "published"] = "corrected"
    pairs: Literal["greedy", "full", "half", "permutation"] = "greedy"  # type: ignore[assignment]
    label: Label = "area"
    residual: Literal["stretched", "released"] = "stretched"
    smoothing: float = number(3.0, 0.0, 64.0)
    smoothing_taps: int = number(0, 0, 127)


def saliency_maps(batch: Batch, options: GuidedSROptions) -> Tensor:
    """Spectral-residual magnitude (B, H, W) of the images."""
    if options.residual == "released":
        return released_residual(batch.images)
    height, width = batch.images.shape[2:]
    size = (min(height, _LARGEST), min(width, _LARGEST))
    return spectral_residual(grey(batch.images), size=size, squared=False)


def guidedsr(sources: Sources, draw: Draw, options: GuidedSROptions) -> Blend:
    """λ is the first image's mean weight; pixels where both maps are zero are averaged."""
    assert sources.saliency is not None
    weights = sum_to_one(sources.saliency, at_once=options.variant == "published")
    first, second = weights[: draw.size], weights.index_select(0, sources.index_b)
    total = first + second
    weight = torch.where(total > 0, second / torch.where(total > 0, total, 1.0), 0.5)[:, None]
    return Blend(blend(sources, weight), weight)


def pair(batch: Batch, saliency: Tensor | None, options: GuidedSROptions) -> Tensor | None:
    """The partners (B,) of the paper's pairing, if ``pairs`` is greedy."""
    assert saliency is not None
    if options.pairs != "greedy":
        return None
    return farthest_first(sum_to_one(saliency, at_once=options.variant == "published"))


def farthest_first(maps: Tensor) -> Tensor:
    """Index (B,) of each image's partner: one greedy cycle through maps (B, H, W) that sum to 1.

    It starts at the two maps that are farthest apart (ℓ₂) and continues to the farthest map not yet
    visited. Each link depends on the previous one, so this takes B short steps on the device, but
    no synchronisation.
    """
    maps = maps.flatten(1)
    count = maps.shape[0]
    # Not by matrix products, whose rounding would decide between almost equal distances.
    distance = torch.stack([(maps - one).norm(dim=1) for one in maps])
    itself = torch.eye(count, dtype=torch.bool, device=maps.device)
    # The earlier of the two that are farthest apart.
    first = distance.masked_fill(itself, -torch.inf).amax(1).argmax(0, keepdim=True)  # (1,)
    partner = first.expand(count).clone()  # the last link closes the cycle
    taken = torch.zeros(count, dtype=torch.bool, device=maps.device)
    current = first
    for _ in range(count - 1):
        taken = taken.index_fill(0, current, True)
        row = distance.index_select(0, current)[0].masked_fill(taken, -torch.inf)
        following = row.argmax(0, keepdim=True)
        partner = partner.scatter(0, current, following)
        current = following
    return partner


METHOD = Method(
    name="guidedsr",
    label="Guided-SR",
    year=2023,
    summary="pixels weighted by spectral-residual saliency",
    paper="AAAI 2023, arXiv:2306.16612",
    options=GuidedSROptions,
    apply=guidedsr,
    recipes={
        "guidedsr-random-pairs": {"variant": "published", "pairs": "permutation"},
    },
    maps=saliency_maps,
    pair=pair,
)
