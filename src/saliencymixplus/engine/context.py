"""The state of a training in one process: the object passed to all of its parts."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from saliencymixplus.datasets.prepared import Meta
from saliencymixplus.engine.cuda_graph import EagerEngine
from saliencymixplus.engine.distributed import Processes
from saliencymixplus.engine.loss_monitor import LossMonitor
from saliencymixplus.engine.step import TrainStep
from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.loading.batches import BatchSource
from saliencymixplus.settings import RunSettings

# Weights kept besides the last: those of the epoch with the lowest error, by column.
_BEST = {"best_validation": "validation_top1_error", "best_test": "test_top1_error"}


@dataclass
class Assembly:
    """The parts of a training, ready to run; see ``build.assemble``."""

    sources: dict[str, BatchSource]  # train, test and, if there is a validation split, val
    step: TrainStep
    engine: EagerEngine  # runs the step
    eval_autocast: Callable[[], AbstractContextManager[object]]
    eval_batch_size: int
    evaluated: nn.Module  # and saved: the network or, with `weight_average`, its moving average


@dataclass
class TrainingState:
    """Training progress: the content of a checkpoint except network and optimizer tensors.

    Generators have no state to save: see ``randomness``.
    """

    epoch: int = 0  # finished epochs
    step: int = 0  # finished optimizer steps of the epoch in progress
    steps: int = 0  # optimizer steps of the epoch in progress; 0 before it starts
    seconds: float = 0.0  # spent on the epoch in progress before this process resumed it
    sums: Tensor | None = None  # saved EpochMetrics.sums of the epoch in progress
    history: list[EpochRow] = field(default_factory=list)
    best: dict[str, int] = field(default_factory=dict)  # epoch of best_validation and best_test
    weights: dict[int, dict[str, Tensor]] = field(default_factory=dict)  # epoch: kept weights, CPU
    _began: float = field(default_factory=time.monotonic)

    def start_epoch(self, steps: int) -> None:
        """Start timing an epoch, or the rest of a resumed one."""
        self.steps, self._began = steps, time.monotonic() - self.seconds

    @property
    def elapsed(self) -> float:
        """Seconds spent on the epoch in progress."""
        return time.monotonic() - self._began

    def end_epoch(self, row: EpochRow) -> None:
        """Append the epoch's metrics to the history."""
        self.history.append(row)
        self.epoch, self.step, self.seconds, self.sums = row.epoch, 0, 0.0, None

    def keep_weights(self, model: nn.Module, always: tuple[int, ...]) -> None:
        """Keep the last epoch's weights if best or in ``always``; drop those no longer best."""
        row, keep = self.history[-1], self.epoch in always
        for name, column in _BEST.items():
            error = getattr(row, column)
            before = self.best.get(name)
            if error is not None and (
                before is None or error < getattr(self.history[before - 1], column)
            ):
                self.best[name], keep = self.epoch, True
        if keep:  # copied from the device only once
            self.weights[self.epoch] = state_of(model)
        for epoch in set(self.weights) - {*self.best.values(), *always}:
            del self.weights[epoch]


@dataclass
class TrainingContext:
    """One process of one training."""

    run: RunSettings
    meta: Meta  # of the prepared data
    digest: str  # of the settings and the data
    device: torch.device
    processes: Processes
    parts: Assembly
    state: TrainingState = field(default_factory=TrainingState)
    monitor: LossMonitor = field(init=False)

    def __post_init__(self) -> None:
        self.monitor = LossMonitor(self.parts.step.metrics)


class Hook:
    """Called around the steps and epochs of a training; does nothing unless overridden.

    The engine itself writes, prints and logs nothing. Hooks are called in order. A hook may raise
    to end the training; the state is then that of the last finished step.
    """

    def on_epoch_start(self, context: TrainingContext) -> None:
        """Called before the first step of an epoch, or of the rest of a resumed one."""

    def on_step_end(self, context: TrainingContext, loss: float | None) -> None:
        """Called after an optimizer step.

        ``loss`` is the epoch's mean so far, None if not yet available.
        """

    def on_epoch_end(self, context: TrainingContext, row: EpochRow) -> None:
        """Called after an epoch was trained and evaluated and its weights were kept if needed."""


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """A contiguous copy of the model's state on the CPU."""
    return {
        name: t.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, t in model.state_dict().items()
    }
