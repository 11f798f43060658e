"""Test error and labels over object size and the amount of data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saliencymixplus.comparison.statistics import SeedSummary
from saliencymixplus.pictures.style import (
    REFERENCE,
    MethodStyle,
    figure_grid,
    finish_axes,
    method_styles,
)
from saliencymixplus.study.results import PLAIN, Errors, Recipes, difference, test_error

GAIN = "Test error minus no mixing (points)"
QUANTITIES: dict[str, Callable[[Recipes, str], SeedSummary | None]] = {
    "Top-1 test error (%)": lambda recipes, method: test_error(recipes[method]),
    GAIN: lambda recipes, method: difference(recipes, method, PLAIN),
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
            halves = [found.half_width or 0.0 for found in points.values()]
            axes.errorbar([*points], means, halves, **look.line(), marker=look.marker, capsize=2)
    finish_axes(axes, x=line.axis, y=quantity, title=title)
    axes.set_xticks(range(len(line.cells)), [str(value) for value in line.cells])
    if quantity == GAIN:
        axes.axhline(0, color=REFERENCE, linewidth=0.8, zorder=0)
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


def _alone(value: float | None, scale: float = 1.0) -> SeedSummary | None:
    """A value without an interval."""
    return None if value is None else SeedSummary(1, value * scale, None, None, None)
