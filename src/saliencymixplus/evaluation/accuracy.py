"""Classification errors: top-1, top-5, negative log-likelihood, per class, and confusions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """Rank of the true class, (N,) int64, starting at 0: a top-k prediction is correct if rank < k.

    Ties go to the lower class index, as in ``argmax``, so that ``ranks == 0`` is
    ``argmax == labels``. An image with non-finite logits ranks last and so counts as wrong.
    """
    true = logits.gather(1, labels[:, None])
    above = (logits > true).sum(1)
    index = torch.arange(logits.shape[1], device=logits.device)
    tied_before = ((logits == true) & (index[None] < labels[:, None])).sum(1)
    # Comparisons with NaN are false, which would count the image as correct.
    broken = ~torch.isfinite(logits).all(1)
    return torch.where(broken, logits.shape[1], above + tied_before)


def top_error(rank: Tensor, k: int) -> float:
    """Percentage of images whose true class is not among the first ``k``."""
    return 100 * float((rank >= k).double().mean())


def errors(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Top-1 and top-5 error in percent and mean negative log-likelihood in nats.

    Args:
        logits: (N, K). labels: (N,) int64.
    """
    rank = ranks(logits, labels)
    return {
        "top1_error": top_error(rank, 1),
        "top5_error": top_error(rank, 5),
        "nll": float(F.cross_entropy(logits.double(), labels)),
    }


def per_class(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row per class: its test images, errors in percent and most frequent confusion."""
    count = len(classes)
    cells = labels * count + logits.argmax(1)
    confusion = torch.bincount(cells, minlength=count**2).view(count, count).numpy()
    rank = ranks(logits, labels)
    rows = []
    for index, name in enumerate(classes):
        here = labels == index
        images = int(here.sum())
        mistakes = np.where(np.arange(count) == index, 0, confusion[index])
        worst = int(mistakes.argmax())
        rows.append(
            {
                "class": name,
                "images": images,
                "top1_error": top_error(rank[here], 1) if images else None,
                "top5_error": top_error(rank[here], 5) if images else None,
                "most_taken_for": classes[worst] if mistakes[worst] else None,
                "times": int(mistakes[worst]),
            }
        )
    return rows


def confusion_pairs(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row per image with its ``actual`` and ``predicted`` class, for DVC's confusion plot."""
    predicted = logits.argmax(1)
    return [
        {"actual": classes[int(a)], "predicted": classes[int(p)]}
        for a, p in zip(labels, predicted, strict=True)
    ]
