"""Where a box goes: from a saliency map to a centre pixel."""

import torch
from torch import Tensor

from saliencymixplus.mixing.boxes import BoxSize, normalised


def peak(saliency: Tensor, fallback: Tensor) -> Tensor:
    """The most salient pixel, (N, 2) int64 row and column; the first one of several.

    Args:
        saliency: (N, H, W), any real dtype.
        fallback: (N, 2) int64, taken where the map is zero or not finite.
    """
    if saliency.dtype == torch.uint8:
        saliency = saliency.short()  # argmax of bytes has no kernel everywhere
    elif not saliency.is_floating_point():
        saliency = saliency.double()
    top = saliency.flatten(1).amax(1)
    usable = torch.isfinite(top) & (top > 0)
    return _pixel(saliency.flatten(1).argmax(1), saliency.shape[2], usable, fallback)


def sampled(saliency: Tensor, uniform: Tensor, fallback: Tensor) -> Tensor:
    """A pixel drawn with probability proportional to its saliency, (N, 2) int64.

    Args:
        saliency: (N, H, W).
        uniform: (N,) in [0, 1), the draw.
        fallback: (N, 2) int64, taken where the map is zero or not finite.
    """
    clean, usable = normalised(saliency)
    cumulated = clean.flatten(1).cumsum(1)
    target = uniform[:, None] * cumulated[:, -1:]
    index = (cumulated <= target).sum(1).clamp_max(cumulated.shape[1] - 1)
    return _pixel(index, saliency.shape[2], usable, fallback)


def heaviest(saliency: Tensor, sides: Tensor, size: BoxSize, fallback: Tensor) -> Tensor:
    """Centre (N, 2) int64 of the window, wholly inside the image, that holds most saliency.

    Args:
        saliency: (N, H, W).
        sides: (N, 2) int64 height and width of the box.
        size: how the box lies around its centre, see ``box_around``.
        fallback: (N, 2) int64, taken where the map is zero or not finite.
    """
    clean, usable = normalised(saliency)
    height, width = clean.shape[1:]
    before = torch.div(sides, 2, rounding_mode="floor")
    after = before if size == "halves" else sides - before
    rows = torch.arange(height, device=clean.device)
    columns = torch.arange(width, device=clean.device)
    # Summed-area table with a leading zero row and column: (N, H + 1, W + 1).
    table = torch.nn.functional.pad(clean.cumsum(1).cumsum(2), (1, 0, 1, 0))
    top, bottom = rows - before[:, :1], rows + after[:, :1]  # (N, H)
    left, right = columns - before[:, 1:], columns + after[:, 1:]  # (N, W)
    inside_rows = (top >= 0) & (bottom <= height)
    inside_columns = (left >= 0) & (right <= width)
    stripe = _rows(table, bottom.clamp(0, height)) - _rows(table, top.clamp(0, height))
    mass = _columns(stripe, right.clamp(0, width)) - _columns(stripe, left.clamp(0, width))
    inside = inside_rows[:, :, None] & inside_columns[:, None, :]
    best = torch.where(inside, mass, -1.0).flatten(1).argmax(1)
    return _pixel(best, width, usable, fallback)


def _rows(table: Tensor, index: Tensor) -> Tensor:
    return table.gather(1, index[:, :, None].expand(-1, -1, table.shape[2]))


def _columns(table: Tensor, index: Tensor) -> Tensor:
    return table.gather(2, index[:, None, :].expand(-1, table.shape[1], -1))


def _pixel(index: Tensor, width: int, usable: Tensor, fallback: Tensor) -> Tensor:
    row = torch.div(index, width, rounding_mode="floor")
    found = torch.stack((row, index - row * width), dim=1)
    return torch.where(usable[:, None], found, fallback)
