"""The style of all figures: one colour, marker and name per method, labelled axes, no global state.

Usage::

    fig, axes = figure(6.4, 3.6)
    axes.plot(epochs, errors, **method_styles(["cutmix"])["cutmix"].line())
    finish_axes(axes, x="Epoch", y="Top-1 error (%)")
    save_figure(fig, path)

``matplotlib.pyplot`` and its global figures are not used.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from saliencymixplus.files import write_atomically
from saliencymixplus.mixing import METHODS, PRESETS
from saliencymixplus.pictures import palette
from saliencymixplus.pictures.fonts import show_texts_as_they_are

DPI = 150
TEXT = "#222222"
GRID = "#DDDDDD"
REFERENCE = "#888888"  # chance levels, diagonals, published figures


@dataclass(frozen=True)
class MethodStyle:
    """The appearance and name of a mixing recipe in figures and tables."""

    label: str
    colour: str
    marker: str

    def line(self) -> dict[str, Any]:
        """Keyword arguments for ``Axes.plot``."""
        return {"label": self.label, "color": self.colour, "linewidth": 1.8}

    def points(self) -> dict[str, Any]:
        """Keyword arguments for ``Axes.plot`` or ``errorbar`` with markers."""
        return {"color": self.colour, "marker": self.marker, "markersize": 7}


def method_styles(names: Iterable[str]) -> dict[str, MethodStyle]:
    """Styles for the recipes in a figure, by their names in params.yaml.

    No two are alike. A method listed in ``palette.LOOKS`` has the same style in every figure.
    """
    names = list(dict.fromkeys(names))
    looks: dict[str, tuple[str, str]] = {}
    steps = range(len(palette.SPARE_COLOURS) * len(palette.SPARE_MARKERS))
    for name in sorted(names, key=lambda name: (name not in palette.LOOKS, name)):
        free = (look for n in steps if (look := palette.look(name, n)) not in looks.values())
        looks[name] = next(free, palette.look(name))
    return {name: MethodStyle(method_label(name), *looks[name]) for name in names}


def method_label(name: str) -> str:
    """The printed name of a recipe.

    ``SaliencyMix+`` for ``saliencymixplus``, ``SaliencyMix+ (excess)`` for its preset
    ``saliencymixplus-excess``; any other recipe's is its name in params.yaml.
    """
    if name in METHODS:
        return METHODS[name].label
    preset = PRESETS.get(name)
    if preset is not None and name.startswith(f"{preset.name}-"):
        return f"{preset.label} ({name.removeprefix(preset.name)[1:].replace('-', ' ')})"
    return name


def figure(width: float = 6.4, height: float = 4.0) -> tuple[Figure, Axes]:
    """A figure of ``width`` × ``height`` inches with one pair of axes."""
    fig, grid = figure_grid(1, 1, width, height)
    return fig, grid[0][0]


def figure_grid(
    rows: int, columns: int, width: float, height: float, **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with ``rows`` × ``columns`` axes; ``options`` go to ``Figure.subplots``."""
    fig = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(fig)
    grid = fig.subplots(rows, columns, squeeze=False, **options)
    return fig, [list(row) for row in grid]


def finish_axes(
    axes: Axes, *, x: str = "", y: str = "", title: str = "", grid: str | None = "both"
) -> None:
    """Label the axes (quantity and unit), draw a faint grid behind the data, hide half the frame.

    ``grid``: "x", "y", "both" or None.
    """
    axes.set_xlabel(x, color=TEXT)
    axes.set_ylabel(y, color=TEXT)
    if title:
        axes.set_title(title, color=TEXT, fontsize=11, loc="left")
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(True, axis=grid, color=GRID, linewidth=0.7)  # type: ignore[arg-type]
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=TEXT, labelsize=9)


def shared_legend(fig: Figure, panels: Iterable[Axes]) -> None:
    """Add one legend for all ``panels``, each of which may lack some of the methods."""
    handles = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    fig.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize=8)


def png_bytes(fig: Figure) -> bytes:
    """The figure as a PNG; equal figures give equal bytes (no time stamp, no version)."""
    show_texts_as_they_are(fig)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def svg_bytes(fig: Figure) -> bytes:
    """The figure as an SVG with text as outlines; equal figures give equal bytes."""
    show_texts_as_they_are(fig)
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "saliencymixplus", "svg.fonttype": "path"}):
        fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def save_figure(fig: Figure, path: Path) -> None:
    """Write the figure as a PNG, atomically."""
    content = png_bytes(fig)
    write_atomically(path, lambda part: part.write_bytes(content))
