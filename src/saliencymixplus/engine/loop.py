"""The loop over epochs and steps: schedule, evaluation, records, samples, checkpoints."""

import math
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from saliencymixplus import mixing
from saliencymixplus.datasets.prepared import Meta
from saliencymixplus.engine.build import Assembly
from saliencymixplus.engine.distributed import Processes
from saliencymixplus.engine.epoch_metrics import Totals
from saliencymixplus.engine.evaluate_split import assess
from saliencymixplus.engine.loss_monitor import Monitor
from saliencymixplus.engine.optimizer import set_rate
from saliencymixplus.engine.randomness import (
    batches_of_epoch,
    mix_flags_of_epoch,
    saliency_flags_of_epoch,
)
from saliencymixplus.engine.schedule import rate
from saliencymixplus.engine.state import Progressed, pack, state_of
from saliencymixplus.epoch_row import COLUMNS, EpochRow
from saliencymixplus.errors import UserError
from saliencymixplus.runs.checkpoint import CheckpointStore
from saliencymixplus.runs.history import write_history
from saliencymixplus.settings import RunSettings
from saliencymixplus.tracking import Tracker
from saliencymixplus.training.progress import Silent
from saliencymixplus.training.samples import GROUP, log_samples
from saliencymixplus.training.signals import Interrupted, Signals

# At most this share of the time goes into checkpoints, and none is older than this, in seconds.
_SAVING_SHARE, _OLDEST = 0.02, 600.0
_SPLITS = {"val": "validation", "test": "test"}


