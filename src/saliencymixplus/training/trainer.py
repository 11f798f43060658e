"""The training loop: epochs of steps, what is recorded of them, and an end in every case."""

import os
from pathlib import Path
from typing import Any

import torch

from saliencymixplus.datasets.prepared import Prepared, load_prepared
from saliencymixplus.engine.build import Assembly, assemble
from saliencymixplus.engine.device import choose_device, device_settings
from saliencymixplus.engine.distributed import Processes, local_device, processes
from saliencymixplus.engine.loop import Loop
from saliencymixplus.engine.state import Progressed, unpack
from saliencymixplus.errors import UserError
from saliencymixplus.runs.checkpoint import (
    CheckpointStore,
    locked_state,
    read_checkpoint,
    remove_state,
)
from saliencymixplus.runs.history import write_history
from saliencymixplus.runs.write import publish, write_settings
from saliencymixplus.settings import RunSettings, RuntimeSettings, settings_digest
from saliencymixplus.tracking import NoneTracker, Status, Tracker, open_tracker
from saliencymixplus.training.progress import Silent, create_progress
from saliencymixplus.training.signals import Interrupted, Signals, watched_signals
from saliencymixplus.workspace import checkout_root, repository_root, state_root


def train(
    run: RunSettings, prepared: Path, output: Path, runtime: RuntimeSettings
) -> dict[str, Any]:
    """Train as ``run`` says and write the run's folder ``output``; returns its summary.

    An unfinished training of the same settings, data and code is gone on with
    (``runtime.resume``), to the same result as if it had not been interrupted.

    Raises:
        UserError: settings that don't fit the data or the device, a loss that is not finite, too
            little memory or disk, or another process at the same run.
        Interrupted: SIGINT or SIGTERM came; what was done is saved.
    """
    device = local_device(choose_device(runtime.device))
    data = load_prepared(prepared)
    digest = settings_digest(run, data.meta.digest)
    with (
        processes(device) as group,
        device_settings(device, deterministic=runtime.deterministic),
        watched_signals() as signals,
    ):
        progress = create_progress(runtime.progress if group.first else "none", run.training.epochs)
        training = _Training(run, data, output, runtime, device, group, signals, progress, digest)
        try:
            if not group.first:
                return training.follow()
            with locked_state(state_folder(digest), keep=runtime.resume) as folder:
                return training.lead(folder)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            size = run.training.batch_size
            fitting = 1 << (size - 1).bit_length() - 1
            smaller = f"training.batch_size {fitting}" if fitting >= 2 * group.world else ""
            raise UserError(
                f"out of memory on {device} with batch size {size}: "
                f"try {smaller or 'a smaller network or smaller images'}"
            ) from error
        finally:
            progress.close()


def state_folder(digest: str) -> Path:
    """The state folder of the run with this digest: all that is known of an unfinished training.

    It holds settings.json (from before the first step), history.csv (a row per epoch with the
    time at which it ended, ``time_ms``; written before the tracker and the checkpoint know of the
    epoch, and cut back to the checkpoint before the tracker starts), samples/*.png, the
    checkpoints, and what tracking keeps there. It goes when the run is published.

    Experiments of a DVC queue train apart, even where their settings are the same.
    """
    experiment = os.environ.get("DVC_EXP_NAME", "")
    if experiment and checkout_root() != repository_root():
        digest = f"{digest}-{experiment}"
    return state_root() / "runs" / digest


def _is_out_of_memory(error: Exception) -> bool:
    """Also where torch has no class for it: a CPU's memory, a driver's, a library's."""
    told = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
    named = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return named or any(words in str(error) for words in told)


