"""Sending what still waits on disk, and clearing away what no longer does."""

from collections.abc import Callable
from pathlib import Path

from saliencymixplus.errors import UserError
from saliencymixplus.tracking.journal import Journal, JournalInUse


def sync(state_root: Path, report: Callable[[str], None] = print) -> int:
    """Send every waiting record of every run below ``state_root``; returns how many were sent.

    Raises:
        UserError: some still wait, and why; or MLflow is not installed.
    """
    from saliencymixplus.tracking import mlflow_library
    from saliencymixplus.tracking.sender import Sender

    total, waiting, reasons = 0, 0, []
    for path in _journals(state_root / "tracking"):
        try:
            journal = Journal(path, wait=0)
        except JournalInUse:
            report(f"{path.name}: in use by a running process, which sends its own records")
            continue
        try:
            if not journal.pending():
                continue
            mlflow_library.require_mlflow()
            sender = Sender(journal, report)
            if not sender.send_pending():
                waiting += len(journal.pending())
                reasons.append(sender.failure)
            total += sender.delivered
            name = f"{journal.header['experiment']} · {journal.header['run_name']}"
            report(f"{name}: {sender.delivered} records sent, {len(journal.pending())} wait")
        finally:
            journal.close()
    sweep(state_root / "tracking")
    if waiting:
        raise UserError(f"{waiting} records still wait: {reasons[0]}")
    report(f"{total} records sent; none wait" if total else "no records wait")
    return total


def sweep(root: Path) -> None:
    """Delete the journals that nothing needs: all sent, and the run cannot be resumed."""
    for path in _journals(root):
        try:
            journal = Journal(path, wait=0)
        except JournalInUse:
            continue
        state = journal.header.get("state")
        if journal.pending() or (state and Path(state).exists()):
            journal.close()
        else:
            journal.remove()


def _journals(root: Path) -> list[Path]:
    """The journals below ``root``, the oldest first, so that a run precedes its evaluation."""
    found = [path for path in root.glob("*") if (path / "run.json").is_file()]
    return sorted(found, key=lambda path: (path / "run.json").stat().st_mtime)