@dataclass
class Loop:
    """A training from where ``progressed`` says to its last epoch."""

    run: RunSettings
    meta: Meta
    digest: str
    parts: Assembly
    progressed: Progressed
    tracker: Tracker
    progress: Silent
    group: Processes
    signals: Signals
    store: CheckpointStore | None  # None: this process saves nothing
    folder: Path
    _saved: float = field(default_factory=time.monotonic)
    _saving: float = 0.0  # seconds that the last checkpoint took

    def fit(self) -> None:
        """Train the epochs that are left."""
        self._monitor = Monitor(self.parts.step.totals)
        if (self.progressed.epoch, self.progressed.step) == (0, 0):
            self._draw_samples(0)
        while self.progressed.epoch < self.run.training.epochs:
            self._train_epoch(self.progressed.epoch + 1)

    def record(self, row: EpochRow) -> None:
        """Give an epoch's figures to the tracker; known ones are left out there."""
        figures = {name: getattr(row, name) for name in COLUMNS if name != "epoch"}
        metrics = {f"{GROUP}/{k}": float(v) for k, v in figures.items() if v is not None}
        self.tracker.log_epoch(row.epoch, metrics)

    def _train_epoch(self, epoch: int) -> None:
        recipe, done, totals = self.run.training, self.progressed, self.parts.step.totals
        began = time.monotonic() - done.seconds
        batches = batches_of_epoch(
            self.meta.counts["train"], recipe.batch_size, self.run.seed, epoch
        )
        steps = len(batches)
        mix_flags = mix_flags_of_epoch(steps, self._mix_prob(epoch), self.run.seed, epoch)
        every = self.parts.step.mixer.options.saliency_every
        use_saliency = saliency_flags_of_epoch(mix_flags, every)
        totals.reset(done.totals)
        self._monitor.start()
        self.progress.begin(epoch, steps, done.step)
        mine = [self.group.part(batch) for batch in batches[done.step :]]
        for index, inputs in enumerate(self.parts.step.source.inputs(mine), start=done.step):
            self._stop_if_told(epoch, index, began)
            total_step = (epoch - 1) * steps + index
            set_rate(self.parts.step.optimiser, rate(recipe, total_step, steps))
            if self.parts.step.average:
                self.parts.step.average.set_step(total_step)
            self.parts.engine.run(
                inputs, mix_flags[index], use_saliency=use_saliency[index], epoch=epoch, index=index
            )
            self._look(epoch, index, steps, began)
            if time.monotonic() - self._saved > _OLDEST and self.group.world == 1:
                self._save_within(index + 1, began)
        _, bad = self._monitor.wait()
        if bad is not None:
            raise self._not_finite(epoch, bad, steps)
        passes = sum(self._passes(*kind) for kind in zip(mix_flags, use_saliency, strict=True))
        self._end_epoch(epoch, steps, passes, began)

    def _mix_prob(self, epoch: int) -> float:
        plain = self.parts.step.mixer.method == "none" or epoch <= self.run.training.mix_start
        return 0.0 if plain else self.run.training.mix_prob

    def _look(self, epoch: int, index: int, steps: int, began: float) -> None:
        seen = self._monitor.look(index)
        if seen is None:
            self.progress.step(index + 1, None, None)
            return
        loss, bad = seen
        if bad is not None:
            raise self._not_finite(epoch, bad, steps)
        speed = (index + 1) * self.run.training.batch_size / (time.monotonic() - began)
        self.progress.step(index + 1, loss, speed)

    def _not_finite(self, epoch: int, index: int, steps: int) -> UserError:
        used = rate(self.run.training, (epoch - 1) * steps + index, steps)
        kept = self.progressed.epoch
        last = f"; the checkpoint of epoch {kept} is kept" if self.store and kept else ""
        return UserError(
            f"the loss is not finite in epoch {epoch}, step {index + 1} of {steps} "
            f"(learning rate {used:g}): lower training.learning_rate or add warm-up{last}"
        )

    def _end_epoch(self, epoch: int, steps: int, passes: float, began: float) -> None:
        done, step = self.progressed, self.parts.step
        values = step.totals.values.clone()
        self.group.sum(values)
        sums = Totals.read(values)
        trained = time.monotonic() - began
        errors: dict[str, float | None] = {}
        for split, name in _SPLITS.items():
            if split in self.parts.sources:
                found = assess(
                    self.parts.evaluated,
                    self.parts.sources[split],
                    batch_size=self.parts.eval_batch_size,
                    autocast=self.parts.eval_autocast,
                    processes=self.group,
                )
                # Statistics that lag behind the first steps may overflow: no reason to stop.
                errors[f"{name}_loss"] = found.loss if math.isfinite(found.loss) else None
                errors[f"{name}_top1_error"] = found.top1_error
                errors[f"{name}_top5_error"] = found.top5_error
        row = EpochRow(
            epoch=epoch,
            learning_rate=rate(self.run.training, epoch * steps - 1, steps),
            train_loss=sums.loss,
            train_clean_top1_error=sums.clean_top1_error,
            train_mixed_top1_error=sums.mixed_top1_error,
            mean_lam=sums.mean_lam,
            seconds=time.monotonic() - began,
            images_per_second=sums.images / trained,
            forward_backward_passes=passes,
            time_ms=time.time_ns() // 1_000_000,
            **errors,
        )
        done.history.append(row)
        done.epoch, done.step, done.seconds, done.totals = epoch, 0, 0.0, None
        if not self.group.first:
            return
        self._keep_weights(row)
        write_history(self.folder / "history.csv", done.history, times=True)
        self.record(row)
        self.progress.end(row)
        self._draw_samples(epoch)
        self._save_if_due(last=epoch == self.run.training.epochs)

    def _passes(self, mix: bool, use_saliency: bool) -> float:
        return mixing.passes(self.parts.step.mixer, use_saliency=use_saliency) if mix else 1.0

    def _draw_samples(self, epoch: int) -> None:
        if self.group.first and epoch in self.run.training.sample_epochs:
            log_samples(self.run, self.meta, self.parts, epoch, self.folder, self.tracker)

    def _keep_weights(self, row: EpochRow) -> None:
        """Remember the weights of an epoch that is better than all before, or was asked for."""
        done, asked = self.progressed, self.run.training.weights_epochs
        keep = done.epoch in asked
        for name, key in (
            ("best_validation", "validation_top1_error"),
            ("best_test", "test_top1_error"),
        ):
            error = getattr(row, key)
            if error is None:
                continue
            before = done.bests.get(name)
            if before is None or error < getattr(done.history[before - 1], key):
                done.bests[name] = done.epoch
                keep = True
        if keep:  # copied off the device once, however many reasons there are
            done.weights[done.epoch] = state_of(self.parts.evaluated)
        for epoch in set(done.weights) - {*done.bests.values(), *asked}:
            del done.weights[epoch]

    def _save_if_due(self, *, last: bool) -> None:
        waited = time.monotonic() - self._saved
        if last or self._saving == 0.0 or waited * _SAVING_SHARE >= self._saving:
            self._save()

    def _save(self) -> None:
        if self.store is None:
            return
        began = time.monotonic()
        done = self.progressed
        self.store.save(pack(done, self.parts, self.digest), epoch=done.epoch, step=done.step)
        self._saved = time.monotonic()
        self._saving = self._saved - began

    def _save_within(self, step: int, began: float) -> None:
        """Save between two steps of an epoch."""
        done = self.progressed
        done.step, done.seconds = step, time.monotonic() - began
        done.totals = self.parts.step.totals.values.detach().cpu().clone()
        if self._monitor.wait()[1] is None:  # never keep weights of a loss that wasn't finite
            self._save()
        done.step, done.seconds, done.totals = 0, 0.0, None

    def _stop_if_told(self, epoch: int, index: int, began: float) -> None:
        number = self.signals.received
        if number is None:
            return
        if self.group.world == 1:
            self._save_within(index, began)
            where = f"epoch {epoch}, step {index}"
        else:  # the processes stop at different steps: the last epoch's checkpoint has to do
            where = f"epoch {self.progressed.epoch}"
        raise Interrupted(
            f"stopped by {signal.Signals(number).name}; saved at {where}: "
            "the same command goes on from there",
            number,
        )
