"""The tables of a comparison: what they hold, and how they are written."""

from dataclasses import asdict, dataclass, field
from typing import Any

from saliencymixplus.comparison.published import Published
from saliencymixplus.comparison.statistics import Difference, Summary

WEIGHTS = {
    "last": "Last epoch",
    "best_validation": "Best validation epoch",
    "best_test": "Best on test (optimistic; as published)",
}


@dataclass(frozen=True)
class Errors:
    """Errors in percent with one kind of weights; ``difference``: top-1, to the baseline."""

    top1_error: Summary
    top5_error: Summary
    difference: Difference | None
    per_seed_top1_error: list[float]


@dataclass(frozen=True)
class Row:
    """A mixing recipe over its seeds. ``name`` tells recipes apart, ``mix`` is its own name."""

    name: str
    mix: str
    seeds: list[int]
    errors: dict[str, Errors]  # by kind of weights: last, best_validation, best_test
    seconds: Summary  # of training
    passes: Summary  # forward and backward passes of one batch each, in training
    metrics: dict[str, Summary]  # every figure of the evaluations
    published: Published | None
    runs: list[str]


@dataclass(frozen=True)
class Table:
    """What was trained on one data set with one network."""

    title: str
    experiment: str
    dataset: str
    model: str
    test_images: int
    devices: list[str]
    baseline: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Comparison:
    """All tables; ``markdown`` and ``print`` show them, ``metrics`` is what `dvc metrics` reads."""

    tables: list[Table]

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return asdict(self)

    def metrics(self) -> dict[str, dict[str, float]]:
        """File stem → figures of a recipe; means over seeds, errors in percent.

        A recipe is a file of its own so that `dvc metrics show` prints it as a line.
        """
        several = len(self.tables) > 1
        return {
            f"{table.experiment}-{table.model}-{row.name}" if several else row.name: _flat(row)
            for table in self.tables
            for row in table.rows
        }

    def markdown(self) -> str:
        """The tables as GitHub Markdown."""
        from saliencymixplus.comparison.text import markdown

        return markdown(self)

    def print(self, width: int = 100) -> None:
        """The tables, for a terminal of at most ``width`` columns."""
        from saliencymixplus.comparison.text import print_tables

        print_tables(self, width)


def _flat(row: Row) -> dict[str, float]:
    figures: dict[str, float] = {}
    for which, errors in row.errors.items():
        prefix = "" if which == "last" else f"{which}_"
        figures[f"{prefix}top1_error"] = errors.top1_error.mean
        if which == "last":
            figures["top5_error"] = errors.top5_error.mean
            if errors.difference is not None:
                figures["difference"] = errors.difference.difference
                figures["p_value"] = errors.difference.p_value
    for name in ("nll", "ece", "mean_corruption_error"):
        if name in row.metrics:
            figures[name] = row.metrics[name].mean
    figures["seconds"] = row.seconds.mean
    return {key: round(value, 6) for key, value in figures.items()}
