"""OA-CutMix: CutMix with labels by the visible fractions of both objects, from object masks.

Nauen, Frolov, Raue, Moser and Dengel, "OA-CutMix: Correcting the Label Bias of CutMix", 2026
(arXiv:2606.04820). If v_a and v_b are the visible fractions of the two objects,
λ = v_a / (v_a + v_b); the absolute label compares their numbers of visible pixels instead.

By default, every pair has its own box with exact sides, and the label is the area fraction if an
image has no object or neither is visible: CutMix with ``box: sample`` and ``label: mask``.
``variant: published`` is the released code (tobna/oa-cutmix): one box for the batch, CutMix's
halved sides, a permutation drawn up to ten times until it has no fixed point, and the label of
``released_label``, which gives all weight to the partner if neither object is visible. The code's
blur of the masks cannot run and is omitted; masks from 0 to 255 must be divided by 255 first.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from saliencymixplus.mixing.batch import Blend, Sources
from saliencymixplus.mixing.boxes import BoxSize
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.methods.cutmix import CutMixOptions, cutmix
from saliencymixplus.mixing.options import Scope, number
from saliencymixplus.mixing.visible_fraction import OBJECT

_TINY = 1e-7


@dataclass(frozen=True, kw_only=True)
class OACutMixOptions(CutMixOptions):
    """Options of OA-CutMix, besides those of CutMix.

    Args:
        variant: ``corrected``, or ``published``: one box per batch and the released label.
        label: ``mask`` and ``mask_pixels``: relative and absolute label, see ``MixingOptions``;
            ``released``: as the released code computes it.
        absolute: weight of the absolute label in ``label: released``, 0 … 1; the relative label has
            the rest.
        object_weight: weight of the object label in ``label: released``, 0 … 1; the area fraction
            has the rest.

    Examples:
        >>> from saliencymixplus.mixing import create
        >>> masks = torch.zeros(4, 8, 8, dtype=torch.uint8)
        >>> masks[:, 2:6, 2:6] = 1
        >>> mixed = create("oacutmix")(torch.rand(4, 3, 8, 8), torch.arange(4), masks=masks)
        >>> bool(((mixed.lam >= 0) & (mixed.lam <= 1)).all())
        True
    """

    PUBLISHED = {
        "pairs": "redrawn",
        "box": "batch",
        "box_size": "halves",
        "label": "released",
    }

    variant: Literal["corrected", "published"] = "corrected"
    box: Scope = "sample"
    box_size: BoxSize = "exact"
    label: Literal["mask", "mask_pixels", "released"] = "mask"  # type: ignore[assignment]
    absolute: float = number(0.0, 0.0, 1.0)
    object_weight: float = number(1.0, 0.0, 1.0)

    needs = frozenset({"masks"})


def oacutmix(sources: Sources, draw: Draw, options: OACutMixOptions) -> Blend:
    """CutMix; the mixer computes the label weights, except for ``label: released``."""
    blend = cutmix(sources, draw, options)
    if options.label != "released":
        return blend
    weight = blend.mask[:, 0].float()
    lam = released_label(sources, weight, options.absolute)
    area = 1.0 - weight.mean((1, 2))
    return replace(blend, lam=options.object_weight * lam + (1.0 - options.object_weight) * area)


def released_label(sources: Sources, weight: Tensor, absolute: float) -> Tensor:
    """λ (M,): the absolute label with weight ``absolute``, plus the relative one with the rest.

    In the relative label, an image without an object counts as fully visible if it is the first,
    and as hidden if it is the second. If neither object is visible, the relative label is 0 and the
    absolute one ½. ``weight`` (M or 1, H, W) is that of the second image in each pixel.
    """
    assert sources.masks is not None
    objects = (sources.masks == OBJECT).float()
    a, b = objects[: len(sources.index_b)], objects.index_select(0, sources.index_b)
    whole_a, hidden_a, shown_b = a.sum((1, 2)), (a * weight).sum((1, 2)), (b * weight).sum((1, 2))
    # In float32, whole + tiny equals whole, so that a fully covered object counts as exactly 0.
    fraction_a = 1.0 - hidden_a / (whole_a + _TINY)
    fraction_b = shown_b / (b.sum((1, 2)) + _TINY)
    relative = (fraction_a / (fraction_a + fraction_b).clamp_min(_TINY)).clamp(0.0, 1.0)
    visible = whole_a - hidden_a + shown_b
    pixels = torch.where(visible > _TINY, (whole_a - hidden_a) / visible.clamp_min(_TINY), 0.5)
    return absolute * pixels + (1.0 - absolute) * relative


METHOD = Method(
    name="oacutmix",
    label="OA-CutMix",
    year=2026,
    summary="CutMix with labels by the visible fraction of each object",
    paper="arXiv:2606.04820",
    options=OACutMixOptions,
    apply=oacutmix,
)
