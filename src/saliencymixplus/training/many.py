"""Train many runs, skipping finished ones, several at once where that is faster."""

import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from saliencymixplus.datasets.prepared import Meta, load_prepared
from saliencymixplus.engine.device import choose_device, threads_for, usable_cores
from saliencymixplus.engine.flops import training_flops
from saliencymixplus.errors import UserError, reason_of
from saliencymixplus.loading.augment import augmentation_for
from saliencymixplus.loading.loader import free_memory
from saliencymixplus.mixing import create
from saliencymixplus.models import create_model
from saliencymixplus.progress import clock, progress
from saliencymixplus.runs.read import load_run
from saliencymixplus.settings import RunSettings, RuntimeSettings
from saliencymixplus.training.launch import check
from saliencymixplus.training.live import LiveCurves
from saliencymixplus.training.signals import Interrupted, watched_signals
from saliencymixplus.training.trainer import finished_summary, train
from saliencymixplus.training.worker_process import TrainingProcess

# Bytes that a process needs for its libraries, a small network and a batch.
_PROCESS_MEMORY = 1.5e9
_LONGEST_WAIT = 0.5  # longest time in seconds before a signal is noticed


@dataclass(frozen=True)
class Training:
    """The settings and folder of one of the runs."""

    run: RunSettings
    output: Path

    @property
    def name(self) -> str:
        """The recipe and the seed, for messages."""
        return f"{self.run.mix.name}, seed {self.run.seed}"


def train_all(
    trainings: Sequence[Training],
    prepared: Path,
    runtime: RuntimeSettings,
    jobs: int | None = None,
    live: Path | None = None,
) -> None:
    """Train each of ``trainings`` without a finished run of the same settings, data and code.

    If one fails, the others still run.

    Args:
        jobs: how many to train at once; None: ``default_jobs``.
        live: a CSV file for the errors so far, see ``LiveCurves``.

    Raises:
        UserError: some trainings failed; the message names the first. All others finished.
        Interrupted: SIGINT or SIGTERM; finished runs are kept and unfinished ones saved.
    """
    for training in trainings:
        check(training.run, runtime, training.output)
    pending = list(trainings)
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    if runtime.resume and alone:
        digest = load_prepared(prepared).meta.digest
        pending = [t for t in trainings if finished_summary(t.output, t.run, digest) is None]
    if kept := len(trainings) - len(pending):
        print(f"{kept} of {len(trainings)} runs are already finished", flush=True)
    # Longest first, so that the last ones end at about the same time.
    pending.sort(key=lambda t: not create(t.run.mix.method, **t.run.mix.options).needs_model)
    if pending and alone and jobs is None:
        jobs = default_jobs(pending[0].run, load_prepared(prepared).meta, runtime)
    curves = LiveCurves(live, [training.run for training in trainings])
    for training in trainings:
        if training not in pending:
            curves.add(training.run, load_run(training.output).history)
    jobs = min(jobs or 1, len(pending))
    if jobs > 1:
        failures = _Pool(pending, prepared, runtime, jobs, curves).run()
    else:
        failures = _one_by_one(pending, prepared, runtime, curves)
    if failures:
        name, reason = next(iter(failures.items()))
        raise UserError(
            f"{len(failures)} of {len(pending)} trainings failed, first {name}: {reason} "
            "(run the same command to train the unfinished ones)"
        )


