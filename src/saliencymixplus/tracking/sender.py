"""Sends a journal's records in the background, so that no server can slow a training down."""

import sys
import threading
import time
from collections.abc import Callable

from saliencymixplus.tracking import mlflow_store, stores
from saliencymixplus.tracking.journal import Journal, Record
from saliencymixplus.tracking.redact import redact

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds between tries while a server is down
_BATCH = 200  # records


def say(text: str) -> None:
    """One line for the user, beside whatever the program prints."""
    print(f"tracking: {redact(text)}", file=sys.stderr, flush=True)


class Sender(threading.Thread):
    """Sends in order. What fails is tried again, later and later; what is refused is left out."""

    def __init__(self, journal: Journal, report: Callable[[str], None] = say) -> None:
        super().__init__(name="saliencymixplus-tracking", daemon=True)
        self.journal = journal
        self.report = report
        self.failure: str | None = None  # why the last try failed
        self.tries = 0
        self.delivered = 0  # records
        self._store: mlflow_store.Store | None = None
        self._run_id: str | None = None
        self._stopping = False
        self._hurried = False
        self._warned = False

    def run(self) -> None:
        """Send until told to stop, then let go of the journal."""
        wait = _FIRST_WAIT
        try:
            while self._wait_for_work():
                if self.send_pending():
                    wait = _FIRST_WAIT
                    continue
                if not self._warned:
                    self._warned = True
                    self.report(f"{self.failure}; the run goes on, its records wait on disk")
                with self.journal.changed:
                    self.journal.changed.wait_for(
                        lambda: self._stopping or self._hurried, timeout=wait
                    )
                    self._hurried = False
                wait = min(2 * wait, _LONGEST_WAIT)
        finally:
            self.journal.close()

    def drain(self, timeout: float) -> bool:
        """Wait until all is sent or a try fails, at most ``timeout`` seconds; say whether it is."""
        end = time.monotonic() + timeout
        with self.journal.changed:
            down, tries = self.failure is not None, self.tries
            self._hurried = True
            self.journal.changed.notify_all()
            while self.journal.pending():
                left = end - time.monotonic()
                if left <= 0 or not self.is_alive():
                    return False
                # A server that was down is tried once more; one that was up may fail briefly.
                if self.failure is not None and self.tries > tries + (0 if down else 2):
                    return False
                self.journal.changed.wait(min(left, 0.5))
        return True

    def stop(self) -> None:
        """Stop after the request that is under way; does not wait for it long."""
        with self.journal.changed:
            self._stopping = True
            self.journal.changed.notify_all()
        self.join(timeout=1.0)

    def send_pending(self) -> bool:
        """Send what waits; ``False`` when a try failed, with the reason in ``failure``."""
        try:
            while records := self.journal.pending()[:_BATCH]:
                store, run_id = self._connect()
                for group in _groups(records):
                    if self._stopping:
                        return True
                    self._send(store, run_id, group)
                self.failure = None
                if self._warned:
                    self._warned = False
                    self.report("the MLflow store answers again")
        except mlflow_store.RunGoneError as error:
            lost = self.journal.pending()
            self.report(f"MLflow has no run {error} any more: {len(lost)} records are dropped")
            self._done(lost)
        except Exception as error:  # whatever a server or a network can do
            self._store = None  # a new connection, next time
            self.failure = f"MLflow ({stores.shown(self.journal.header['uri'])}): {_brief(error)}"
            with self.journal.changed:
                self.tries += 1
                self.journal.changed.notify_all()
            return False
        return True

    def _wait_for_work(self) -> bool:
        with self.journal.changed:
            self.journal.changed.wait_for(lambda: self._stopping or bool(self.journal.pending()))
            return not self._stopping

    def _connect(self) -> tuple[mlflow_store.Store, str]:
        header = self.journal.header
        if self._store is None:
            self._store = mlflow_store.Store(header["uri"])
        if self._run_id is None:
            self._run_id, _ = self._store.ensure_run(header)
            if header.get("run_id") != self._run_id:
                self.journal.set_header(run_id=self._run_id)
        return self._store, self._run_id

    def _send(self, store: mlflow_store.Store, run_id: str, group: list[Record]) -> None:
        self.journal.start_sending(group[-1].seq)
        try:
            store.send(run_id, group, self.journal.path)
        except Exception as error:
            if not mlflow_store.is_refusal(error):
                raise
            if len(group) > 1:  # find the one at fault
                for record in group:
                    self._send(store, run_id, [record])
                return
            self.report(f"MLflow refuses {group[0].kind} {group[0].seq}: {_brief(error)}")
        self._done(group)

    def _done(self, group: list[Record]) -> None:
        if group:
            self.journal.mark_sent(group[-1].seq)
            self.delivered += len(group)
        with self.journal.changed:
            self.journal.changed.notify_all()


def _groups(records: list[Record]) -> list[list[Record]]:
    groups: list[list[Record]] = []
    for record in records:
        batched = record.kind in mlflow_store.BATCHED
        if batched and groups and groups[-1][0].kind in mlflow_store.BATCHED:
            groups[-1].append(record)
        else:
            groups.append([record])
    return groups


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "…"
