"""Boxes: from a centre and λ₀ to sides, corners and masks."""

from typing import Literal

import torch
from torch import Tensor

BoxSize = Literal["exact", "halves"]


def box_sides(lam0: Tensor, height: int, width: int) -> Tensor:
    """Sides ⌊side·√(1 − λ₀)⌋ of the box, (N, 2) int64 (Yun et al. 2019, equation 2).

    Computed in the precision of ``lam0`` (float64), so that the truncation is NumPy's.
    """
    ratio = torch.sqrt(1.0 - lam0)
    if height == width:
        return (height * ratio).long()[:, None].expand(-1, 2)
    return torch.stack((height * ratio, width * ratio), dim=1).long()


def box_around(centre: Tensor, sides: Tensor, height: int, width: int, size: BoxSize) -> Tensor:
    """Corners (N, 4) int64 ``r0, c0, r1, c1``, half open, clipped to the image.

    Args:
        centre: (N, 2) int64 row and column.
        sides: (N, 2) int64 height and width of the box.
        size: ``halves`` takes ⌊side/2⌋ pixels on either side, as the published code does: an odd
            side loses a pixel and a side of 1 is empty. ``exact`` keeps the whole side.
    """
    before = sides // 2
    after = before if size == "halves" else sides - before
    corners = torch.cat((centre - before, centre + after), dim=1)
    if height == width:
        return corners.clamp(0, height)
    rows, columns = corners[:, 0::2].clamp(0, height), corners[:, 1::2].clamp(0, width)
    return torch.stack((rows, columns), dim=2).flatten(1)


def box_mask(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boolean mask (N, 1, H, W), true inside the boxes (N, 4)."""
    pixels = torch.arange(max(height, width), device=boxes.device)
    inside = (pixels >= boxes[:, :2, None]) & (pixels < boxes[:, 2:, None])  # (N, 2, max(H, W))
    rows, columns = inside[:, 0, :height], inside[:, 1, :width]
    return (rows[:, :, None] & columns[:, None, :])[:, None]
