"""The layout of all multi-panel pictures: training samples, preview, gallery, audit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from saliencymixplus.pictures.drawing import GREY, INK, Pixels, wrap_text
from saliencymixplus.pictures.fonts import font

WIDTH = 1400  # pixels; no picture is wider
MARGIN, GAP, BLOCK_GAP, LINE = 12, 4, 22, 15
TEXT, SMALL, TITLE = 12, 11, 15  # font sizes
_NARROWEST_PANEL, _NARROWEST = 84, 330  # room for a caption, and for the legend
_BELOW_ROW = 10
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Words:
    """One line of text."""

    text: str
    colour: Colour = INK
    bold: bool = False


@dataclass(frozen=True)
class CaptionedPanel:
    """A panel with lines of text below it."""

    panel: Pixels
    captions: Sequence[Words] = ()


@dataclass(frozen=True)
class CellRow:
    """Cells side by side with text on their left; ``apart`` adds space above."""

    cells: Sequence[CaptionedPanel]
    label: Sequence[Words] = ()
    apart: bool = False


def pitch(panel_width: int) -> int:
    """Distance in pixels between the left edges of adjacent panels."""
    return max(panel_width, _NARROWEST_PANEL) + GAP


def fitting(panel_width: int, *, block: int = 1, label_width: int = 0) -> int:
    """The number of blocks of ``block`` panels that fit side by side; at least one."""
    gap = BLOCK_GAP if block > 1 else GAP
    size = pitch(panel_width) * block - GAP
    return max(1, (WIDTH - 2 * MARGIN - label_width + gap) // (size + gap))


def wrapped(
    text: str, colour: Colour, panel_width: int, *, span: int = 1, lines: int = 2
) -> list[Words]:
    """Wrap ``text`` to at most ``lines`` lines that fit below ``span`` panels."""
    room = pitch(panel_width) * span - GAP
    return [Words(line, colour) for line in wrap_text(text, room, TEXT, lines)]


def draw_rows(
    rows: Sequence[CellRow],
    *,
    title: str = "",
    legend: str = "",
    heads: Sequence[str] = (),
    block: int = 0,
    label_width: int = 0,
    note: str = "",
) -> Pixels:
    """Draw rows of cells, all panels of one size, on white.

    Args:
        title: above everything; ``legend``: in grey below it; ``note``: in grey below the rows.
        heads: one above each column, repeated for every block.
        block: number of columns that form a block, separated by wider gaps; 0: all.
        label_width: width in pixels reserved for row labels.

    Returns:
        uint8 pixels (height, width, 3).
    """
    height, width = rows[0].cells[0].panel.shape[:2]
    columns = max(len(row.cells) for row in rows)

    def left(column: int) -> int:
        wider = column // block * (BLOCK_GAP - GAP) if block else 0
        return MARGIN + label_width + column * pitch(width) + wider

    tops = []
    top = MARGIN + (TITLE + 7 if title else 0) + (LINE if legend else 0) + (LINE if heads else 0)
    below = top
    for row in rows:
        top += 8 if row.apart else 0
        tops.append(top)
        lines = max(len(cell.captions) for cell in row.cells)
        top += height + 2 + lines * LINE + _BELOW_ROW
    whole = max(left(columns - 1) + pitch(width) - GAP, _NARROWEST) + MARGIN
    canvas = Image.new("RGB", (whole, top + (LINE if note else 0) + 2), "white")
    draw = ImageDraw.Draw(canvas)

    def write(at: tuple[int, int], words: Words, size: int = TEXT) -> None:
        face = font(size, bold=words.bold, text=words.text)
        draw.text(at, words.text, words.colour, face)

    if title:
        write((MARGIN, MARGIN - 4), Words(title, bold=True), TITLE)
    if legend:
        write((MARGIN, below - LINE * (2 if heads else 1) - 3), Words(legend, GREY), SMALL)
    for column in range(columns if heads else 0):
        head = Words(heads[column % len(heads)], GREY)
        write((left(column), below - LINE), head, SMALL)
    for row, top_of_row in zip(rows, tops, strict=True):
        for line, words in enumerate(row.label):
            write((MARGIN, top_of_row + line * LINE), words)
        for column, cell in enumerate(row.cells):
            canvas.paste(Image.fromarray(cell.panel), (left(column), top_of_row))
            for line, words in enumerate(cell.captions):
                write((left(column), top_of_row + height + 2 + line * LINE), words)
    if note:
        write((MARGIN, top - 2), Words(note, GREY), SMALL)
    return np.asarray(canvas)
