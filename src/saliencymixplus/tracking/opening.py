"""Record a training, an evaluation or a report."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from saliencymixplus.errors import UserError
from saliencymixplus.files import discard, sweep, write_json
from saliencymixplus.folders import whole_directory
from saliencymixplus.outputs import writing
from saliencymixplus.runs.folder import SettingsOnly, TrackingFile, read_record, read_tracking
from saliencymixplus.settings import RunSettings
from saliencymixplus.tracking import mlflow_library, record
from saliencymixplus.tracking.base import Tracker
from saliencymixplus.tracking.redact import say


def open_tracker(
    kind: str, *, run: RunSettings, identity: str, data: dict[str, Any], folder: Path
) -> Tracker:
    """Open a tracker for a training.

    Args:
        kind: ``mlflow`` or ``none``.
        identity: the digest of the settings.
        data: ``digest`` and ``name`` of the prepared data set, and anything else to record of it.
        folder: the run's state folder. If it has a tracking.json, recording resumes; history.csv
            must have been truncated to the checkpoint before this call.

    Raises:
        UserError: MLflow is not installed, ``MLFLOW_TRACKING_URI`` does not name a store, or
            ``SALIENCYMIXPLUS_TRACKING_TIMEOUT`` is not a number.
    """
    if kind == "none":
        return Tracker()
    if kind != "mlflow":
        raise UserError(f"unknown tracker {kind!r}: choose mlflow or none")
    mlflow_library.require_mlflow()
    from saliencymixplus.tracking import describe, stores, sync
    from saliencymixplus.tracking.system import SystemSampler
    from saliencymixplus.tracking.tracker import MLflowTracker, usual_timeout
    from saliencymixplus.tracking.worker import Worker

    usual_timeout()  # report an invalid value now rather than at the end of the training
    address = stores.configured()
    card = _resumed(folder)
    if card is None:
        changes = describe.changed_settings(run)
        card = TrackingFile(
            attempt=f"{identity}-{uuid.uuid4().hex[:8]}",
            store=address.name,
            experiment=run.experiment,
            run_name=describe.run_name(run, changes, identity),
            created=record.now(),
            params=describe.parameters(run, changes or {}),
            tags=describe.tags(run, identity),
            dataset=describe.dataset(run, data),
        )
        record.add_file(folder / "settings.json", folder / record.ARTIFACTS / "settings.json")
    elif card.store != address.name:
        before = stores.readable(card.store)
        say(f"this run was recorded in {before} so far; all of it is now recorded in {address}")
    card = card.model_copy(update={"store": address.name, "status": "RUNNING", "ended": None})
    record.write_card(folder, card)
    worker = Worker(
        folder, card, address, afterwards=lambda store: sync.send_all(store, lambda _: None)
    )
    return MLflowTracker(worker, SystemSampler(folder, worker.update, say))


def retire(folder: Path) -> None:
    """Move the record out of a state folder that is about to be emptied; ``sync`` will end it.

    Raises:
        UserError: the record cannot be moved and would be lost with the folder.
    """
    try:
        card = record.read_card(folder)
    except UserError:  # no record, or a damaged one
        return
    target = record.unsent_root() / card.attempt
    with writing(target):
        end = record.closed(card, folder)
        target.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.name not in ("lock", record.CARD) and not path.name.endswith((".pt", ".part")):
                path.replace(target / path.name)
        record.write_card(target, end)  # last: with it, the folder is a record that `sync` may send
        (folder / record.CARD).unlink()


def record_evaluation(
    run_dir: Path, output: Path, metrics: Mapping[str, float], kind: str = "mlflow"
) -> None:
    """Add an evaluation's metrics and files to the MLflow run of its training.

    If the store does not have that run, as in a clone that pulled it with DVC, the whole run is
    recorded. If MLflow is missing or the run belongs to another store, one line says so.
    """
    if kind == "none":
        return

    def fill(folder: Path) -> None:
        from saliencymixplus.tracking.describe import result_name

        record.add_run(run_dir, folder)
        for path in sorted(path for path in output.iterdir() if path.is_file()):
            record.add_file(path, folder / record.ARTIFACTS / "evaluation" / path.name)
        values = {result_name(name): float(value) for name, value in metrics.items()}
        write_json(folder / record.RESULTS, {"time_ms": record.now(), "values": values})

    _record(lambda: _published(run_dir), fill)


def record_report(experiment: str, files: Iterable[Path], kind: str = "mlflow") -> str | None:
    """Add an experiment's report to its comparison run; returns how to open that run.

    If ``files`` include a comparison.md, it becomes the run's description.
    """
    if kind == "none":
        return None

    def fill(folder: Path) -> None:
        for path in files:
            record.add_file(path, folder / record.ARTIFACTS / path.name)

    return _record(lambda: record.comparison_card(experiment, record.now()), fill)


def _record(find: Callable[[], TrackingFile | None], fill: Callable[[Path], None]) -> str | None:
    """Write a record below ``unsent/``, so that it cannot be lost, and send it."""
    from saliencymixplus.tracking import stores

    try:
        card = find()
        if card is None:
            return None
        mlflow_library.require_mlflow()
        address = stores.configured()
        if card.store not in ("", address.name):
            raise UserError(
                f"the run was recorded in {stores.readable(card.store)}, which is not the "
                f"configured store: {stores.choosing(card.store)} to record there"
            )
        card = card.model_copy(update={"store": address.name})
        folder = record.unsent_root() / f"{card.attempt}-{uuid.uuid4().hex[:8]}"
        with writing(record.unsent_root()):
            record.unsent_root().mkdir(parents=True, exist_ok=True)
            sweep(record.unsent_root() / "*", "part")
        with whole_directory(folder) as part:
            fill(part)
            record.write_card(part, card)
    except UserError as error:  # evaluations and reports are useful even if not recorded
        say(f"not recorded in MLflow: {error}")
        return None
    from saliencymixplus.tracking.tracker import MLflowTracker
    from saliencymixplus.tracking.worker import Worker

    tracker = MLflowTracker(Worker(folder, card, address))
    if tracker.finish("FINISHED"):
        discard(folder)
    return tracker.url_hint


def _resumed(folder: Path) -> TrackingFile | None:
    """The card of an unfinished training; a damaged one is set aside."""
    if not (folder / record.CARD).exists():
        return None
    try:
        return record.read_card(folder)
    except UserError as error:
        say(f"{error}; it was set aside, and the training is recorded as a new run")
        record.set_aside(folder)
        return None


def _published(run_dir: Path) -> TrackingFile | None:
    """The card of a finished run folder, possibly made elsewhere; None if it was not recorded."""
    card = read_tracking(run_dir)
    if card is None:
        return None
    if not card.params:  # written by version 0.1.0
        from saliencymixplus.tracking import describe

        run = read_record(run_dir / "settings.json", SettingsOnly).settings
        card = card.model_copy(update={"params": describe.parameters(run, {})})
    return record.ended(card, "FINISHED", card.ended)
