"""Learning rate schedules."""

import math

from saliencymixplus.settings import TrainingSettings


def lr_at(settings: TrainingSettings, step: int, steps_per_epoch: int) -> float:
    """The learning rate of ``step``, counted from 0 over the whole training.

    ``steps``: multiplied by γ after each milestone (in epochs). ``cosine``: from the peak to
    ``min_lr`` by ½(1 + cos πt) (Loshchilov and Hutter, SGDR, 2017, without restarts), with t from
    0 to 1 after the warm-up. ``one_cycle``: like torch's ``OneCycleLR`` (Smith and Topin,
    arXiv:1708.07120) with its defaults, but with constant momentum. Warm-up: linear over W steps,
    from 1/W of the peak at the first step to the peak at the last or, with ``warmup_start_lr``,
    from that rate at the first step to the peak at step W, like timm and torch's ``LinearLR``.
    """
    lr = settings.learning_rate
    if settings.schedule == "one_cycle":
        return _one_cycle(lr, step, settings.epochs * steps_per_epoch)
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    if settings.schedule == "steps":
        passed = sum(step >= m * steps_per_epoch for m in settings.milestones)
        lr *= settings.gamma**passed
    if step < warmup:
        start = settings.warmup_start_lr
        return lr * (step + 1) / warmup if start is None else start + (lr - start) * step / warmup
    if settings.schedule == "cosine":
        t = (step - warmup) / max(1, settings.epochs * steps_per_epoch - warmup)
        lr = settings.min_lr + (lr - settings.min_lr) * (0.5 * (1.0 + math.cos(math.pi * t)))
    return lr


def _one_cycle(peak: float, step: int, total: int) -> float:
    first, last = peak / 25.0, peak / 25.0 / 1e4
    top, end = 0.3 * total - 1.0, total - 1.0
    if step <= top:
        return _cosine(first, peak, step / top)
    return _cosine(peak, last, (step - top) / max(1e-12, end - top))


def _cosine(start: float, end: float, t: float) -> float:
    return end + (start - end) * (0.5 * (1.0 + math.cos(math.pi * t)))
