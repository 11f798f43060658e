"""One cell in detail: every recipe's gain or loss, beside its label error."""

from matplotlib.figure import Figure

from saliencymixplus.comparison.statistics import summarise_seeds
from saliencymixplus.pictures.style import (
    REFERENCE,
    TEXT,
    figure,
    finish_axes,
    method_label,
    method_styles,
)
from saliencymixplus.study.results import PLAIN, Errors, differences


def effects(cells: Errors) -> Figure | None:
    """Draw the test error minus plain training of the cell with the most recipes.

    Points are means over pairs of seeds with Student's 95 % interval, ticks are single seeds; the
    label error is at the right. None if no recipe can be compared with plain training.
    """
    cell, recipes = max(cells.items(), key=lambda item: len(item[1]))
    found = {
        name: gaps.tolist()
        for name in recipes
        if name != PLAIN and len(gaps := differences(recipes, name, PLAIN))
    }
    if not found:
        return None
    fig, axes = figure(7.2, 1.2 + 0.3 * len(found))
    styles = method_styles(found)
    for row, (name, gaps) in enumerate(found.items()):
        summary = summarise_seeds(gaps)
        look = styles[name].points()
        axes.errorbar(summary.mean, row, xerr=summary.half_width, capsize=3, linewidth=1.4, **look)
        axes.plot(gaps, [row] * len(gaps), "|", color=TEXT, markersize=5, zorder=4)
        error = recipes[name][0].label_error
        text = "" if error is None or name == "mixup" else f"{error:.3f}"
        place = axes.get_yaxis_transform()
        axes.text(1.02, row, text, transform=place, color=TEXT, fontsize=9, va="center")
    axes.text(1.02, -1, "label error", transform=place, color=TEXT, fontsize=9, va="center")
    axes.set_yticks(range(len(found)), [styles[name].label for name in found])
    axes.set_ylim(len(found) - 0.4, -1.5)
    axes.axvline(0, color=REFERENCE, linewidth=0.8, zorder=0)
    title = f"Objects of {cell.object_size} pixels in {cell.image_size}, {cell.train_digits} digits"
    label = f"Test error minus {method_label(PLAIN).lower()} (points)"
    finish_axes(axes, x=label, title=title, grid="x")
    return fig
