"""Recording a training, an evaluation or a report."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from saliencymixplus.errors import UserError
from saliencymixplus.files import discard, sweep, write_json
from saliencymixplus.folders import whole_directory, writing
from saliencymixplus.runs.folder import SettingsOnly, TrackingFile, read_record, read_tracking
from saliencymixplus.settings import RunSettings
from saliencymixplus.tracking.base import Tracker
from saliencymixplus.tracking.record import (
    ARTIFACTS,
    CARD,
    RESULTS,
    closed,
    comparison_card,
    ended,
    keep,
    keep_run,
    now,
    read_card,
    set_aside,
    unsent_root,
    write_card,
)
from saliencymixplus.tracking.redact import say


def open_tracker(
    kind: str, *, run: RunSettings, identity: str, data: dict[str, Any], folder: Path
) -> Tracker:
    """A tracker for a training.

    Args:
        kind: ``mlflow`` or ``none``.
        run: The settings; ``identity`` is their digest.
        data: ``digest`` and ``name`` of the prepared data set, and whatever else describes it.
        folder: The run's state folder. If it has a tracking.json, the training is resumed: its
            history.csv must be cut back to the checkpoint before this call.

    Raises:
        UserError: MLflow is not installed, ``MLFLOW_TRACKING_URI`` does not name a store, or
            ``SALIENCYMIXPLUS_TRACKING_TIMEOUT`` is not a number.
    """
    if kind == "none":
        return Tracker()
    if kind != "mlflow":
        raise UserError(f"no tracker is called {kind!r}: choose mlflow or none")
    from saliencymixplus.tracking import describe, mlflow_library, stores, sync
    from saliencymixplus.tracking.changes import changed_settings
    from saliencymixplus.tracking.system import SystemSampler
    from saliencymixplus.tracking.tracker import MLflowTracker, usual_timeout
    from saliencymixplus.tracking.worker import Worker

    mlflow_library.require_mlflow()
    usual_timeout()  # a wrong one is reported now, not at the end of the training
    address = stores.configured()
    card = _resumed(folder)
    if card is None:
        changes = changed_settings(run)
        card = TrackingFile(
            attempt=f"{identity}-{uuid.uuid4().hex[:8]}",
            store=address.name,
            experiment=run.experiment,
            run_name=describe.run_name(run, changes),
            created=now(),
            params=describe.parameters(run, changes),
            tags=describe.tags(run, identity),
            dataset=describe.dataset(run, data),
        )
        keep(folder / "settings.json", folder / ARTIFACTS / "settings.json")
    elif card.store != address.name:
        say(f"this run was recorded in {card.store} so far; from now on in {address}, as a whole")
    card = card.model_copy(update={"store": address.name, "status": "RUNNING", "ended": None})
    write_card(folder, card)
    worker = Worker(
        folder, card, address, afterwards=lambda store: sync.send_all(store, lambda _: None)
    )
    return MLflowTracker(worker, address, SystemSampler(folder, worker.update, say))


def retire(folder: Path) -> None:
    """Move the record out of a state folder that is about to be emptied, for ``sync`` to end it.

    Raises:
        UserError: it cannot be moved; emptying the folder would lose it.
    """
    try:
        card = read_card(folder)
    except UserError:  # no record, or a damaged one
        return
    target = unsent_root() / card.attempt
    with writing(target):
        end = closed(card, folder)
        target.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.name not in ("lock", CARD) and not path.name.endswith((".pt", ".part")):
                path.replace(target / path.name)
        write_card(target, end)  # last: with it, the folder is a record that `sync` may send
        (folder / CARD).unlink()


def record_evaluation(
    run_dir: Path, output: Path, metrics: Mapping[str, float], kind: str = "mlflow"
) -> None:
    """Add an evaluation to the MLflow run of a finished training: its metrics, and its files.

    A store that does not have that run, as in a clone that pulled it by DVC, gets it as a whole.
    Without MLflow, or if the run belongs to another store, one line says so.
    """
    if kind == "none":
        return

    def fill(record: Path) -> None:
        from saliencymixplus.tracking.describe import result_name

        keep_run(run_dir, record)
        for path in sorted(path for path in output.iterdir() if path.is_file()):
            keep(path, record / ARTIFACTS / "evaluation" / path.name)
        values = {result_name(name): float(value) for name, value in metrics.items()}
        write_json(record / RESULTS, {"time_ms": now(), "values": values})

    _record(lambda: _published(run_dir), fill)


def record_report(experiment: str, files: Iterable[Path], kind: str = "mlflow") -> str | None:
    """Put the report of an experiment into its comparison run; returns how to open it.

    A comparison.md among ``files`` becomes the run's description.
    """
    if kind == "none":
        return None

    def fill(record: Path) -> None:
        for path in files:
            keep(path, record / ARTIFACTS / path.name)

    return _record(lambda: comparison_card(experiment, now()), fill)


def _record(find: Callable[[], TrackingFile | None], fill: Callable[[Path], None]) -> str | None:
    """Write a record below ``unsent/``, so that nothing can lose it, and send it."""
    from saliencymixplus.tracking import mlflow_library, stores

    try:
        card = find()
        if card is None:
            return None
        mlflow_library.require_mlflow()
        address = stores.configured()
        if card.store not in ("", address.name):
            raise UserError(
                f"the run was recorded in {card.store}, which is not the configured store: set "
                "MLFLOW_TRACKING_URI to record there"
            )
        card = card.model_copy(update={"store": address.name})
        folder = unsent_root() / f"{card.attempt}-{uuid.uuid4().hex[:8]}"
        with writing(unsent_root()):
            unsent_root().mkdir(parents=True, exist_ok=True)
            sweep(unsent_root() / "*", "part")
        with whole_directory(folder) as part:
            fill(part)
            write_card(part, card)
    except UserError as error:  # evaluations and reports are worth having without
        say(f"not recorded in MLflow: {error}")
        return None
    from saliencymixplus.tracking.tracker import MLflowTracker
    from saliencymixplus.tracking.worker import Worker

    tracker = MLflowTracker(Worker(folder, card, address), address)
    if tracker.finish("FINISHED"):
        discard(folder)
    return tracker.url_hint


def _resumed(folder: Path) -> TrackingFile | None:
    """The card of an unfinished training; a damaged one is set aside."""
    if not (folder / CARD).exists():
        return None
    try:
        return read_card(folder)
    except UserError as error:
        say(f"{error}; it is set aside, and the training is recorded as a new run")
        set_aside(folder)
        return None


def _published(run_dir: Path) -> TrackingFile | None:
    """The card of a finished run folder, which may come from somebody else; None: not recorded.

    Raises:
        UserError: it is damaged.
    """
    card = read_tracking(run_dir)
    if card is None:
        return None
    if not card.params:  # written by version 0.1.0
        from saliencymixplus.tracking import describe

        run = read_record(run_dir / "settings.json", SettingsOnly).settings
        card = card.model_copy(update={"params": describe.parameters(run, {})})
    return ended(card, "FINISHED", card.ended)
