"""What a report is made of: finished runs and their evaluations, as far as they are there."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.errors import UserError
from saliencymixplus.evaluation.read import evaluation_folder
from saliencymixplus.files import read_json
from saliencymixplus.mixing import METHODS
from saliencymixplus.runs.history import read_history

Cells = Mapping[str, str]  # a line of a CSV table by column


@dataclass(frozen=True)
class RunFolder:
    """One run; what it lacks is empty."""

    path: Path
    mix: str
    seed: int
    described: Mapping[str, Any]  # settings.json
    summary: Mapping[str, Any]
    history: Sequence[EpochRow]
    metrics: Mapping[str, float] = field(default_factory=dict)  # of the evaluation
    tables: Mapping[str, Sequence[Cells]] = field(default_factory=dict)  # of the evaluation
    samples: Sequence[Path] = ()  # grids of mixed samples, by epoch


Runs = Mapping[str, Sequence[RunFolder]]  # by recipe, each by seed
Spread = tuple[float, float]  # mean and standard deviation over seeds (0 for a single seed)


def collect(folders: Sequence[Path]) -> dict[str, list[RunFolder]]:
    """The finished runs among ``folders`` with their evaluations, by recipe and seed.

    Raises:
        UserError: a file is there and cannot be read.
    """
    found: dict[str, list[RunFolder]] = {}
    for folder in folders:
        if (folder / "settings.json").is_file():
            run = _read(folder, evaluation_folder(folder))
            found.setdefault(run.mix, []).append(run)
    known = [*METHODS]
    ordered = sorted(found, key=lambda mix: (known.index(mix) if mix in known else 99, mix))
    return {mix: sorted(found[mix], key=lambda run: run.seed) for mix in ordered}


def over_seeds(
    runs: Sequence[RunFolder], table: str, keys: Sequence[str], value: str
) -> dict[tuple[str, ...], Spread]:
    """Mean and s.d. over seeds of a column, grouped by the columns ``keys``.

    Rows of one run that share a key (a family's severities, say) are averaged first. Empty cells
    count as nothing.
    """
    groups: dict[tuple[str, ...], list[float]] = {}
    for run in runs:
        own: dict[tuple[str, ...], list[float]] = {}
        for line in run.tables.get(table, ()):
            if line.get(value) and all(key in line for key in keys):
                own.setdefault(tuple(line[key] for key in keys), []).append(float(line[value]))
        for key, values in own.items():
            groups.setdefault(key, []).append(float(np.mean(values)))
    return {key: spread(values) for key, values in groups.items()}


def metric(runs: Sequence[RunFolder], name: str) -> Spread | None:
    """Mean and s.d. over seeds of a figure of the evaluation; None where no run has it."""
    values = [run.metrics[name] for run in runs if name in run.metrics]
    return spread(values) if values else None


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return float(np.mean(values)), deviation


def _read(folder: Path, evaluation: Path) -> RunFolder:
    described = read_json(folder / "settings.json")
    try:
        mix, seed = str(described["settings"]["mix"]["name"]), int(described["settings"]["seed"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / 'settings.json'} is of another version: train again") from error
    history = folder / "history.csv"
    return RunFolder(
        path=folder,
        mix=mix,
        seed=seed,
        described=described,
        summary=_json(folder / "summary.json"),
        history=read_history(history) if history.is_file() else (),
        metrics=_json(evaluation / "metrics.json"),
        tables={path.stem: _table(path) for path in sorted(evaluation.glob("*.csv"))},
        samples=sorted(folder.glob("samples/*.png")),
    )


def _json(path: Path) -> Mapping[str, Any]:
    return read_json(path) if path.is_file() else {}


def _table(path: Path) -> list[Cells]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from error
