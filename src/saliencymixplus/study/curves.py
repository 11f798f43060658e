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
    shared_legend,
)
from saliencymixplus.study.factorial import EFFECTS, effect, summarise
from saliencymixplus.study.results import PLAIN, Errors, Recipes, difference, test_error

GAIN = "Test error minus no mixing (points)"
LABEL_ERROR = "Label error, mean |λ − λ*|"
NO_OBJECT = "Regions without an object (%)"
Measure = Callable[[Recipes, str], SeedSummary | None]  # of a recipe; None: not measured
QUANTITIES: dict[str, Measure] = {
    "Top-1 test error (%)": lambda recipes, name: (
        test_error(recipes[name]) if name in recipes else None
    ),
    GAIN: lambda recipes, name: difference(recipes, name, PLAIN),
    LABEL_ERROR: lambda recipes, name: _audited(recipes, name, "label_error", 1),
    NO_OBJECT: lambda recipes, name: _audited(recipes, name, "no_object", 100),
}
# Recipes that `factors` compares: as ten more curves in `gains`, they would hide each other.
_FOR_FACTORS = {name for pairs in EFFECTS.values() for pair in pairs for name in pair} - {
    "cutmix-sample-box",
    "saliencymixplus",
    "cutmix-object-mask",
}
# Of Okabe and Ito's colours: blues for the place, oranges for the label.
_LOOKS = (("#56B4E9", "v"), ("#0072B2", "^"), ("#E69F00", "s"), ("#D55E00", "o"), ("#333333", "D"))
EFFECT_STYLES = {name: MethodStyle(name, *look) for name, look in zip(EFFECTS, _LOOKS, strict=True)}


@dataclass(frozen=True)
class Line:
    """Cells that differ in one property only, drawn along one axis."""

    title: str
    axis: str
    cells: dict[int, Recipes]  # by the value on the axis


def gains(cells: Errors) -> Figure | None:
    """Draw the difference from plain training over object size and over the amount of data.

    Leaves out the recipes that ``factors`` compares; None if no other is left.
    """
    styles = _main(_styles(cells))
    styles.pop(PLAIN, None)
    fig = _row(_lines(cells), styles, GAIN, QUANTITIES[GAIN])
    return fig if any(axes.containers for axes in fig.axes) else None


def factors(cells: Errors) -> Figure | None:
    """Draw the effects of place, label and truth over object size and over the amount of data.

    None unless two cells that differ only in size or amount have the recipes of an effect.
    """
    crossed = {
        cell: recipes
        for cell, recipes in cells.items()
        if any(effect(recipes, pairs) for pairs in EFFECTS.values())
    }
    lines = [line for line in _lines(crossed) if len(line.cells) > 1] if crossed else []
    if not lines:
        return None
    fig = _row(
        lines,
        EFFECT_STYLES,
        "Effect on the test error (points)",
        lambda recipes, name: summarise(effect(recipes, EFFECTS[name])),
        least=2,
    )
    return fig if any(axes.containers for axes in fig.axes) else None


def curves(cells: Errors) -> Figure:
    """Draw every quantity over object size and over the amount of data.

    The test errors leave out the recipes that ``factors`` compares.
    """
    lines, styles = _lines(cells), _styles(cells)
    height = 0.8 + 2.8 * len(lines)
    fig, grid = figure_grid(len(lines), len(QUANTITIES), 14.0, height)
    for row, line in zip(grid, lines, strict=True):
        for axes, (quantity, measure) in zip(row, QUANTITIES.items(), strict=True):
            audited = quantity in (LABEL_ERROR, NO_OBJECT)
            _panel(axes, line, styles if audited else _main(styles), measure)
            title = line.title if axes is row[0] else ""
            finish_axes(axes, x=line.axis, y=quantity, title=title)
            if quantity != GAIN:
                axes.set_ylim(bottom=0)
    shared_legend(fig, [axes for row in grid for axes in row])
    return fig


def _main(styles: Mapping[str, MethodStyle]) -> dict[str, MethodStyle]:
    return {name: style for name, style in styles.items() if name not in _FOR_FACTORS}


def _styles(cells: Errors) -> dict[str, MethodStyle]:
    return method_styles(dict.fromkeys(name for found in cells.values() for name in found))


def _row(
    lines: Sequence[Line],
    styles: Mapping[str, MethodStyle],
    quantity: str,
    measure: Measure,
    *,
    least: int | None = None,
) -> Figure:
    """Draw one quantity that is relative to zero, a panel per line.

    More than three panels are drawn in two columns.
    """
    columns = len(lines) if len(lines) <= 3 else 2
    rows = -(-len(lines) // columns)
    fig, grid = figure_grid(rows, columns, 2.5 + 3.8 * columns, 3.6 * rows, sharey=True)
    panels = [axes for row in grid for axes in row]
    for at, (axes, line) in enumerate(zip(panels, lines, strict=False)):
        _panel(axes, line, styles, measure, least=least)
        axes.axhline(0, color=REFERENCE, linewidth=0.8, zorder=0)
        finish_axes(axes, x=line.axis, y="" if at % columns else quantity, title=line.title)
    for axes in panels[len(lines) :]:
        axes.set_axis_off()
    shared_legend(fig, panels)
    return fig


def _panel(
    axes: Axes,
    line: Line,
    styles: Mapping[str, MethodStyle],
    measure: Measure,
    *,
    least: int | None = None,
) -> None:
    """Draw the measure of each name in ``styles`` that at least ``least`` cells have (all if None).

    Intervals are Student's, over seeds or, for differences, over pairs of seeds.
    """
    drawn: dict[str, dict[int, SeedSummary]] = {}
    for name in styles:
        values = [measure(recipes, name) for recipes in line.cells.values()]
        found = {at: value for at, value in enumerate(values) if value is not None}
        if len(found) >= (len(values) if least is None else least):
            drawn[name] = found
    step = min(0.06, 0.7 / max(1, len(drawn)))
    for order, (name, found) in enumerate(drawn.items()):
        # Side by side, so that no interval hides another.
        positions = [at + step * (order - (len(drawn) - 1) / 2) for at in found]
        means = [value.mean for value in found.values()]
        halves = [value.half_width or 0.0 for value in found.values()]
        look = styles[name]
        axes.errorbar(positions, means, halves, **look.line(), marker=look.marker, capsize=2)
    axes.set_xticks(range(len(line.cells)), [str(value) for value in line.cells])
    axes.set_xlim(-0.4, len(line.cells) - 0.6)


def _lines(cells: Errors) -> list[Line]:
    """A line over object sizes for each amount of data, and one over amounts of data.

    The latter is for the object size with the most amounts; if it is drawn, amounts with a single
    object size get no line of their own.
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


def _audited(recipes: Recipes, name: str, quantity: str, scale: float) -> SeedSummary | None:
    """A value of the recipe's audit, which has no interval."""
    value = getattr(recipes[name][0], quantity) if name in recipes else None
    return None if value is None else SeedSummary(1, value * scale, None, None, None)
