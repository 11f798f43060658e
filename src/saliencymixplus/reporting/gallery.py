"""A gallery of several methods on the same pairs: a row per method, λ and area below each image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from saliencymixplus.pictures.drawing import (
    COLOUR_A,
    COLOUR_B,
    GREY,
    INK,
    Pixels,
    fit,
    panel_size,
)
from saliencymixplus.pictures.fonts import font
from saliencymixplus.pictures.grid import Sample, sample_panels

_LABEL, _GAP, _MARGIN, _LINE = 128, 10, 12, 15


@dataclass(frozen=True)
class Row:
    """Samples of one method; sample i of every row has the same sources, as far as there are."""

    name: str
    title: str
    samples: list[Sample]


def draw_gallery(rows: Sequence[Row], *, note: str = "") -> Pixels:
    """The sources of every pair on top, then each method's mixed images.

    Returns:
        uint8 pixels ``(height, width, 3)``.
    """
    first = max((row.samples for row in rows), key=len)
    pairs = _sources(rows, len(first))
    size = panel_size(*first[0].a.shape[:2])
    pitch = max(size[1], 100) + _GAP
    head = 2 * (size[0] + _LINE + 4) + 8
    row_height = size[0] + _LINE + 8
    width = 2 * _MARGIN + _LABEL + len(pairs) * pitch
    height = 2 * _MARGIN + head + len(rows) * row_height + (18 if note else 0)
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    for i, sample in enumerate(pairs):
        left = _MARGIN + _LABEL + i * pitch
        panels = sample_panels(sample, size, maps=False)
        for k, (pixels, name, colour) in enumerate(
            ((panels[0], sample.name_a, COLOUR_A), (panels[1], sample.name_b, COLOUR_B))
        ):
            top = _MARGIN + k * (size[0] + _LINE + 4)
            canvas.paste(Image.fromarray(pixels), (left, top))
            label = "".join(fit(name, pitch - _GAP, 11, lines=1))
            draw.text((left, top + size[0] + 1), label, colour, font(11, text=name))
    for k, name in enumerate(("image a", "image b")):
        draw.text((_MARGIN, _MARGIN + k * (size[0] + _LINE + 4)), name, GREY, font(12))
    for at, row in enumerate(rows):
        top = _MARGIN + head + at * row_height
        lines = fit(row.title, _LABEL - 8, 12, lines=3)
        for k, line in enumerate(lines):
            draw.text((_MARGIN, top + k * _LINE), line, INK, font(12, bold=k == 0))
        if any(
            (sample.a != sample.mixed).any() and not np.array_equal(sample.b, pair.b)
            for sample, pair in zip(row.samples, pairs, strict=False)
        ):
            draw.text((_MARGIN, top + len(lines) * _LINE), "chooses its own b", GREY, font(11))
        for i, sample in enumerate(row.samples[: len(pairs)]):
            left = _MARGIN + _LABEL + i * pitch
            panel = sample_panels(sample, size, maps=False)[2]
            canvas.paste(Image.fromarray(panel), (left, top))
            draw.text((left, top + size[0] + 1), sample.weights, INK, font(11, bold=True))
            if sample.lam_b is None:  # two weights leave no room for a third number
                area = f"area {sample.area_lam:.2f}"
                draw.text((left + 50, top + size[0] + 1), area, GREY, font(11))
    if note:
        draw.text((_MARGIN, height - _MARGIN - 14), note, GREY, font(11))
    return np.asarray(canvas)


def _sources(rows: Sequence[Row], count: int) -> list[Sample]:
    """One sample per pair, bare of marks, from a row that mixes (plain training pairs nobody)."""
    best = max(
        rows,
        key=lambda row: (len(row.samples) == count, any((s.a != s.b).any() for s in row.samples)),
    )
    return [
        Sample(
            a=sample.a,
            b=sample.b,
            mixed=sample.mixed,
            name_a=sample.name_a,
            name_b=sample.name_b,
            lam=sample.lam,
            area_lam=sample.area_lam,
            object_a=sample.object_a,
            object_b=sample.object_b,
        )
        for sample in best.samples
    ]
