"""A gallery of several methods on the same pairs: a row per method, λ and area below each image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from saliencymixplus.pictures.drawing import COLOUR_A, COLOUR_B, GREY, Pixels, panel_size, wrap_text
from saliencymixplus.pictures.grid import Sample, sample_panels, weight_captions
from saliencymixplus.pictures.layout import (
    TEXT,
    CaptionedPanel,
    CellRow,
    Words,
    draw_rows,
    fitting,
    wrapped,
)

_LABEL = 128  # width in pixels of the methods' names


@dataclass(frozen=True)
class GalleryRow:
    """Samples of one method; sample i has the same sources in every row."""

    title: str
    samples: list[Sample]


def draw_gallery(rows: Sequence[GalleryRow], *, note: str = "") -> Pixels:
    """Draw the sources of every pair, then each method's mixed images; wide galleries wrap.

    Returns:
        uint8 pixels ``(height, width, 3)``, at most ``layout.WIDTH`` wide.
    """
    first = max((row.samples for row in rows), key=len)
    pairs = _sources(rows, len(first))
    size = panel_size(*first[0].a.shape[:2])
    bands = -(-len(pairs) // fitting(size[1], label_width=_LABEL))
    columns = -(-len(pairs) // bands)
    drawn: list[CellRow] = []
    for start in range(0, len(pairs), columns):
        drawn += _band(rows, pairs, slice(start, start + columns), size)
    return draw_rows(drawn, label_width=_LABEL, note=note)


def _band(
    rows: Sequence[GalleryRow], pairs: Sequence[Sample], which: slice, size: tuple[int, int]
) -> list[CellRow]:
    """The rows for some of the pairs."""
    sources: list[list[CaptionedPanel]] = [[], []]
    for sample in pairs[which]:
        a, b, _ = sample_panels(sample, size, maps=False)
        sources[0].append(CaptionedPanel(a, wrapped(sample.name_a, COLOUR_A, size[1], lines=1)))
        sources[1].append(CaptionedPanel(b, wrapped(sample.name_b, COLOUR_B, size[1], lines=1)))
    drawn = [
        CellRow(cells, [Words(f"image {name}", GREY)], apart=name == "a" and which.start > 0)
        for name, cells in zip("ab", sources, strict=True)
    ]
    for row in rows:
        lines = wrap_text(row.title, _LABEL - 8, TEXT, lines=3)
        label = [Words(line, bold=i == 0) for i, line in enumerate(lines)]
        if chosen := _chosen(row, pairs):
            label.append(Words(f"chooses {chosen}", GREY))
        cells = [
            CaptionedPanel(sample_panels(sample, size, maps=False)[2], weight_captions(sample))
            for sample in row.samples[: len(pairs)][which]
        ]
        if cells:
            drawn.append(CellRow(cells, label, apart=row is rows[0]))
    return drawn


def _chosen(row: GalleryRow, pairs: Sequence[Sample]) -> str:
    """Which images of the given pairs the method replaces: "", "its own b", or "a and b"."""
    mixed = [
        (sample, pair)
        for sample, pair in zip(row.samples, pairs, strict=False)
        if (sample.a != sample.mixed).any() or not np.array_equal(sample.a, pair.a)
    ]
    if any(not np.array_equal(sample.a, pair.a) for sample, pair in mixed):
        return "a and b"
    own_b = any(not np.array_equal(sample.b, pair.b) for sample, pair in mixed)
    return "its own b" if own_b else ""


def _sources(rows: Sequence[GalleryRow], count: int) -> list[Sample]:
    """One sample per pair, without marks, from a row that mixes: plain training has no pairs."""
    best = max(
        rows,
        key=lambda row: (len(row.samples) == count, any((s.a != s.b).any() for s in row.samples)),
    )
    unmarked: dict[str, Any] = dict.fromkeys(("box", "source_box", "region"))
    return [replace(sample, **unmarked) for sample in best.samples]
