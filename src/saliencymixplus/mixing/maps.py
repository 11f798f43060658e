"""Saliency maps: which are usable, their peaks, and shares of their total."""

from typing import NamedTuple

import torch
from torch import Tensor


class Maps(NamedTuple):
    """Maps ready for use."""

    shares: Tensor  # (N, H, W) float32, divided by the peak: in [0, 1]; 0 where unusable
    usable: Tensor  # (N,) bool: finite and not zero
    peak: Tensor  # (N,) int64: row · W + column of the first highest value


def prepare(saliency: Tensor) -> Maps:
    """Divide maps (N, H, W) of any real dtype by their peaks, so that nothing over- or underflows.

    Negative values count as 0. A map that holds a NaN or an infinity, or nothing, is unusable.
    """
    if saliency.dtype != torch.float64:
        saliency = saliency.float()
    top, peak, usable = highest(saliency)
    shares = (saliency / top[:, None, None]).masked_fill(~usable[:, None, None], 0.0)
    return Maps(shares.clamp_min(0.0).float(), usable, peak)


def highest(saliency: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Highest value of each map, where it is first (row · W + column), and whether it is usable."""
    top, peak = saliency.flatten(1).max(1)  # NaN is the highest, the first of equals is taken
    return top, peak, (top > 0) & (top < torch.inf)


def share_inside(shares: Tensor, weight: Tensor) -> Tensor:
    """Share of each map's total (N, H, W) that lies under a 0/1 weight (N, 1, H, W).

    (N,) float32 in [0, 1], NaN where the map is all zero.
    """
    inside = (shares * weight[:, 0]).sum((1, 2))
    return (inside / shares.sum((1, 2))).clamp(0.0, 1.0)
