"""The loss of logits and labels in a training step."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saliencymixplus.mixing.checks import class_indices, high_precision

# By default torch ignores class -100, which would drop part of a mixed image's loss.
_NO_CLASS = -(2**31)


@dataclass(frozen=True)
class Criterion:
    """Cross-entropy, or binary cross-entropy of each class, in at least float32.

    Args:
        loss: ``ce``: cross-entropy of the softmax. ``bce``: binary cross-entropy of each class's
            sigmoid, averaged over the K classes (Beyer et al. 2020, arXiv:2006.07159; as timm's
            ``BinaryCrossEntropy``).
        label_smoothing: ε in [0, 1): a label y becomes (1 − ε)·y + ε / K.

    Both losses are affine in the label, so λ·L(z, a) + (1 − λ)·L(z, b) is the loss of the mixed and
    smoothed label, which is what timm computes.
    """

    loss: Literal["ce", "bce"] = "ce"
    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, labels: Tensor, *, reduction: str = "mean") -> Tensor:
        """The loss of logits (M, K) to labels (M,) int64 or (M, K) float: a scalar or (M,)."""
        logits = logits.to(high_precision(logits.dtype))
        if self.loss == "ce":
            labels = labels.to(logits.dtype if labels.ndim == 2 else torch.int64)
            with class_indices(labels, logits.shape[1]):
                return F.cross_entropy(
                    logits,
                    labels,
                    ignore_index=_NO_CLASS,
                    reduction=reduction,
                    label_smoothing=self.label_smoothing,
                )
        classes = logits.shape[1]
        target = distribution(labels, classes, logits.dtype)
        target = target * (1.0 - self.label_smoothing) + self.label_smoothing / classes
        losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1)
        return losses.mean() if reduction == "mean" else losses


CROSS_ENTROPY = Criterion()


def distribution(labels: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """Labels as distributions (M, K): one-hot for class indices (M,), unchanged for (M, K)."""
    if labels.ndim == 2:
        return labels.to(dtype)
    # Not F.one_hot, which reads values on the CPU.
    rows = torch.zeros(len(labels), num_classes, dtype=dtype, device=labels.device)
    with class_indices(labels, num_classes):
        return rows.scatter(1, labels.long()[:, None], 1.0)


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of the softmax of logits (M, K), averaged over all M · K entries."""
    output = logits.to(high_precision(logits.dtype)).softmax(1)
    return F.binary_cross_entropy(output, distribution(labels, output.shape[1], output.dtype))
