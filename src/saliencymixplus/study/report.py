"""The study's report: figures, a table per cell, and the regression over all cells."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from saliencymixplus.bootstrap import Estimate
from saliencymixplus.files import write_text
from saliencymixplus.outputs import Output
from saliencymixplus.pictures import style
from saliencymixplus.pictures.style import (
    figure,
    finish_axes,
    method_label,
    method_styles,
    save_figure,
)
from saliencymixplus.study.cell import Row, write_rows
from saliencymixplus.study.curves import curves, factors, gains
from saliencymixplus.study.effects import effects
from saliencymixplus.study.factorial import effects_table, grid
from saliencymixplus.study.loop import Epoch, StudyCell, loop_figure
from saliencymixplus.study.results import (
    PLAIN,
    REFERENCE,
    Errors,
    Recipes,
    Regression,
    by_cell,
    difference,
    regression,
    test_error,
    with_interval,
)
from saliencymixplus.tables import Column, Getter, Table, Value, estimate

FIGURES = "figures"
OUTPUT = Output(
    marks={"study.csv": "object_size,"}, files=("study.csv", "study.md", f"{FIGURES}/*.png")
)


def write_report(rows: list[Row], epochs: Mapping[StudyCell, Sequence[Epoch]], folder: Path) -> str:
    """Write study.csv, study.md and figures/*.png.

    Figures for which the cells have no data are left out.

    Returns:
        The text of study.md.
    """
    cells = by_cell(rows)
    found = regression(cells)
    drawn = {
        "gains": gains(cells),
        "curves": curves(cells),
        "factors": factors(cells),
        "effects": effects(cells),
        "regression": regression_figure(found) if found else None,
        "loop": loop_figure(epochs) if epochs else None,
    }
    for name, fig in drawn.items():
        path = folder / FIGURES / f"{name}.png"
        path.unlink(missing_ok=True)  # of other cells
        if fig is not None:
            save_figure(fig, path)
    write_rows(folder / "study.csv", rows, Row)
    text = markdown(cells, found)
    write_text(folder / "study.md", text)
    return text


def regression_figure(found: Regression) -> Figure:
    """Draw points gained over label error removed, for each recipe of each cell, with the fit."""
    fig, axes = figure(8.0, 4.4)
    names = np.array([point.method for point in found.points])
    x = np.array([point.label for point in found.points])
    gain = np.array([point.gain for point in found.points])
    for name, look in method_styles(names.tolist()).items():
        axes.scatter(
            x[names == name],
            gain[names == name],
            color=look.colour,
            marker=look.marker,
            label=look.label,
            s=28,
        )
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
        lines += [_table(recipes).markdown(), "", *grid(recipes)]
    lines += effects_table(cells)
    if found:
        lines += [
            "## Error gained against label error removed",
            "",
            f"Over {len(found.points)} recipes in {len({p.cell for p in found.points})} cells, "
            f"each compared with `{REFERENCE}` of its cell, 0.1 less label error goes with "
            f"{_points(found.slope)} points less test error (R² {found.r2:.2f}). In a fit with the "
            f"regions without an object as well: {_points(found.label)} points for 0.1 of label "
            f"error, {_points(found.background)} points for 0.1 fewer empty regions. Brackets: "
            "95 % bootstrap intervals over cells and seeds, too narrow with few of either.",
            "",
        ]
    return "\n".join(lines)


def _points(found: Estimate) -> str:
    return estimate(found.value, found.low, found.high, 1, signed=True).text


def _table(recipes: Recipes) -> Table:
    columns: list[Getter[str]] = [
        (Column("recipe", "left"), lambda method: method),
        (Column("seeds", format=lambda n: f"{n:.0f}"), lambda method: len(recipes[method])),
        (Column("top-1 error (%)"), lambda method: with_interval(test_error(recipes[method]))),
        (Column(f"minus {PLAIN}"), lambda method: _minus(recipes, method, PLAIN)),
        (Column(f"minus {REFERENCE}"), lambda method: _minus(recipes, method, REFERENCE)),
        (
            Column("label error", format=lambda value: f"{value:.3f}"),
            lambda method: recipes[method][0].label_error,
        ),
        (
            Column("no object (%)", format=lambda value: f"{100 * value:.1f}"),
            lambda method: recipes[method][0].no_object,
        ),
    ]
    return Table.of(recipes, columns)


def _minus(recipes: Recipes, method: str, other: str) -> Value:
    found = difference(recipes, method, other)
    return None if found is None else with_interval(found, signed=True)
