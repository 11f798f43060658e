"""Hooks of a training: display, history and samples, checkpoints, signals."""

import signal
import time
from pathlib import Path

from saliencymixplus.engine.context import Hook, TrainingContext
from saliencymixplus.engine.state import pack
from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.progress import TrainingProgress
from saliencymixplus.runs.checkpoint import CheckpointStore
from saliencymixplus.runs.history import write_history
from saliencymixplus.tracking import Tracker
from saliencymixplus.training.samples import save_samples
from saliencymixplus.training.signals import Interrupted, Signals

# Checkpoints take at most this fraction of the time, and are at most this many seconds old.
SAVING_FRACTION, OLDEST = 0.02, 600.0


class Display(Hook):
    """Shows progress."""

    def __init__(self, progress: TrainingProgress) -> None:
        self.progress = progress

    def on_epoch_start(self, context: TrainingContext) -> None:
        state = context.state
        self.progress.begin(state.epoch + 1, state.steps, state.step)

    def on_step_end(self, context: TrainingContext, loss: float | None) -> None:
        state, recipe = context.state, context.run.training
        images = state.step * recipe.accumulate * recipe.batch_size
        images_per_second = images / state.elapsed
        self.progress.step(state.step, loss, None if loss is None else images_per_second)

    def on_epoch_end(self, context: TrainingContext, row: EpochRow) -> None:
        self.progress.end(row)


class Recorder(Hook):
    """Writes history.csv and mixed samples into the state folder, then tells the tracker."""

    def __init__(self, folder: Path, tracker: Tracker) -> None:
        self.folder, self.tracker = folder, tracker

    def on_epoch_start(self, context: TrainingContext) -> None:
        if (context.state.epoch, context.state.step) == (0, 0):
            self._draw_samples(context)

    def on_epoch_end(self, context: TrainingContext, row: EpochRow) -> None:
        write_history(self.folder / "history.csv", context.state.history, times=True)
        self.tracker.update()
        self._draw_samples(context)

    def _draw_samples(self, context: TrainingContext) -> None:
        if context.state.epoch in context.run.training.sample_epochs:
            save_samples(context, self.folder)
            self.tracker.update()


class Checkpoints(Hook):
    """Saves after epochs, and within long ones, at intervals that keep the overhead small.

    Within an epoch, only single-process training saves: several are never at the same step.
    """

    def __init__(self, store: CheckpointStore) -> None:
        self.store = store
        self._saved = time.monotonic()
        self._cost = 0.0  # seconds spent on the last checkpoint

    def on_step_end(self, context: TrainingContext, loss: float | None) -> None:
        if time.monotonic() - self._saved > OLDEST and context.processes.world == 1:
            self.save(context)

    def on_epoch_end(self, context: TrainingContext, row: EpochRow) -> None:
        last = row.epoch == context.run.training.epochs
        waited = time.monotonic() - self._saved
        if last or self._cost == 0.0 or waited * SAVING_FRACTION >= self._cost:
            self.save(context)

    def save(self, context: TrainingContext) -> None:
        """Save the state, unless the loss has become non-finite."""
        if context.monitor.wait()[1] is not None:
            return
        began = time.monotonic()
        self.store.save(pack(context), epoch=context.state.epoch, step=context.state.step)
        self._saved = time.monotonic()
        self._cost = self._saved - began


class StopOnSignal(Hook):
    """Saves and ends the training after SIGINT or SIGTERM.

    Args:
        checkpoints: None on all ranks but 0.
    """

    def __init__(self, signals: Signals, checkpoints: Checkpoints | None) -> None:
        self.signals, self.checkpoints = signals, checkpoints

    def on_epoch_start(self, context: TrainingContext) -> None:
        self._stop_if_told(context)

    def on_step_end(self, context: TrainingContext, loss: float | None) -> None:
        self._stop_if_told(context)

    def _stop_if_told(self, context: TrainingContext) -> None:
        number, state = self.signals.received, context.state
        if number is None:
            return
        told = f"stopped by {signal.Signals(number).name}"
        if self.checkpoints is None:
            raise Interrupted(told, number)
        where = f"epoch {self.checkpoints.store.newest() or 0}"
        if context.processes.world == 1:
            self.checkpoints.save(context)
            step = f"epoch {state.epoch + 1}, step {state.step}"
            where = step if state.step else f"epoch {state.epoch}"
        raise Interrupted(f"{told}; saved at {where}: the same command resumes from there", number)
