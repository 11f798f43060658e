"""Read the study's cells, pair recipes by seed, and regress test error on label error."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from saliencymixplus.bootstrap import Estimate, percentile_interval
from saliencymixplus.comparison.statistics import SeedSummary, summarise_seeds
from saliencymixplus.errors import UserError
from saliencymixplus.study.cell import LOOP, ROWS, Entry, Row
from saliencymixplus.study.loop import Epoch, StudyCell
from saliencymixplus.tables import estimate, number

PLAIN = "none"
REFERENCE = "cutmix-sample-box"  # random box, area label: the baseline of the regression
_DRAWS, _SEED = 2000, 0


Recipes = Mapping[str, Sequence[Row]]  # one row per seed
Errors = Mapping[StudyCell, Recipes]


class Point(NamedTuple):
    """A recipe of a cell, compared with the ``REFERENCE`` there."""

    cell: StudyCell
    method: str
    label: float  # label error removed
    background: float  # regions without an object removed
    gain: float  # points of test error


@dataclass(frozen=True)
class Regression:
    """Regression of the test error gained on the label error removed, over all cells.

    Everything is relative to the ``REFERENCE`` of the same cell. ``slope`` is the fit to label
    error alone; ``label`` and ``background`` are the two coefficients of a joint fit. Their unit
    is points of test error for 0.1 of label error, or of regions without an object.
    """

    points: list[Point]
    slope: Estimate
    label: Estimate
    background: Estimate
    r2: float  # of the fit to label error alone


def read_cells(folders: Sequence[Path]) -> list[Row]:
    """Return the rows of the cells in ``folders``.

    Raises:
        UserError: a file is missing, empty or damaged, or two cells hold the same training.
    """
    rows = []
    for folder in folders:
        found = _read(folder / ROWS, Row)
        if not found:
            raise UserError(f"{folder / ROWS} has no training: run `study-cell` again")
        rows += found
    keys = [(_cell(row), row.method, row.seed) for row in rows]
    if len(set(keys)) < len(keys):
        raise UserError("two cells hold the same training: name each cell once")
    return rows


def read_loops(folders: Sequence[Path]) -> dict[StudyCell, list[Epoch]]:
    """Return the saved epochs in ``folders``, by cell; cells without any are left out.

    Raises:
        UserError: a file is missing or damaged.
    """
    found: dict[StudyCell, list[Epoch]] = {}
    for folder in folders:
        if epochs := _read(folder / LOOP, Epoch):
            found.setdefault(_cell(_read(folder / ROWS, Row)[0]), []).extend(epochs)
    return dict(sorted(found.items()))


def _read(path: Path, kind: type[Entry]) -> list[Entry]:
    adapter = TypeAdapter(kind)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            entries = [
                adapter.validate_python({key: value or None for key, value in line.items()})
                for line in csv.DictReader(file)
            ]
        for value in chain.from_iterable(map(astuple, entries)):
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{value} is not a number")
    except FileNotFoundError as error:
        raise UserError(
            f"{path} does not exist: run `study-cell` first, or name the folders of other cells"
        ) from error
    except (OSError, ValueError, csv.Error, TypeError) as error:
        raise UserError(f"{path} is not a cell of the study: run `study-cell` again") from error
    return entries


def _cell(row: Row) -> StudyCell:
    return StudyCell(row.train_digits, row.image_size, row.object_size)


def by_cell(rows: Sequence[Row]) -> Errors:
    """Group rows by cell, in the order of the cells, and by recipe."""
    found: dict[StudyCell, dict[str, list[Row]]] = {}
    for row in sorted(rows, key=_cell):
        found.setdefault(_cell(row), {}).setdefault(row.method, []).append(row)
    return found


def differences(recipes: Recipes, method: str, other: str) -> NDArray[np.float64]:
    """Test error of ``method`` minus that of ``other``, for each seed that both have."""
    first, second = (
        {row.seed: row.top1_error for row in recipes.get(name, ())} for name in (method, other)
    )
    return np.array([first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())])


def difference(recipes: Recipes, method: str, other: str) -> SeedSummary | None:
    """``differences`` over seeds; None without common seeds, or of a recipe with itself."""
    gaps = differences(recipes, method, other)
    return None if method == other or not len(gaps) else summarise_seeds(gaps.tolist())


def test_error(rows: Sequence[Row]) -> SeedSummary:
    """Test error over the seeds."""
    return summarise_seeds([row.top1_error for row in rows])


def with_interval(found: SeedSummary, *, signed: bool = False) -> str:
    """Format the mean with its interval, or alone for a single seed."""
    if found.low is None or found.high is None:
        return number(found.mean, 1, signed=signed)
    return estimate(found.mean, found.low, found.high, 1, signed=signed).text


def regression(cells: Errors) -> Regression | None:
    """Fit the test error gained to the label error removed; None for fewer than three points.

    The intervals come from a bootstrap over cells and over seeds. All cells get the same draw of
    seeds, as seeds share initial weights across cells (Owen 2007, "The pigeonhole bootstrap").
    """
    rng = np.random.default_rng(_SEED)
    names = [cell for cell, recipes in cells.items() if REFERENCE in recipes]
    points = [
        Point(cell, method, *_removed(cells[cell], method), _gain(cells[cell], method, None))
        for cell in names
        for method in _compared(cells[cell])
    ]
    if len(points) < 3:
        return None
    draws = []
    for _ in range(_DRAWS):
        drawn = []
        seeds = rng.integers(0, 1 << 30, 64)
        for index in rng.integers(0, len(names), len(names)):
            recipes = cells[names[index]]
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


def _compared(recipes: Recipes) -> list[str]:
    """Recipes other than the reference that paste a region and share seeds with it."""
    return [
        method
        for method, rows in recipes.items()
        if rows[0].label_error is not None and method not in (REFERENCE, "mixup")
        if len(differences(recipes, method, REFERENCE))
    ]


def _removed(recipes: Recipes, method: str) -> tuple[float, float]:
    """Label error and background fraction of the reference minus those of ``method``."""
    first, second = recipes[REFERENCE][0], recipes[method][0]
    assert first.label_error is not None
    assert second.label_error is not None
    background = (first.no_object or 0.0) - (second.no_object or 0.0)
    return first.label_error - second.label_error, background


def _gain(recipes: Recipes, method: str, seeds: NDArray[np.int64] | None) -> float:
    """Mean error of the reference minus that of ``method``, over all seeds or resampled ones."""
    gains = -differences(recipes, method, REFERENCE)
    return float((gains if seeds is None else gains[seeds[: len(gains)] % len(gains)]).mean())


def _fit(points: NDArray[np.float64]) -> tuple[float, float, float]:
    """Slope of label error alone, then both coefficients of the joint fit; per 0.1."""
    x, gain = points[:, :2] * 10, points[:, 2]
    ones = np.ones((len(x), 1))
    alone = np.linalg.lstsq(np.hstack((ones, x[:, :1])), gain, rcond=None)[0]
    both = np.linalg.lstsq(np.hstack((ones, x)), gain, rcond=None)[0]
    return float(alone[1]), float(both[1]), float(both[2])
