"""The learning rate of every step against torch's schedulers."""

import pytest
import torch
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    SequentialLR,
)

from saliencymixplus.engine.schedule import lr_at
from saliencymixplus.settings import TrainingSettings

STEPS = 7


def follow(scheduler: LRScheduler, count: int) -> list[float]:
    """The rate of each step."""
    rates = []
    for _ in range(count):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return rates


def sgd() -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


def test_steps_as_torch_and_as_published() -> None:
    settings = TrainingSettings(epochs=9, milestones=(3, 5, 20), learning_rate=0.1)
    ours = [lr_at(settings, i, STEPS) for i in range(9 * STEPS)]
    milestones = [m * STEPS for m in settings.milestones]
    assert ours == pytest.approx(follow(MultiStepLR(sgd(), milestones, 0.1), 9 * STEPS))
    # The published code: lr · 0.1 ^ (number of milestones ≤ epoch, counted from 0).
    assert ours[3 * STEPS - 1] == 0.1
    assert ours[3 * STEPS] == pytest.approx(0.01)


def test_cosine_with_warm_up_as_torch() -> None:
    settings = TrainingSettings(epochs=6, schedule="cosine", warmup_epochs=2, learning_rate=0.1)
    total, warmup = 6 * STEPS, 2 * STEPS
    optimizer = sgd()
    torchs = SequentialLR(
        optimizer,
        [
            LinearLR(optimizer, 1 / warmup, 1.0, warmup - 1),
            CosineAnnealingLR(optimizer, total - warmup),
        ],
        [warmup],
    )
    ours = [lr_at(settings, i, STEPS) for i in range(total)]
    assert ours == pytest.approx(follow(torchs, total), abs=1e-12)


def test_warm_up_reaches_the_full_rate_and_never_zero() -> None:
    settings = TrainingSettings(epochs=5, warmup_epochs=0.5, learning_rate=0.2, milestones=(4,))
    rates = [lr_at(settings, i, 8) for i in range(8)]
    assert rates[:4] == pytest.approx([0.05, 0.1, 0.15, 0.2])
    assert rates[4:] == [0.2] * 4


def test_cosine_ends_at_the_lowest_rate() -> None:
    settings = TrainingSettings(epochs=5, schedule="cosine", min_lr=0.01, learning_rate=0.1)
    ours = [lr_at(settings, i, STEPS) for i in range(5 * STEPS)]
    torchs = CosineAnnealingLR(sgd(), 5 * STEPS, eta_min=0.01)
    assert ours == pytest.approx(follow(torchs, 5 * STEPS), abs=1e-12)


@pytest.mark.parametrize(("epochs", "steps"), [(5, STEPS), (1, 4), (3, 10)])
def test_one_cycle_as_torch(epochs: int, steps: int) -> None:
    settings = TrainingSettings(epochs=epochs, schedule="one_cycle", learning_rate=0.1)
    total = epochs * steps
    ours = [lr_at(settings, i, steps) for i in range(total)]
    torchs = OneCycleLR(sgd(), 0.1, total_steps=total, cycle_momentum=False)
    assert ours == pytest.approx(follow(torchs, total)[:total], abs=1e-12)


def test_warm_up_from_a_rate_as_torch_and_timm() -> None:
    settings = TrainingSettings(
        epochs=6, schedule="cosine", warmup_epochs=2, learning_rate=0.1, warmup_start_lr=0.02
    )
    total, warmup = 6 * STEPS, 2 * STEPS
    optimizer = sgd()
    torchs = SequentialLR(
        optimizer,
        [LinearLR(optimizer, 0.2, 1.0, warmup), CosineAnnealingLR(optimizer, total - warmup)],
        [warmup],
    )
    ours = [lr_at(settings, i, STEPS) for i in range(total)]
    assert ours == pytest.approx(follow(torchs, total), abs=1e-12)
    scheduler = pytest.importorskip("timm.scheduler")
    theirs = scheduler.CosineLRScheduler(
        sgd(),
        t_initial=total - warmup,
        warmup_t=warmup,
        warmup_lr_init=0.02,
        warmup_prefix=True,
        t_in_epochs=False,
    )
    assert ours == pytest.approx([theirs._get_lr(step)[0] for step in range(total)])
