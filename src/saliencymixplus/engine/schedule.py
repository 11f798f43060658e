"""The learning rate of every step."""

import math

from saliencymixplus.settings import TrainingSettings


def rate(settings: TrainingSettings, step: int, steps_per_epoch: int) -> float:
    """The learning rate of ``step``, counted from 0 over the whole training.

    ``steps``: ×γ after each of the milestones (epochs). ``cosine``: ½(1 + cos πt) of the full rate
    (Loshchilov and Hutter 2017, without restarts), from the end of the warm-up on. Warm-up: linear,
    the first step has 1/W of the full rate and step W all of it.
    """
    full = settings.learning_rate
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    if settings.schedule == "steps":
        passed = sum(step >= m * steps_per_epoch for m in settings.milestones)
        full *= settings.gamma**passed
    if step < warmup:
        return full * (step + 1) / warmup
    if settings.schedule == "cosine":
        share = (step - warmup) / max(1, settings.epochs * steps_per_epoch - warmup)
        full *= 0.5 * (1.0 + math.cos(math.pi * share))
    return full
