"""Fonts for names in any script: DejaVu Sans, bundled with matplotlib, or else system fonts.

DejaVu has λ and looks the same on every machine, but lacks Chinese, Thai and emoji, for which
system fonts are used. Names that no font can show are replaced rather than drawn as empty boxes.
"""

import sys
from functools import cache, lru_cache
from pathlib import Path

from matplotlib import font_manager, get_data_path
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from PIL import ImageFont

from saliencymixplus import escape

_COMBINING = frozenset((0x200C, 0x200D, *range(0xFE00, 0xFE10)))  # joiners, variation selectors


@lru_cache(maxsize=64)
def font(size: int, bold: bool = False, text: str = "") -> ImageFont.FreeTypeFont:
    """A font of ``size`` pixels with every character of ``text``; DejaVu if there is none."""
    return ImageFont.truetype(_font_file(text) or _dejavu(bold), size)


def has_font(text: str) -> bool:
    """Whether an installed font has every character of ``text``."""
    return _font_file(text) is not None or not _missing(text, _dejavu())


def shown_name(name: str, otherwise: str) -> str:
    """``name``, or ``otherwise`` with a one-time warning if no installed font can show it."""
    shown = escape.visible(name)
    if has_font(shown):
        return shown
    _say_missing()
    return otherwise


def show_texts_as_they_are(figure: Figure) -> None:
    """Give every text in a figure a font with its characters, and escape missing characters.

    Dollar signs are escaped, as names may contain them and no label is a formula.
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        content = text.get_text()
        if not _missing(content, _dejavu()):
            continue
        found = _font_file(content)
        if found is None:
            _say_missing()
            lacking = _missing(content, _dejavu())
            escaped = (f"\\u{{{ord(c):x}}}" if ord(c) in lacking else c for c in content)
            text.set_text("".join(escaped))
        else:
            font_manager.fontManager.addfont(found)
            text.set_fontfamily(["DejaVu Sans", FT2Font(str(found)).family_name])


def _dejavu(bold: bool = False) -> Path:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return Path(get_data_path()) / "fonts" / "ttf" / name


@lru_cache(maxsize=256)
def _font_file(text: str) -> Path | None:
    """The first system font with all of ``text``; None if DejaVu or no font at all has it."""
    if not _missing(text, _dejavu()):
        return None
    return next((path for path in _system_fonts() if not _missing(text, path)), None)


@lru_cache(maxsize=1)
def _system_fonts() -> list[Path]:
    """All usable system font files, plain sans-serif ones first."""
    paths = [Path(file) for file in font_manager.findSystemFonts()]
    return sorted(
        paths, key=lambda path: ("Sans" not in path.name, "Regular" not in path.name, path)
    )


def _missing(text: str, path: Path) -> set[int]:
    """The code points in ``text`` that a font file lacks."""
    return {ord(letter) for letter in text if not letter.isspace()} - _COMBINING - _letters(path)


@cache
def _letters(path: Path) -> frozenset[int]:
    """The code points a font can draw; empty for fonts without outlines, such as bitmap emoji."""
    try:
        ImageFont.truetype(path, 11)
        return frozenset(FT2Font(str(path)).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


@lru_cache(maxsize=1)
def _say_missing() -> None:
    print(
        "pictures: no installed font has all characters of some names, which are shown as "
        "numbers or codes; install one, e.g. Noto: apt install fonts-noto-core fonts-noto-cjk",
        file=sys.stderr,
    )
