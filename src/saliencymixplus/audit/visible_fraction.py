"""The true share of visible object in a mixed image, from masks carried through the same mixing.

A label claims that λ of what is to be seen is a's object. Whoever has object masks can look:

    v_a = visible object pixels of a / all object pixels of a        (v_b likewise)
    λ*  = v_a / (v_a + v_b)                                           relative truth
    λ*  = visible object pixels of a / visible object pixels of both  pixel truth

The relative truth asks how much of each object is left, however large it was; the pixel truth how
many pixels of object belong to a. Weights count: a pixel blended half and half shows half of each.
Pixels marked unknown (the border of a Pet trimap) are neither object nor background: they count
as nothing, in the numerator and in the denominator.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from saliencymixplus.mixing import MixedBatch

OBJECT = 1  # in a mask; 0 is background, 2 unknown


@dataclass(frozen=True)
class Truth:
    """What is to be seen of both objects in M mixed images; every field is ``(M,)`` float64.

    A share is NaN where it has no meaning: v of an image without an object, λ* of a mixed image
    that shows no object at all.
    """

    visible_a: Tensor  # v_a in [0, 1]
    visible_b: Tensor  # v_b in [0, 1]
    pixels_a: Tensor  # visible object pixels of a in the mixed image
    pixels_b: Tensor
    region: Tensor  # share of the mixed image's pixels that is b's, in [0, 1]

    @property
    def relative(self) -> Tensor:
        """λ* by shares of each object: v_a / (v_a + v_b)."""
        return _ratio(self.visible_a, self.visible_a + self.visible_b)

    @property
    def pixels(self) -> Tensor:
        """λ* by pixels: a's visible object pixels over those of both."""
        return _ratio(self.pixels_a, self.pixels_a + self.pixels_b)


def truth(mixed: MixedBatch, masks: Tensor) -> Truth:
    """Carry ``masks`` through the mixing that ``mixed`` records.

    Args:
        mixed: M mixed images; its ``mask (M, 1, H, W)`` says how much of each pixel is b's. Where
            b was resized into the box (``source_boxes`` is set), the objects in the source box are
            seen as wholly as the box is b's, and their pixels shrink with the box.
        masks: ``(B, H, W)`` of the images before mixing: 0 background, 1 object, 2 unknown.

    Raises:
        ValueError: the mixing left no pixel weights, or the masks have another size.
    """
    if mixed.mask is None:
        raise ValueError("the mixed batch has no mask: nothing says which pixels came from b")
    weight_b = mixed.mask[:, 0].double()
    if weight_b.shape[1:] != masks.shape[1:]:
        raise ValueError(f"masks {tuple(masks.shape)} for weights {tuple(weight_b.shape)}")
    objects = (masks == OBJECT).double()
    a, b = objects[mixed.index_a], objects[mixed.index_b]
    whole_a, whole_b = a.sum((1, 2)), b.sum((1, 2))
    pixels_a = (a * (1 - weight_b)).sum((1, 2))
    sources = getattr(mixed, "source_boxes", None)
    if sources is None:
        pixels_b = (b * weight_b).sum((1, 2))
        shown_b = pixels_b
    else:
        shown_b, pixels_b = _resized(b, weight_b, sources, mixed)
    return Truth(
        visible_a=_ratio(pixels_a, whole_a),
        visible_b=_ratio(shown_b, whole_b),
        pixels_a=pixels_a,
        pixels_b=pixels_b,
        region=weight_b.mean((1, 2)),
    )


def _resized(
    objects: Tensor, weight_b: Tensor, sources: Tensor, mixed: MixedBatch
) -> tuple[Tensor, Tensor]:
    """Object pixels of b that are shown, counted in b and in the mixed image."""
    if mixed.boxes is None:
        raise ValueError("`source_boxes` without `boxes`: nowhere that they were pasted")
    height, width = objects.shape[1:]
    inside_source = _inside(sources, height, width)
    inside_box = _inside(mixed.boxes, height, width)
    source_area = inside_source.sum((1, 2))
    box_area = inside_box.sum((1, 2))
    opacity = (weight_b * inside_box).sum((1, 2)) / box_area.clamp(min=1)
    shown = (objects * inside_source).sum((1, 2)) * opacity
    return shown, shown * box_area / source_area.clamp(min=1)


def _inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """1 inside the half-open boxes ``(M, 4)`` of (r0, c0, r1, c1): ``(M, H, W)`` float64."""
    r0, c0, r1, c1 = boxes.view(-1, 4, 1, 1).unbind(1)
    rows = torch.arange(height, device=boxes.device).view(1, -1, 1)
    columns = torch.arange(width, device=boxes.device).view(1, 1, -1)
    return ((rows >= r0) & (rows < r1) & (columns >= c0) & (columns < c1)).double()


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.where(whole > 0, 1.0), torch.nan)
