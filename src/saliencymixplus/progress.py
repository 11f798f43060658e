"""All progress displays: a live bar on a terminal, occasional lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from saliencymixplus.epoch_row import EpochRow

Report = Callable[[str], None]
Kind = Literal["auto", "bar", "lines", "none"]

# Seconds between lines without a terminal, so that the log of an hour stays readable.
_PAUSE = 10.0
_EPOCH_PAUSE = 60.0  # during training, which also has a line per epoch


@contextmanager
def progress(
    title: str, total: int | None, report: Report = print, unit: str = "images"
) -> Iterator[Callable[[int], None]]:
    """Show the progress of a long job; yields a function to call with each amount done.

    Args:
        total: None if unknown.
        report: receives lines if standard output is not a terminal.
        unit: the unit of amounts; ``bytes`` are shown as megabytes.
    """
    if report is print and sys.stdout.isatty():
        amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
        title_column = _words("{task.description}")
        with _bar(title_column, BarColumn(), amount, TimeRemainingColumn()) as bar:
            task = bar.add_task(title, total=total)
            yield lambda amount: bar.advance(task, amount)
        return

    done, last = 0, time.monotonic()

    def advance(amount: int) -> None:
        nonlocal done, last
        done += amount
        if time.monotonic() - last >= _PAUSE:
            last = time.monotonic()
            report(f"{title}: {_amount(done, total, unit)}")

    yield advance


class TrainingProgress:
    """Shows nothing; the base class, also used on ranks other than 0."""

    def say(self, text: str) -> None:
        """Print a line."""

    def begin(self, epoch: int, steps: int, done: int) -> None:
        """Start an epoch of ``steps`` batches, of which ``done`` are already done."""

    def step(self, done: int, loss: float | None, images_per_second: float | None) -> None:
        """Show a finished batch; the numbers are None if not yet available from the device."""

    def end(self, row: EpochRow) -> None:
        """Show a finished epoch with its metrics."""

    def close(self) -> None:
        """End the display."""


class _Shown(TrainingProgress):
    """What the bar and the lines share: the time left."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def begin(self, epoch: int, steps: int, done: int) -> None:
        self._started, self._first, self._steps, self._epoch = time.monotonic(), done, steps, epoch

    def _left(self, done: int) -> str:
        """Estimated time to the end of the training, at this epoch's speed."""
        per_step = (time.monotonic() - self._started) / max(1, done - self._first)
        steps = self._steps - done + (self.epochs - self._epoch) * self._steps
        return f"{clock(per_step * steps)} left"


class EpochLines(_Shown):
    """A line per epoch, and one per minute during long epochs."""

    def __init__(self, epochs: int) -> None:
        super().__init__(epochs)
        self._seconds: list[float] = []

    def say(self, text: str) -> None:
        print(text, flush=True)

    def begin(self, epoch: int, steps: int, done: int) -> None:
        super().begin(epoch, steps, done)
        self._last = self._started

    def step(self, done: int, loss: float | None, images_per_second: float | None) -> None:
        if loss is None or images_per_second is None:
            return
        if time.monotonic() - self._last >= _EPOCH_PAUSE:
            self._last = time.monotonic()
            self.say(
                f"epoch {self._epoch}/{self.epochs}  step {done}/{self._steps}  loss {loss:.3f}  "
                f"{images_per_second:,.0f} images/s  {self._left(done)}"
            )

    def end(self, row: EpochRow) -> None:
        self._seconds = [*self._seconds[-9:], row.seconds]
        left = (self.epochs - row.epoch) * sorted(self._seconds)[len(self._seconds) // 2]
        self.say(f"epoch {summary_line(row, self.epochs)}  {clock(left)} left")


class EpochBar(_Shown):
    """A live bar for the current epoch below the lines of the finished ones."""

    def __init__(self, epochs: int) -> None:
        super().__init__(epochs)
        width = len(f"epoch {epochs}/{epochs}")
        self._bar = _bar(
            _words("epoch {task.fields[epoch]}", width),
            BarColumn(None),
            _words("{task.fields[text]}"),
        )
        self._task = self._bar.add_task("", epoch="", text="")
        self._error = ""

    def say(self, text: str) -> None:
        self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def begin(self, epoch: int, steps: int, done: int) -> None:
        super().begin(epoch, steps, done)
        self._bar.start()
        name = f"{epoch}/{self.epochs}"
        self._bar.update(self._task, completed=done, total=steps, epoch=name, text=self._error)

    def step(self, done: int, loss: float | None, images_per_second: float | None) -> None:
        self._bar.update(self._task, completed=done)
        if loss is None or images_per_second is None:
            return
        speed = f"{images_per_second:,.0f} images/s"
        text = f"loss {loss:.3f}  {self._error}{speed}  {self._left(done)}"
        self._bar.update(self._task, text=text)

    def end(self, row: EpochRow) -> None:
        self.say(f"epoch {summary_line(row, self.epochs)}")
        self._error = f"error {''.join(_errors(row)[:1])}  "  # the line above shows all of them

    def close(self) -> None:
        with suppress(OSError):  # a lost terminal must not hide why the training ends
            self._bar.stop()


def training_progress(kind: Kind, epochs: int) -> TrainingProgress:
    """The display of a training; ``auto``: a bar on a terminal, lines elsewhere."""
    if kind == "none":
        return TrainingProgress()
    if kind == "bar" or (kind == "auto" and sys.stdout.isatty()):
        return EpochBar(epochs)
    return EpochLines(epochs)


def summary_line(row: EpochRow, epochs: int) -> str:
    """An epoch's loss, top-1 errors and speed, in at most 74 characters."""
    width = len(str(epochs))
    return (
        f"{row.epoch:{width}d}/{epochs}  loss {row.text('train_loss')}  "
        f"error {'  '.join(_errors(row))}  {row.images_per_second:,.0f} images/s"
    )


def clock(seconds: float) -> str:
    """Format a duration like 0:07, 12:34 or 1:02:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _bar(*columns: ProgressColumn) -> Progress:
    return Progress(*columns, console=Console(), transient=True, refresh_per_second=8)


def _words(text: str, narrowest: int | None = None) -> TextColumn:
    """A text column without markup, truncated with … if the terminal is too narrow."""
    column = Column(no_wrap=True, overflow="ellipsis", min_width=narrowest)
    return TextColumn(text, markup=False, table_column=column)


def _amount(done: int, total: int | None, unit: str) -> str:
    scale, unit, decimals = (1e6, "MB", 1) if unit == "bytes" else (1, unit, 0)
    of = f" of {total / scale:,.{decimals}f}" if total else ""
    return f"{done / scale:,.{decimals}f}{of} {unit}"


def _errors(row: EpochRow) -> list[str]:
    names = {"val": "validation_top1_error", "test": "test_top1_error"}
    return [f"{short} {row.text(key)}" for short, key in names.items() if row.text(key)]
