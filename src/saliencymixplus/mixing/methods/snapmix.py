"""SnapMix: boxes of two sizes, and label weights from class-activation maps.

Huang, Wang and Tao, "SnapMix: Semantically Proportional Mixing for Augmenting Fine-grained Data",
AAAI 2021 (arXiv:2012.04846): a box of the second image is resized into another box of the first,
and each label's weight is the visible fraction of its own image's class activation (equations 4 and
5). The two weights need not sum to 1.

In the released code (``variant: published``), both weights of a pair with equal labels become their
sum, so that the label counts twice; by default they do not. If a map is constant, area fractions
are used instead, as released.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saliencymixplus.errors import NetworkError
from saliencymixplus.mixing.batch import Batch, Blend, Sources
from saliencymixplus.mixing.boxes import BoxSize, box_around, box_mask, box_sides
from saliencymixplus.mixing.combine import sampled
from saliencymixplus.mixing.draws import Draw, scale
from saliencymixplus.mixing.features import last_feature_map
from saliencymixplus.mixing.maps import scaled_to_peak
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import MixingOptions, Scope, number


@dataclass(frozen=True, kw_only=True)
class SnapMixOptions(MixingOptions):
    """Options of SnapMix.

    Args:
        variant: ``corrected``, or ``published``: any permutation, halved sides, doubled weights.
        alpha: λ₀ ~ Beta(alpha, alpha) of each box, the one to fill and the one to cut out;
            0.05 … 100.
        box: draw both boxes once per ``batch``, or for each ``sample``.
        box_size: ``exact``, or ``halves``: odd sides lose a pixel, as released.
        same_label: weights of a pair with equal labels, ``separate`` or ``doubled``, see above.
    """

    PUBLISHED = {
        "pairs": "permutation",
        "box_size": "halves",
        "same_label": "doubled",
    }

    variant: Literal["corrected", "published"] = "corrected"
    alpha: float = number(5.0, 0.05, 100.0)
    box: Scope = "batch"
    box_size: BoxSize = "exact"
    same_label: Literal["separate", "doubled"] = "separate"

    needs = frozenset({"network"})


def snapmix(sources: Sources, draw: Draw, options: SnapMixOptions) -> Blend:
    """Each label's weight is the visible fraction of its image's class-activation map."""
    lam0, lam1, centre, uniform = draw.take("lam0", "lam1", "centre", "uniform")
    assert sources.saliency is not None
    height, width = sources.height, sources.width
    boxes = []
    for chance, place in ((lam0, centre), (lam1, scale(uniform, height, width))):
        sides = box_sides(chance, height, width)
        boxes.append(box_around(place, sides, height, width, options.box_size))
    shown = not_empty(boxes[0]) & not_empty(boxes[1])
    mask = box_mask(boxes[0], height, width) & shown[:, None, None, None]
    images = torch.where(mask, crop_into(sources.b, boxes[1], boxes[0]), sources.a)
    labels, maps = sources.labels, scaled_to_peak(sources.saliency).values
    same = labels[: draw.size] == labels.index_select(0, sources.index_b)
    same = same if same.ndim == 1 else same.all(1)
    lam_a, lam_b = activation_labels(
        maps[: draw.size],
        maps.index_select(0, sources.index_b),
        boxes[0],
        boxes[1],
        same & (options.same_label == "doubled"),
    )
    return Blend(
        images,
        mask,
        lam=torch.where(shown, lam_a, 1.0),
        lam_b=torch.where(shown, lam_b, 0.0),
        boxes=boxes[0] * shown[:, None],
        source_boxes=boxes[1] * shown[:, None],
    )


def activation_maps(batch: Batch, options: SnapMixOptions) -> Tensor:
    """Class-activation maps (B, H, W) of the network; constant ones are zero.

    Raises:
        NetworkError: the network does not end in a mean over feature maps and a linear layer.
    """
    assert batch.model is not None
    linear = [layer for layer in batch.model.modules() if isinstance(layer, nn.Linear)]
    maps = last_feature_map(batch.model, batch.images)
    if not linear or maps.shape[1] != linear[-1].in_features:
        raise NetworkError(
            "snapmix takes networks that end in a mean over feature maps and one linear layer: "
            "pass the class-activation maps as saliency="
        )
    found = class_activation(
        maps.float(),
        linear[-1].weight.float(),
        None if linear[-1].bias is None else linear[-1].bias.float(),
        batch.labels,
        (batch.images.shape[2], batch.images.shape[3]),
    )
    return found.nan_to_num(0.0)


def class_activation(
    features: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, size: tuple[int, int]
) -> Tensor:
    """Class-activation maps (B, H, W) with a minimum of 0 and a sum of 1; constant ones are NaN.

    Args:
        features: (B, D, h, w), the last feature maps, before or after their ReLU.
        weight: (K, D) of the linear layer.
        bias: (K,) of the linear layer.
        labels: (B,) int64, or (B, K) float.
        size: (H, W) of the images.
    """
    if labels.ndim == 1:
        labels = labels[:, None] == torch.arange(len(weight), device=labels.device)
    labels = labels.to(weight.dtype)
    maps = torch.einsum("bd,bdhw->bhw", labels @ weight, features.relu())
    if bias is not None:
        maps = maps + (labels @ bias)[:, None, None]
    maps = F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    maps = maps - maps.amin((1, 2), keepdim=True)
    return maps / maps.sum((1, 2), keepdim=True)


def crop_into(images: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Resize the box ``source`` of images (M, C, H, W) bilinearly (align_corners) to the box
    ``target``; meaningless outside it. Boxes are (M or 1, 4) int64 corners."""
    height, width = images.shape[2:]
    rows = _lines(source[:, 0], source[:, 2], target[:, 0], target[:, 2], height)
    columns = _lines(source[:, 1], source[:, 3], target[:, 1], target[:, 3], width)
    return sampled(images, rows, columns, align_corners=True)


