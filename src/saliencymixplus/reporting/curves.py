"""Curves of a report, means and spread over seeds: learning, occlusion, attacks, corruptions."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from saliencymixplus.pictures.style import (
    REFERENCE,
    MethodStyle,
    figure_grid,
    finish_axes,
    method_styles,
)
from saliencymixplus.reporting.run_data import RunFolder, Runs, Spread, over_seeds, spread

FEWEST = 10  # images in a bin of the reliability diagram
Points = Sequence[tuple[float, Spread]]  # x, and mean and s.d. of y
_LEARNING = {
    "test_top1_error": ("Test error", "Top-1 error (%)"),
    "validation_top1_error": ("Validation error", "Top-1 error (%)"),
    "train_loss": ("Training loss", "Loss, mixed batches included"),
}


def learning_figure(runs: Runs) -> Figure | None:
    """Test error, validation error and training loss over the epochs."""
    panels = {
        column: {mix: _history(folders, column) for mix, folders in runs.items()}
        for column in _LEARNING
    }
    panels = {column: lines for column, lines in panels.items() if any(lines.values())}
    if not panels:
        return None
    fig, axes = _panels(len(panels), runs)
    for cell, (column, lines) in zip(axes, panels.items(), strict=True):
        title, y = _LEARNING[column]
        _lines(cell, lines, marked=False)
        if column != "train_loss":
            _from_the_first_fall(cell, lines)
        cell.xaxis.set_major_locator(MaxNLocator(integer=True))
        finish_axes(cell, x="Epoch", y=y, title=title)
    return fig


def occlusion_figure(runs: Runs) -> Figure | None:
    """Error over the share of pixels removed: a square in the centre, squares anywhere."""
    fig = _by_kind(
        runs,
        "occlusion",
        ("kind", "share"),
        {"centre": "Centre removed", "random": "Random squares removed"},
        "Share of pixels removed",
    )
    for axes in fig.axes if fig else ():
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return fig


def attack_figure(runs: Runs) -> Figure | None:
    """Error over the size ε of adversarial perturbations."""
    return _by_kind(
        runs,
        "attacks",
        ("attack", "epsilon_255"),
        {"fgsm": "FGSM", "pgd": "PGD"},
        "ε (of 255)",
        names=str.lower,
    )


def severity_figure(runs: Runs) -> Figure | None:
    """Error over the severity (all corruptions) and per corruption (all severities)."""
    if not any(run.tables.get("corruptions") for folders in runs.values() for run in folders):
        return None
    kinds: dict[str, None] = {}
    by_kind: dict[str, Mapping[tuple[str, ...], Spread]] = {}
    for mix, folders in runs.items():
        by_kind[mix] = over_seeds(folders, "corruptions", ["corruption"], "top1_error")
        kinds |= {key[0]: None for key in by_kind[mix]}
    styles = method_styles(runs)
    fig, grid = figure_grid(1, 2, 10.4, max(3.6, 0.9 + 0.27 * len(kinds)), width_ratios=(1, 1.5))
    left, right = grid[0]
    lines = {
        mix: _numeric(over_seeds(folders, "corruptions", ["severity"], "top1_error"))
        for mix, folders in runs.items()
    }
    _lines(left, lines)
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish_axes(left, x="Severity", y="Top-1 error (%)", title="All corruptions")
    offsets = np.linspace(-0.25, 0.25, len(styles)) if len(styles) > 1 else [0.0]
    for offset, (mix, style) in zip(offsets, styles.items(), strict=True):
        at = [(i, by_kind[mix][(kind,)]) for i, kind in enumerate(kinds) if (kind,) in by_kind[mix]]
        right.errorbar(
            [mean for _, (mean, _) in at],
            [i + offset for i, _ in at],
            xerr=[deviation for _, (_, deviation) in at],
            linestyle="none",
            color=style.colour,
            marker=style.marker,
            markersize=4.5,
            linewidth=1,
        )
    right.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
    right.set_ylim(len(kinds) - 0.5, -0.5)
    finish_axes(
        right, x="Top-1 error (%), mean of five severities", title="By corruption", grid="x"
    )
    _legend(fig, styles)
    return fig


def reliability_figure(runs: Runs) -> Figure | None:
    """Accuracy over confidence, before and after temperature scaling, and the diagonal.

    Bins are pooled over seeds; those of fewer than ``FEWEST`` images say too little to be drawn.
    """
    titles = {"none": "As trained", "temperature": "After temperature scaling"}
    panels: dict[str, dict[str, Points]] = {}
    for mix, folders in runs.items():
        for scaling, points in _pooled(folders).items():
            panels.setdefault(scaling, {})[mix] = points
    if not panels:
        return None
    fig, axes = _panels(len(panels), runs, height=4.0)
    for cell, scaling in zip(axes, sorted(panels), strict=True):
        cell.plot((0, 1), (0, 1), color=REFERENCE, linewidth=1, zorder=1)
        _lines(cell, panels[scaling])
        cell.set_box_aspect(1)
        cell.set_xlim(-0.02, 1.02)
        cell.set_ylim(-0.02, 1.02)
        finish_axes(cell, x="Confidence", y="Accuracy", title=titles.get(scaling, scaling))
    return fig


def _pooled(runs: Sequence[RunFolder]) -> dict[str, list[tuple[float, Spread]]]:
    """By scaling: confidence, accuracy and its standard error in every bin that has enough."""
    sums: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        for line in run.tables.get("reliability", ()):
            if line.get("accuracy"):
                images = float(line["images"])
                found = sums.setdefault((line["scaling"], line["bin_low"]), [0.0, 0.0, 0.0])
                found[0] += images
                found[1] += images * float(line["confidence"])
                found[2] += images * float(line["accuracy"])
    result: dict[str, list[tuple[float, Spread]]] = {}
    for (scaling, _), (images, confidence, accuracy) in sums.items():
        if images >= FEWEST:
            right = accuracy / images
            error = float(np.sqrt(right * (1 - right) / images))
            result.setdefault(scaling, []).append((confidence / images, (right, error)))
    return {scaling: sorted(points) for scaling, points in result.items()}


def _by_kind(
    runs: Runs,
    table: str,
    keys: tuple[str, str],
    titles: Mapping[str, str],
    x: str,
    names: Callable[[str], str] = str,
) -> Figure | None:
    panels: dict[str, dict[str, Points]] = {}
    for mix, folders in runs.items():
        found = over_seeds(folders, table, keys, "top1_error")
        for kind in dict.fromkeys(names(key[0]) for key in found):
            panels.setdefault(kind, {})[mix] = _numeric(
                {key[1:]: value for key, value in found.items() if names(key[0]) == kind}
            )
    if not panels:
        return None
    fig, axes = _panels(len(panels), runs, sharey=True)
    for cell, (kind, lines) in zip(axes, panels.items(), strict=True):
        _lines(cell, lines)
        y = "Top-1 error (%)" if cell is axes[0] else ""
        finish_axes(cell, x=x, y=y, title=titles.get(kind, kind))
    axes[0].set_ylim(bottom=0)  # last: from here on the shared axis no longer adapts
    return fig


def _panels(
    count: int, runs: Runs, height: float = 3.5, **options: bool
) -> tuple[Figure, list[Axes]]:
    fig, grid = figure_grid(1, count, max(4.2, 3.5 * count), height, **options)
    _legend(fig, method_styles(runs))
    return fig, grid[0]


def _legend(fig: Figure, styles: Mapping[str, MethodStyle]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=s.colour, marker=s.marker, markersize=5, label=s.label)
        for s in styles.values()
    ]
    fig.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), 5),
        frameon=False,
        fontsize=8,
    )


def _lines(axes: Axes, lines: Mapping[str, Points], marked: bool = True) -> None:
    """One line per recipe, its spread over seeds as a band."""
    for mix, style in method_styles(lines).items():
        if not lines[mix]:
            continue
        at = np.array([x for x, _ in lines[mix]])
        mean, deviation = np.array([y for _, y in lines[mix]]).T
        if deviation.any():
            axes.fill_between(
                at, mean - deviation, mean + deviation, color=style.colour, alpha=0.15, linewidth=0
            )
        more = {"marker": style.marker, "markersize": 4} if marked else {}
        axes.plot(at, mean, color=style.colour, linewidth=1.6, **more)  # type: ignore[arg-type]


def _history(runs: Sequence[RunFolder], column: str) -> list[tuple[float, Spread]]:
    by_epoch: dict[float, list[float]] = {}
    for run in runs:
        for row in run.history:
            value = getattr(row, column)
            if value is not None:
                by_epoch.setdefault(row.epoch, []).append(value)
    return [(epoch, spread(values)) for epoch, values in sorted(by_epoch.items())]


def _from_the_first_fall(axes: Axes, lines: Mapping[str, Points]) -> None:
    """Cut off the first epochs, whose errors near chance would flatten all that follows."""
    later = [mean + sd for points in lines.values() for _, (mean, sd) in points[len(points) // 4 :]]
    if later:
        axes.set_ylim(0, max(later) * 1.15)


def _numeric(found: Mapping[tuple[str, ...], Spread]) -> list[tuple[float, Spread]]:
    return sorted((float(key[0]), value) for key, value in found.items())
