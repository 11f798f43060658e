"""Render a comparison as tables: Markdown, terminal, CSV and LaTeX."""

from collections.abc import Iterator

from rich.console import Console

from saliencymixplus import escape
from saliencymixplus.comparison.peers import TOLERANCE
from saliencymixplus.comparison.published import Published
from saliencymixplus.comparison.result import WEIGHTS, Comparison, Errors, ResultRow, ResultTable
from saliencymixplus.comparison.statistics import SeedSummary
from saliencymixplus.comparison.verdict import verdict
from saliencymixplus.tables import (
    ESTIMATE,
    INTERVAL,
    MEAN_SD,
    Cell,
    Column,
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


def print_tables(comparison: Comparison, width: int = 100) -> None:
    """Print the tables to a terminal, at most ``width`` columns wide."""
    console = Console(highlight=False)
    width = min(width, console.width) if console.is_terminal else width
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

    To save width, medians are left out unless there are published ones beside them.
    """
    parts = []
    for number_, table in enumerate(comparison.tables, start=1):
        medians = any(row.published_beside("last") for row in table.rows)
        found = errors_table(table, "last", medians=medians)
        if found is not None:
            titled = Table(
                found.columns, found.rows, f"{table.title} ({scope(table)})", notes=(LEGEND,)
            )
            parts.append(titled.latex(label=f"tab:comparison-{number_}"))
    return "\n".join(parts)


def csv_table(comparison: Comparison) -> Table:
    """Every number in the comparison, one row per table, kind of weights and method."""
    columns = [
        *(Column(name, "left") for name in ("data", "network", "weights", "method", "label")),
        Column("seeds", "left"),
        Column("test images"),
        Column("top-1 error", parts=("mean", "s.d.", "low", "high")),
        Column("top-5 error", parts=("mean", "s.d.", "low", "high")),
        Column("baseline", "left"),
        Column("difference", parts=ESTIMATE),
        Column("p"),
        Column("p (seeds)"),
        Column("median of last 10 epochs", parts=("mean", "s.d.")),
        Column("published", parts=("top-1 error", "top-5 error")),
        Column("seconds", parts=("mean", "s.d.")),
        Column("passes"),
    ]
    rows = [
        _csv_row(table, row, which, errors)
        for table in comparison.tables
        for row in table.rows
        for which, errors in row.errors.items()
    ]
    return Table(columns, rows)


def tables(table: ResultTable) -> Iterator[Table]:
    """Yield titled tables: errors for each kind of weights that the runs have, then the cost."""
    for which in WEIGHTS:
        if (found := errors_table(table, which)) is not None:
            yield found
    yield cost_table(table)


def errors_table(table: ResultTable, which: str, *, medians: bool = True) -> Table | None:
    """Errors with one kind of weights, or None if no run has them."""
    rows = [row for row in table.rows if which in row.errors]
    if not rows:
        return None
    paired = any(row.errors[which].difference is not None for row in rows)
    over_seeds = any(row.errors[which].top1_error.n > 1 for row in rows)
    medians = medians and which == "last" and any(row.median is not None for row in rows)
    published = any(row.published_beside(which) for row in rows)
    top5 = table.classes > FEW_CLASSES
    columns = [Column("Method", "left"), Column("Top-1 error", parts=MEAN_SD)]
    columns += [Column("95\N{NO-BREAK SPACE}% interval", parts=INTERVAL)] if over_seeds else []
    columns += [Column("Top-5 error", parts=MEAN_SD)] if top5 else []
    if paired:
        baseline = table.row(table.baseline).label
        columns += [Column(f"Difference to {baseline}", parts=ESTIMATE), Column("p")]
        columns += [Column("p (seeds)")] if over_seeds else []
    columns += [Column("Median of last 10 epochs", parts=MEAN_SD)] if medians else []
    columns += [Column("Published")] if published else []
    cells = []
    for row in rows:
        errors = row.errors[which]
        line: list[Value] = [row.label, _mean(errors.top1_error)]
        line += [_interval(errors.top1_error)] if over_seeds else []
        line += [_mean(errors.top5_error)] if top5 else []
        line += _difference_cells(errors, over_seeds) if paired else []
        line += [None if row.median is None else _mean(row.median)] if medians else []
        line += [_published(row.published_beside(which))] if published else []
        cells.append(line)
    return Table(columns, cells, WEIGHTS[which])


def cost_table(table: ResultTable) -> Table:
    """Training time and number of passes."""
    columns = [
        Column("Method", "left"),
        Column("Seeds", "left"),
        Column("Training seconds", parts=MEAN_SD),
        Column("Forward/backward passes", format=lambda passes: number(passes, 0)),
    ]
    rows: list[list[Value]] = [
        [row.label, _seeds(row), mean_sd(row.seconds.mean, row.seconds.sd, 1), row.passes.mean]
        for row in table.rows
    ]
    return Table(columns, rows, "Cost")


def scope(table: ResultTable) -> str:
    """Test images and devices, like ``10,000 test images, NVIDIA H100``."""
    devices = f", {', '.join(table.devices)}" if table.devices else ""
    return f"{number(table.test_images, 0)} test images{devices}"


def notes(table: ResultTable) -> list[str]:
    """Caveats for readers of the tables."""
    corrected = any(row.published and not row.published.exact for row in table.rows)
    return [*table.notes, *_peers(table), *([CORRECTED] if corrected else [])]


def _peers(table: ResultTable) -> list[str]:
    """How the medians compare with figures that others published as medians."""
    notes = []
    found: dict[tuple[str, str], list[str]] = {}
    for row in table.rows:
        if row.median is None or row.published is None or not row.published.median:
            continue
        difference = row.median.mean - row.published.top1_error
        near = "within" if abs(difference) <= TOLERANCE else "outside"
        text = f"{row.label} {number(difference, 2, signed=True)} ({near})"
        found.setdefault((row.published.source, row.published.differences), []).append(text)
    for (source, differences), rows in found.items():
        what = f"Published by {source}: the median top-1 error of the last ten epochs"
        if differences:
            notes.append(
                f"{what}. Ours is not subtracted from it, as the settings differ: {differences}."
            )
        else:
            notes.append(
                f"{what}. Ours minus it in points, with a tolerance of {TOLERANCE:g}: "
                f"{', '.join(rows)}."
            )
    return notes


def _difference_cells(errors: Errors, over_seeds: bool) -> list[Value]:
    found = errors.difference
    if found is None:
        return [None] * (3 if over_seeds else 2)
    cells: list[Value] = [
        estimate(found.difference, found.low, found.high, signed=True),
        p_cell(found.p_value),
    ]
    return [*cells, p_cell(found.seeds_p_value)] if over_seeds else cells


def _csv_row(table: ResultTable, row: ResultRow, which: str, errors: Errors) -> list[Value]:
    found, published = errors.difference, row.published_beside(which)
    median = row.median if which == "last" else None
    return [
        table.dataset,
        table.model,
        which,
        row.name,
        row.label,
        _seeds(row),
        table.test_images,
        *(Cell("", (s.mean, s.sd, s.low, s.high)) for s in (errors.top1_error, errors.top5_error)),
        table.baseline,
        None if found is None else Cell("", (found.difference, found.low, found.high)),
        None if found is None else found.p_value,
        None if found is None else found.seeds_p_value,
        None if median is None else Cell("", (median.mean, median.sd)),
        None if published is None else Cell("", (published.top1_error, published.top5_error)),
        Cell("", (row.seconds.mean, row.seconds.sd)),
        row.passes.mean,
    ]


def _seeds(row: ResultRow) -> str:
    return ", ".join(map(str, row.seeds))


def _mean(summary: SeedSummary) -> Cell:
    return mean_sd(summary.mean, summary.sd)


def _interval(summary: SeedSummary) -> Cell:
    """The interval of an error, cut off at zero."""
    return interval(None if summary.low is None else max(summary.low, 0.0), summary.high)


def _published(found: Published | None) -> Value:
    if found is None:
        return None
    top5 = "" if found.top5_error is None else f"/{found.top5_error:.2f}"
    return f"{found.top1_error:.2f}{top5}{'' if found.exact else '†'}"
