"""Opening a tracker for a new, a resumed or an already trained run."""

import time
import uuid
from pathlib import Path
from typing import Any

from saliencymixplus import workspace
from saliencymixplus.errors import UserError
from saliencymixplus.files import read_json, write_json
from saliencymixplus.runs.folder import TrackingFile, read_record
from saliencymixplus.settings import RunSettings
from saliencymixplus.tracking.base import NoneTracker, Tracker
from saliencymixplus.tracking.journal import Journal

_POINTER = "tracking.json"  # in the run's resume folder: which journal is its own


def open_tracker(
    kind: str,
    *,
    run: RunSettings,
    identity: str,
    data: dict[str, Any],
    state: Path,
    resume: bool,
) -> Tracker:
    """A tracker for a training.

    Args:
        kind: ``mlflow`` or ``none``.
        run: its settings; ``identity``: their digest.
        data: ``digest`` and ``name`` of the prepared data set, and whatever else describes it.
        state: the run's resume folder, ``state_root()/"runs"/<digest>``. As long as it exists the
            run can be resumed; when the trainer deletes it, the next training is a new run.
        resume: go on with the run of ``state``, if it has one. After that call ``rewind`` with the
            epoch of the checkpoint, then ``log_epoch`` for every epoch of the history so far (in
            case the crash came between checkpoint and log): known ones are left out.

    Raises:
        UserError: MLflow is not installed, ``MLFLOW_TRACKING_URI`` is no store, or
            ``SALIENCYMIXPLUS_TRACKING_TIMEOUT`` no number.
    """
    if kind == "none":
        return NoneTracker()
    if kind != "mlflow":
        raise UserError(f"no tracker is called {kind!r}: choose mlflow or none")
    from saliencymixplus.tracking import describe, mlflow_library, stores
    from saliencymixplus.tracking.journaled import JournaledTracker, usual_timeout
    from saliencymixplus.tracking.sync import sweep

    mlflow_library.require_mlflow()
    usual_timeout()  # what is wrong with it shows now, and not at the end of the training
    uri = stores.recorded_uri()
    sweep(journals_root())
    pointer = state / _POINTER
    attempt = read_json(pointer)["attempt"] if resume and pointer.exists() else None
    if attempt is None:
        attempt = f"{identity}-{uuid.uuid4().hex[:8]}"
        write_json(pointer, {"attempt": attempt})
    journal = Journal(journals_root() / attempt)
    if not journal.header:
        journal.set_header(
            attempt=attempt,
            uri=uri,
            experiment=run.experiment,
            run_name=describe.run_name(run),
            created=int(time.time() * 1000),
            state=str(state),
        )
    tracker = JournaledTracker(journal, ends_run=True)
    if not journal.records:
        settings = run.model_dump(mode="json")
        journal.append("params", describe.parameters(run))
        tracker.set_tags(describe.tags(run, identity))
        journal.append("dataset", describe.dataset(run, data))
        tracker.log_dict({"settings": settings, "digest": identity, "data": data}, "settings.json")
    elif any(record.kind == "status" for record in journal.records):
        journal.append("status", {"status": "RUNNING"})
    tracker.watch_system()
    return tracker


def reopen(run_dir: Path, kind: str = "mlflow") -> Tracker:
    """A tracker that adds to the run of a finished training, for its evaluation.

    Where MLflow is not installed it records nothing, and says so.

    Raises:
        UserError: ``run_dir`` holds no readable tracking.json.
    """
    reference = read_record(run_dir / _POINTER, TrackingFile)
    if kind == "none" or reference.tracker != "mlflow" or reference.attempt is None:
        return NoneTracker()
    journal = _added_journal(reference.attempt)
    if journal is None:
        return NoneTracker()
    from saliencymixplus.tracking.journaled import JournaledTracker

    journal.set_header(**reference.model_dump(exclude={"tracker"}))
    return JournaledTracker(journal, ends_run=False)


def open_report(experiment: str, kind: str = "mlflow") -> Tracker:
    """A tracker for what tells of an experiment as a whole: always the same run of its own.

    Where MLflow is not installed it records nothing, and says so.
    """
    attempt = f"report-{experiment}"
    journal = None if kind == "none" else _added_journal(attempt)
    if journal is None:
        return NoneTracker()
    from saliencymixplus.tracking import stores
    from saliencymixplus.tracking.journaled import JournaledTracker

    journal.set_header(
        attempt=attempt,
        uri=stores.recorded_uri(),
        experiment=experiment,
        run_name="report",
        created=int(time.time() * 1000),
    )
    return JournaledTracker(journal, ends_run=True)


def _added_journal(attempt: str) -> Journal | None:
    """A new journal for more records of a run; None, with a line, where MLflow is missing."""
    from saliencymixplus.tracking import mlflow_library
    from saliencymixplus.tracking.sender import say
    from saliencymixplus.tracking.sync import sweep

    try:
        mlflow_library.require_mlflow()
    except UserError as error:  # evaluations and reports are worth having without
        say(f"not recorded in MLflow: {error}")
        return None
    sweep(journals_root())
    return Journal(journals_root() / f"{attempt}-{uuid.uuid4().hex[:8]}")


def journals_root() -> Path:
    """The folder with the journals of all runs of this repository."""
    return workspace.state_root() / "tracking"
