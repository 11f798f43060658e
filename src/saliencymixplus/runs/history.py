"""history.csv: one row per epoch."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from saliencymixplus.epoch_row import COLUMNS, EpochRow
from saliencymixplus.errors import UserError, one_line
from saliencymixplus.files import read_limited, write_csv

LARGEST = 64 * 2**20  # bytes
_ROWS = TypeAdapter(list[EpochRow])


def write_history(path: Path, rows: Sequence[EpochRow], *, times: bool = False) -> None:
    """Write the rows atomically; missing values are empty cells.

    Columns of a split that the data do not have are omitted.

    Args:
        times: also write ``time_ms``, the end time of each epoch, as in a run's state folder.
            Tracking sends every row with that time, so that a repeated row is recognised.
    """
    columns = [*COLUMNS, "time_ms"] if times else [*COLUMNS]
    for split in ("validation", "test"):
        if rows and getattr(rows[0], f"{split}_top1_error") is None:
            columns = [name for name in columns if not name.startswith(f"{split}_")]
    write_csv(path, columns, ([_cell(getattr(row, name)) for name in columns] for row in rows))


def read_history(path: Path) -> list[EpochRow]:
    """Read a history.csv, with or without ``time_ms``."""
    try:
        text = io.StringIO(read_limited(path, LARGEST).decode(), newline="")
        lines = list(csv.DictReader(text, strict=True))
        rows = _ROWS.validate_python([{k: v or None for k, v in line.items()} for line in lines])
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        number, *column = fault["loc"]
        where = f"row {int(number) + 1}, {column[0] if column else 'columns'}"
        raise UserError(f"cannot read {path}: {one_line(where)}: {fault['msg']}") from error
    except (ValueError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {one_line(error)}") from error
    for row in rows:
        if not all(math.isfinite(value) for value in astuple(row) if value is not None):
            raise UserError(f"cannot read {path}: a value in epoch {row.epoch} is not finite")
    return rows


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else f"{value:.8g}"