def default_jobs(run: RunSettings, meta: Meta, runtime: RuntimeSettings) -> int:
    """How many trainings like ``run`` fit into the machine's cores and memory; 1 on a GPU."""
    device = choose_device(runtime.device)
    if device.type != "cpu":
        return 1
    size = augmentation_for(run.training, meta.image_size).output
    model = create_model(run.model.name, len(meta.classes), size, run.model.stem)
    threads = threads_for(training_flops(model, run.training.batch_size, size))
    return max(1, min(usable_cores() // threads, int(free_memory(device) / _PROCESS_MEMORY)))


def _one_by_one(
    trainings: Sequence[Training], prepared: Path, runtime: RuntimeSettings, curves: LiveCurves
) -> dict[str, str]:
    """Train in this process; returns failure reasons by training name."""
    failures = {}
    for number, training in enumerate(trainings, 1):
        print(f"{training.name} ({number} of {len(trainings)})", flush=True)
        try:
            train(training.run, prepared, training.output, runtime, [curves])
        except Interrupted:
            raise
        except (UserError, OSError) as error:
            failures[training.name] = reason_of(error)
            print(f"failed: {reason_of(error)}", flush=True)
    return failures


class _Pool:
    """Trains in ``jobs`` processes at once and shows their progress."""

    def __init__(
        self,
        trainings: Sequence[Training],
        prepared: Path,
        runtime: RuntimeSettings,
        jobs: int,
        curves: LiveCurves,
    ) -> None:
        self.trainings, self.prepared, self.runtime, self.jobs = trainings, prepared, runtime, jobs
        self.curves = curves
        self.queue = deque(trainings)
        self.busy: dict[Connection, tuple[TrainingProcess, Training]] = {}
        self.failures: dict[str, str] = {}
        self.ended = 0
        self._said: set[str] = set()

    def run(self) -> dict[str, str]:
        """Train everything; returns failure reasons by training name.

        Raises:
            Interrupted: SIGINT or SIGTERM; all processes have saved and ended.
        """
        epochs = sum(training.run.training.epochs for training in self.trainings)
        print(f"training {len(self.trainings)} runs, {self.jobs} at once", flush=True)
        try:
            with watched_signals() as signals, progress("training", epochs, unit="epochs") as told:
                for _ in range(self.jobs):
                    self._start(TrainingProcess(self.prepared, self.runtime))
                forwarded = False
                while self.busy:
                    if signals.received and not forwarded:
                        forwarded = True
                        for worker, _ in self.busy.values():
                            worker.stop()
                    for pipe in wait(list(self.busy), _LONGEST_WAIT):
                        if signals.received:  # Ctrl-C may have stopped the worker, too
                            self.queue.clear()
                        self._receive(pipe, told)  # type: ignore[arg-type]
        finally:
            for worker, _ in self.busy.values():
                worker.end()
        if signals.received:
            raise Interrupted(
                f"stopped by {signal.Signals(signals.received).name}; finished runs are kept, "
                "unfinished ones saved: the same command resumes from there",
                signals.received,
            )
        return self.failures

    def _start(self, worker: TrainingProcess) -> None:
        """Give the worker the next training, or tell it to end."""
        if not self.queue:
            worker.end()
            return
        training = self.queue.popleft()
        worker.give(training.run, training.output)
        self.busy[worker.pipe] = worker, training

    def _receive(self, pipe: Connection, advance: Callable[[int], None]) -> None:
        worker, training = self.busy[pipe]
        kind, content = worker.receive()
        if kind == "said":
            self._say(training, content)
        elif kind == "epoch":
            self.curves.add(training.run, [content])
            advance(1)
        else:
            self._end(training, kind, content)
            del self.busy[pipe]
            if kind == "died" and self.queue:
                worker = TrainingProcess(self.prepared, self.runtime)
            self._start(worker)

    def _say(self, training: Training, text: str) -> None:
        """Print a training's message unless another printed the same, e.g. on the data."""
        if text not in self._said:
            self._said.add(text)
            print(f"{training.name}: {text}", flush=True)

    def _end(self, training: Training, kind: str, content: Any) -> None:
        self.ended += 1
        if kind == "stopped":
            return
        what = str(content)
        if kind == "finished":
            error, seconds = content["last"]["top1_error"], content["seconds"]
            what = f"test error {error:.2f}%, {clock(seconds)}"
        else:
            self.failures[training.name] = what
            what = f"failed: {what}"
        print(f"{training.name}: {what} ({self.ended} of {len(self.trainings)})", flush=True)
