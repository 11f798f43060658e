"""A comparison as text: GitHub Markdown, and tables for a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from saliencymixplus.comparison.result import WEIGHTS, Comparison, Errors, Row, Table
from saliencymixplus.comparison.statistics import Difference, Summary

MISSING = "–"
MINUS = "\N{MINUS SIGN}"
LEGEND = (
    "Errors in percent: mean ± standard deviation over seeds, [95 % interval of the mean, "
    "Student's t]. Difference: top-1 error less the baseline's on the same images, in percentage "
    "points, negative is better, with the 95 % interval and p of a paired bootstrap over test "
    "images; p (seeds) is a paired t-test over seeds. No p-value is adjusted for the number of "
    "methods."
)
CORRECTED = "† the published recipe with the corrected variant of the method"


def markdown(comparison: Comparison) -> str:
    """Headings, one table per kind of weights, one for the cost, notes and the legend."""
    parts = ["# Comparison", ""]
    for table in comparison.tables:
        parts += [f"## {table.title}", "", _scope(table), ""]
        for which in WEIGHTS:
            header, rows = _error_cells(table, which)
            if rows:
                parts += [f"### {WEIGHTS[which]}", "", *_markdown_table(header, rows), ""]
        header, rows = _cost_cells(table)
        parts += ["### Cost", "", *_markdown_table(header, rows), ""]
        parts += [f"- {note}" for note in _notes(table)]
        parts += [""] if _notes(table) else []
    return "\n".join([*parts, LEGEND, ""])


def print_tables(comparison: Comparison, width: int = 100) -> None:
    """The same for a terminal, at most ``width`` columns wide."""
    console = Console()
    console = Console(width=min(width, console.width) if console.is_terminal else width)
    for table in comparison.tables:
        console.print(f"\n[bold]{table.title}[/bold]  {_scope(table)}", highlight=False)
        for which in WEIGHTS:
            header, rows = _error_cells(table, which)
            if rows:
                console.print(_rich_table(WEIGHTS[which], header, rows))
        console.print(_rich_table("Cost", *_cost_cells(table)))
        for note in _notes(table):
            console.print(f"- {note}", highlight=False, markup=False)
    console.print(f"\n{LEGEND}", highlight=False, markup=False, style="dim")


def figure_text(summary: Summary, digits: int = 2) -> str:
    """``12.34±0.56``; without a standard deviation where there is one seed."""
    mean = f"{summary.mean:.{digits}f}"
    return mean if summary.sd is None else f"{mean}±{summary.sd:.{digits}f}"


def difference_text(difference: Difference) -> str:
    """``−0.52 [−1.10, +0.06]``."""
    return (
        f"{_signed(difference.difference)} [{_signed(difference.low)}, {_signed(difference.high)}]"
    )


def p_text(p: float | None) -> str:
    """Three decimals; a smaller one as a bound, for the bootstrap cannot tell it better."""
    if p is None:
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _error_cells(table: Table, which: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the errors with one kind of weights; no rows if no run has them."""
    rows = [row for row in table.rows if which in row.errors]
    paired = any(row.errors[which].difference is not None for row in rows)
    over_seeds = any(row.errors[which].top1_error.n > 1 for row in rows)
    published = which == "best_test" and any(row.published for row in rows)
    header = ["Method", "Top-1 error"]
    header += ["95\N{NO-BREAK SPACE}% interval"] if over_seeds else []
    header += ["Top-5 error"]
    header += [f"Difference to {table.baseline}", "p"] if paired else []
    header += ["p (seeds)"] if paired and over_seeds else []
    header += ["Published"] if published else []
    cells = []
    for row in rows:
        errors = row.errors[which]
        line = [row.name, figure_text(errors.top1_error)]
        line += [_interval(errors.top1_error)] if over_seeds else []
        line += [figure_text(errors.top5_error)]
        if paired:
            line += _difference_cells(errors, over_seeds)
        line += [_published(row)] if published else []
        cells.append(line)
    return header, cells


def _difference_cells(errors: Errors, over_seeds: bool) -> list[str]:
    found = errors.difference
    if found is None:
        return [MISSING] * (3 if over_seeds else 2)
    cells = [difference_text(found), p_text(found.p_value)]
    return [*cells, p_text(found.seeds_p_value)] if over_seeds else cells


def _cost_cells(table: Table) -> tuple[list[str], list[list[str]]]:
    header = ["Method", "Seeds", "Seconds", "Forward/backward passes"]
    cells = [
        [
            row.name,
            ", ".join(map(str, row.seeds)),
            figure_text(row.seconds, 1),
            f"{row.passes.mean:,.0f}".replace(",", "\N{THIN SPACE}"),
        ]
        for row in table.rows
    ]
    return header, cells


def _scope(table: Table) -> str:
    devices = f", {', '.join(table.devices)}" if table.devices else ""
    return f"({table.test_images} test images{devices})"


def _notes(table: Table) -> list[str]:
    notes = list(table.notes)
    if any(row.published and not row.published.exact for row in table.rows):
        notes.append(CORRECTED)
    return notes


def _published(row: Row) -> str:
    if row.published is None:
        return MISSING
    mark = "" if row.published.exact else "†"
    return f"{row.published.top1_error:.2f}/{row.published.top5_error:.2f}{mark}"


def _interval(summary: Summary) -> str:
    if summary.low is None or summary.high is None:
        return MISSING
    return f"[{max(summary.low, 0):.2f}, {summary.high:.2f}]"


def _signed(value: float) -> str:
    text = f"{abs(value):.2f}"
    if float(text) == 0:
        return text
    return (MINUS if value < 0 else "+") + text


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    align = ["---"] + ["---:"] * (len(header) - 1)
    lines = [header, align, *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _rich_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> RichTable:
    table = RichTable(
        title=title,
        title_justify="left",
        title_style="italic",
        box=box.SIMPLE_HEAD,
        padding=(0, 1 if len(header) < 8 else 0, 0, 0),  # to keep to 100 columns
        collapse_padding=True,
        pad_edge=False,
    )
    for index, name in enumerate(header):
        left = index == 0
        table.add_column(
            # A header wider than its column's figures goes over two lines.
            name if left else name.replace(" ", "\n", 1),
            justify="left" if left else "right",
            no_wrap=not left,
            overflow="fold",
            vertical="bottom",
        )
    for row in rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    return table
