"""The runs of a report with their evaluations, and statistics of them over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev

from saliencymixplus.evaluation.read import Cells, evaluation_of
from saliencymixplus.mixing import METHODS
from saliencymixplus.pictures.style import method_label
from saliencymixplus.reporting.charts import Spread
from saliencymixplus.runs.folder import TrackingFile, read_tracking
from saliencymixplus.runs.read import Run, load_run
from saliencymixplus.tables import MEAN_SD, Column, Table, Value, mean_sd


@dataclass(frozen=True)
class ReportedRun:
    """A finished run; ``metrics`` and ``tables`` are empty if it has not been evaluated."""

    run: Run
    metrics: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, Sequence[Cells]] = field(default_factory=dict)
    samples: Sequence[Path] = ()  # grids of mixed samples, by epoch
    tracking: TrackingFile | None = None  # None if it was not recorded in MLflow

    @property
    def mix(self) -> str:
        """The mixing recipe's name."""
        return self.run.settings.mix.name

    @property
    def seed(self) -> int:
        """The training's seed."""
        return self.run.settings.seed


Runs = Mapping[str, Sequence[ReportedRun]]  # by recipe, each by seed


def collect_runs(folders: Sequence[Path]) -> dict[str, list[ReportedRun]]:
    """The finished runs among ``folders`` with their evaluations, by recipe and seed.

    Raises:
        UserError: a file of a run or an evaluation is damaged, or an evaluation is not of its run.
    """
    found: dict[str, list[ReportedRun]] = {}
    for folder in folders:
        if (folder / "settings.json").is_file():
            run = _read(folder)
            found.setdefault(run.mix, []).append(run)
    known = [*METHODS]
    ordered = sorted(found, key=lambda mix: (known.index(mix) if mix in known else 99, mix))
    return {mix: sorted(found[mix], key=lambda run: run.seed) for mix in ordered}


def over_seeds(
    runs: Sequence[ReportedRun], table: str, keys: Sequence[str], value: str
) -> dict[tuple[str, ...], Spread]:
    """Mean and s.d. over seeds of a table's column ``value``, grouped by the columns ``keys``.

    Rows of one run that share a key (such as the severities of a corruption) are averaged first.
    Empty cells are left out.
    """
    groups: dict[tuple[str, ...], list[float]] = {}
    for run in runs:
        own: dict[tuple[str, ...], list[float]] = {}
        for line in run.tables.get(table, ()):
            if line.get(value) and all(key in line for key in keys):
                own.setdefault(tuple(line[key] for key in keys), []).append(float(line[value]))
        for key, values in own.items():
            groups.setdefault(key, []).append(fmean(values))
    return {key: spread(values) for key, values in groups.items()}


def values_of(runs: Runs, table: str, column: str) -> list[str]:
    """The distinct values of a table's column over all runs, in order of first occurrence."""
    lines = (line for seeds in runs.values() for run in seeds for line in run.tables.get(table, ()))
    return list(dict.fromkeys(line[column] for line in lines if column in line))


def errors_by(runs: Runs, table: str, column: str, title: str) -> Table:
    """Top-1 errors by the values of ``column``, one column per recipe: mean ± s.d. over seeds."""
    found = {mix: over_seeds(seeds, table, [column], "top1_error") for mix, seeds in runs.items()}
    columns = [Column(column.capitalize(), "left")]
    columns += [Column(method_label(mix), parts=MEAN_SD) for mix in runs]
    rows: list[list[Value]] = []
    for value in values_of(runs, table, column):
        cells = (by_value.get((value,)) for by_value in found.values())
        rows.append([value.replace("_", " "), *(cell and mean_sd(*cell) for cell in cells)])
    return Table(columns, rows, title)


def metric(runs: Sequence[ReportedRun], name: str) -> Spread | None:
    """Mean and s.d. over seeds of an evaluation's metric; None if no run has it."""
    values = [run.metrics[name] for run in runs if name in run.metrics]
    return spread(values) if values else None


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation, which is None for a single value."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def _read(folder: Path) -> ReportedRun:
    samples = sorted(folder.glob("samples/*.png"))
    tracking = read_tracking(folder) if (folder / "tracking.json").is_file() else None
    found = ReportedRun(load_run(folder), samples=samples, tracking=tracking)
    evaluation = evaluation_of(found.run)
    if evaluation is None:
        return found
    return replace(found, metrics=evaluation.metrics, tables=evaluation.tables())
