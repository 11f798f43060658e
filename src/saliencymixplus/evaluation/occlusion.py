"""How the error grows as pixels are removed: a central square, or random grid cells.

The random kind follows Naseer, Ranasinghe, Khan, Hayat, Khan, Yang (2021), "Intriguing Properties
of Vision Transformers" (random PatchDrop). Removed pixels get the mean colour of the training
images, which normalises to zero.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saliencymixplus.evaluation.classifier import PixelClassifier, top1_error_under

CELLS = 8  # the random kind removes cells of an 8 × 8 grid


def centre_mask(side: int, fraction: float) -> Tensor:
    """Mask (1, 1, side, side), true on the centred square whose area is closest to ``fraction``."""
    square = round(math.sqrt(fraction) * side)
    first = (side - square) // 2
    mask = torch.zeros(1, 1, side, side, dtype=torch.bool)
    mask[..., first : first + square, first : first + square] = True
    return mask


def cell_masks(side: int, fraction: float, orders: Tensor) -> Tensor:
    """Masks (B, 1, side, side), true on the first ``fraction`` of the grid's cells.

    ``orders``, (B, CELLS²), is a permutation of the cells for each image, so that a larger fraction
    removes a superset of the cells that a smaller one removes.
    """
    removed = torch.zeros(orders.shape, dtype=torch.bool)
    removed.scatter_(1, orders[:, : round(fraction * orders.shape[1])], True)
    cell = torch.arange(side) * CELLS // side  # the cell row or column of each pixel
    return removed.view(-1, 1, CELLS, CELLS)[:, :, cell][:, :, :, cell]


def occlusion_errors(
    classifier: PixelClassifier,
    images: np.ndarray,
    labels: Tensor,
    *,
    fractions: Sequence[float],
    batch_size: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Errors as pixels are removed, starting with the clean image (fraction 0).

    Args:
        images: (N, H, W, 3) uint8. labels: (N,) int64 on the CPU.
        fractions: fractions of the pixels to remove, in (0, 1).

    Returns:
        One row per kind (``centre``, ``random``) and fraction: ``kind``, ``share`` (the fraction
        actually removed), ``images`` and ``top1_error`` in percent.
    """
    side = classifier.input_size
    generator = torch.Generator().manual_seed(seed)
    orders = torch.rand(len(images), CELLS**2, generator=generator).argsort(1)

    def measured(kind: str, fraction: float) -> dict[str, Any]:
        removed = 0.0

        def occluded(batch: slice) -> Tensor:
            nonlocal removed
            pixels = classifier.pixels(images[batch])
            if kind == "random":
                mask = cell_masks(side, fraction, orders[batch])
            else:
                mask = centre_mask(side, fraction)
            removed += float(mask.float().mean()) * len(pixels)
            return torch.where(mask.to(pixels.device), classifier.mean, pixels)

        error = top1_error_under(classifier, labels, occluded, batch_size)
        fraction = removed / len(images)
        return {"kind": kind, "share": fraction, "images": len(images), "top1_error": error}

    untouched = measured("none", 0.0)
    rows = []
    for kind in ("centre", "random"):
        rows.append(untouched | {"kind": kind})
        rows += [measured(kind, fraction) for fraction in sorted(fractions)]
    return rows


def mean_error(rows: list[dict[str, Any]], kind: str) -> float:
    """Error in percent averaged over the removed fraction (trapezoids): one number per curve."""
    curve = sorted((row["share"], row["top1_error"]) for row in rows if row["kind"] == kind)
    fractions, errors = np.array(curve, dtype=np.float64).T
    return float(np.trapezoid(errors, fractions) / (fractions[-1] - fractions[0]))
