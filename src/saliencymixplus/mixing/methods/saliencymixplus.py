"""SaliencyMix+: boxes placed, and labels weighed, by the training network's own saliency.

"Noise-Minimized Image Mixing Method with Saliency Map in Data Augmentation"; published code:
SS-hj/SaliencyMixPlus. With the saliency S = Σ_channels |∂CE/∂x|, the box around the arg-max of S_b
pasted at the same place of a, p_a = 1 − S_a(box)/ΣS_a and p_b = S_b(box)/ΣS_b:
λ = p_a / (p_a + p_b).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from saliencymixplus.mixing import positions
from saliencymixplus.mixing.batch import Blend, Reduction, Sources, paste
from saliencymixplus.mixing.boxes import BoxSize, box_around, box_mask, box_sides
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.maps import Maps, prepare, share_inside
from saliencymixplus.mixing.options import MixingOptions, Scope, number


@dataclass(frozen=True, kw_only=True)
class SaliencyMixPlusOptions(MixingOptions):
    """The defaults are the corrected variant; ``variant: published`` is the code's every quirk."""

    PUBLISHED: ClassVar[Mapping[str, Any]] = {
        "pairs": "half",
        "lam0": "batch",
        "box_size": "halves",
        "reduction": "batch_mean",
        "clean_gradient": 1.0,
        "batch_norm": "updated",
        "saliency_mode": "train",
    }

    variant: Literal["corrected", "published"] = "corrected"
    alpha: float = number(1.0, 0.05, 100.0)
    lam0: Scope = "sample"  # one λ₀, so one box size, for the batch or for each sample
    box_size: BoxSize = "exact"
    reduction: Reduction = "per_sample"  # batch_mean: only the mean of λ reaches the gradient
    batch_norm: Literal["untouched", "updated"] = "untouched"  # statistics in a train-mode pass
    saliency_mode: Literal["eval", "train"] = "eval"  # of the network in the saliency pass
    position: Literal["peak", "mass", "sampled", "random"] = "peak"
    label: Literal["saliency", "area"] = "saliency"
    smoothing: float = number(0.0, 0.0, 64.0)  # σ in pixels of a Gaussian over the map
    saliency_weights: Literal["current", "average"] = "current"
    # Three ways to a cheaper saliency pass; where there is no map, boxes and labels are CutMix's.
    saliency_resolution: float = number(1.0, 0.1, 1.0)  # side of the saliency pass's image
    saliency_share: float = number(1.0, 0.05, 1.0)  # part of the batch that goes through the pass
    saliency_every: int = number(1, 1, 1000)  # mixed steps for one with a saliency pass

    def __post_init__(self) -> None:
        if self.saliency_share < 1 and self.pairs != "full":
            raise ValueError(f"saliency_share: {self.saliency_share} needs pairs: full")

    @property
    def per_sample(self) -> bool:
        return self.lam0 == "sample"


def saliencymixplus(sources: Sources, draw: Draw, options: SaliencyMixPlusOptions) -> Blend:
    """λ = p_a / (p_a + p_b); area shares where a map is zero or not finite."""
    assert draw.lam0 is not None
    assert draw.centre is not None
    height, width = sources.height, sources.width
    sides = box_sides(draw.lam0, height, width).expand(draw.size, 2)
    centre = draw.centre.expand(draw.size, 2)
    maps = None if sources.saliency is None else prepare(sources.saliency)
    if options.position != "random":
        assert maps is not None
        centre = _centre(maps, sources.index_b, sides, centre, draw, options)
    boxes = box_around(centre, sides, height, width, options.box_size)
    mask = box_mask(boxes, height, width)
    lam = None
    if options.label == "saliency":
        assert maps is not None
        lam = label_share(maps.shares, sources.index_b, mask.float())
    return Blend(paste(sources, mask), mask, lam, boxes, reduction=options.reduction)


def label_share(shares: Tensor, index_b: Tensor, weight: Tensor) -> Tensor:
    """λ = p_a / (p_a + p_b), (M,); the area share where a map is unusable or both p are 0.

    Args:
        shares: (B, H, W), see ``maps.prepare``.
        index_b: (M,): the second source of each pair; the first ones are the first M.
        weight: (M, 1, H, W), 1 inside the box.
    """
    p_a = 1.0 - share_inside(shares[: index_b.shape[0]], weight)
    p_b = share_inside(shares.index_select(0, index_b), weight)
    lam = p_a / (p_a + p_b)
    return torch.where(lam.isnan(), 1.0 - weight.mean((1, 2, 3)), lam)


def _centre(
    maps: Maps,
    index_b: Tensor,
    sides: Tensor,
    fallback: Tensor,
    draw: Draw,
    options: SaliencyMixPlusOptions,
) -> Tensor:
    if options.position == "peak":
        peak, usable = maps.peak.index_select(0, index_b), maps.usable.index_select(0, index_b)
        return positions.pixel(peak, maps.shares.shape[2], usable, fallback)
    second = Maps(*(values.index_select(0, index_b) for values in maps))
    if options.position == "mass":
        return positions.heaviest(second, sides, options.box_size, fallback)
    assert draw.uniform is not None
    return positions.sampled(second, draw.uniform[:, 0].expand(draw.size), fallback)
