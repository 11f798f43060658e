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
from saliencymixplus.mixing.boxes import (
    BoxSize,
    box_around,
    box_mask,
    box_share,
    box_sides,
    saliency_share,
)
from saliencymixplus.mixing.draws import Draw
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
    saliency_resolution: float = number(1.0, 0.1, 1.0)  # side of the saliency pass's image

    @property
    def per_sample(self) -> bool:
        return self.lam0 == "sample"


def saliencymixplus(sources: Sources, draw: Draw, options: SaliencyMixPlusOptions) -> Blend:
    """λ = p_a / (p_a + p_b); area shares where a map is zero or not finite."""
    assert draw.lam0 is not None
    assert sources.saliency_a is not None
    assert sources.saliency_b is not None
    height, width = sources.height, sources.width
    sides = box_sides(draw.lam0, height, width).expand(draw.size, 2)
    centre = _centre(sources.saliency_b, sides, draw, options)
    boxes = box_around(centre, sides, height, width, options.box_size)
    mask = box_mask(boxes, height, width)
    lam = 1.0 - box_share(boxes, height, width)
    if options.label == "saliency":
        lam = label_share(sources.saliency_a, sources.saliency_b, mask, lam)
    return Blend(paste(sources, mask), lam, mask, boxes, reduction=options.reduction)


def label_share(saliency_a: Tensor, saliency_b: Tensor, mask: Tensor, area_lam: Tensor) -> Tensor:
    """λ = p_a / (p_a + p_b), (M,); ``area_lam`` where a map has no shares or both are 0."""
    hidden, usable_a = saliency_share(saliency_a, mask)
    p_b, usable_b = saliency_share(saliency_b, mask)
    p_a = 1.0 - hidden
    total = p_a + p_b
    usable = usable_a & usable_b & (total > 0)
    return torch.where(usable, p_a / torch.where(usable, total, 1.0), area_lam)


def _centre(saliency: Tensor, sides: Tensor, draw: Draw, options: SaliencyMixPlusOptions) -> Tensor:
    assert draw.centre is not None
    fallback = draw.centre.expand(draw.size, 2)
    if options.position == "peak":
        return positions.peak(saliency, fallback)
    if options.position == "mass":
        return positions.heaviest(saliency, sides, options.box_size, fallback)
    if options.position == "sampled":
        assert draw.uniform is not None
        uniform = draw.uniform[:, 0].expand(draw.size)
        return positions.sampled(saliency, uniform, fallback)
    return fallback
