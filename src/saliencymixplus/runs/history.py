"""history.csv: one row an epoch."""

import csv
import io
from pathlib import Path

from saliencymixplus.errors import UserError
from saliencymixplus.files import write_text

Row = dict[str, float | None]

COLUMNS = (
    "epoch",
    "learning_rate",
    "train_loss",
    "train_clean_top1_error",
    "train_mixed_top1_error",
    "validation_loss",
    "validation_top1_error",
    "validation_top5_error",
    "test_loss",
    "test_top1_error",
    "test_top5_error",
    "mean_lam",
    "seconds",
    "images_per_second",
    "forward_backward_passes",
)


def write_history(path: Path, rows: list[Row]) -> None:
    """Write the rows; a value that an epoch does not have stays empty, as does no whole column."""
    columns = [name for name in COLUMNS if not rows or name in rows[0]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(_text(row.get(name)) for name in columns)
    write_text(path, text.getvalue())


def read_history(path: Path) -> list[Row]:
    """The rows of a history.csv.

    Raises:
        UserError: it is missing or holds something else than numbers.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [{k: float(v) if v else None for k, v in row.items()} for row in rows]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from error


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else f"{value:.8g}"
