"""Escape text for terminals, Markdown, HTML, CSV and LaTeX.

Names of classes, data sets and recipes are untrusted: they must never act as terminal commands,
markup, spreadsheet formulas or TeX macros.
"""

import html as _html
import re

# Control characters (which start escape sequences), direction marks, line separators, surrogates.
_INVISIBLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
# An underscore inside a word does not emphasise; brackets make a link only with `](`.
_MARKDOWN = re.compile(r"[\\`*|~$]|(?<![^\W_])_|_(?![^\W_])|(?<=\])\(")
_FORMULA = re.compile("'*[=+@-]")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "%": r"\%",
    "&": r"\&",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after \\ a bracket would start an optional argument
    "]": "{]}",
    "\N{MINUS SIGN}": "$-$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{EN DASH}": "--",
    "\N{DAGGER}": r"\dag{}",
    "\N{THIN SPACE}": r"\,",
    "\N{NO-BREAK SPACE}": "~",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{GREEK SMALL LETTER LAMDA}": r"$\lambda$",
    "\N{GREEK SMALL LETTER EPSILON}": r"$\varepsilon$",
    "\N{GREEK SMALL LETTER SIGMA}": r"$\sigma$",
}


def visible(text: str) -> str:
    """Replace control characters and direction marks with escapes such as ``\\x1b``."""
    return _INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def markdown(text: str) -> str:
    """Escape ``text`` for GitHub Markdown, in a paragraph, heading or table cell."""
    escaped = _MARKDOWN.sub(lambda found: "\\" + found[0], visible(text))
    return _html.escape(escaped, quote=False)


def html(text: str) -> str:
    """Escape ``text`` for HTML, in an element or a quoted attribute."""
    return _html.escape(visible(text))


def latex(text: str) -> str:
    """Escape ``text`` for LaTeX's text mode."""
    return "".join(_LATEX.get(letter, letter) for letter in visible(text))


def csv(text: str) -> str:
    """Prefix an apostrophe to text that a spreadsheet would interpret as a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def from_csv(text: str) -> str:
    """Undo ``csv``."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
