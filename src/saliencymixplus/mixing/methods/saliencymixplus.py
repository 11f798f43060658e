"""SaliencyMix+: boxes placed, and labels weighted, by the saliency of the network being trained.

"Noise-Minimized Image Mixing Method with Saliency Map in Data Augmentation"; published code:
SS-hj/SaliencyMixPlus. The saliency is S = Σ_channels |∂CE/∂x|. The box around the arg-max of S_b is
pasted at the same position in a. With p_a = 1 − S_a(box)/ΣS_a and p_b = S_b(box)/ΣS_b,
λ = p_a / (p_a + p_b).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from saliencymixplus.mixing import positions
from saliencymixplus.mixing.batch import Blend, Reduction, Sources
from saliencymixplus.mixing.boxes import BoxSize, box_around, box_mask, box_sides
from saliencymixplus.mixing.combine import paste
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.maps import Maps, fraction_inside, scaled_to_peak
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import GradientSaliencyOptions, Need, Scope, number

_BY_MAP = ("saliency", "excess")  # labels that need the maps


@dataclass(frozen=True, kw_only=True)
class SaliencyMixPlusOptions(GradientSaliencyOptions):
    """Options of SaliencyMix+, besides those of the saliency pass.

    For missing or zero maps, boxes and labels are those of CutMix.

    Args:
        variant: ``corrected``, or ``published``: all quirks of the published code.
        alpha: λ₀ ~ Beta(alpha, alpha), 1 − the box's area before clipping; 0.05 … 100.
        lam0: one λ₀, and so one box size, for the ``batch`` or one for each ``sample``.
        box_size: ``exact`` keeps odd sides; ``halves`` makes them a pixel shorter, as published.
        reduction: ``per_sample``: each sample's loss has its own λ; ``batch_mean``: only the
            batch's mean of λ affects the gradient, as published.
        position: centre of the box: the ``peak`` of the second image's map; the window that
            contains most saliency (``mass``); a pixel ``sampled`` in proportion to the map; a
            uniformly ``random`` one; or a random pixel of the second image's ``object`` (needs
            masks).
        label: λ by the ``saliency`` inside and outside the box; by its ``excess`` over each map's
            mean, which is more accurate if objects cover less than about a quarter of the image
            (docs/findings.md); by the box's ``area``; or by object masks (``mask``,
            ``mask_pixels``, see ``MixingOptions``).

    Examples:
        >>> from saliencymixplus.mixing import create
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
        >>> mixer = create("saliencymixplus", position="mass", smoothing=1.0)
        >>> mixed = mixer(torch.rand(4, 3, 8, 8), torch.arange(4), model=network)
        >>> mixed.saliency.shape
        torch.Size([4, 8, 8])
    """

    PUBLISHED = {
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
    lam0: Scope = "sample"
    box_size: BoxSize = "exact"
    reduction: Reduction = "per_sample"
    position: Literal["peak", "mass", "sampled", "random", "object"] = "peak"
    label: Literal["saliency", "excess", "area", "mask", "mask_pixels"] = "saliency"

    @property
    def needs(self) -> frozenset[Need]:
        used = self.position not in ("random", "object") or self.label in _BY_MAP
        return super().needs if used else frozenset()


def saliencymixplus(sources: Sources, draw: Draw, options: SaliencyMixPlusOptions) -> Blend:
    """λ = p_a / (p_a + p_b), or the area fraction if a map is zero or not finite."""
    lam0, centre = draw.take("lam0", "centre")
    height, width = sources.height, sources.width
    sides = box_sides(lam0, height, width).expand(draw.size, 2)
    centre = centre.expand(draw.size, 2)
    maps = None if sources.saliency is None else scaled_to_peak(sources.saliency)
    if options.position == "object":
        centre = positions.on_object(sources, draw, draw.size)
    elif options.position != "random":
        assert maps is not None
        centre = _centre(maps, sources.index_b, sides, centre, draw, options)
    boxes = box_around(centre, sides, height, width, options.box_size)
    inside = box_mask(boxes, height, width)
    mask, lam = inside.float(), None
    if options.label in _BY_MAP:
        assert maps is not None
        values = above_mean(maps.values) if options.label == "excess" else maps.values
        lam = label_weight(values, sources.index_b, mask)
    return Blend(paste(sources, inside, boxes), mask, lam, boxes=boxes, reduction=options.reduction)


def above_mean(values: Tensor) -> Tensor:
    """Maps (N, H, W) minus their means, clipped at 0; constant maps become zero."""
    return (values - values.mean((1, 2), keepdim=True)).clamp_min(0.0)


def label_weight(values: Tensor, index_b: Tensor, mask: Tensor) -> Tensor:
    """λ = p_a / (p_a + p_b), (M,), or the area fraction if a map is unusable or both p are 0.

    Args:
        values: (B, H, W), see ``scaled_to_peak``.
        index_b: (M,): the second source of each pair; the first ones are the first M.
        mask: (M, 1, H, W), 1 inside the box.
    """
    p_a = 1.0 - fraction_inside(values[: index_b.shape[0]], mask)
    p_b = fraction_inside(values.index_select(0, index_b), mask)
    lam = p_a / (p_a + p_b)
    return torch.where(lam.isnan(), 1.0 - mask.mean((1, 2, 3)), lam)


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
        return positions.pixel(peak, maps.values.shape[2], usable, fallback)
    second = Maps(*(values.index_select(0, index_b) for values in maps))
    if options.position == "mass":
        return positions.heaviest(second, sides, options.box_size, fallback)
    (uniform,) = draw.take("uniform")
    return positions.sampled(second, uniform[:, 0].expand(draw.size), fallback)


METHOD = Method(
    name="saliencymixplus",
    label="SaliencyMix+",
    year=None,
    summary="boxes and labels by the network's own gradient saliency",
    paper="Noise-Minimized Image Mixing Method with Saliency Map in Data Augmentation",
    options=SaliencyMixPlusOptions,
    apply=saliencymixplus,
    recipes={
        "saliencymixplus-excess": {"label": "excess"},
        # The ablation: one option at a time set as published …
        "plus-half-pairs": {"pairs": "half"},
        "plus-batch-lam0": {"lam0": "batch"},
        "plus-halves-box": {"box_size": "halves"},
        "plus-mean-lam": {"reduction": "batch_mean"},
        "plus-clean-gradient": {"clean_gradient": 1.0},
        "plus-train-saliency": {"saliency_mode": "train"},
        "plus-double-norm": {"saliency_mode": "train", "batch_norm": "updated"},
        # … what its two ideas are worth …
        "plus-area-label": {"label": "area"},
        "plus-random-place": {"position": "random"},
        "plus-trust": {"saliency_trust": "correct"},
        # … object masks in place of saliency …
        "plus-mask-label": {"label": "mask"},
        "plus-object-place": {"position": "object"},
        # … and a cheaper saliency pass.
        "plus-half-resolution": {"saliency_resolution": 0.5},
        "plus-half-share": {"saliency_fraction": 0.5},
        "plus-every-second": {"saliency_every": 2},
    },
)
