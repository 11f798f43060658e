"""Tables: the same cells in every format; text is never interpreted as markup or commands."""

import csv
import io
import json
import re
import subprocess
import sys

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from saliencymixplus import escape
from saliencymixplus.tables import (
    MEAN_SD,
    Column,
    Table,
    estimate,
    interval,
    mean_sd,
    number,
    p_cell,
    p_value,
)

HOSTILE = [
    "=HYPERLINK(1)",
    "+1+1",
    "-cmd",
    "@SUM(A1)",
    "\x1b[31mred\x1b[0m",
    "[bold]loud[/bold]",
    "[link](https://example.org)",
    "![picture](https://example.org/a.png)",
    "<script>alert(1)</script>",
    "**strong** _em_ `code` ~~gone~~",
    "a | b",
    "line\nbreak\r\t",
    "\\input{secret} & $x^2$ #1 100% ~ {}",
    "\u202egnp.exe",
    "&lt;b&gt;",
    "\ud800",
    "日本 🐶 Grünfink",
]
TABLE = Table(
    [Column("Method", "left"), Column("Error", parts=MEAN_SD), Column("p"), Column("Images")],
    [
        ["CutMix", mean_sd(12.345, 0.5), p_cell(0.0004), 10_000],
        ["No mixing", mean_sd(13.0, None), p_cell(None), None],
    ],
    "Errors",
)


def hostile_table():
    return Table([Column("<b>Name</b>", "left"), Column("n")], [[text, 1.0] for text in HOSTILE])


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0, "<0.001"), (0.00099, "<0.001"), (0.001, "0.001"), (0.0496, "0.050"), (1, "1.000")],
)
def test_p_values(p, text):
    assert p_value(p) == text


def test_numbers_by_hand():
    assert number(-0.004) == "0.00"
    assert number(-1.005, 1) == "−1.0"
    assert number(0.5, 1, signed=True, unit=" %") == "+0.5 %"
    assert number(12345.6, 0) == "12\N{THIN SPACE}346"
    assert number(None) == number(float("nan")) == p_value(None) == "–"
    assert number(float("inf")) == "inf"
    assert mean_sd(1.0, 0.25).text == "1.00 ± 0.25"
    assert interval(-0.5, 1).text == "[−0.50, 1.00]"
    assert estimate(-0.52, -1.1, 0.06, signed=True).text == "−0.52 [−1.10, +0.06]"
    assert estimate(float("nan"), 0, 1).text == "–"


def test_markdown():
    assert TABLE.markdown().splitlines() == [
        "| Method | Error | p | Images |",
        "| --- | ---: | ---: | ---: |",
        "| CutMix | 12.35 ± 0.50 | &lt;0.001 | 10\N{THIN SPACE}000.00 |",
        "| No mixing | 13.00 | – | – |",
    ]


def test_csv_has_a_column_per_number():
    rows = list(csv.reader(io.StringIO(TABLE.csv())))
    assert rows == [
        ["Method", "Error", "Error s.d.", "p", "Images"],
        ["CutMix", "12.345", "0.5", "0.0004", "10000"],
        ["No mixing", "13", "", "", ""],
    ]


def test_latex():
    text = TABLE.latex(label="tab:x")
    assert r"\begin{tabular}{lrrr}" in text
    assert r"CutMix & 12.35 $\pm$ 0.50 & \textless{}0.001 & 10\,000.00 \\" in text
    assert [text.index(rf"\{rule}rule") for rule in ("top", "mid", "bottom")] == sorted(
        text.index(rf"\{rule}rule") for rule in ("top", "mid", "bottom")
    )
    assert r"\label{tab:x}" in text
    assert r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}" in text  # a wide one fits


def test_html_cells_sort_by_their_numbers():
    text = TABLE.html()
    assert re.findall(r'data-sort="([^"]+)"', text) == ["12.345", "0.0004", "10000", "13"]
    assert "<caption>Errors</caption>" in text


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="cells under 1 columns"):
        Table([Column("x")], [["a", "b"]])


def test_names_are_text_in_markdown():
    page = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(
        hostile_table().markdown()
    )
    assert not re.search(r"<(script|a|img|strong|em|code|s|b)\b", page)
    cells = re.findall(r"<td>(.*?)</td>", page)
    assert len(cells) == len(HOSTILE)
    assert "[link](https://example.org)" in cells
    assert "**strong** _em_ `code` ~~gone~~" in cells
    assert "&amp;lt;b&amp;gt;" in cells
    assert "a | b" in cells


def test_names_are_text_in_html():
    text = hostile_table().html()
    assert set(re.findall(r"</?([a-z]+)", text)) == {"table", "thead", "tbody", "tr", "th", "td"}


def test_no_csv_cell_is_a_formula():
    rows = list(csv.reader(io.StringIO(hostile_table().csv())))[1:]
    assert len(rows) == len(HOSTILE)
    assert not any(name.startswith(("=", "+", "-", "@", "\t", "\r")) for name, _ in rows)
    numbers = Table([Column("x", "left")], [["-1.5"], ["+2e3"], ["-x"]])
    assert list(csv.reader(io.StringIO(numbers.csv())))[1:] == [["-1.5"], ["+2e3"], ["'-x"]]


@pytest.mark.parametrize("text", [*HOSTILE, "'=x", "''-y", "'quoted'", "", "-1.5", "+x"])
def test_a_csv_cell_is_read_as_it_was_written(text):
    written = escape.csv(text)
    assert escape.from_csv(written) == text
    assert text == "-1.5" or not written.startswith(("=", "+", "-", "@"))


def test_no_name_drives_the_terminal():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    console.print(hostile_table().rich())
    shown = console.file.getvalue()
    assert "\\x1b[31mred" in re.sub(r"\x1b\[\d*m", "", shown)
    assert "[bold]loud[/bold]" in shown
    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown


def test_names_are_text_in_latex():
    text = escape.latex("\\input{x} a_b 5% & #1 $y$ [z] λ")
    assert text == (r"\textbackslash{}input\{x\} a\_b 5\% \& \#1 \$y\$ {[}z{]} $\lambda$")


def test_tables_bring_nothing_heavy():
    code = (
        "import sys, json, saliencymixplus.tables;"
        "print(json.dumps([m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(found.stdout) == []
