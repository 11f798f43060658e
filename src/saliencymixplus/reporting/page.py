"""Render a report's blocks as one self-contained HTML page."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from string import Template
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image

from saliencymixplus import escape
from saliencymixplus.errors import UserError
from saliencymixplus.reporting.document import Block, Fold, Picture, Playground
from saliencymixplus.tables import Table

_ASSETS = Path(__file__).with_name("assets")
_SCRIPTS = ("page.js", "charts.js", "playground.js")


def html_page(blocks: Sequence[Block], folder: Path, title: str) -> str:
    """The page of ``blocks``, whose pictures lie in ``folder``.

    Names of data and classes are untrusted: raw HTML and images in Markdown are escaped, pictures
    outside ``folder`` are refused, and the page's Content-Security-Policy allows only its own
    script and the embedded pictures.

    Raises:
        UserError: a picture is missing or outside ``folder``.
    """
    page = _Page(folder)
    body = "\n".join(page.render(block) for block in blocks)
    style = (_ASSETS / "page.css").read_text(encoding="utf-8")
    scripts = [(_ASSETS / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    script = "\n".join(f"{{\n{text}\n}}" if i else text for i, text in enumerate(scripts))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    contents = "\n".join(
        f'<li><a href="#{name}">{escape.html(text)}</a></li>' for name, text in page.contents
    )
    template = Template((_ASSETS / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        policy=policy,
        title=escape.html(title),
        style=style,
        contents=contents,
        body=body,
        script=script,
    )


class _Page:
    """Renders blocks and collects the headings of the second level."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contents: list[tuple[str, str]] = []  # id and text
        self._names: set[str] = set()  # ids that are taken
        self._heading = ""
        self._parser = MarkdownIt("commonmark", {"html": False}).disable("image")

    def render(self, block: Block) -> str:
        """One block as HTML."""
        match block:
            case Table():
                return self._table(block)
            case Picture():
                return self._picture(block)
            case Playground():
                introduction = escape.html(block.introduction)
                return (
                    f'<div class="playground"><p>{introduction}</p>'
                    f"<noscript>Enable JavaScript.</noscript>{_data(block.data)}</div>"
                )
            case Fold():
                inner = "\n".join(map(self.render, block.blocks))
                title = escape.html(block.title)
                return f"<details><summary>{title}</summary>\n{inner}\n</details>"
            case _:
                tokens = self._parser.parse(block)
                self._name_headings(tokens)
                return str(self._parser.renderer.render(tokens, self._parser.options, {}))

    def _table(self, table: Table) -> str:
        name = self._unused(table.title or self._heading)
        data = {"csv": table.csv(), "latex": table.latex(), "name": name}
        label = escape.html(table.title or self._heading)
        return (
            f'<div class="data">{_data(data)}<div class="wide" role="region" tabindex="0" '
            f'aria-label="{label}">{table.html()}</div></div>'
        )

    def _picture(self, picture: Picture) -> str:
        path = self.folder / picture.source
        if picture.vector and picture.chart is None:
            path = path.with_suffix(".svg")
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise UserError(f"the report's picture {path} lies outside {self.folder}")
        try:
            content = base64.b64encode(path.read_bytes()).decode()
        except OSError as error:
            raise UserError(f"the report's picture {path} cannot be read: {error}") from error
        kind = "svg+xml" if path.suffix == ".svg" else "png"
        caption = escape.html(picture.caption)
        width = _width(self.folder / picture.source)
        image = f'<img src="data:image/{kind};base64,{content}"{width} alt="{caption}">'
        look = "vector" if picture.vector else ""
        if picture.chart is not None:
            image = f"<noscript>{image}</noscript>{_data(picture.chart)}"
            look = "interactive"
        return (
            f'<figure class="{look}" data-name="{escape.html(path.stem)}">{image}'
            f"<figcaption>{caption}</figcaption></figure>"
        )

    def _name_headings(self, tokens: Sequence[Token]) -> None:
        for token, inline in pairwise(tokens):
            if token.type != "heading_open":
                continue
            text = "".join(part.content for part in inline.children or ())
            self._heading = text
            name = self._unused(text)
            token.attrSet("id", name)
            if token.tag == "h2":
                self.contents.append((name, text))

    def _unused(self, text: str) -> str:
        """An id made of ``text`` that is not used on the page yet."""
        base = re.sub(r"[^\w]+", "-", text.lower()).strip("-") or "section"
        name, number = base, 2
        while name in self._names:
            name, number = f"{base}-{number}", number + 1
        self._names.add(name)
        return name


def _data(value: Any) -> str:
    """Plain values for the page's script; ``<`` is escaped, so that no text ends the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", r"\u003c")
    return f'<script type="application/json">{text}</script>'


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _width(path: Path) -> str:
    """The width attribute that shows a plot at its size in inches, with text of equal size."""
    with Image.open(path) as picture:
        dots = picture.info.get("dpi")
        return f' width="{round(picture.width * 96 / dots[0])}"' if dots else ""
