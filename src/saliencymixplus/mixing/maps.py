"""Saliency maps: whether they are usable, where their peaks are, how much lies inside a mask."""

from typing import NamedTuple

import torch
from torch import Tensor


class Maps(NamedTuple):
    """N maps scaled to a peak of 1."""

    values: Tensor  # (N, H, W) float32 in [0, 1], 1 at the peak; unusable maps are all 0
    usable: Tensor  # (N,) bool: finite and not all zero
    peak: Tensor  # (N,) int64: row · W + column of the maximum, the first of several


def scaled_to_peak(saliency: Tensor) -> Maps:
    """Divide maps (N, H, W) of any real dtype by their peaks, so that sums cannot overflow.

    Negative values count as 0. A map that contains NaN or infinity, or is all zero, is unusable.
    """
    if saliency.dtype != torch.float64:
        saliency = saliency.float()
    top, peak, usable = highest(saliency)
    values = (saliency / top[:, None, None]).masked_fill_(~usable[:, None, None], 0.0)
    return Maps(values.clamp_min_(0.0).float(), usable, peak)


def highest(saliency: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each map's maximum, its first position (row · W + column), and whether the map is usable."""
    top, peak = saliency.flatten(1).max(1)  # NaN counts as highest; the first of equal values wins
    return top, peak, (top > 0) & (top < torch.inf)


def sum_to_one(saliency: Tensor, *, at_once: bool = False) -> Tensor:
    """Maps (N, H, W) divided by their sums, in float32; unusable maps become uniform.

    Maps are first divided by their peaks, so that no sum overflows. ``at_once`` omits this where no
    sum can overflow, as the methods' released code does: rounding decides between positions or
    partners that are otherwise equal.
    """
    maps = scaled_to_peak(saliency)
    values = maps.values / maps.values.sum((1, 2), keepdim=True)
    values = values.masked_fill(~maps.usable[:, None, None], 1.0 / values[0].numel())
    if not at_once:
        return values
    total = saliency.float().sum((1, 2), keepdim=True)
    safe = (total > 1e-30) & (total < 1e30) & (saliency.amin((1, 2), keepdim=True) >= 0)
    return torch.where(safe, saliency.float() / total, values)


def ranks(values: Tensor, *, stable: bool = False) -> Tensor:
    """Rank of each value (N, …) among the n of its row, (N, n) int64; 0 is the highest.

    With ``stable``, the first of equal values ranks higher.
    """
    order = values.flatten(1).argsort(dim=1, descending=True, stable=stable)
    place = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, place)


def fraction_inside(values: Tensor, mask: Tensor) -> Tensor:
    """Fraction of the sum of each map (N, H, W) that lies inside a 0/1 mask (N, 1, H, W).

    (N,) float32 in [0, 1]; NaN if the map is all zero.
    """
    inside = (values * mask[:, 0]).sum((1, 2))
    return (inside / values.sum((1, 2))).clamp(0.0, 1.0)


def enlarged(cells: Tensor, height: int, width: int) -> Tensor:
    """Cells (M, n, m) enlarged to (M, H, W); they differ in size if n or m does not divide it."""
    rows = torch.arange(height, device=cells.device) * cells.shape[1] // height
    columns = torch.arange(width, device=cells.device) * cells.shape[2] // width
    return cells[:, rows][:, :, columns]
