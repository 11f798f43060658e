"""Boxes: from a centre and λ₀ to corners, areas, masks and the saliency inside."""

from typing import Literal

import torch
from torch import Tensor

BoxSize = Literal["exact", "halves"]


def box_sides(lam0: Tensor, height: int, width: int) -> Tensor:
    """Sides ⌊side·√(1 − λ₀)⌋ of the box, (N, 2) int64 (Yun et al. 2019, equation 2).

    Computed in the precision of ``lam0`` (float64), so that the truncation is NumPy's.
    """
    ratio = torch.sqrt(1.0 - lam0)
    return torch.stack(((height * ratio).long(), (width * ratio).long()), dim=1)


def box_around(centre: Tensor, sides: Tensor, height: int, width: int, size: BoxSize) -> Tensor:
    """Corners (N, 4) int64 ``r0, c0, r1, c1``, half open, clipped to the image.

    Args:
        centre: (N, 2) int64 row and column.
        sides: (N, 2) int64 height and width of the box.
        size: ``halves`` takes ⌊side/2⌋ pixels on either side, as the published code does: an odd
            side loses a pixel and a side of 1 is empty. ``exact`` keeps the whole side.
    """
    before = torch.div(sides, 2, rounding_mode="floor")
    after = before if size == "halves" else sides - before
    top_left, bottom_right = centre - before, centre + after
    rows = torch.stack((top_left[:, 0], bottom_right[:, 0])).clamp(0, height)
    columns = torch.stack((top_left[:, 1], bottom_right[:, 1])).clamp(0, width)
    return torch.stack((rows[0], columns[0], rows[1], columns[1]), dim=1)


def box_mask(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boolean mask (N, 1, H, W), true inside the boxes (N, 4)."""
    r0, c0, r1, c1 = (side[:, None] for side in boxes.unbind(1))
    rows = torch.arange(height, device=boxes.device)
    columns = torch.arange(width, device=boxes.device)
    inside_rows = (rows >= r0) & (rows < r1)  # (N, H)
    inside_columns = (columns >= c0) & (columns < c1)  # (N, W)
    return (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None]


def box_share(boxes: Tensor, height: int, width: int) -> Tensor:
    """Area of the boxes (N, 4) as a share of the image, (N,) float32."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area.float() / (height * width)


def saliency_share(saliency: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Share of a map's total that lies inside a mask, (N,) in [0, 1], and whether it exists, (N,).

    The map (N, H, W) is first divided by its own maximum, so that neither tiny nor huge values
    under- or overflow. A map that is zero or not finite has no shares: 0 and False.
    """
    clean, usable = normalised(saliency)
    inside = torch.where(mask[:, 0], clean, 0.0).sum((1, 2))
    total = torch.where(usable, clean.sum((1, 2)), 1.0)
    return (inside / total).clamp(0.0, 1.0), usable


def normalised(saliency: Tensor) -> tuple[Tensor, Tensor]:
    """A map (N, H, W) divided by its maximum, float32, and which rows are usable, (N,) bool.

    Negative values count as 0. Rows that hold a NaN or an infinity, or nothing, become 0.
    """
    if saliency.dtype != torch.float64:
        saliency = saliency.float()
    saliency = saliency.clamp_min(0)
    peak = saliency.amax((1, 2), keepdim=True)
    usable = torch.isfinite(peak) & (peak > 0)
    # Zero first: 0 * NaN is NaN. Dividing a subnormal peak by itself is exact, its inverse is not.
    clean = torch.where(usable, saliency, 0.0) / torch.where(usable, peak, 1.0)
    return clean.float(), usable[:, 0, 0]
