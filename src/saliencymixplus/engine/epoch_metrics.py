"""Training metrics of an epoch, accumulated on the device so that no step has to wait."""

from dataclasses import dataclass

import torch
from torch import Tensor

from saliencymixplus.mixing import Step

_KEYS = (
    "loss",
    "images",
    "clean_wrong",
    "clean_images",
    "mixed_wrong",
    "mixed_images",
    "lam",
    "batches",
)


@dataclass(frozen=True)
class EpochAverages:
    """Training averages of one epoch; None if no such batch occurred."""

    loss: float
    clean_top1_error: float | None  # percent, on unmixed batches
    mixed_top1_error: float | None  # percent, on mixed batches, by the mixed label
    mean_lam: float | None


class EpochMetrics:
    """Sums of losses, errors and λ over the batches of an epoch.

    Attributes:
        sums: (8,) float64 (float32 on MPS), in the order of ``_KEYS``.
        bad_batch: scalar, the first batch of the epoch (from 0) with a non-finite loss, or −1.
    """

    def __init__(self, device: torch.device) -> None:
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(len(_KEYS), dtype=dtype, device=device)
        self.bad_batch = torch.full((), -1.0, dtype=dtype, device=device)

    def reset(self, sums: Tensor | None = None) -> None:
        """Start an epoch, or resume one from its ``sums``."""
        self.sums.zero_()
        if sums is not None:
            self.sums.copy_(sums)
        self.bad_batch.fill_(-1.0)

    @torch.no_grad()
    def add(self, step: Step, labels: Tensor) -> None:
        """Count one batch, without waiting for the device."""
        sums, count = dict(zip(_KEYS, self.sums, strict=True)), float(len(step.logits))
        # inf − inf and nan − nan are NaN, which is not equal to 0.
        bad = (step.loss - step.loss).ne(0) & (self.bad_batch < 0)
        torch.where(bad, sums["batches"], self.bad_batch, out=self.bad_batch)
        predicted = step.logits.argmax(1)
        sums["loss"].add_(step.loss, alpha=count)
        sums["images"].add_(count)
        if step.mixed is None:
            sums["clean_wrong"].add_((predicted != labels).sum())
            sums["clean_images"].add_(count)
        else:
            # A prediction is right to the degree that the mixed label says so.
            target = step.mixed.soft_labels(step.logits.shape[1])
            right = target.gather(1, predicted[:, None])
            if step.mixed.lam_b is not None:  # the weights need not sum to 1 (SnapMix)
                right = right / target.sum(1, keepdim=True).clamp_min(1e-12)
            sums["mixed_wrong"].add_(count - right.sum(dtype=self.sums.dtype))
            sums["mixed_images"].add_(count)
            sums["lam"].add_(step.mixed.lam.sum())
        sums["batches"].add_(1.0)

    @staticmethod
    def averages(values: Tensor) -> EpochAverages:
        """Compute the averages from ``sums``; waits for the device."""
        sums = dict(zip(_KEYS, values.tolist(), strict=True))
        mixed, clean = sums["mixed_images"], sums["clean_images"]
        return EpochAverages(
            loss=sums["loss"] / max(1.0, sums["images"]),
            clean_top1_error=100 * sums["clean_wrong"] / clean if clean else None,
            mixed_top1_error=100 * sums["mixed_wrong"] / mixed if mixed else None,
            mean_lam=sums["lam"] / mixed if mixed else None,
        )
