"""Run one training: start or resume, train, publish, and end cleanly in every case."""

import os
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.engine import train as engine
from saliencymixplus.engine.build import assemble
from saliencymixplus.engine.context import Hook, TrainingContext
from saliencymixplus.engine.device import choose_device, device_settings, fresh_compiler
from saliencymixplus.engine.digest import code_digest
from saliencymixplus.engine.distributed import local_device, processes
from saliencymixplus.engine.state import unpack
from saliencymixplus.errors import UserError
from saliencymixplus.files import discard
from saliencymixplus.folders import ReservedFolder, reserved
from saliencymixplus.outputs import Output, writing
from saliencymixplus.progress import TrainingProgress, training_progress
from saliencymixplus.runs.checkpoint import CheckpointStore, locked_state, read_checkpoint
from saliencymixplus.runs.history import write_history
from saliencymixplus.runs.read import load_run
from saliencymixplus.runs.write import write_run, write_settings
from saliencymixplus.settings import RunSettings, RuntimeSettings, settings_digest
from saliencymixplus.tracking import Status, is_recorded, open_tracker, retire
from saliencymixplus.training.failures import memory_errors, naming_checkpoint
from saliencymixplus.training.hooks import Checkpoints, Display, Recorder, StopOnSignal
from saliencymixplus.training.signals import Interrupted, Signals, watched_signals
from saliencymixplus.workspace import checkout_root, repository_root, state_root

RUN_OUTPUT = Output(
    # DVC removes its own outputs from a run's folder, but not a manual evaluation.
    marks={"settings.json": '"experiment"', "evaluation/evaluation.json": '"run"'},
    files=(
        *("settings.json", "history.csv", "summary.json", "tracking.json", "samples/epoch_*.png"),
        *("weights/*.safetensors", "weights/*.json"),
        *(f"evaluation/*.{ending}" for ending in ("json", "csv", "npz")),
    ),
)


def train(
    run: RunSettings,
    prepared: Path,
    output: Path,
    runtime: RuntimeSettings,
    hooks: Sequence[Hook] = (),
    display: TrainingProgress | None = None,
) -> dict[str, Any]:
    """Train with the settings ``run`` and write the run folder ``output``; returns its summary.

    If ``runtime.resume`` is set, resumes an unfinished run with the same settings, data and code;
    the result is the same as without interruption. Ranks other than 0 return an empty summary.

    Args:
        hooks: called around steps and epochs, before the built-in hooks, in every process.
        display: shows progress; None: as set by ``runtime.progress``.

    Raises:
        UserError: settings that do not fit the data or device, a non-finite loss, too little
            memory or disk space, or another process is training the same run.
        Interrupted: SIGINT or SIGTERM; progress is saved.
    """
    device = local_device(choose_device(runtime.device))
    data, epochs = load_prepared(prepared), run.training.epochs
    with (
        processes(device) as group,
        device_settings(device, deterministic=runtime.deterministic),
        fresh_compiler(runtime.compile),
        watched_signals() as signals,
        closing(
            display or training_progress(runtime.progress if group.first else "none", epochs)
        ) as progress,
        memory_errors(run, device, group),
    ):
        digest = settings_digest(run, data.meta.digest)
        finished = None
        if group.first and runtime.resume:
            finished = finished_summary(output, run, data.meta.digest)
        if group.broadcast(b"finished" if finished else None):
            if finished:
                print(
                    f"already finished: {output / 'summary.json'} has the result of these settings "
                    "and data; --no-resume trains again",
                    flush=True,
                )
            return finished or {}
        with ExitStack() as held:
            if group.first:
                state = state_folder(digest)
                locked = locked_state(state, keep=runtime.resume, before_emptying=retire)
                folder = held.enter_context(locked)
                place = held.enter_context(reserved(output, RUN_OUTPUT))
            parts = assemble(run, data, runtime, device, group, progress.say)
            context = TrainingContext(run, data.meta, digest, device, group, parts)
            if group.first:
                return _lead(context, folder, place, runtime, signals, progress, hooks)
            return _follow(context, signals, hooks)


