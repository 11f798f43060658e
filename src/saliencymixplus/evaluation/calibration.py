"""Calibration: expected calibration error, reliability diagram, temperature scaling.

Guo, Pleiss, Sun, Weinberger (2017), "On Calibration of Modern Neural Networks".
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def calibration_error(logits: Tensor, labels: Tensor, bins: int) -> float:
    """Expected calibration error in percent, with equal-width bins (Guo et al., eq. 3)."""
    error: float = sum(
        row["share"] * abs(row["accuracy"] - row["confidence"])
        for row in reliability_bins(logits, labels, bins)
        if row["images"]
    )
    return 100 * error


def reliability_bins(logits: Tensor, labels: Tensor, bins: int) -> list[dict[str, Any]]:
    """One row per confidence bin: edges, number and fraction of images, mean confidence, accuracy.

    All but ``images`` are in [0, 1]. Confidence and accuracy of an empty bin are None. A
    confidence on an edge belongs to the lower bin.
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    right = (predicted == labels).double()
    limits = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    which = (torch.bucketize(confidence, limits) - 1).clamp(0, bins - 1)
    rows = []
    for index in range(bins):
        here = which == index
        images = int(here.sum())
        rows.append(
            {
                "bin_low": float(limits[index]),
                "bin_high": float(limits[index + 1]),
                "images": images,
                "share": images / len(labels),
                "confidence": float(confidence[here].mean()) if images else None,
                "accuracy": float(right[here].mean()) if images else None,
            }
        )
    return rows


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Find the temperature T > 0 that minimises the NLL of ``logits / T`` on held-out images.

    The search is bounded to [0.05, 20]. An optimum outside it means that nearly all held-out
    images are correct, or nearly all wrong, which says nothing about confidence.
    """
    from scipy.optimize import minimize_scalar

    scores = logits.double()

    def nll(log_temperature: float) -> float:
        return float(F.cross_entropy(scores / math.exp(log_temperature), labels))

    limit = math.log(20)
    found = minimize_scalar(nll, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-6})
    return math.exp(found.x)
