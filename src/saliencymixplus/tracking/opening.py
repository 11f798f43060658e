"""Open the record of a training, or move it aside."""

import uuid
from pathlib import Path
from typing import Any

from saliencymixplus.errors import UserError
from saliencymixplus.outputs import writing
from saliencymixplus.runs.folder import TrackingFile
from saliencymixplus.settings import RunSettings
from saliencymixplus.tracking import mlflow_library, record
from saliencymixplus.tracking.base import Kind, Tracker
from saliencymixplus.tracking.redact import say


def open_tracker(
    kind: Kind, *, run: RunSettings, identity: str, data: dict[str, Any], folder: Path
) -> Tracker:
    """Open a tracker for a training.

    Args:
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
