"""A live bar on a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Report = Callable[[str], None]

# Seconds between two lines where there is no terminal: a log of an hour stays readable.
_PAUSE = 10.0


@contextmanager
def progress(
    title: str, total: int | None, report: Report, unit: Literal["bytes", "images"] = "images"
) -> Iterator[Callable[[int], None]]:
    """Show how far a long job is; yields a function to call with the amount newly done.

    Args:
        title: What is being done.
        total: Amount at the end, None if not known.
        report: Where lines go when standard output is no terminal.
        unit: What is counted.
    """
    if report is print and sys.stdout.isatty():
        from rich import progress as rich_progress

        amount = (
            rich_progress.DownloadColumn()
            if unit == "bytes"
            else rich_progress.MofNCompleteColumn()
        )
        columns = ("[progress.description]{task.description}", rich_progress.BarColumn(), amount)
        with rich_progress.Progress(
            *columns, rich_progress.TimeRemainingColumn(), transient=True
        ) as bar:
            # Titles may hold file names, in which brackets are no markup.
            task = bar.add_task(title.replace("[", r"\["), total=total)
            yield lambda amount: bar.advance(task, amount)
        return

    done, last = 0, time.monotonic()

    def advance(amount: int) -> None:
        nonlocal done, last
        done += amount
        if time.monotonic() - last >= _PAUSE:
            last = time.monotonic()
            share = f" of {_amount(total, unit)}" if total else ""
            report(f"{title}: {_amount(done, unit)}{share}")

    yield advance


def _amount(count: int, unit: str) -> str:
    return f"{count / 1e6:.1f} MB" if unit == "bytes" else f"{count:,}"