def state_folder(digest: str) -> Path:
    """The state folder of the unfinished run with this digest.

    It contains settings.json (written before the first step), history.csv (one row per epoch with
    its end time, ``time_ms``; written before the tracker and the checkpoint, and truncated to the
    checkpoint before the tracker starts), samples/*.png, the checkpoints, and tracking's files. It
    is removed when the run is published.

    Experiments in a DVC queue have separate state folders, even with the same settings.
    """
    experiment = os.environ.get("DVC_EXP_NAME", "")
    if experiment and checkout_root() != repository_root():
        digest = f"{digest}-{experiment}"
    return state_root() / "runs" / digest


def finished_summary(output: Path, run: RunSettings, data_digest: str) -> dict[str, Any] | None:
    """The summary of ``output`` if it has this run, finished and with nothing left to record.

    "This run" means the same settings, data and code. A state folder left by a killed process is
    removed, unless MLflow still lacks the run's end: training then resumes from the last
    checkpoint, which records it.
    """
    digest = settings_digest(run, data_digest)
    state = state_folder(digest)
    if is_recorded(state) or not (output / "settings.json").is_file():
        return None
    try:
        found = load_run(output)
    except UserError:  # damaged: train again
        return None
    code = code_digest(*run.mix.methods)
    if (found.digest, found.code) != (digest, code) or "last" not in found.weights:
        return None
    if state.exists():
        with locked_state(state, keep=True):
            discard(state)
    return found.summary.model_dump(exclude_none=True)


def _lead(
    context: TrainingContext,
    folder: Path,
    place: ReservedFolder,
    runtime: RuntimeSettings,
    signals: Signals,
    progress: TrainingProgress,
    hooks: Sequence[Hook],
) -> dict[str, Any]:
    """Rank 0: train, track, save and publish."""
    store = CheckpointStore(folder)
    saved = store.load(progress.say)
    _resume(context, saved, folder)
    run, meta, state = context.run, context.meta, context.state
    write_settings(folder / "settings.json", context)
    write_history(folder / "history.csv", state.history, times=True)
    tracker = open_tracker(
        runtime.tracker,
        run=run,
        identity=context.digest,
        data={"digest": meta.digest, "name": meta.name, "counts": meta.counts},
        folder=folder,
    )
    status: Status = "FAILED"
    try:
        if saved:
            within = f" and {state.step} steps of the next" if state.step else ""
            progress.say(
                f"resumed after epoch {state.epoch} of {run.training.epochs}{within} "
                "(--no-resume starts over)"
            )
        checkpoints = Checkpoints(store)
        ours = [
            StopOnSignal(signals, checkpoints),
            Display(progress),
            Recorder(folder, tracker),
            checkpoints,
        ]
        with naming_checkpoint(store):
            engine.train_epochs(context, [*hooks, *ours])
        with writing(place.path):
            summary = write_run(place.part, context, folder, tracker.reference)
        place.publish()
        tracker.publish(place.path)
        tracker.log_models(place.path)
        status = "FINISHED"
    except (Interrupted, KeyboardInterrupt):
        status = "KILLED"
        raise
    finally:
        progress.close()
        sent = tracker.finish(status)
    if sent:
        discard(folder)
    if tracker.url_hint:
        progress.say(f"MLflow: {tracker.url_hint}")
    return summary


def _follow(context: TrainingContext, signals: Signals, hooks: Sequence[Hook]) -> dict[str, Any]:
    """Other ranks: train without writing anything."""
    _resume(context, None, Path())
    engine.train_epochs(context, [*hooks, StopOnSignal(signals, None)])
    return {}


def _resume(context: TrainingContext, saved: bytes | None, folder: Path) -> None:
    """Load rank 0's checkpoint, if any, into the context of every rank."""
    shared = context.processes.broadcast(saved)
    if not shared:
        return
    unpack(read_checkpoint(shared), context, folder)
    sums = context.state.sums
    if sums is not None and not context.processes.first:
        sums.zero_()  # the saved sums are over all processes; rank 0 continues them
