"""How the error grows as pixels are removed: a square in the centre, or squares anywhere.

The random kind follows Naseer, Ranasinghe, Khan, Hayat, Khan, Yang (2021), "Intriguing Properties
of Vision Transformers" (random PatchDrop). Removed pixels get the mean colour of the training
images, which is zero to the network.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saliencymixplus.evaluation.accuracy import ranks, top_error
from saliencymixplus.evaluation.classifier import PixelClassifier

CELLS = 8  # the random kind removes cells of an 8 × 8 grid


def centre_mask(side: int, share: float) -> Tensor:
    """(1, 1, side, side) bool, true on the centred square whose area is nearest to ``share``."""
    square = round(math.sqrt(share) * side)
    first = (side - square) // 2
    mask = torch.zeros(1, 1, side, side, dtype=torch.bool)
    mask[..., first : first + square, first : first + square] = True
    return mask


def cell_masks(side: int, share: float, orders: Tensor) -> Tensor:
    """(B, 1, side, side) bool, true on the first ``share`` of the grid's cells.

    ``orders``, (B, CELLS²), holds for each image a permutation of the cells: a greater share
    removes all that a smaller one did, and more.
    """
    removed = torch.zeros(orders.shape, dtype=torch.bool)
    removed.scatter_(1, orders[:, : round(share * orders.shape[1])], True)
    cell = torch.arange(side) * CELLS // side  # which row or column of cells a pixel is in
    return removed.view(-1, 1, CELLS, CELLS)[:, :, cell][:, :, :, cell]


def occlusion_errors(
    classifier: PixelClassifier,
    images: np.ndarray,
    labels: Tensor,
    *,
    shares: Sequence[float],
    batch_size: int,
    seed: int,
) -> list[dict[str, Any]]:
    """One row a kind (``centre``, ``random``) and share, the untouched image (share 0) included.

    Returns:
        rows of ``kind``, ``share`` (of the pixels, as removed), ``images``, ``top1_error`` (%).
    """
    side = classifier.input_size
    generator = torch.Generator().manual_seed(seed)
    orders = torch.rand(len(images), CELLS**2, generator=generator).argsort(1)
    plan = [("none", 0.0)] + [(kind, s) for kind in ("centre", "random") for s in sorted(shares)]
    wrong: dict[tuple[str, float], list[Tensor]] = {entry: [] for entry in plan}
    removed = dict.fromkeys(plan, 0.0)
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            pixels = classifier.pixels(images[start : start + batch_size])
            target = labels[start : start + batch_size].to(classifier.device)
            for kind, share in plan:
                if kind == "random":
                    mask = cell_masks(side, share, orders[start : start + batch_size])
                else:
                    mask = centre_mask(side, share)
                removed[kind, share] += float(mask.float().mean()) * len(pixels)
                occluded = torch.where(mask.to(pixels.device), classifier.mean, pixels)
                wrong[kind, share].append(ranks(classifier(occluded), target).cpu())
    measured = {
        (kind, share): (removed[kind, share] / len(images), top_error(torch.cat(found), 1))
        for (kind, share), found in wrong.items()
    }
    return [
        {"kind": kind, "share": share, "images": len(images), "top1_error": error}
        for kind in ("centre", "random")
        for (of, _), (share, error) in measured.items()
        if of in (kind, "none")
    ]


def mean_error(rows: list[dict[str, Any]], kind: str) -> float:
    """Error averaged over the removed share (trapezoids), in percent: one number for a curve."""
    curve = sorted((row["share"], row["top1_error"]) for row in rows if row["kind"] == kind)
    share, error = np.array(curve, dtype=np.float64).T
    return float(np.trapezoid(error, share) / (share[-1] - share[0]))
