"""A report as blocks, from which report.md and report.html are both made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saliencymixplus import escape
from saliencymixplus.tables import Table


@dataclass(frozen=True)
class Picture:
    """A PNG at ``source``, relative to the page.

    Attributes:
        caption: shown below the picture, and its text for screen readers.
        vector: whether the folder has an SVG of the same name, which the page shows instead.
        chart: data of an interactive chart (``charts.to_json``), which the page draws instead.
    """

    source: str
    caption: str
    vector: bool = False
    chart: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Playground:
    """Two images to mix by hand: an introduction, and ``playground.playground_data``."""

    introduction: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Fold:
    """Blocks that the page shows on demand."""

    title: str
    blocks: "Sequence[Block]"


# A string is Markdown, in which names must be escaped by ``escape.markdown``.
Block = str | Table | Picture | Playground | Fold


def to_markdown(blocks: Sequence[Block]) -> str:
    """The blocks as one Markdown text."""
    return "\n\n".join(text for block in blocks if (text := _markdown(block))) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Table():
            title = f"**{escape.markdown(block.title)}**\n\n" if block.title else ""
            return title + block.markdown()
        case Picture():
            return f"![{escape.markdown(block.caption)}](<{block.source}>)"
        case Fold():
            inner = to_markdown(block.blocks).strip()
            return f"**{escape.markdown(block.title)}**\n\n{inner}"
        case Playground():
            return "Open report.html to mix two images by hand."
        case _:
            return block
