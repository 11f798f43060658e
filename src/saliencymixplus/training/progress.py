"""Progress of a training: a live bar on a terminal, a line an epoch elsewhere, or nothing."""

import sys
import time
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from saliencymixplus.epoch_row import EpochRow

Kind = Literal["auto", "bar", "lines", "none"]


class Silent:
    """Shows nothing; what every process but the first gets."""

    def say(self, text: str) -> None:
        """A line for the reader."""

    def begin(self, epoch: int, steps: int, done: int) -> None:
        """An epoch of ``steps`` batches starts, ``done`` of which are done."""

    def step(self, done: int, loss: float | None, images_per_second: float | None) -> None:
        """After a batch; figures are None where the device was not waited for."""

    def end(self, row: EpochRow) -> None:
        """After an epoch, with its row of the history."""

    def close(self) -> None:
        """The training is over, or has failed."""


class Lines(Silent):
    """One line an epoch."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self._seconds: list[float] = []

    def say(self, text: str) -> None:
        print(text, flush=True)

    def end(self, row: EpochRow) -> None:
        self._seconds = [*self._seconds[-9:], row.seconds]
        left = (self.epochs - row.epoch) * _median(self._seconds)
        self.say(f"epoch {summary_line(row, self.epochs)}  {clock(left)} left")


class Bar(Silent):
    """A live bar with the running epoch below the finished ones, within 80 columns."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.console = Console()
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[text]}"),
            console=self.console,
            transient=True,
            refresh_per_second=8,
        )
        self._task: TaskID | None = None
        self._error = ""

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def begin(self, epoch: int, steps: int, done: int) -> None:
        self._started, self._first, self._steps, self._epoch = time.monotonic(), done, steps, epoch
        if self._task is None:
            self._task = self._bar.add_task("", total=steps, epoch="", text="")
            self._bar.start()
        name = f"{epoch}/{self.epochs}"
        self._bar.update(self._task, completed=done, total=steps, epoch=name, text=self._error)

    def step(self, done: int, loss: float | None, images_per_second: float | None) -> None:
        if self._task is None:
            return
        self._bar.update(self._task, completed=done)
        if loss is None or images_per_second is None:
            return
        a_step = (time.monotonic() - self._started) / max(1, done - self._first)
        left = a_step * (self._steps - done + (self.epochs - self._epoch) * self._steps)
        text = f"loss {loss:.3f}  {self._error}{images_per_second:,.0f} img/s  {clock(left)} left"
        self._bar.update(self._task, text=text)

    def end(self, row: EpochRow) -> None:
        self.say(f"epoch {summary_line(row, self.epochs)}")
        self._error = f"error {''.join(_errors(row)[:1])}  "  # the line above has both

    def close(self) -> None:
        self._bar.stop()


def create_progress(kind: Kind, epochs: int) -> Silent:
    """``auto``: a bar where the output is a terminal, lines elsewhere."""
    if kind == "none":
        return Silent()
    if kind == "bar" or (kind == "auto" and sys.stdout.isatty()):
        return Bar(epochs)
    return Lines(epochs)


def summary_line(row: EpochRow, epochs: int) -> str:
    """An epoch in at most 70 characters: loss, top-1 errors, speed."""
    return (
        f"{row.epoch:{len(str(epochs))}d}/{epochs}  loss {row.text('train_loss')}  "
        f"error {'  '.join(_errors(row))}  {row.images_per_second:,.0f} img/s"
    )


def clock(seconds: float) -> str:
    """0:07, 12:34 or 1:02:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _errors(row: EpochRow) -> list[str]:
    names = {"val": "validation_top1_error", "test": "test_top1_error"}
    return [f"{short} {row.text(key)}" for short, key in names.items() if row.text(key)]


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
