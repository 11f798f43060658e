"""Figures of the label-noise audit: λ against true λ, label errors, errors during training."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from saliencymixplus.audit.records import Records
from saliencymixplus.bootstrap import Estimate
from saliencymixplus.pictures.style import (
    REFERENCE,
    TEXT,
    MethodStyle,
    figure_grid,
    finish_axes,
    method_styles,
)

Estimates = Mapping[str, Mapping[str, Estimate]]  # recipe -> metric -> estimate


def scatter_figure(records: Mapping[str, Records], found: Estimates) -> Figure:
    """One panel per recipe: assigned λ against true λ of every mixed sample, and the diagonal."""
    styles = method_styles(records)
    columns = min(4, len(records))
    rows = -(-len(records) // columns)
    fig, grid = figure_grid(rows, columns, 2.7 * columns, 3.1 * rows, sharex=True, sharey=True)
    cells = [axes for line in grid for axes in line]
    for axes in cells[len(records) :]:
        axes.set_visible(False)
    for at, (axes, (name, taken)) in enumerate(zip(cells, records.items(), strict=False)):
        axes.plot((0, 1), (0, 1), color=REFERENCE, linewidth=1, zorder=1)
        # With more points, each is fainter, so that density shows.
        axes.scatter(
            taken.true_lam,
            taken.lam,
            s=9,
            alpha=float(np.clip(150 / max(len(taken), 1), 0.12, 0.7)),
            color=styles[name].colour,
            linewidths=0,
        )
        mae, r = found[name]["mean_absolute_error"], found[name]["correlation"]
        axes.text(
            0.97,
            0.04,
            f"mean error {mae.value:.3f}"
            + (f"\ncorrelation {r.value:.2f}" if np.isfinite(r.value) else ""),
            transform=axes.transAxes,
            va="bottom",
            ha="right",
            fontsize=8,
            color=TEXT,
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1.5},
        )
        last_row = at + columns >= len(records)
        finish_axes(
            axes,
            x="True λ* (visible object)" if last_row else "",
            y="Assigned λ" if at % columns == 0 else "",
            title=styles[name].label,
        )
        axes.tick_params(labelbottom=last_row)
        axes.set_box_aspect(1)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
    return fig


def errors_figure(found: Estimates) -> Figure:
    """Mean error, bias and object-free pasted regions of every recipe, with 95 % intervals.

    Hollow markers show the error of the area label on the same mixed images.
    """
    height = 1.25 + 0.42 * len(found)
    fig, grid = figure_grid(1, 3, 10.4, height, sharey=True)
    left, middle, right = grid[0]
    _dots(left, found, "mean_absolute_error", "area_mean_absolute_error")
    _dots(middle, found, "bias")
    _dots(right, found, "no_object")
    middle.axvline(0, color=REFERENCE, linewidth=1, zorder=0)
    for axes in grid[0]:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    for axes in (left, right):
        # Start at 0, with a margin on both sides so that no marker is cut off.
        furthest = axes.get_xlim()[1]
        axes.set_xlim(-0.03 * furthest, 1.03 * furthest)
    right.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    finish_axes(left, x="mean |λ − λ*|  (hollow: area label)", title="Label error", grid="x")
    finish_axes(middle, x="mean λ − λ*  (right: too much for a)", title="Bias", grid="x")
    finish_axes(right, x="fraction of pasted regions", title="No object pasted", grid="x")
    left.set_yticks(range(len(found)), [style.label for style in method_styles(found).values()])
    left.set_ylim(len(found) - 0.5, -0.5)
    return fig


def epochs_figure(
    epochs: Mapping[str, Mapping[int, Mapping[str, Estimate]]], found: Estimates
) -> Figure:
    """Label error, object-free pasted regions and saliency on the object, over the saved epochs.

    Recipes that need no network are horizontal lines. The dashed line in the last panel is the
    object's area, the score of an uninformative map.
    """
    fig, grid = figure_grid(1, 3, 11.4, 3.4)
    left, middle, right = grid[0]
    styles = method_styles(found)
    for axes, metric in zip(
        grid[0], ("mean_absolute_error", "no_object", "map_on_object"), strict=True
    ):
        for name, style in styles.items():
            if name in epochs:
                _curve(axes, style, {at: values[metric] for at, values in epochs[name].items()})
            elif np.isfinite(level := found[name][metric].value):
                _level(axes, style, level)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    chance = next(iter(found.values()))["object_area"].value
    right.axhline(chance, color=REFERENCE, linestyle="--", linewidth=1)
    for axes in (middle, right):
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    finish_axes(left, x="Epoch", y="mean |λ − λ*|", title="Label error")
    finish_axes(middle, x="Epoch", y="fraction of pasted regions", title="No object pasted")
    finish_axes(right, x="Epoch", y="fraction of the map", title="Saliency on the object")
    fig.legend(
        *left.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8
    )
    return fig


def _curve(axes: Axes, style: MethodStyle, values: Mapping[int, Estimate]) -> None:
    """Draw one recipe's metric over the epochs, with its interval."""
    at = sorted(values)
    low, high = ([getattr(values[epoch], end) for epoch in at] for end in ("low", "high"))
    axes.fill_between(at, low, high, color=style.colour, alpha=0.18, linewidth=0)
    axes.plot(at, [values[epoch].value for epoch in at], **style.line(), marker=style.marker)


def _level(axes: Axes, style: MethodStyle, level: float) -> None:
    """Draw the metric of a recipe that needs no network, with its marker at the right edge.

    The marker distinguishes recipes that share a colour.
    """
    axes.plot(
        (0, 1),
        (level, level),
        transform=axes.get_yaxis_transform(),
        label=style.label,
        color=style.colour,
        linestyle="--",
        linewidth=1.2,
        marker=style.marker,
        markersize=5,
        markevery=[1],
        clip_on=False,
    )


def _dots(axes: Axes, found: Estimates, metric: str, hollow: str | None = None) -> None:
    for row, (name, style) in enumerate(method_styles(found).items()):
        estimate = found[name][metric]
        if hollow is not None:
            axes.plot(
                found[name][hollow].value,
                row,
                marker=style.marker,
                markersize=9,
                markerfacecolor="none",
                markeredgecolor=style.colour,
                alpha=0.8,
            )
        if not np.isfinite(estimate.value):
            continue
        # A percentile interval need not contain the estimate; error bars cannot be negative.
        reach = [
            [max(estimate.value - estimate.low, 0.0)],
            [max(estimate.high - estimate.value, 0.0)],
        ]
        axes.errorbar(estimate.value, row, xerr=reach, capsize=3, linewidth=1.5, **style.points())
