"""Tables and number formats, for Markdown, HTML, CSV, LaTeX and terminals."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Literal, TypeVar

from saliencymixplus import escape

if TYPE_CHECKING:
    from rich.table import Table as RichTable

MISSING = "\N{EN DASH}"
Item = TypeVar("Item")


@dataclass(frozen=True)
class Cell:
    """A text and the numbers in it, in the order of the column's ``parts``.

    In HTML, the first number is the sort key; in CSV, each number has its own column.
    """

    text: str
    values: tuple[float | None, ...] = ()


Value = str | float | None | Cell  # None: not measured


def number(value: float | None, digits: int = 2, *, signed: bool = False, unit: str = "") -> str:
    """Round ``value``, with a typographic minus sign; zero has no sign, NaN and None are a dash."""
    if value is None or math.isnan(value):
        return MISSING
    text = f"{abs(value):,.{digits}f}".replace(",", "\N{THIN SPACE}")
    zero = not any(digit in text for digit in "123456789") and math.isfinite(value)
    sign = "" if zero else "\N{MINUS SIGN}" if value < 0 else "+" if signed else ""
    return f"{sign}{text}{unit}"


def p_value(p: float | None) -> str:
    """A p-value with three decimals, or ``<0.001``."""
    if p is None or math.isnan(p):
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def p_equation(p: float | None) -> str:
    """A p-value in a sentence: ``p = 0.012``, ``p < 0.001``."""
    text = p_value(p)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def p_cell(p: float | None) -> Cell:
    """A sortable p-value."""
    return Cell(p_value(p), (p,))


def mean_sd(mean: float, sd: float | None, digits: int = 2) -> Cell:
    """``12.34 ± 0.56``, or only the mean without a standard deviation (one seed)."""
    text = number(mean, digits)
    return Cell(text if sd is None else f"{text} ± {number(sd, digits)}", (mean, sd))


def interval(low: float | None, high: float | None) -> Cell:
    """``[11.20, 13.48]``."""
    if low is None or high is None:
        return Cell(MISSING, (None, None))
    return Cell(f"[{number(low)}, {number(high)}]", (low, high))


def estimate(
    value: float, low: float, high: float, digits: int = 2, *, signed: bool = False, unit: str = ""
) -> Cell:
    """``−0.52 [−1.10, +0.06]``: a value with its interval."""
    if not math.isfinite(value):
        return Cell(MISSING, (None, None, None))
    bounds = ", ".join(number(bound, digits, signed=signed) for bound in (low, high))
    return Cell(f"{number(value, digits, signed=signed, unit=unit)} [{bounds}]", (value, low, high))


@dataclass(frozen=True)
class Column:
    """A column; ``parts`` names the numbers in each cell, "" the one that the header names.

    In a terminal, cells of right-aligned and of ``no_wrap`` columns are not wrapped.
    """

    header: str
    align: Literal["left", "right"] = "right"
    format: Callable[[float], str] = number
    parts: Sequence[str] = ()
    no_wrap: bool = False

    def cell(self, value: Value) -> Cell:
        """The cell that shows ``value``."""
        if isinstance(value, Cell):
            return value
        if isinstance(value, str):
            return Cell(value)
        return Cell(MISSING if value is None else self.format(value), (value,))


Getter = tuple[Column, Callable[[Item], Value]]  # a column and its value for an item
MEAN_SD = ("", "s.d.")
INTERVAL = ("low", "high")
ESTIMATE = ("", "low", "high")


@dataclass(frozen=True)
class Table:
    """A table. All text is escaped, so it is shown literally."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    title: str = ""

    def __post_init__(self) -> None:
        if wrong := {len(row) for row in self.rows} - {len(self.columns)}:
            raise ValueError(f"rows of {sorted(wrong)} cells under {len(self.columns)} columns")

    @classmethod
    def of(cls, items: Iterable[Item], columns: Sequence[Getter[Item]], title: str = "") -> "Table":
        """A row for each of ``items``; each column comes with the function that reads its value."""
        rows = [[value(item) for _, value in columns] for item in items]
        return cls([column for column, _ in columns], rows, title)

    def _cells(self) -> list[list[Cell]]:
        return [list(map(Column.cell, self.columns, row)) for row in self.rows]

    def _lines(self, escaped: Callable[[str], str]) -> list[list[str]]:
        """The header and the rows as escaped texts."""
        head = [escaped(column.header) for column in self.columns]
        return [head, *([escaped(cell.text) for cell in row] for row in self._cells())]

    def markdown(self) -> str:
        """GitHub Markdown, without the title, which belongs in a heading."""
        rule = ["---" if column.align == "left" else "---:" for column in self.columns]
        head, *body = self._lines(escape.markdown)
        return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *body])

    def html(self) -> str:
        """An HTML ``<table>`` with sort keys in ``data-sort``."""
        head = "".join(
            f'<th scope="col" class="{column.align}">{escape.html(column.header)}</th>'
            for column in self.columns
        )
        body = "\n".join(
            f"<tr>{''.join(map(_html_cell, self.columns, row))}</tr>" for row in self._cells()
        )
        caption = f"<caption>{escape.html(self.title)}</caption>" if self.title else ""
        head = f"<thead><tr>{head}</tr></thead>"
        return f"<table>{caption}\n{head}\n<tbody>\n{body}\n</tbody></table>"

    def csv(self) -> str:
        """Comma-separated values: numbers with six digits, compound cells in several columns."""
        head = [
            _csv_text(f"{column.header} {part}".strip())
            for column in self.columns
            for part in column.parts or ("",)
        ]
        body = (chain.from_iterable(map(_csv_cells, self.columns, row)) for row in self._cells())
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([head, *body])
        return text.getvalue()

    def latex(self, label: str = "", note: str = "") -> str:
        """A ``table`` with booktabs rules, scaled down to the line; ``note`` is in the caption."""
        kinds = "".join("l" if column.align == "left" else "r" for column in self.columns)
        head, *body = (" & ".join(line) + r" \\" for line in self._lines(escape.latex))
        caption = escape.latex(f"{self.title}. {note}".strip())
        return "\n".join(
            [
                r"% Needs \usepackage{booktabs} and \usepackage{graphicx}.",
                r"\begin{table}",
                r"  \centering",
                *([rf"  \caption{{{caption}}}"] if self.title else []),
                *([rf"  \label{{{label}}}"] if label else []),
                rf"  \sbox0{{\begin{{tabular}}{{{kinds}}}",
                r"    \toprule",
                f"    {head}",
                r"    \midrule",
                *(f"    {line}" for line in body),
                r"    \bottomrule",
                r"  \end{tabular}}%",
                r"  \ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi",
                r"\end{table}",
                "",
            ]
        )

    def rich(self) -> "RichTable":
        """A rich table, for ``rich.console.Console.print``."""
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(
            title=Text(escape.visible(self.title), "italic") if self.title else None,
            title_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 1 if len(self.columns) < 8 else 0, 0, 0),  # to keep to 100 columns
            collapse_padding=True,
            pad_edge=False,
        )
        rows = [[cell.text for cell in row] for row in self._cells()]
        for index, column in enumerate(self.columns):
            header = escape.visible(column.header)
            widest = max((len(row[index]) for row in rows), default=0)
            table.add_column(
                Text(header if index == 0 or len(header) <= widest else _in_two_lines(header)),
                justify=column.align,
                no_wrap=column.no_wrap or column.align == "right",
                overflow="fold",
                vertical="bottom",
            )
        for row in rows:
            table.add_row(*(Text(escape.visible(text)) for text in row))
        return table


def _in_two_lines(header: str) -> str:
    """``header`` in two lines of similar length: numbers are narrower than their headers."""
    words = header.split(" ")
    broken = (f"{' '.join(words[:n])}\n{' '.join(words[n:])}" for n in range(1, len(words)))
    return min(broken, key=lambda text: max(map(len, text.split("\n"))), default=header)


def _html_cell(column: Column, cell: Cell) -> str:
    key = next(iter(cell.values), None)
    sort = "" if key is None or not math.isfinite(key) else f' data-sort="{key:.12g}"'
    return f'<td class="{column.align}"{sort}>{escape.html(cell.text)}</td>'


def _csv_cells(column: Column, cell: Cell) -> list[str]:
    if column.parts or len(cell.values) == 1:
        blank = [""] * (len(column.parts) - len(cell.values))
        return [*map(_csv_number, cell.values), *blank]
    return [_csv_text(cell.text)]


def _csv_number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.6g}"


def _csv_text(text: str) -> str:
    return escape.csv(escape.visible(text))
