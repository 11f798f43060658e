"""Handle SIGINT and SIGTERM: finish the current step and save before the process ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from saliencymixplus.errors import UserError


class Interrupted(UserError):
    """A signal ended the training; ``exit_code`` is 128 + the signal number."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class Signals:
    """Remembers the first signal; a second Ctrl-C stops immediately."""

    def __init__(self) -> None:
        self.received: int | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler of SIGINT and SIGTERM."""
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number


@contextmanager
def watched_signals() -> Iterator[Signals]:
    """Remember SIGINT and SIGTERM within the block."""
    watcher = Signals()
    with handled(watcher.handle, signal.SIGINT, signal.SIGTERM):
        yield watcher


@contextmanager
def handled(handler: Any, *numbers: int) -> Iterator[None]:
    """Handle these signals within the block, then restore the previous handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
