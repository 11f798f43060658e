"""The study's curves, its regression, and the text that goes with them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from saliencymixplus.bootstrap import Estimate
from saliencymixplus.comparison.statistics import SeedSummary, summarise_seeds
from saliencymixplus.files import write_text
from saliencymixplus.pictures import style
from saliencymixplus.pictures.style import (
    figure,
    figure_grid,
    finish_axes,
    method_label,
    method_styles,
    save_figure,
)
from saliencymixplus.study.cell import Row, write_rows
from saliencymixplus.study.loop import Epoch, loop_figure
from saliencymixplus.study.results import (
    REFERENCE,
    Errors,
    Regression,
    by_cell,
    regression,
)
from saliencymixplus.tables import Cell, Column, Table, Value, estimate, number

PLAIN = "none"
Quantity = Callable[[Sequence[Row]], SeedSummary | None]


def write_report(rows: list[Row], epochs: list[Epoch], folder: Path) -> str:
    """Write study.csv, study.md, curves.png, regression.png and loop.png; returns the text.

    The last two are left out where there is nothing to draw.
    """
    cells = by_cell(rows)
    found = regression(cells)
    write_rows(folder / "study.csv", rows, Row)
    save_figure(curves(cells), folder / "curves.png")
    if found:
        save_figure(regression_figure(found), folder / "regression.png")
    if epochs:
        save_figure(loop_figure(epochs), folder / "loop.png")
    text = markdown(cells, found)
    write_text(folder / "study.md", text)
    return text


def curves(cells: Errors) -> Figure:
    """Test error, label error and empty regions over object size; a row per amount of data."""
    amounts = sorted({digits for _, digits in cells})
    names = list(dict.fromkeys(method for recipes in cells.values() for method in recipes))
    styles = method_styles(names)
    quantities: list[tuple[str, Quantity]] = [
        ("Top-1 test error (%)", _error),
        ("Label error, mean |λ − λ*|", lambda rows: _audited(rows[0].label_error)),
        ("Regions without an object (%)", lambda rows: _audited(rows[0].no_object, 100)),
    ]
    fig, grid = figure_grid(
        len(amounts), len(quantities), 13.0, 0.8 + 2.8 * len(amounts), sharex=True, sharey="col"
    )
    for line, amount in zip(grid, amounts, strict=True):
        for axes, (label, quantity) in zip(line, quantities, strict=True):
            for at, (name, look) in enumerate(styles.items()):
                points = {
                    # Side by side, so that no interval hides another.
                    size + 0.06 * (at - len(styles) / 2): summary
                    for (size, digits), recipes in cells.items()
                    if digits == amount and name in recipes
                    if (summary := quantity(recipes[name])) is not None
                }
                if points:
                    means = [found.mean for found in points.values()]
                    halves = [_half(found) for found in points.values()]
                    axes.errorbar(
                        [*points], means, halves, **look.line(), marker=look.marker, capsize=2
                    )
            finish_axes(
                axes,
                x="Side of the object (pixels)" if line is grid[-1] else "",
                y=label,
                title=f"{amount} training digits" if axes is line[0] else "",
            )
            axes.set_ylim(bottom=0)
    handles = {  # of every row: a recipe may be missing in some
        label: handle
        for line in grid
        for handle, label in zip(*line[0].get_legend_handles_labels(), strict=True)
    }
    fig.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize=8)
    return fig


def regression_figure(found: Regression) -> Figure:
    """Each recipe of each cell: points gained over label error removed, and the fitted slope."""
    fig, axes = figure(8.0, 4.4)
    styles = method_styles(dict.fromkeys(point[1] for point in found.points))
    for name, look in styles.items():
        chosen = [point for point in found.points if point[1] == name]
        axes.scatter(
            [p[2] for p in chosen],
            [p[4] for p in chosen],
            color=look.colour,
            marker=look.marker,
            label=look.label,
            s=28,
        )
    x = np.array([point[2] for point in found.points])
    gain = np.array([point[4] for point in found.points])
    ends = np.array([x.min(), x.max()])
    axes.plot(ends, gain.mean() + found.slope.value * 10 * (ends - x.mean()), color=style.REFERENCE)
    axes.axhline(0, color=style.REFERENCE, linewidth=0.8, zorder=0)
    axes.axvline(0, color=style.REFERENCE, linewidth=0.8, zorder=0)
    finish_axes(
        axes,
        x=f"Label error removed (compared with {method_label(REFERENCE)})",
        y="Test error gained (points)",
    )
    fig.legend(loc="outside right upper", fontsize=8)
    return fig


def markdown(cells: Errors, found: Regression | None) -> str:
    """One table per cell, and the regression."""
    lines = ["# When does a truer label help?", ""]
    for (size, digits), recipes in cells.items():
        side = next(iter(recipes.values()))[0].image_size
        lines += [f"## Objects of {size} pixels in {side}, {digits} training digits", ""]
        lines += [_table(recipes).markdown(), ""]
    if found:
        lines += [
            "## Error gained against label error removed",
            "",
            f"Over {len(found.points)} recipes in {len({p[0] for p in found.points})} cells, each "
            f"compared with `{REFERENCE}` of its cell, 0.1 less label error goes with "
            f"{_points(found.slope)} points less test error (R² {found.r2:.2f}). In a fit with the "
            f"regions without an object as well: {_points(found.label)} points for 0.1 of label "
            f"error, {_points(found.background)} points for 0.1 fewer empty regions. Brackets: "
            "95 % bootstrap intervals over cells and seeds.",
            "",
        ]
    return "\n".join(lines)


def _points(found: Estimate) -> str:
    return estimate(found.value, found.low, found.high, 1, signed=True).text


def _table(recipes: Mapping[str, Sequence[Row]]) -> Table:
    columns = [
        Column("recipe", "left"),
        Column("seeds", format=lambda value: f"{value:.0f}"),
        Column("top-1 error (%)"),
        Column(f"minus {PLAIN}"),
        Column("label error", format=lambda value: f"{value:.3f}"),
        Column("no object (%)", format=lambda value: f"{100 * value:.1f}"),
    ]
    rows: list[list[Value]] = []
    for method, found in recipes.items():
        error = _error(found)
        gap = _gap(found, recipes)
        rows.append([method, error.n, _cell(error), gap, found[0].label_error, found[0].no_object])
    return Table(columns, rows)


def _gap(rows: Sequence[Row], recipes: Mapping[str, Sequence[Row]]) -> Value:
    """Test error minus that of plain training, paired by seed, with Student's t interval."""
    plain = {row.seed: row.top1_error for row in recipes.get(PLAIN, ())}
    gaps = [row.top1_error - plain[row.seed] for row in rows if row.seed in plain]
    if rows[0].method == PLAIN or not gaps:
        return None
    return _cell(summarise_seeds(gaps), signed=True)


def _cell(found: SeedSummary, *, signed: bool = False) -> Cell:
    """The mean with its interval, or alone for a single seed."""
    if found.low is None or found.high is None:
        return Cell(number(found.mean, 1, signed=signed), (found.mean,))
    return estimate(found.mean, found.low, found.high, 1, signed=signed)


def _error(rows: Sequence[Row]) -> SeedSummary:
    return summarise_seeds([row.top1_error for row in rows])


def _half(found: SeedSummary) -> float:
    """Half of the interval's width, 0 without one."""
    return 0.0 if found.high is None else found.high - found.mean


def _audited(value: float | None, scale: float = 1.0) -> SeedSummary | None:
    return None if value is None else SeedSummary(1, value * scale, None, None, None)
