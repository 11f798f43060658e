"""Saliency maps: which are usable, where their peaks are, and how much lies inside a mask."""

from typing import NamedTuple

import torch
from torch import Tensor


class Maps(NamedTuple):
    """N maps scaled to a peak of 1."""

    values: Tensor  # (N, H, W) float32 in [0, 1], 1 at the peak; 0 everywhere where unusable
    usable: Tensor  # (N,) bool: finite and not zero
    peak: Tensor  # (N,) int64: row · W + column of the first highest value


def scaled_to_peak(saliency: Tensor) -> Maps:
    """Divide maps (N, H, W) of any real dtype by their peaks, so that sums cannot overflow.

    Negative values count as 0. A map that holds a NaN or an infinity, or is zero, is unusable.
    """
    if saliency.dtype != torch.float64:
        saliency = saliency.float()
    top, peak, usable = highest(saliency)
    values = (saliency / top[:, None, None]).masked_fill_(~usable[:, None, None], 0.0)
    return Maps(values.clamp_min_(0.0).float(), usable, peak)


def highest(saliency: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The peak of each map, its first place (row · W + column), and whether the map is usable."""
    top, peak = saliency.flatten(1).max(1)  # NaN counts as highest; ties go to the first
    return top, peak, (top > 0) & (top < torch.inf)


def sum_to_one(saliency: Tensor, *, at_once: bool = False) -> Tensor:
    """Maps (N, H, W) divided by their sums, float32; uniform where a map is zero or not finite.

    They are divided by their peaks first, so that no sum overflows. ``at_once`` leaves that out
    where none can, as the released code of the methods does: its rounding decides between places
    or partners that are otherwise equal.
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
    """Rank of each value of (N, …) among its n, (N, n) int64; 0 for the highest.

    ``stable``: of equal values the first ranks higher.
    """
    order = values.flatten(1).argsort(dim=1, descending=True, stable=stable)
    place = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, place)


def fraction_inside(values: Tensor, mask: Tensor) -> Tensor:
    """Fraction of each map's sum (N, H, W) that lies under a 0/1 mask (N, 1, H, W).

    (N,) float32 in [0, 1]; NaN where the map is all zero.
    """
    inside = (values * mask[:, 0]).sum((1, 2))
    return (inside / values.sum((1, 2))).clamp(0.0, 1.0)


def enlarged(cells: Tensor, height: int, width: int) -> Tensor:
    """Cells (M, n, m) repeated to (M, H, W); where the sides do not divide, they differ in size."""
    rows = torch.arange(height, device=cells.device) * cells.shape[1] // height
    columns = torch.arange(width, device=cells.device) * cells.shape[2] // width
    return cells[:, rows][:, :, columns]
