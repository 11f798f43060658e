"""The study's figures and tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saliencymixplus.bootstrap import Estimate
from saliencymixplus.comparison.statistics import SeedSummary, summarise_seeds
from saliencymixplus.files import write_text
from saliencymixplus.outputs import Output
from saliencymixplus.pictures import style
from saliencymixplus.pictures.style import (
    MethodStyle,
    figure,
    figure_grid,
    finish_axes,
    method_label,
    method_styles,
    save_figure,
)
from saliencymixplus.study.cell import Row, write_rows
from saliencymixplus.study.effects import effects
from saliencymixplus.study.loop import Epoch, loop_figure
from saliencymixplus.study.results import (
    PLAIN,
    REFERENCE,
    Errors,
    Recipes,
    Regression,
    by_cell,
    differences,
    regression,
)
from saliencymixplus.tables import Column, Table, Value, estimate, number

GAIN = "Test error minus no mixing (points)"
OUTPUT = Output(
    marks={"study.csv": "object_size,"},
    files=(
        "study.csv",
        "study.md",
        "curves.png",
        "gains.png",
        "effects.png",
        "regression.png",
        "loop.png",
    ),
)
QUANTITIES: dict[str, Callable[[Recipes, str], SeedSummary | None]] = {
    "Top-1 test error (%)": lambda recipes, method: _error(recipes[method]),
    GAIN: lambda recipes, method: _difference(recipes, method, PLAIN),
    "Label error, mean |λ − λ*|": lambda recipes, method: _alone(recipes[method][0].label_error),
    "Regions without an object (%)": lambda recipes, method: _alone(
        recipes[method][0].no_object, 100
    ),
}


@dataclass(frozen=True)
class Line:
    """Cells that differ in one property only: a row of panels."""

    title: str
    axis: str
    cells: dict[int, Recipes]  # by the value on the axis


def write_report(rows: list[Row], epochs: list[Epoch], folder: Path) -> str:
    """Write study.csv, study.md and, as PNG, gains, curves, effects, regression and loop.

    The last three are left out if there is nothing to draw.

    Returns:
        The text of study.md.
    """
    cells = by_cell(rows)
    found = regression(cells)
    write_rows(folder / "study.csv", rows, Row)
    save_figure(gains(cells), folder / "gains.png")
    save_figure(curves(cells), folder / "curves.png")
    if detail := effects(cells):
        save_figure(detail, folder / "effects.png")
    if found:
        save_figure(regression_figure(found), folder / "regression.png")
    if epochs:
        save_figure(loop_figure(epochs), folder / "loop.png")
    text = markdown(cells, found)
    write_text(folder / "study.md", text)
    return text


def gains(cells: Errors) -> Figure:
    """Draw the difference to plain training over object size and over the amount of data."""
    lines, styles = _lines(cells), _styles(cells)
    styles.pop(PLAIN, None)
    fig, [row] = figure_grid(1, len(lines), 2.5 + 4.2 * len(lines), 3.6, sharey=True)
    for axes, line in zip(row, lines, strict=True):
        _panel(axes, line, GAIN, styles, title=line.title)
    _legend(fig, row)
    return fig


def curves(cells: Errors) -> Figure:
    """Draw every quantity over object size and over the amount of data."""
    lines, styles = _lines(cells), _styles(cells)
    height = 0.8 + 2.8 * len(lines)
    fig, grid = figure_grid(len(lines), len(QUANTITIES), 14.0, height)
    for row, line in zip(grid, lines, strict=True):
        for axes, quantity in zip(row, QUANTITIES, strict=True):
            _panel(axes, line, quantity, styles, title=line.title if axes is row[0] else "")
    _legend(fig, [row[0] for row in grid])
    return fig


def _styles(cells: Errors) -> dict[str, MethodStyle]:
    return method_styles(dict.fromkeys(name for found in cells.values() for name in found))


def _panel(
    axes: Axes, line: Line, quantity: str, styles: Mapping[str, MethodStyle], *, title: str
) -> None:
    """Draw a ``quantity`` of the recipes that all cells of the ``line`` have.

    Intervals are Student's over seeds, those of differences over pairs of seeds.
    """
    drawn = {
        name: look
        for name, look in styles.items()
        if all(name in recipes for recipes in line.cells.values())
    }
    for at, (name, look) in enumerate(drawn.items()):
        points = {
            # Side by side, so that no interval hides another.
            position + 0.06 * (at - (len(drawn) - 1) / 2): summary
            for position, recipes in enumerate(line.cells.values())
            if (summary := QUANTITIES[quantity](recipes, name)) is not None
        }
        if points:
            means = [found.mean for found in points.values()]
            halves = [_half(found) for found in points.values()]
            axes.errorbar([*points], means, halves, **look.line(), marker=look.marker, capsize=2)
    finish_axes(axes, x=line.axis, y=quantity, title=title)
    axes.set_xticks(range(len(line.cells)), [str(value) for value in line.cells])
    if quantity == GAIN:
        axes.axhline(0, color=style.REFERENCE, linewidth=0.8, zorder=0)
    else:
        axes.set_ylim(bottom=0)


def _legend(fig: Figure, panels: Sequence[Axes]) -> None:
    """One legend for all ``panels``: a recipe may be missing in some."""
    handles = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    fig.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize=8)


def _lines(cells: Errors) -> list[Line]:
    """Object sizes for each amount of data, and amounts of data for the size with the most.

    Amounts with a single size are left out where there is another line to show them.
    """
    by_amount: dict[tuple[int, int], dict[int, Recipes]] = {}
    by_size: dict[tuple[int, int], dict[int, Recipes]] = {}
    for cell, recipes in sorted(cells.items()):
        by_amount.setdefault((cell.image_size, cell.train_digits), {})[cell.object_size] = recipes
        by_size.setdefault((cell.image_size, cell.object_size), {})[cell.train_digits] = recipes
    lines = [
        Line(f"{digits} training digits, {side} × {side}", "Side of the object (pixels)", found)
        for (side, digits), found in sorted(by_amount.items())
    ]
    (side, size), amounts = max(by_size.items(), key=lambda item: len(item[1]))
    if len(amounts) > 1:
        title = f"Objects of {size} pixels, {side} × {side}"
        lines = [line for line in lines if len(line.cells) > 1]
        lines.append(Line(title, "Training digits", amounts))
    return lines


def regression_figure(found: Regression) -> Figure:
    """Draw points gained over label error removed, for each recipe of each cell, with the fit."""
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
    """Return one table per cell, and the regression, as Markdown."""
    lines = ["# When does a truer label help?", ""]
    for cell, recipes in cells.items():
        title = f"Objects of {cell.object_size} pixels in {cell.image_size}"
        lines += [f"## {title}, {cell.train_digits} training digits", ""]
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


def _table(recipes: Recipes) -> Table:
    columns = [
        Column("recipe", "left"),
        Column("seeds", format=lambda value: f"{value:.0f}"),
        Column("top-1 error (%)"),
        Column(f"minus {PLAIN}"),
        Column(f"minus {REFERENCE}"),
        Column("label error", format=lambda value: f"{value:.3f}"),
        Column("no object (%)", format=lambda value: f"{100 * value:.1f}"),
    ]
    rows: list[list[Value]] = []
    for method, found in recipes.items():
        error = _error(found)
        gaps = [_difference(recipes, method, other) for other in (PLAIN, REFERENCE)]
        rows.append(
            [
                method,
                error.n,
                _text(error),
                *(None if gap is None else _text(gap, signed=True) for gap in gaps),
                found[0].label_error,
                found[0].no_object,
            ]
        )
    return Table(columns, rows)


def _difference(recipes: Recipes, method: str, other: str) -> SeedSummary | None:
    """Test error minus that of ``other``, paired by seed; None without common seeds."""
    gaps = differences(recipes, method, other)
    return None if method == other or not len(gaps) else summarise_seeds(gaps.tolist())


def _text(found: SeedSummary, *, signed: bool = False) -> str:
    """Format the mean with its interval, or alone for a single seed."""
    if found.low is None or found.high is None:
        return number(found.mean, 1, signed=signed)
    return estimate(found.mean, found.low, found.high, 1, signed=signed).text


def _error(rows: Sequence[Row]) -> SeedSummary:
    return summarise_seeds([row.top1_error for row in rows])


def _half(found: SeedSummary) -> float:
    """Half the width of the interval, or 0 for a single value."""
    return 0.0 if found.high is None else found.high - found.mean


def _alone(value: float | None, scale: float = 1.0) -> SeedSummary | None:
    """A value without an interval."""
    return None if value is None else SeedSummary(1, value * scale, None, None, None)
