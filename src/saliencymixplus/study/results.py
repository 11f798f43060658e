"""What the cells of the study say together: means over seeds, and error gained per label error."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from saliencymixplus.bootstrap import Estimate, percentile_interval
from saliencymixplus.errors import UserError
from saliencymixplus.study.cell import LOOP, ROWS, Entry, Row
from saliencymixplus.study.loop import Epoch

REFERENCE = "cutmix-sample-box"  # random box, area label: what the others are compared with
_DRAWS, _SEED = 2000, 0
Cell = tuple[int, int]  # object size, training digits
Errors = Mapping[Cell, Mapping[str, Sequence[Row]]]  # by cell and recipe, one row per seed


@dataclass(frozen=True)
class Regression:
    """Test error gained (points) against what a recipe changes, over all cells.

    Both are differences to the ``REFERENCE`` of the same cell. ``slope`` is that of the label error
    alone (points for 0.1 of label error removed); ``label`` and ``background`` belong to one fit
    of both (points for 0.1 each).
    """

    points: list[tuple[Cell, str, float, float, float]]  # label error and background removed, gain
    slope: Estimate
    label: Estimate
    background: Estimate
    r2: float  # of the label error alone


def read_cells(folders: Sequence[Path]) -> list[Row]:
    """The rows of the cells in ``folders``.

    Raises:
        UserError: no cells, a file that is missing or damaged, or a training twice.
    """
    rows = [row for folder in folders for row in _read(folder / ROWS, Row)]
    if not rows:
        raise UserError("there are no cells: run `study-cell` first")
    keys = [(row.object_size, row.train_digits, row.method, row.seed) for row in rows]
    if len(set(keys)) < len(keys):
        raise UserError("two cells hold the same training: name each cell once")
    return rows


def read_loops(folders: Sequence[Path]) -> list[Epoch]:
    """What the networks of the cells in ``folders`` were on their way.

    Raises:
        UserError: a file is missing or damaged.
    """
    return [epoch for folder in folders for epoch in _read(folder / LOOP, Epoch)]


def _read(path: Path, kind: type[Entry]) -> list[Entry]:
    adapter = TypeAdapter(kind)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                adapter.validate_python({key: value or None for key, value in line.items()})
                for line in csv.DictReader(file)
            ]
    except (OSError, ValidationError, csv.Error, UnicodeDecodeError, TypeError) as error:
        raise UserError(f"{path} is not a cell of the study: run `study-cell` again") from error


def by_cell(rows: Sequence[Row]) -> Errors:
    """Rows by cell and recipe, cells in the order of data and size."""

    def cell(row: Row) -> Cell:
        return row.object_size, row.train_digits

    ordered = sorted(rows, key=lambda row: (row.train_digits, row.object_size))
    found: dict[Cell, dict[str, list[Row]]] = {}
    for key, group in groupby(ordered, cell):
        for row in group:
            found.setdefault(key, {}).setdefault(row.method, []).append(row)
    return found


def regression(cells: Errors) -> Regression | None:
    """Fit error gained to label error removed; None with fewer than three points.

    The intervals are of a bootstrap over cells and, within each, over seeds.
    """
    rng = np.random.default_rng(_SEED)
    names = [cell for cell, recipes in cells.items() if REFERENCE in recipes]
    points = [
        (cell, method, *_removed(cells[cell], method), _gain(cells[cell], method, None))
        for cell in names
        for method in _compared(cells[cell])
    ]
    if len(points) < 3:
        return None
    draws = []
    for _ in range(_DRAWS):
        drawn = []
        for index in rng.integers(0, len(names), len(names)):
            recipes = cells[names[index]]
            seeds = rng.integers(0, 1 << 30, 64)
            drawn += [(*_removed(recipes, m), _gain(recipes, m, seeds)) for m in _compared(recipes)]
        draws.append(_fit(np.array(drawn)))
    values, r2 = np.array([point[2:] for point in points]), 0.0
    found, sampled = _fit(values), np.array(draws)
    with np.errstate(invalid="ignore"):
        r2 = float(np.corrcoef(values[:, 0], values[:, 2])[0, 1] ** 2)
    slope, label, background = (
        percentile_interval(float(value), sampled[:, i]) for i, value in enumerate(found)
    )
    return Regression(points, slope, label, background, r2)


def _compared(recipes: Mapping[str, Sequence[Row]]) -> list[str]:
    """Recipes that paste a part, other than the reference."""
    return [
        method
        for method, rows in recipes.items()
        if rows[0].label_error is not None and method not in (REFERENCE, "mixup")
        if _shared(recipes, method)
    ]


def _removed(recipes: Mapping[str, Sequence[Row]], method: str) -> tuple[float, float]:
    """Label error and background fraction of the reference minus those of ``method``."""
    first, second = recipes[REFERENCE][0], recipes[method][0]
    assert first.label_error is not None
    assert second.label_error is not None
    background = (first.no_object or 0.0) - (second.no_object or 0.0)
    return first.label_error - second.label_error, background


def _gain(
    recipes: Mapping[str, Sequence[Row]], method: str, seeds: NDArray[np.int64] | None
) -> float:
    """Mean over the seeds of both, or over resampled ones, of the reference's error minus that of
    ``method``.
    """
    errors = [{row.seed: row.top1_error for row in recipes[name]} for name in (REFERENCE, method)]
    gains = np.array([errors[0][seed] - errors[1][seed] for seed in _shared(recipes, method)])
    return float((gains if seeds is None else gains[seeds[: len(gains)] % len(gains)]).mean())


def _shared(recipes: Mapping[str, Sequence[Row]], method: str) -> list[int]:
    """Seeds of both the reference and ``method``."""
    return sorted({row.seed for row in recipes[REFERENCE]} & {row.seed for row in recipes[method]})


def _fit(points: NDArray[np.float64]) -> tuple[float, float, float]:
    """Slope of the label error alone, then of label error and background together; per 0.1."""
    x, gain = points[:, :2] * 10, points[:, 2]
    ones = np.ones((len(x), 1))
    alone = np.linalg.lstsq(np.hstack((ones, x[:, :1])), gain, rcond=None)[0]
    both = np.linalg.lstsq(np.hstack((ones, x)), gain, rcond=None)[0]
    return float(alone[1]), float(both[1]), float(both[2])
