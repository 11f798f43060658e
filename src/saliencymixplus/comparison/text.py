"""Render a comparison as tables: Markdown, terminal, CSV and LaTeX."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from rich.console import Console

from saliencymixplus import escape
from saliencymixplus.comparison.result import WEIGHTS, Comparison, Errors, ResultRow, ResultTable
from saliencymixplus.comparison.statistics import SeedSummary
from saliencymixplus.comparison.verdict import verdict
from saliencymixplus.tables import (
    ESTIMATE,
    INTERVAL,
    MEAN_SD,
    Cell,
    Column,
    Getter,
    Table,
    Value,
    estimate,
    interval,
    mean_sd,
    number,
    p_cell,
)

FEW_CLASSES = 10  # with no more classes than this, top-5 error is not informative
LEGEND = (
    "Errors in percent: mean ± standard deviation over seeds, with the 95 % interval of the mean "
    "(Student's t). Difference: top-1 error minus the baseline's on the same images, in percentage "
    "points (negative is better), with the 95 % interval and p-value of a paired bootstrap over "
    "test images; p (seeds) is a paired t-test over seeds. The p-values are not adjusted for the "
    "number of methods."
)
CORRECTED = "† the published training recipe with the corrected variant of the method"


def comparison_markdown(comparison: Comparison) -> str:
    """The page comparison.md."""
    parts = ["# Comparison"]
    for table in comparison.tables:
        parts += [f"## {escape.markdown(table.title)}", escape.markdown(scope(table))]
        parts += [escape.markdown(verdict(table))]
        for found in tables(table):
            parts += [f"### {found.title}", found.markdown()]
        parts.append("\n".join(f"- {escape.markdown(note)}" for note in notes(table)))
    return "\n\n".join(part for part in [*parts, LEGEND] if part) + "\n"


def print_tables(comparison: Comparison) -> None:
    """Print the tables, at most 100 columns wide."""
    terminal = Console()
    width = min(100, terminal.width) if terminal.is_terminal else 100
    console = Console(width=width, highlight=False, markup=False)
    for table in comparison.tables:
        console.print()
        console.print(escape.visible(table.title), style="bold", end="  ")
        console.print(escape.visible(scope(table)))
        for found in tables(table):
            console.print(found.rich())
        for line in (verdict(table), *(f"- {note}" for note in notes(table))):
            if line:
                console.print(escape.visible(line))
    console.print()
    console.print(LEGEND, style="dim")


def comparison_latex(comparison: Comparison) -> str:
    """One table per data set and network: the errors of the last epoch.

    To save width, medians are left out unless there are published ones to compare them with.
    """
    parts = []
    for count, table in enumerate(comparison.tables, start=1):
        medians = any(row.published_beside("last") for row in table.rows)
        found = errors_table(table, "last", medians=medians)
        if found is not None:
            titled = replace(found, title=f"{table.title} ({scope(table)})")
            parts.append(titled.latex(f"tab:comparison-{count}", LEGEND))
    return "\n".join(parts)


class _Line(NamedTuple):
    """The errors of a row with one kind of weights, as cells."""

    table: ResultTable
    row: ResultRow
    which: str
    errors: Errors

    def interval(self) -> Cell:
        """The interval of the top-1 error, cut off at 0 and 100 %."""
        error = self.errors.top1_error
        if error.low is None or error.high is None:
            return interval(None, None)
        return interval(max(error.low, 0.0), min(error.high, 100.0))

    def difference(self) -> Value:
        if (found := self.errors.difference) is None:
            return None
        return estimate(found.difference, found.low, found.high, signed=True)

    def p_value(self) -> Value:
        return None if self.errors.difference is None else p_cell(self.errors.difference.p_value)

    def seeds_p_value(self) -> Value:
        found = self.errors.difference
        return None if found is None else p_cell(found.seeds_p_value)

    def median(self) -> Value:
        return _mean(self.row.median) if self.row.median and self.which == "last" else None

    def published(self) -> Value:
        found = self.row.published_beside(self.which)
        if found is None:
            return None
        top5 = "" if found.top5_error is None else f"/{found.top5_error:.2f}"
        text = f"{found.top1_error:.2f}{top5}{'' if found.exact else '†'}"
        return Cell(text, (found.top1_error, found.top5_error))


def csv_table(comparison: Comparison) -> Table:
    """Every number in the comparison, one row per table, kind of weights and method."""
    mean, four = ("mean", "s.d."), ("mean", "s.d.", "low", "high")
    columns: list[Getter[_Line]] = [
        (Column("data", "left"), lambda line: line.table.dataset),
        (Column("network", "left"), lambda line: line.table.model),
        (Column("weights", "left"), lambda line: line.which),
        (Column("method", "left"), lambda line: line.row.name),
        (Column("label", "left"), lambda line: line.row.label),
        (Column("seeds", "left"), lambda line: _seeds(line.row)),
        (Column("test images"), lambda line: line.table.test_images),
        (Column("top-1 error", parts=four), lambda line: _four(line.errors.top1_error)),
        (Column("top-5 error", parts=four), lambda line: _four(line.errors.top5_error)),
        (Column("baseline", "left"), lambda line: line.table.baseline),
        (Column("difference", parts=ESTIMATE), _Line.difference),
        (Column("p"), _Line.p_value),
        (Column("p (seeds)"), _Line.seeds_p_value),
        (Column("median of last 10 epochs", parts=mean), _Line.median),
        (Column("published", parts=("top-1 error", "top-5 error")), _Line.published),
        (Column("seconds", parts=mean), lambda line: _mean(line.row.seconds)),
        (Column("passes"), lambda line: line.row.passes.mean),
    ]
    lines = (
        _Line(table, row, which, errors)
        for table in comparison.tables
        for row in table.rows
        for which, errors in row.errors.items()
    )
    return Table.of(lines, columns)


def tables(table: ResultTable) -> Iterator[Table]:
    """Yield titled tables: errors for each kind of weights that the runs have, then the cost."""
    for which in WEIGHTS:
        if (found := errors_table(table, which)) is not None:
            yield found
    yield cost_table(table)


def errors_table(table: ResultTable, which: str, *, medians: bool = True) -> Table | None:
    """Errors with one kind of weights, or None if no run has them."""
    lines = [
        _Line(table, row, which, row.errors[which]) for row in table.rows if which in row.errors
    ]
    if not lines:
        return None
    over_seeds = any(line.errors.top1_error.n > 1 for line in lines)
    paired = any(line.errors.difference for line in lines)
    medians = medians and any(line.median() for line in lines)
    published = any(line.published() for line in lines)
    top5 = table.classes > FEW_CLASSES
    baseline = table.row(table.baseline).label
    columns: list[tuple[bool, Column, Callable[[_Line], Value]]] = [
        (True, Column("Method", "left"), lambda line: line.row.label),
        (True, Column("Top-1 error", parts=MEAN_SD), lambda line: _mean(line.errors.top1_error)),
        (over_seeds, Column("95\N{NO-BREAK SPACE}% interval", parts=INTERVAL), _Line.interval),
        (top5, Column("Top-5 error", parts=MEAN_SD), lambda line: _mean(line.errors.top5_error)),
        (paired, Column(f"Difference to {baseline}", parts=ESTIMATE), _Line.difference),
        (paired, Column("p"), _Line.p_value),
        (paired and over_seeds, Column("p (seeds)"), _Line.seeds_p_value),
        (medians, Column("Median of last 10 epochs", parts=MEAN_SD), _Line.median),
        (published, Column("Published"), _Line.published),
    ]
    shown = [(column, value) for there, column, value in columns if there]
    return Table.of(lines, shown, WEIGHTS[which])


def cost_table(table: ResultTable) -> Table:
    """Training time and number of passes."""
    passes = Column("Forward/backward passes", format=lambda passes: number(passes, 0))
    columns: list[Getter[ResultRow]] = [
        (Column("Method", "left"), lambda row: row.label),
        (Column("Seeds", "left"), _seeds),
        (Column("Training seconds", parts=MEAN_SD), lambda row: _mean(row.seconds, 1)),
        (passes, lambda row: row.passes.mean),
    ]
    return Table.of(table.rows, columns, "Cost")


def scope(table: ResultTable) -> str:
    """Test images and devices, like ``10,000 test images, NVIDIA H100``."""
    devices = f", {', '.join(table.devices)}" if table.devices else ""
    return f"{number(table.test_images, 0)} test images{devices}"


def notes(table: ResultTable) -> list[str]:
    """Caveats for readers of the tables."""
    corrected = any(row.published and not row.published.exact for row in table.rows)
    return [*table.notes, *_published(table), *([CORRECTED] if corrected else [])]


def _published(table: ResultTable) -> Iterator[str]:
    """Notes on the published errors, and on differences of our runs that no setting covers."""
    shown = (row.published for row in table.rows if row.published)
    for source, median, differences in dict.fromkeys(
        (figure.source, figure.median, figure.differences) for figure in shown
    ):
        note = []
        if median:
            note.append(f"Published by {source}: the median top-1 error of the last ten epochs.")
        if differences:
            note.append(f"Ours differ from {source} in what no setting covers: {differences}.")
        if note:
            yield " ".join(note)
    for row in table.rows:
        if row.published and (own := row.published.method_differences):
            yield f"With {row.label}, ours also differ from {row.published.source}: {own}."


def _seeds(row: ResultRow) -> str:
    return ", ".join(map(str, row.seeds))


def _mean(summary: SeedSummary, digits: int = 2) -> Cell:
    return mean_sd(summary.mean, summary.sd, digits)


def _four(summary: SeedSummary) -> Cell:
    return Cell("", (summary.mean, summary.sd, summary.low, summary.high))