class _Training:
    def __init__(
        self,
        run: RunSettings,
        data: Prepared,
        output: Path,
        runtime: RuntimeSettings,
        device: torch.device,
        group: Processes,
        signals: Signals,
        progress: Silent,
        digest: str,
    ) -> None:
        self.run, self.data, self.output, self.runtime = run, data, output, runtime
        self.device, self.group, self.signals = device, group, signals
        self.progress, self.digest = progress, digest

    def lead(self, folder: Path) -> dict[str, Any]:
        """Rank 0: trains, tracks, saves and publishes."""
        store = CheckpointStore(folder)
        parts = self._assemble()
        saved = store.load(self.progress.say)
        progressed = self._take_up(saved, parts, folder)
        meta = self.data.meta
        write_settings(folder / "settings.json", self.run, meta, self.digest, self.device)
        # Of epochs after the checkpoint nothing is kept: they are trained again.
        write_history(folder / "history.csv", progressed.history, times=True)
        described = {"digest": meta.digest, "name": meta.name, "counts": meta.counts}
        tracker = open_tracker(
            self.runtime.tracker,
            run=self.run,
            identity=self.digest,
            data=described,
            state=folder,
            resume=self.runtime.resume,
        )
        status: Status = "FAILED"
        try:
            if saved:
                self._say_resumed(progressed)
            tracker.rewind(progressed.epoch)
            loop = self._loop(parts, progressed, tracker, store, folder)
            for row in progressed.history:
                loop.record(row)
            loop.fit()
            summary = publish(
                self.output,
                self.run,
                meta,
                self.digest,
                parts,
                progressed,
                folder,
                tracker.reference,
            )
            self._hand_over(tracker, parts)
            status = "FINISHED"
        except (Interrupted, KeyboardInterrupt):
            status = "KILLED"
            raise
        finally:
            self.progress.close()
            tracker.finish(status)
        remove_state(folder)
        if tracker.url_hint:
            self.progress.say(f"see it: {tracker.url_hint}")
        return summary

    def follow(self) -> dict[str, Any]:
        """The other ranks: train, and write nothing."""
        parts = self._assemble()
        progressed = self._take_up(None, parts, Path())
        self._loop(parts, progressed, NoneTracker(), None, Path()).fit()
        return {}

    def _assemble(self) -> Assembly:
        say = self.progress.say
        return assemble(self.run, self.data, self.runtime, self.device, self.group, say)

    def _take_up(self, saved: bytes | None, parts: Assembly, folder: Path) -> Progressed:
        """The state of ``saved`` on every process, or a fresh one."""
        shared = self.group.share(saved)
        if not shared:
            return Progressed()
        progressed = unpack(read_checkpoint(shared), parts, self.digest, folder)
        if not self.group.first and progressed.totals is not None:
            progressed.totals.zero_()  # they are sums over all processes: rank 0 goes on with them
        return progressed

    def _loop(
        self,
        parts: Assembly,
        progressed: Progressed,
        tracker: Tracker,
        store: CheckpointStore | None,
        folder: Path,
    ) -> Loop:
        return Loop(
            run=self.run,
            meta=self.data.meta,
            digest=self.digest,
            parts=parts,
            progressed=progressed,
            tracker=tracker,
            progress=self.progress,
            group=self.group,
            signals=self.signals,
            store=store,
            folder=folder,
        )

    def _say_resumed(self, progressed: Progressed) -> None:
        step = f", step {progressed.step}" if progressed.step else ""
        self.progress.say(
            f"resumed after epoch {progressed.epoch}{step} of {self.run.training.epochs} "
            "(--no-resume starts over)"
        )

    def _hand_over(self, tracker: Tracker, parts: Assembly) -> None:
        """Give the tracker the published files and the model."""
        for name in ("settings.json", "history.csv", "summary.json"):
            tracker.log_file(self.output / name, None)
        for path in sorted((self.output / "weights").iterdir()):
            tracker.log_file(path, "weights")
        count = min(8, self.data.meta.counts["test"])
        source = parts.sources["test"]
        (inputs,) = source.inputs([torch.arange(count)])
        example = source.assemble(inputs).images.float().cpu().contiguous().numpy()
        if len(example) >= 2:
            tracker.log_model(parts.evaluated, example)
