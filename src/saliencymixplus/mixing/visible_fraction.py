"""The visible fraction of each object in a mixed image, from object masks mixed in the same way.

A label claims that λ of what is visible is the object of a. Object masks give its true value:

    v_a = visible object pixels of a / all object pixels of a        (v_b likewise)
    λ*  = v_a / (v_a + v_b)                                           relative
    λ*  = visible object pixels of a / visible object pixels of both  by pixels

The relative λ* compares how much of each object is left, whatever its size. λ* by pixels is the
fraction of visible object pixels that belong to a. A blended pixel counts with its weight, so half
and half shows half of each. Unknown pixels, such as the border in a Pet trimap, do not count.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from saliencymixplus.mixing.batch import MixedBatch
from saliencymixplus.mixing.boxes import box_mask

OBJECT = 1  # in a mask; 0 is background, 2 unknown


@dataclass(frozen=True)
class Truth:
    """What is visible of both objects in M mixed images; every field is (M,).

    Undefined fractions are NaN: v of an image without an object, and λ* of a mixed image in which
    no object is visible.
    """

    visible_a: Tensor  # v_a in [0, 1]
    visible_b: Tensor  # v_b in [0, 1]
    pixels_a: Tensor  # visible object pixels of a in the mixed image
    pixels_b: Tensor
    region: Tensor  # fraction of the mixed image that comes from b

    @property
    def relative(self) -> Tensor:
        """v_a / (v_a + v_b)."""
        return _ratio(self.visible_a, self.visible_a + self.visible_b)

    @property
    def pixels(self) -> Tensor:
        """Visible object pixels of a over those of both."""
        return _ratio(self.pixels_a, self.pixels_a + self.pixels_b)


def truth(mixed: MixedBatch, masks: Tensor, dtype: torch.dtype = torch.float64) -> Truth:
    """Mix ``masks`` like the images in ``mixed`` and measure what is visible.

    Args:
        mixed: M mixed images, with the weight of b in each pixel as ``mask``. If b was moved or
            resized (``source_boxes`` is set), each pixel of its object counts with the weight at
            its new position, and the object shrinks with the box. Moves of single cells (PuzzleMix)
            are not recorded and therefore not followed.
        masks: (B, H, W) of the images before mixing: 0 background, 1 object, 2 unknown.
        dtype: of the arithmetic and the result.

    Raises:
        ValueError: the mixed batch has no pixel weights, or the masks have another size.
    """
    if mixed.mask is None:
        raise ValueError("the mixed batch has no mask: nothing says which pixels came from b")
    weight_b = mixed.mask[:, 0].to(dtype)
    if weight_b.shape[1:] != masks.shape[1:]:
        raise ValueError(f"masks {tuple(masks.shape)} for weights {tuple(weight_b.shape)}")
    objects = (masks == OBJECT).to(dtype)
    a, b = (objects.index_select(0, index) for index in (mixed.index_a, mixed.index_b))
    whole_a, whole_b = a.sum((1, 2)), b.sum((1, 2))
    weight_a = 1 - weight_b if mixed.mask_a is None else mixed.mask_a[:, 0].to(dtype)
    pixels_a = (a * weight_a).sum((1, 2))
    if mixed.source_boxes is None:
        pixels_b = (b * weight_b).sum((1, 2))
        shown_b = pixels_b
    else:
        shown_b, pixels_b = _moved(b, weight_b, mixed.source_boxes, mixed)
    return Truth(
        visible_a=_ratio(pixels_a, whole_a),
        visible_b=_ratio(shown_b, whole_b),
        pixels_a=pixels_a,
        pixels_b=pixels_b,
        region=weight_b.mean((1, 2)),
    )


def mask_label_weight(mixed: MixedBatch, masks: Tensor, label: str) -> Tensor:
    """The true weight λ* of the first label according to ``masks``, (M,) float32.

    It is the area fraction if an image has no object, or if neither object is visible.

    Args:
        mixed: see ``truth``.
        masks: see ``truth``.
        label: ``mask`` for the relative λ*, ``mask_pixels`` for λ* by pixels.
    """
    seen = truth(mixed, masks, torch.float32)
    lam = seen.pixels if label == "mask_pixels" else seen.relative
    return torch.where(seen.relative.isnan(), mixed.area_lam, lam)


def _moved(
    objects: Tensor, weight_b: Tensor, sources: Tensor, mixed: MixedBatch
) -> tuple[Tensor, Tensor]:
    """The number of visible object pixels of b, in b and in the mixed image."""
    if mixed.boxes is None:
        raise ValueError("`source_boxes` without `boxes`: it is unknown where they were pasted")
    height, width = objects.shape[1:]
    boxes = mixed.boxes
    rows = _pasted(sources[:, 0::2], boxes[:, 0::2], height)  # (M, H)
    columns = _pasted(sources[:, 1::2], boxes[:, 1::2], width)  # (M, W)
    weight = weight_b.gather(1, rows[:, :, None].expand(-1, -1, width))
    weight = weight.gather(2, columns[:, None, :].expand(-1, height, -1))
    shown = (objects * box_mask(sources, height, width)[:, 0] * weight).sum((1, 2))
    shrunk = _area(boxes).to(shown.dtype) / _area(sources).clamp(min=1)
    return shown, shown * shrunk


def _pasted(source: Tensor, box: Tensor, side: int) -> Tensor:
    """The new position of each pixel of b along one side, (M, side) int64.

    ``source`` and ``box`` are (M, 2), first pixel and end. Only valid inside ``source``.
    """
    pixels = torch.arange(side, device=source.device) - source[:, :1]
    sides, widths = source[:, 1:] - source[:, :1], box[:, 1:] - box[:, :1]
    place = box[:, :1] + (2 * pixels + 1) * widths // (2 * sides.clamp(min=1))
    return place.clamp(0, side - 1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.where(whole > 0, 1.0), torch.nan)
