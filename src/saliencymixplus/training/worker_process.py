"""A worker process that trains runs one after another for its parent process."""

import multiprocessing
import signal
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.errors import UserError, reason_of
from saliencymixplus.progress import TrainingProgress
from saliencymixplus.settings import RunSettings, RuntimeSettings
from saliencymixplus.training.signals import Interrupted, handled
from saliencymixplus.training.trainer import train

_PATIENCE = 10.0  # seconds to wait for a process to end before killing it


class TrainingProcess:
    """The parent's handle on a worker process."""

    def __init__(self, prepared: Path, runtime: RuntimeSettings) -> None:
        # Forking would copy torch's locks and threads in an unknown state.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, prepared, runtime))
        with handled(signal.SIG_IGN, signal.SIGINT):  # the parent passes Ctrl-C on itself
            self.process.start()
        theirs.close()  # otherwise ``recv`` would wait for ever if the process dies

    def give(self, run: RunSettings, output: Path) -> None:
        """Send the worker a run to train."""
        self.pipe.send((run, output))

    def receive(self) -> tuple[str, Any]:
        """Receive the next event: ``said`` with a line, ``epoch`` with its row, or the end.

        The end is ``finished`` with the summary, ``failed`` with the reason, ``stopped`` (by a
        signal) or ``died``.
        """
        try:
            event: tuple[str, Any] = self.pipe.recv()
            return event
        except (EOFError, OSError):  # OSError if the worker left something unread
            self.process.join(_PATIENCE)
            code = self.process.exitcode
            if code == -signal.SIGTERM:
                return "stopped", None
            killed = " (killed; the system may have run out of memory)" if code == -9 else ""
            return "died", f"its process ended with exit code {code}{killed}"

    def stop(self) -> None:
        """Tell the training to save and end."""
        self.process.terminate()

    def end(self) -> None:
        """Tell the process to end, and wait for it."""
        self.pipe.close()
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()


class _ProgressToParent(TrainingProgress):
    """Reports progress to the parent process."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def say(self, text: str) -> None:
        self._send("said", text)

    def end(self, row: EpochRow) -> None:
        self._send("epoch", row)

    def _send(self, kind: str, content: Any) -> None:
        try:
            self.pipe.send((kind, content))
        except OSError as error:
            raise Interrupted("the parent process of this training has ended", 1) from error


def _work(pipe: Connection, prepared: Path, runtime: RuntimeSettings) -> None:
    """The worker's main function: train the runs that arrive on the pipe until it is closed."""
    while True:
        try:
            run, output = pipe.recv()
        except (EOFError, OSError):
            return
        event: tuple[str, Any]
        try:
            summary = train(run, prepared, output, runtime, display=_ProgressToParent(pipe))
            event = "finished", summary
        except (Interrupted, KeyboardInterrupt):  # the latter after a second Ctrl-C
            event = "stopped", None
        except Exception as error:
            if not isinstance(error, UserError | OSError):
                traceback.print_exc()
            event = "failed", reason_of(error)
        try:
            pipe.send(event)
        except OSError:
            return
