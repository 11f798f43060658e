"""Plots of a comparison: error bars per method, and error against the cost of training."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from saliencymixplus.comparison.result import Comparison, ResultTable
from saliencymixplus.comparison.statistics import SeedSummary
from saliencymixplus.pictures.style import (
    REFERENCE,
    TEXT,
    MethodStyle,
    figure_grid,
    finish_axes,
    method_styles,
)

# Kind of weights: its offset within a method's row, its label and its style.
_KINDS: dict[str, tuple[float, str, dict[str, Any]]] = {
    "last": (-0.2, "last epoch", {"markersize": 8}),
    "best_validation": (0.05, "best validation epoch", {"markersize": 6, "fillstyle": "none"}),
    "best_test": (0.27, "best test epoch (optimistic)", {"markersize": 6, "alpha": 0.45}),
}
_FRONTIER: dict[str, Any] = {
    "drawstyle": "steps-post",
    "linestyle": "--",
    "linewidth": 1,
    "zorder": 1,
    "label": "Pareto front",
}


def error_bars(comparison: Comparison) -> Figure:
    """Top-1 error of each method with its 95 % interval over seeds, one panel per table."""
    counts = [len(table.rows) for table in comparison.tables]
    fig, grid = figure_grid(
        len(counts), 1, 7.2, sum(1.3 + 0.62 * n for n in counts) + 0.4, height_ratios=counts
    )
    for table, (axes,) in zip(comparison.tables, grid, strict=True):
        _error_panel(axes, table)
    fig.legend(handles=_error_legend(comparison), loc="outside lower center", ncols=3, fontsize=8)
    return fig


def _error_panel(axes: Axes, table: ResultTable) -> None:
    styles = method_styles([row.name for row in table.rows])
    for place, row in enumerate(table.rows):
        style = styles[row.name]
        for which, errors in row.errors.items():
            offset, _, look = _KINDS[which]
            y = place + offset
            _bar(axes, errors.top1_error, y, style, look)
            if which == "last" and len(errors.per_seed_top1_error) > 1:
                values = errors.per_seed_top1_error
                axes.plot(values, [y] * len(values), "|", color=TEXT, markersize=9, zorder=4)
        if row.published is not None:
            axes.plot(
                [row.published.top1_error] * 2,
                [place - 0.38, place + 0.38],
                color=REFERENCE,
                linewidth=2,
                linestyle=":",
            )
    axes.set_yticks(range(len(table.rows)), [row.label for row in table.rows])
    axes.set_ylim(len(table.rows) - 0.45, -0.55)
    axes.set_xlim(left=max(axes.get_xlim()[0], 0.0))
    finish_axes(axes, x="Top-1 error (%)", title=table.title, grid="x")


def _bar(
    axes: Axes, summary: SeedSummary, y: float, style: MethodStyle, look: dict[str, Any]
) -> None:
    bounds = None
    if summary.low is not None and summary.high is not None:
        low = max(summary.low, 0.0)
        bounds = [[summary.mean - low], [summary.high - summary.mean]]
    axes.errorbar(
        [summary.mean],
        [y],
        xerr=bounds,
        linewidth=1.4,
        capsize=3,
        zorder=3,
        **(style.points() | look),
    )


def _error_legend(comparison: Comparison) -> list[Line2D]:
    rows = [row for table in comparison.tables for row in table.rows]
    handles = [
        Line2D([], [], linestyle="none", marker="o", color=TEXT, label=label, **look)
        for which, (_, label, look) in _KINDS.items()
        if any(which in row.errors for row in rows)
    ]
    if any(len(row.seeds) > 1 for row in rows):
        handles.append(Line2D([], [], linestyle="none", marker="|", color=TEXT, label="one seed"))
        handles.append(Line2D([], [], color=TEXT, linewidth=1.4, label="95 % interval over seeds"))
    if any(row.published for row in rows):
        handles.append(Line2D([], [], color=REFERENCE, linestyle=":", label="published"))
    return handles


def pareto(comparison: Comparison, step_ms: Mapping[str, float] | None = None) -> Figure:
    """Top-1 error of the last epoch against the training cost, with the Pareto front.

    The cost is the number of passes through the network which, unlike the training time, does not
    depend on the load of the machine. ``step_ms``, the mean time of a training step by recipe from
    a benchmark, adds a second panel.
    """
    tables = comparison.tables
    timed = [table for table in tables if step_ms and any(r.mix in step_ms for r in table.rows)]
    fig, grid = figure_grid(
        len(tables), 2 if timed else 1, 12.8 if timed else 8.4, 4.2 * len(tables)
    )
    for table, axes in zip(tables, grid, strict=True):
        passes = {row.name: row.passes.mean for row in table.rows}
        _pareto_panel(axes[0], table, passes, "Forward/backward passes of training", "{:,.0f}")
        if step_ms and table in timed:
            times = {r.name: step_ms[r.mix] for r in table.rows if r.mix in step_ms}
            _pareto_panel(axes[1], table, times, "Time of a training step (ms)", "{:,.3g}")
        elif timed:
            axes[1].set_axis_off()
        axes[-1 if table in timed else 0].legend(
            fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5)
        )
    return fig


def _pareto_panel(
    axes: Axes, table: ResultTable, costs: Mapping[str, float], label: str, form: str
) -> None:
    styles = method_styles([row.name for row in table.rows])
    points = []
    for row in table.rows:
        if row.name not in costs:
            continue
        error = row.errors["last"].top1_error
        axes.errorbar(
            [costs[row.name]],
            [error.mean],
            yerr=None if error.sd is None else [[min(error.sd, error.mean)], [error.sd]],
            linewidth=1.2,
            capsize=2,
            zorder=3,
            label=f"{row.label} ({row.seconds.mean:.3g} s)",
            linestyle="none",
            **styles[row.name].points(),
        )
        points.append((costs[row.name], error.mean))
    best = frontier(points)
    if len(best) > 1:
        axes.plot(*zip(*best, strict=True), color=REFERENCE, **_FRONTIER)
    found = [x for x, _ in points]
    if max(found) > 5 * min(found) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: form.format(value)))
    axes.set_ylim(bottom=max(axes.get_ylim()[0], 0.0))
    finish_axes(
        axes,
        x=label,
        y="Top-1 error, last epoch (%)",
        title=f"{table.title}: mean ± s.d. over seeds",
    )


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (cost, error) points that no other point dominates, in order of cost."""
    best: list[tuple[float, float]] = []
    for cost, error in sorted(points):
        if not best or error < best[-1][1]:
            best.append((cost, error))
    return best
