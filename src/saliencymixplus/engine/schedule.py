"""The learning rate of every step."""

import math

from saliencymixplus.settings import TrainingSettings


def lr_at(settings: TrainingSettings, step: int, steps_per_epoch: int) -> float:
    """The learning rate of ``step``, counted from 0 over the whole training.

    ``steps``: multiplied by γ after each milestone (in epochs). ``cosine``: ½(1 + cos πt) of the
    peak (Loshchilov and Hutter, SGDR, 2017, without restarts), t running from 0 to 1 after the
    warm-up. Warm-up: linear over W steps, from 1/W of the peak at the first step to the peak.
    """
    lr = settings.learning_rate
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    if settings.schedule == "steps":
        passed = sum(step >= m * steps_per_epoch for m in settings.milestones)
        lr *= settings.gamma**passed
    if step < warmup:
        return lr * (step + 1) / warmup
    if settings.schedule == "cosine":
        t = (step - warmup) / max(1, settings.epochs * steps_per_epoch - warmup)
        lr *= 0.5 * (1.0 + math.cos(math.pi * t))
    return lr
