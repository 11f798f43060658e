"""Measure a network's loss and errors on a whole split, as after every epoch."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import nn

from saliencymixplus.engine.distributed import Processes
from saliencymixplus.loading.batches import BatchSource


@torch.no_grad()
def evaluate_split(
    model: nn.Module,
    source: BatchSource,
    *,
    batch_size: int,
    autocast: Callable[[], AbstractContextManager[object]],
    processes: Processes,
) -> dict[str, float]:
    """The mean ``loss`` and, in percent, ``top1_error`` and ``top5_error`` in evaluation mode.

    Waits for the device only once, at the end. Each process evaluates its part of the images; the
    sums are then reduced over all processes.
    """
    dtype = torch.float32 if source.device.type == "mps" else torch.float64
    sums = torch.zeros(4, dtype=dtype, device=source.device)
    rows = torch.arange(processes.rank, len(source), processes.world)
    was_training = model.training
    model.eval()
    try:
        for inputs in source.inputs(rows.split(batch_size)) if len(rows) else ():
            batch = source.assemble(inputs)
            with autocast():
                logits = model(batch.images)
            logits = logits.float()
            best = logits.topk(min(5, logits.shape[1]), dim=1).indices
            hits = best == batch.labels[:, None]
            loss = F.cross_entropy(logits, batch.labels, reduction="sum")
            count = torch.full_like(loss, len(hits))
            sums += torch.stack([loss, count, hits[:, 0].sum(), hits.any(1).sum()]).to(dtype)
    finally:
        model.train(was_training)
    processes.sum(sums)
    loss_sum, count_sum, top1, top5 = sums.tolist()
    return {
        "loss": loss_sum / count_sum,
        "top1_error": 100.0 * (1.0 - top1 / count_sum),
        "top5_error": 100.0 * (1.0 - top5 / count_sum),
    }
