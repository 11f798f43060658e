"""Positions of boxes: from a saliency map or mask to a centre pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor

from saliencymixplus.mixing.batch import Sources
from saliencymixplus.mixing.boxes import BoxSize
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.maps import Maps, highest, scaled_to_peak
from saliencymixplus.mixing.visible_fraction import OBJECT


def peak(saliency: Tensor, fallback: Tensor) -> Tensor:
    """The most salient pixel, (N, 2) int64 row and column; the first if there are several.

    Args:
        saliency: (N, H, W), any real dtype.
        fallback: (N, 2) int64, used if the map is zero or not finite.
    """
    _, index, usable = highest(saliency)
    return pixel(index, saliency.shape[2], usable, fallback)


def sampled(maps: Maps, uniform: Tensor, fallback: Tensor) -> Tensor:
    """A pixel drawn with probability proportional to its saliency, (N, 2) int64.

    Args:
        maps: N maps.
        uniform: (N,) random numbers in [0, 1).
        fallback: (N, 2) int64, used if the map is zero or not finite.
    """
    cumulative = maps.values.flatten(1).cumsum(1)
    target = uniform[:, None] * cumulative[:, -1:]
    index = (cumulative <= target).sum(1).clamp_max(cumulative.shape[1] - 1)
    return pixel(index, maps.values.shape[2], maps.usable, fallback)


def on_object(sources: Sources, draw: Draw, count: int) -> Tensor:
    """A random pixel of the second image's object for the first ``count`` pairs, (count, 2) int64.

    The drawn centre if an image has no object.
    """
    assert sources.masks is not None
    uniform, centre = draw.take("uniform", "centre")
    objects = sources.masks.index_select(0, sources.index_b[:count]) == OBJECT
    uniform = uniform[:, 0].expand(count)
    return sampled(scaled_to_peak(objects), uniform, centre.expand(count, 2))


def heaviest(maps: Maps, sides: Tensor, size: BoxSize, fallback: Tensor) -> Tensor:
    """Centre (N, 2) int64 of the window inside the image that contains most saliency.

    Args:
        maps: N maps.
        sides: (N, 2) int64 height and width of the window.
        size: how the window lies around its centre, see ``box_around``.
        fallback: (N, 2) int64, used if the map is zero or not finite.
    """
    values = maps.values
    height, width = values.shape[1:]
    before = sides // 2
    after = before if size == "halves" else sides - before
    rows = torch.arange(height, device=values.device)
    columns = torch.arange(width, device=values.device)
    # Summed-area table with a leading zero row and column: (N, H + 1, W + 1).
    table = F.pad(values.cumsum(1).cumsum(2), (1, 0, 1, 0))
    top, bottom = rows - before[:, :1], rows + after[:, :1]  # (N, H)
    left, right = columns - before[:, 1:], columns + after[:, 1:]  # (N, W)
    inside_rows = (top >= 0) & (bottom <= height)
    inside_columns = (left >= 0) & (right <= width)
    stripe = _rows(table, bottom.clamp(0, height)) - _rows(table, top.clamp(0, height))
    mass = _columns(stripe, right.clamp(0, width)) - _columns(stripe, left.clamp(0, width))
    inside = inside_rows[:, :, None] & inside_columns[:, None, :]
    best = torch.where(inside, mass, -1.0).flatten(1).argmax(1)
    return pixel(best, width, maps.usable, fallback)


def _rows(table: Tensor, index: Tensor) -> Tensor:
    return table.gather(1, index[:, :, None].expand(-1, -1, table.shape[2]))


def _columns(table: Tensor, index: Tensor) -> Tensor:
    return table.gather(2, index[:, None, :].expand(-1, table.shape[1], -1))


def pixel(index: Tensor, width: int, usable: Tensor, fallback: Tensor) -> Tensor:
    """Row and column (N, 2) from row · W + column (N,); ``fallback`` if the map is unusable."""
    found = torch.stack((index // width, index % width), dim=1)
    return torch.where(usable[:, None], found, fallback)
