"""Combine two images into one: paste pixels, or blend them by weight.

On a GPU, the whole batch is combined at once without reading any value. On a CPU, reading values is
free, and allocating memory for large images takes longer than the arithmetic: there, boxes are
copied as slices, and everything else is done a few images at a time, so that the second images stay
in the cache. Both ways give identical bits.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from saliencymixplus.mixing.batch import Blend, Sources, memory_format
from saliencymixplus.mixing.boxes import BoxSize, box_around, box_mask, box_sides
from saliencymixplus.mixing.checks import high_precision

IN_PARTS = "cpu"  # the device on which values are read and images combined a few at a time
_AT_ONCE = 2**19  # bytes of images combined at a time
_LARGE = 64 * 64  # pixels per image from which copying a slice of each is faster than a mask


def eager_on_cpu(images: Tensor) -> bool:
    """Whether to use the way that is faster on a CPU, but does not record gradients."""
    recorded = torch.compiler.is_compiling() or torch.is_grad_enabled()
    return images.device.type == IN_PARTS and not recorded


def paste(sources: Sources, mask: Tensor, boxes: Tensor | None = None) -> Tensor:
    """The first source with pixels of the second where the boolean ``mask`` is true.

    Args:
        mask: (M or 1, 1, H, W).
        boxes: (M or 1, 4), if the mask is true exactly inside them.
    """
    if not eager_on_cpu(sources.images):
        return torch.where(_over_channels(mask, sources.images), sources.b, sources.a)
    if boxes is not None and (len(boxes) == 1 or sources.height * sources.width >= _LARGE):
        return paste_boxes(sources, boxes)
    mixed = torch.empty_like(sources.a)
    for part, b in parts(sources):
        chosen = _over_channels(_rows(mask, part), sources.images)
        torch.where(chosen, b, sources.a[part], out=mixed[part])
    return mixed


def paste_around(sources: Sources, lam0: Tensor, centre: Tensor, size: BoxSize) -> Blend:
    """Paste CutMix's box of area 1 − λ₀ around ``centre``; λ is 1 − its area after clipping.

    Args:
        lam0: (N,), with N = M, or 1 for the same box in all images.
        centre: (N, 2) int64 row and column.
        size: see ``box_around``.
    """
    height, width = sources.height, sources.width
    boxes = box_around(centre, box_sides(lam0, height, width), height, width, size)
    mask = box_mask(boxes, height, width)
    return Blend(paste(sources, mask, boxes), mask, boxes=boxes)


def paste_boxes(sources: Sources, boxes: Tensor) -> Tensor:
    """The first source with pixels of the second inside ``boxes`` (M or 1, 4), by slices."""
    mixed = sources.a.clone()
    places = [
        (slice(None), slice(top, bottom), slice(left, right))
        for top, left, bottom, right in boxes.tolist()
    ]
    if len(places) == 1:
        everywhere = (slice(None), *places[0])
        mixed[everywhere] = sources.images[everywhere].index_select(0, sources.index_b)
        return mixed
    for i, (j, place) in enumerate(zip(sources.index_b.tolist(), places, strict=True)):
        mixed[i][place] = sources.images[j][place]
    return mixed


def blend(sources: Sources, weight: Tensor) -> Tensor:
    """(1 − weight)·a + weight·b, see ``weighted_sum``; weight: (M or 1, 1, H or 1, W or 1)."""
    if not eager_on_cpu(sources.images):
        return weighted_sum(sources.a, sources.b, weight)
    mixed = torch.empty_like(sources.a)
    for part, b in parts(sources):
        weighted_sum(sources.a[part], b, _rows(weight, part), out=mixed[part])
    return mixed


def weighted_sum(a: Tensor, b: Tensor, weight: Tensor, *, out: Tensor | None = None) -> Tensor:
    """(1 − weight)·a + weight·b in at least float32, returned in the images' dtype.

    May overwrite ``b``, which saves memory. The result is written to ``out``, if given.
    """
    high = high_precision(a.dtype)
    weight = weight.to(high)
    direct = out if a.dtype == high else None
    mixed = torch.mul(a.to(high), 1.0 - weight, out=direct).add_(b.to(high).mul_(weight))
    mixed = rounded_to(mixed, a.dtype)
    return mixed if out is None or direct is not None else out.copy_(mixed)


def gathered(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels of images (M, C, H, W) at rows (M, h) and columns (M, w): (M, C, h, w)."""
    count, channels, _, width = images.shape
    tall = images.gather(2, rows[:, None, :, None].expand(count, channels, -1, width))
    return tall.gather(3, columns[:, None, None].expand(count, channels, rows.shape[1], -1))


def sampled(images: Tensor, rows: Tensor, columns: Tensor, *, align_corners: bool) -> Tensor:
    """Sample images (M, C, H, W) bilinearly at rows (N, h) and columns (N, w), with N = M or 1.

    Coordinates are −1 … 1 as in ``F.grid_sample``; outside, the border is repeated. Computed in
    float32, returned in the images' dtype; integers are rounded.
    """
    x, y = torch.broadcast_tensors(columns[:, None, :], rows[:, :, None])
    grid = torch.stack((x, y), dim=3).expand(len(images), -1, -1, -1)
    found = F.grid_sample(images.float(), grid, "bilinear", "border", align_corners=align_corners)
    return rounded_to(found, images.dtype)


def rounded_to(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast to ``dtype``, rounding to the nearest integer if it is an integer type."""
    return (values if dtype.is_floating_point else values.round()).to(dtype)


def parts(sources: Sources) -> Iterator[tuple[slice, Tensor]]:
    """Yield slices of the M pairs with their second images, a few at a time in a reused buffer."""
    images, index_b = sources.images, sources.index_b
    count = max(1, _AT_ONCE // (images[0].numel() * images.element_size()))
    second = torch.empty_like(images[:count])
    for start in range(0, len(index_b), count):
        chosen = index_b[start : start + count]
        b = second[: len(chosen)]
        if memory_format(images) == torch.channels_last:
            torch.index_select(images.movedim(1, 3), 0, chosen, out=b.movedim(1, 3))
        else:
            torch.index_select(images, 0, chosen, out=b)
        yield slice(start, start + len(chosen)), b


def _rows(values: Tensor, part: slice) -> Tensor:
    return values if len(values) == 1 else values[part]


def _over_channels(mask: Tensor, images: Tensor) -> Tensor:
    """Expand a mask (N, 1, H, W) for channels-last images, as broadcasting it would be slow."""
    if memory_format(images) != torch.channels_last:
        return mask
    mask = mask.expand(-1, images.shape[1], -1, -1)
    return mask.contiguous(memory_format=torch.channels_last)
