"""Line charts of a report: one description, drawn by matplotlib and by the page's script."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from saliencymixplus.pictures.style import (
    REFERENCE,
    MethodStyle,
    figure_grid,
    finish_axes,
    method_styles,
)

Spread = tuple[float, float | None]  # mean and standard deviation; None for a single seed
Points = Sequence[tuple[float, Spread]]  # x, and the spread of y, by ascending x


@dataclass(frozen=True)
class Panel:
    """One pair of axes, with a line per recipe. The y axis starts at 0: no quantity is negative.

    Attributes:
        marked: draw a marker at every point.
        x_percent: x is a fraction, labelled in percent.
        x_whole: x is an integer, such as an epoch.
        unit_square: both axes from 0 to 1, with the diagonal.
        y_high: end of the y axis; None: fitted to the data.
    """

    title: str
    x: str
    y: str
    lines: Mapping[str, Points]
    marked: bool = True
    x_percent: bool = False
    x_whole: bool = False
    unit_square: bool = False
    y_high: float | None = None


Chart = Sequence[Panel]


def recipes(chart: Chart) -> dict[str, MethodStyle]:
    """The style of every recipe that has a line."""
    return method_styles(dict.fromkeys(mix for panel in chart for mix in panel.lines))


def draw(chart: Chart) -> Figure:
    """The chart as a figure: lines are means, bands one standard deviation."""
    styles = recipes(chart)
    height = 4.0 if any(panel.unit_square for panel in chart) else 3.5
    fig, grid = figure_grid(1, len(chart), max(4.2, 3.5 * len(chart)), height)
    for axes, panel in zip(grid[0], chart, strict=True):
        _draw_panel(axes, panel, styles)
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
    return fig


def to_json(chart: Chart) -> dict[str, Any]:
    """The chart as plain values for the page's script."""
    return {
        "panels": [
            {
                "title": panel.title,
                "x": panel.x,
                "y": panel.y,
                "marked": panel.marked,
                "percent": panel.x_percent,
                "square": panel.unit_square,
                "high": panel.y_high or _highest(panel),
                "lines": [
                    {
                        "method": mix,
                        "points": [[x, round(y, 6), round(d or 0, 6)] for x, (y, d) in line],
                    }
                    for mix, line in panel.lines.items()
                    if line
                ],
            }
            for panel in chart
        ],
        "styles": {
            mix: {"label": s.label, "colour": s.colour, "marker": s.marker}
            for mix, s in recipes(chart).items()
        },
    }


def _draw_panel(axes: Axes, panel: Panel, styles: Mapping[str, MethodStyle]) -> None:
    for mix, line in panel.lines.items():
        if not line:
            continue
        style = styles[mix]
        at = np.array([x for x, _ in line])
        mean, deviation = np.array([(y, d or 0.0) for _, (y, d) in line]).T
        if deviation.any():
            low, high = np.maximum(mean - deviation, 0), mean + deviation
            axes.fill_between(at, low, high, color=style.colour, alpha=0.15, linewidth=0)
        more = {"marker": style.marker, "markersize": 4} if panel.marked else {}
        axes.plot(at, mean, color=style.colour, linewidth=1.6, **more)  # type: ignore[arg-type]
    if panel.unit_square:
        axes.plot((0, 1), (0, 1), color=REFERENCE, linewidth=1, zorder=1)
        axes.set_box_aspect(1)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
    else:
        axes.set_ylim(0, panel.y_high or _highest(panel))
    if panel.x_percent:
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if panel.x_whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish_axes(axes, x=panel.x, y=panel.y, title=panel.title)


def _highest(panel: Panel) -> float:
    """A little above the highest point; 1 if all are 0."""
    return 1.05 * upper_end(panel.lines.values()) or 1.0


def upper_end(lines: Iterable[Points]) -> float:
    """The upper end of the highest band; 0 without points."""
    return max((y + (d or 0.0) for line in lines for _, (y, d) in line), default=0.0)
