"""Send pending records, and end the runs of killed processes."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from saliencymixplus import workspace
from saliencymixplus.errors import UserError
from saliencymixplus.files import discard, sweep
from saliencymixplus.locks import BusyError, locked
from saliencymixplus.tracking import record
from saliencymixplus.tracking.redact import brief

if TYPE_CHECKING:
    from saliencymixplus.tracking.mlflow_store import Store


def sync(report: Callable[[str], None] = print) -> None:
    """Send every record that no running process is sending itself.

    Raises:
        UserError: some could not be sent, or MLflow is not installed.
    """
    from saliencymixplus.tracking import mlflow_library, stores

    records = _records()
    if not records:
        report("nothing to send")
        return
    mlflow_library.require_mlflow()
    from saliencymixplus.tracking.mlflow_store import Store

    address = stores.configured()
    try:
        store = Store(address)
    except Exception as error:  # servers, networks and disks can raise anything
        failures = [f"MLflow ({address}): {brief(error)}"] * len(records)
    else:
        failures = send_all(store, report)
    if failures:
        some = "1 run was not sent" if len(failures) == 1 else f"{len(failures)} runs were not sent"
        raise UserError(f"{some}: {failures[0]}")


def send_all(store: "Store", report: Callable[[str], None]) -> list[str]:
    """Send every record that no other process has locked; returns the failures, a line each."""
    failures = []
    for folder in _records():
        try:
            with locked(folder / record.LOCK, "a running process is sending these records"):
                _send(folder, store, report)
        except BusyError:
            report(f"{folder.name}: a running process sends its own records")
        except Exception as error:  # servers, networks and disks can raise anything
            if not record.is_recorded(folder):  # its own process has since sent and removed it
                continue
            failures.append(f"MLflow ({store.address}): {brief(error)}")
    return failures


def _send(folder: Path, store: "Store", report: Callable[[str], None]) -> None:
    """Send a locked record. A damaged one must not stop the others."""
    if not (folder / record.CARD).is_file():  # another process has since sent and removed it
        if [path.name for path in folder.iterdir()] == [record.LOCK]:  # recreated by our lock
            discard(folder)
        return
    from saliencymixplus.tracking import stores
    from saliencymixplus.tracking.mlflow_store import RunDeletedError
    from saliencymixplus.tracking.projection import Projection

    try:
        card = record.read_card(folder)
        name = f"{card.experiment} · {card.run_name}"
        if card.store != store.address.name:
            where, how = stores.readable(card.store), stores.choosing(card.store)
            report(f"{name}: belongs to {where}; {how} to send it there")
            return
        # A running process would hold the lock.
        if sent := Projection(folder, store, report).send(record.closed(card, folder)):
            report(f"{name}: {sent} metrics and files sent")
    except RunDeletedError:
        report(f"{name}: its MLflow run was deleted, so its records are dropped")
    except UserError as error:
        record.set_aside(folder)
        report(f"{error}; set aside as {record.CARD}.damaged")
        return
    if folder.parent == record.unsent_root():  # a state folder is needed to resume the run
        discard(folder)


def _records() -> list[Path]:
    """The records, oldest first: unsent ones and state folders of unfinished runs."""
    roots = (record.unsent_root(), workspace.state_root() / "runs")
    for root in roots:
        with suppress(OSError):  # left by a killed process or a failing disk
            sweep(root / "*", "old")
    # Folders being written or removed have names with a leading dot.
    found: list[tuple[float, Path]] = []
    for card in (card for root in roots for card in root.glob(f"[!.]*/{record.CARD}")):
        with suppress(FileNotFoundError):  # its own process has just removed it
            found.append((card.stat().st_mtime, card.parent))
    return [folder for _, folder in sorted(found)]
