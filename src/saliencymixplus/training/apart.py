"""A process that trains one run after the other for another process."""

import multiprocessing
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.errors import UserError, reason_of
from saliencymixplus.progress import TrainingProgress
from saliencymixplus.settings import RunSettings, RuntimeSettings
from saliencymixplus.training.signals import Interrupted
from saliencymixplus.training.trainer import train

_PATIENCE = 10.0  # seconds until a process that should end is killed


class TrainingProcess:
    """The process, as the one that started it sees it."""

    def __init__(self, prepared: Path, runtime: RuntimeSettings) -> None:
        # Forking would copy locks and threads of torch's in an unknown state.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, prepared, runtime))
        with _ctrl_c_ignored():
            self.process.start()
        theirs.close()  # the end of the process then ends the pipe

    def give(self, run: RunSettings, output: Path) -> None:
        """Have a run trained."""
        self.pipe.send((run, output))

    def receive(self) -> tuple[str, Any]:
        """The next event: ``said`` and a line, ``epoch`` and its row, or the training's end.

        Ends are ``finished`` with the summary, ``failed`` with the reason, ``stopped`` by a
        signal, and ``died``.
        """
        try:
            event: tuple[str, Any] = self.pipe.recv()
            return event
        except (EOFError, OSError):  # the latter if it left something unread
            self.process.join(_PATIENCE)
            code = self.process.exitcode
            if code == -signal.SIGTERM:
                return "stopped", None
            killed = " (killed; the system may have run out of memory)" if code == -9 else ""
            return "died", f"its process ended with exit code {code}{killed}"

    def stop(self) -> None:
        """Let the training save and end."""
        self.process.terminate()

    def end(self) -> None:
        """Let the process end, and wait for that."""
        self.pipe.close()
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()


class _Told(TrainingProgress):
    """Tells the process that started this one."""

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
            raise Interrupted("the process that started this training is gone", 1) from error


def _work(pipe: Connection, prepared: Path, runtime: RuntimeSettings) -> None:
    """The process's main function: train what the pipe gives, until it is closed."""
    while True:
        try:
            run, output = pipe.recv()
        except (EOFError, OSError):
            return
        event: tuple[str, Any]
        try:
            event = "finished", train(run, prepared, output, runtime, display=_Told(pipe))
        except Interrupted:
            event = "stopped", None
        except Exception as error:
            if not isinstance(error, UserError | OSError):
                traceback.print_exc()
            event = "failed", reason_of(error)
        try:
            pipe.send(event)
        except OSError:
            return


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Let a process that is started in the block ignore Ctrl-C, which its starter passes on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
