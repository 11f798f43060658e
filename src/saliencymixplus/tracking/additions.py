"""Add an evaluation or a report to MLflow."""

import math
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from saliencymixplus.errors import UserError
from saliencymixplus.files import discard, sweep, write_json
from saliencymixplus.folders import whole_directory
from saliencymixplus.outputs import writing
from saliencymixplus.runs.folder import SettingsOnly, TrackingFile, read_record, read_tracking
from saliencymixplus.tracking import mlflow_library, record
from saliencymixplus.tracking.base import Kind
from saliencymixplus.tracking.redact import brief, say

if TYPE_CHECKING:
    from saliencymixplus.tracking.stores import Address

# Seconds for which a store that failed is not tried again: a server that hangs would otherwise
# delay each of many evaluations.
_PAUSE = 300.0
_failed: dict["Address", float] = {}  # time of the last failure, by ``time.monotonic``


def record_evaluation(
    run_dir: Path, output: Path, metrics: Mapping[str, float], kind: Kind = "mlflow"
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


def unrecorded_evaluations(
    evaluations: Mapping[Path, Mapping[str, float]], kind: Kind = "mlflow"
) -> list[Path]:
    """The run folders whose evaluation metrics are not in MLflow, such as after ``--tracker none``.

    Left out are runs that were never recorded, belong to another store or were deleted there. If
    the store cannot be reached, one line says so and the list is empty.

    Args:
        evaluations: run folders to the metrics of their evaluations.
    """
    if kind == "none" or not evaluations:
        return []
    from saliencymixplus.tracking import stores
    from saliencymixplus.tracking.describe import result_name
    from saliencymixplus.tracking.tracker import usual_timeout

    try:
        cards = {run_dir: _published(run_dir) for run_dir in evaluations}
        mlflow_library.require_mlflow()
        address, limit = stores.configured(), usual_timeout()
    except UserError as error:
        say(f"not recorded in MLflow: {error}")
        return []
    from saliencymixplus.tracking.mlflow_store import RunDeletedError, Store

    missing, end = [], time.monotonic() + limit
    try:
        store = Store(address)
        for run_dir, card in cards.items():
            if time.monotonic() > end:
                raise TimeoutError(f"no answer about all runs within {limit:g} s")
            if card is None or card.store not in ("", address.name):
                continue
            try:
                run = store.find_run(card)
            except RunDeletedError:
                continue
            known = run.data.metrics if run else {}
            wanted = evaluations[run_dir]
            if any(known.get(result_name(name)) != value for name, value in wanted.items()):
                missing.append(run_dir)
    except Exception as error:  # servers, networks and disks can raise anything
        _failed[address] = time.monotonic()
        say(
            f"MLflow ({address}): {brief(error)}: repeat evaluate-all later to add current "
            "evaluations; `python cli.py sync` sends new ones"
        )
        return []
    return missing


def record_report(experiment: str, files: Iterable[Path], kind: Kind = "mlflow") -> str | None:
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
    """Write a record below ``unsent/``, so that it cannot be lost, and send it.

    It stays there for ``sync`` if the store fails, or failed less than ``_PAUSE`` seconds ago.
    """
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

    if time.monotonic() - _failed.get(address, -math.inf) < _PAUSE:
        return None  # the first failure named `sync`, which sends this record too
    tracker = MLflowTracker(Worker(folder, card, address))
    if tracker.finish("FINISHED"):
        discard(folder)
    else:
        _failed[address] = time.monotonic()
    return tracker.url_hint


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
