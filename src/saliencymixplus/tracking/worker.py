"""The background thread that keeps an MLflow run in step with its record."""

import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from saliencymixplus.errors import UserError
from saliencymixplus.files import discard
from saliencymixplus.locks import BusyError, locked
from saliencymixplus.runs.folder import TrackingFile
from saliencymixplus.tracking.mlflow_store import RunDeletedError, Store
from saliencymixplus.tracking.projection import Projection
from saliencymixplus.tracking.record import CARD, LOCK
from saliencymixplus.tracking.redact import brief, say
from saliencymixplus.tracking.stores import Address

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds between tries while a store is down


class Worker(threading.Thread):
    """Sends the record ``folder`` after every ``update``, retrying at increasing intervals.

    It holds the record's lock from the first attempt until it ends, so that ``sync`` can tell a
    live process's record from one left by a killed process.
    """

    def __init__(
        self,
        folder: Path,
        card: TrackingFile,
        address: Address,
        *,
        afterwards: Callable[[Store], object] | None = None,
    ) -> None:
        """``afterwards`` is called with the open store, once, after the first success."""
        super().__init__(name="saliencymixplus-tracking", daemon=True)
        self.folder, self.card = folder, card
        self.failure: str | None = None  # of the last attempt
        self.experiment_id = ""  # known after the first success
        self.address, self._afterwards = address, afterwards
        self._changed = threading.Condition()
        self._wanted = self._sent = 0  # updates
        self._tries = 0
        self._stopping = self._hurried = self._warned = False

    def update(self, card: TrackingFile | None = None) -> None:
        """Request that the record be sent, with a new card if given. Does not wait."""
        with self._changed:
            self.card = card or self.card
            self._wanted += 1
            self._changed.notify_all()

    def run(self) -> None:
        """Send until told to stop."""
        with ExitStack() as held:
            while not self._acquired(held):
                if self._stopping:
                    return
            try:
                if (self.folder / CARD).is_file():
                    self._work()
                else:  # `sync` has since sent and deleted it
                    discard(self.folder)
                    self._succeeded(sys.maxsize)
            except OSError as error:  # whether the record exists cannot be read either
                self._failed(f"cannot read {self.folder}: {error.strerror or error}")

    def drain(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until all updates are sent; returns whether they are.

        Gives up after one more failure if the store was down, after two if it was up.
        """
        end = time.monotonic() + timeout
        with self._changed:
            tries = self._tries + (0 if self.failure else 2)
            self._hurried = True
            self._changed.notify_all()
            while self._sent < self._wanted:
                left = end - time.monotonic()
                if left <= 0 or not self.is_alive() or (self.failure and self._tries > tries):
                    return False
                self._changed.wait(min(left, 0.5))
        return True

    def stop(self) -> None:
        """Stop after the request in progress, waiting only briefly for it."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self.join(timeout=1.0)

    def _acquired(self, held: ExitStack) -> bool:
        busy = "another process is sending this run's records"
        try:
            held.enter_context(locked(self.folder / LOCK, busy, timeout=0.5))
        except UserError as error:
            self.failure = str(error)
            if not isinstance(error, BusyError):
                time.sleep(0.5)
            return False
        self.failure = None
        return True

    def _work(self) -> None:
        projection: Projection | None = None
        wait = FIRST_WAIT
        while self._wait(lambda: self._wanted > self._sent):
            wanted, card = self._wanted, self.card
            try:
                if projection is None:
                    projection = Projection(self.folder, Store(self.address), say)
                projection.send(card)
                self.experiment_id = projection.experiment_id
            except RunDeletedError as error:
                say(f"the MLflow run {error} was deleted, so recording stops")
                self._succeeded(sys.maxsize)
                return
            except Exception as error:  # servers, networks and disks can raise anything
                projection = None  # reconnect next time
                self._failed(f"MLflow ({self.address}): {brief(error)}")
                self._wait(lambda: self._hurried, timeout=wait)
                self._hurried = False
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                wait = FIRST_WAIT
                self._succeeded(wanted)
                if self._afterwards:
                    afterwards, self._afterwards = self._afterwards, None
                    with suppress(Exception):  # other runs' records: `sync` reports the failure
                        afterwards(projection.store)

    def _wait(self, condition: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait for ``condition`` or the stop signal; returns whether to continue."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or condition(), timeout=timeout)
            return not self._stopping

    def _failed(self, failure: str) -> None:
        with self._changed:
            self.failure = failure
            self._tries += 1
            self._changed.notify_all()
        if not self._warned:
            self._warned = True
            say(f"{failure}; the run continues and its records are kept on disk")

    def _succeeded(self, wanted: int) -> None:
        with self._changed:
            self.failure, self._sent = None, wanted
            self._changed.notify_all()
        if self._warned:
            self._warned = False
            say("the MLflow store is available again")