def _lines(first: Tensor, last: Tensor, start: Tensor, stop: Tensor, side: int) -> Tensor:
    """Source coordinates, −1 … 1, of the pixels along one side of the target: (N, side)."""
    pixels = torch.arange(side, device=start.device, dtype=torch.float32) - start[:, None]
    steps = (stop - start - 1).clamp_min(1)[:, None]
    place = first[:, None] + pixels * (last - first - 1)[:, None] / steps
    place = torch.where(pixels < (stop - start)[:, None], place, last[:, None] - 1)
    return 2.0 * place / max(side - 1, 1) - 1.0


def activation_labels(
    maps_a: Tensor, maps_b: Tensor, boxes_a: Tensor, boxes_b: Tensor, same: Tensor
) -> tuple[Tensor, Tensor]:
    """The weights of both labels, (M,) each.

    Args:
        maps_a, maps_b: (M, H, W) from ``class_activation``.
        boxes_a, boxes_b: (M or 1, 4), the box filled in a and the box cut out of b.
        same: (M,) bool, pairs whose weights both become their sum, as released.
    """
    height, width = maps_a.shape[1:]
    inside_a = box_mask(boxes_a, height, width)[:, 0]
    inside_b = box_mask(boxes_b, height, width)[:, 0]
    lam_a = 1.0 - (maps_a * inside_a).sum((1, 2)) / (maps_a.sum((1, 2)) + 1e-8)
    lam_b = (maps_b * inside_b).sum((1, 2)) / (maps_b.sum((1, 2)) + 1e-8)
    both = lam_a + lam_b
    lam_a, lam_b = torch.where(same, both, lam_a), torch.where(same, both, lam_b)
    area = 1.0 - inside_a.float().mean((1, 2))
    known_a, known_b = maps_a.sum((1, 2)) > 0, maps_b.sum((1, 2)) > 0  # also false for NaN
    # The sum of both weights is unknown if either weight is.
    known_a, known_b = known_a & (known_b | ~same), known_b & (known_a | ~same)
    return torch.where(known_a, lam_a, area), torch.where(known_b, lam_b, 1.0 - area)


def not_empty(boxes: Tensor) -> Tensor:
    """Whether boxes (N, 4) contain a pixel, (N,) bool."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


METHOD = Method(
    name="snapmix",
    label="SnapMix",
    year=2021,
    summary="a box resized into another, labels by class activation",
    paper="arXiv:2012.04846",
    options=SnapMixOptions,
    apply=snapmix,
    maps=activation_maps,
    second_lam0=True,
)
