"""From Markdown to one self-contained HTML page: pictures inside, no scripts, no server."""

import base64
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from PIL import Image

from saliencymixplus.errors import UserError

_TEMPLATE = Path(__file__).with_name("page.html")


def html_page(markdown: str, folder: Path, title: str) -> str:
    """The page for ``markdown``, whose pictures are PNG files named relative to ``folder``.

    Raw HTML in the Markdown is shown as text, and so is a picture outside ``folder``: names of data
    and classes may come from somebody else. Links to other places than the web become text.

    Raises:
        UserError: a picture is missing.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    contents = _name_headings(tokens)
    renderer = parser.renderer
    assert isinstance(renderer, RendererHTML)
    rules: dict[str, Any] = {
        "image": _image_rule(folder),
        "table_open": lambda *_: '<div class="wide"><table>\n',
        "table_close": lambda *_: "</table></div>\n",
    }
    renderer.rules.update(rules)
    body = renderer.render(tokens, parser.options, {})
    # A figure must not sit in a paragraph.
    body = re.sub(r"<p>((?:<figure>.*?</figure>\s*)+)</p>", r"\1", body, flags=re.DOTALL)
    entries = "\n".join(
        f'<li class="level{level}"><a href="#{name}">{_escape(text)}</a></li>'
        for level, name, text in contents
    )
    page = Template(_TEMPLATE.read_text(encoding="utf-8"))
    return page.substitute(title=_escape(title), contents=entries, body=body)


def _name_headings(tokens: Sequence[Token]) -> list[tuple[int, str, str]]:
    """Give every heading an id; return level, id and text of those for the contents."""
    contents: list[tuple[int, str, str]] = []
    taken: set[str] = set()
    for token, inline in pairwise(tokens):
        if token.type != "heading_open":
            continue
        base = re.sub(r"[^\w]+", "-", inline.content.lower()).strip("-") or "section"
        name, number = base, 2
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name)
        token.attrSet("id", name)
        if token.tag == "h2":
            contents.append((2, name, inline.content))
    return contents


def _image_rule(folder: Path) -> Any:
    def render(tokens: Sequence[Token], index: int, *_: Any) -> str:
        token = tokens[index]
        path = folder / unquote(str(token.attrs["src"]))
        if not path.resolve().is_relative_to(folder.resolve()):
            return _escape(f"![{token.content}]({token.attrs['src']})")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"the report's picture {path} cannot be read: {error}") from error
        data = base64.b64encode(content).decode()
        text = _escape(token.content)
        return (
            f'<figure><img src="data:image/png;base64,{data}"{_width(path)} alt="{text}">'
            f"<figcaption>{text}</figcaption></figure>\n"
        )

    return render


def _width(path: Path) -> str:
    """A plot is shown at its size in inches, so that all have letters of one size."""
    with Image.open(path) as picture:
        dots = picture.info.get("dpi")
        return f' width="{round(picture.width * 96 / dots[0])}"' if dots else ""


def _escape(text: str) -> str:
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(sign, entity)
    return text
