"""Layout and escaping of tables in a terminal, HTML, LaTeX, Markdown and JSON, so that no name can execute.

Names come from files that others wrote. Whatever they hold, no format made here lets them run:
control characters are shown as escapes, and each writer escapes what its reader would execute.
"""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from alpaca_analysis.foundations import options

ABSENT = "–"


def printable(text) -> str:
    r"""Return `text` on one line, with control and formatting characters shown as escapes.

    Terminal sequences, line breaks and marks that reverse the reading direction lose their effect
    and stay visible.

    Parameters
    ----------
    text : object
        Usually a name; anything else is turned into text first.

    Returns
    -------
    str
        The same text without characters of Unicode's categories C, Zl and Zp.

    Examples
    --------
    >>> printable("gpt4\x1b[31m\nred")
    'gpt4\\x1b[31m\\nred'
    """
    shown = (
        c.encode("unicode_escape", "surrogatepass").decode()
        if unicodedata.category(c)[0] == "C" or unicodedata.category(c) in ("Zl", "Zp")
        else c
        for c in str(text)
    )
    return "".join(shown)


def decimals(error: float, *, default: int = 2) -> int:
    """Return how many decimals show two significant digits of `error`, or `default` without one.

    Examples
    --------
    >>> decimals(0.7249), decimals(1.154), decimals(0.0996), decimals(float("nan"))
    (2, 1, 2, 2)
    """
    if not np.isfinite(error) or error <= 0:
        return default
    return max(0, 1 - math.floor(math.log10(float(f"{error:.1e}"))))


def format_number(value, places: int) -> str:
    """Return `value` with `places` decimals and a true minus sign; a dash where it is undefined."""
    if pd.isna(value):
        return ABSENT
    try:
        text = f"{value:,.{places}f}"
    except OverflowError:  # an integer of hundreds of digits
        text = f"{value:,}"
    if text.lstrip("-").strip("0.") == "":
        text = text.lstrip("-")
    return text.replace("-", "−")


@dataclass(frozen=True)
class Table:
    """A result ready to be read.

    Attributes
    ----------
    cells : DataFrame
        Text, one column as it is headed.
    numeric : tuple of bool
        Which columns hold numbers and are set to the right.
    caption : str
        How the result was computed, and what marks mean; stands under the table, and may be empty.
    marks : mapping
        (row, column), counted from 0: what stands behind a cell, such as stars.
    bold : frozenset
        (row, column) of the cells to be set in bold.
    """

    cells: pd.DataFrame
    numeric: tuple[bool, ...]
    caption: str = ""
    marks: Mapping[tuple[int, int], str] = field(default_factory=dict)
    bold: frozenset[tuple[int, int]] = frozenset()

    def __str__(self) -> str:
        return self.to_string()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.to_html()

    def _lines(self) -> list[tuple[str, ...]]:
        """Return the header and the rows."""
        return [tuple(self.cells.columns), *self.cells.itertuples(index=False, name=None)]

    def _numbered(self) -> range:
        return range(self.cells.shape[1])

    def to_string(self) -> str:
        """Return plain text in aligned columns."""
        tails = [
            max((len(t) for (_, j), t in self.marks.items() if j == i), default=0) for i in self._numbered()
        ]
        body = [
            tuple(c + self.marks.get((i, j), "").ljust(tails[j]) for j, c in enumerate(row))
            for i, row in enumerate(self._lines()[1:])
        ]
        rows = [tuple(c + " " * n for c, n in zip(self.cells.columns, tails, strict=True)), *body]
        widths = [max(map(_columns_taken, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                " " * (w - _columns_taken(c)) + c if right else c + " " * (w - _columns_taken(c))
                for c, w, right in zip(row, widths, self.numeric, strict=True)
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, self.caption] if self.caption else lines)

    def to_html(self) -> str:
        """Return an HTML table; the same result gives the same bytes, and no text in it can run."""
        sides = ["right" if right else "left" for right in self.numeric]

        def line(tag, row, i=None):
            scope = ' scope="col"' if tag == "th" else ""
            cells = (
                f'<{tag}{scope} style="text-align: {sides[j]}">{self._html(c, i, j)}</{tag}>'
                for j, c in enumerate(row)
            )
            return f"<tr>{''.join(cells)}</tr>"

        under = 'style="caption-side: bottom; text-align: left"'
        caption = f"<caption {under}>{html.escape(self.caption)}</caption>\n" if self.caption else ""
        first, *rest = self._lines()
        head, body = line("th", first), "\n".join(line("td", row, i) for i, row in enumerate(rest))
        style = ' style="font-variant-numeric: tabular-nums"'
        return f"<table{style}>\n{caption}<thead>\n{head}\n</thead>\n<tbody>\n{body}\n</tbody>\n</table>"

    def _html(self, text, i, j) -> str:
        text = html.escape(text)
        text = f"<strong>{text}</strong>" if (i, j) in self.bold else text
        mark = self.marks.get((i, j), "")
        return f"{text}<sup>{html.escape(mark.strip())}</sup>" if mark else text

    def to_latex(
        self,
        *,
        caption: str | None = None,
        label: str | None = None,
        siunitx: bool = False,
        place: options.Place = "column",
    ) -> str:
        """Return a LaTeX table in booktabs' style.

        Parameters
        ----------
        caption, label : str, optional
            With either, the table becomes a float. The caption is plain text, and is escaped; the
            label may hold letters, digits and ``:._-``.
        siunitx : bool
            Set numbers in columns of type S.
        place : {"column", "page", "long"}
            One column, both columns of a page (``table*``), or as many pages as are needed (``longtable``).
        """
        options.one_of("place", place, options.Place)
        if label is not None and not all(c.isalnum() or c in ":._-" for c in label):
            raise ValueError(f"label: found {label!r}, expected letters, digits and ':._-'")
        from alpaca_analysis.present import latex  # which needs this module

        return latex.write(self, caption, label, siunitx, place)

    def to_markdown(self) -> str:
        """Return a Markdown table (pipes, as GitHub reads them), and under it how it was computed."""
        rule = ["---:" if right else ":---" for right in self.numeric]
        first, *rest = self._lines()
        body = [[self._markdown(c, i, j) for j, c in enumerate(row)] for i, row in enumerate(rest)]
        lines = [f"| {' | '.join(row)} |" for row in (map(_markdown, first), rule, *body)]
        return "\n".join([*lines, *(["", _markdown(self.caption)] if self.caption else [])]) + "\n"

    def _markdown(self, text, i, j) -> str:
        text = f"**{_markdown(text)}**" if (i, j) in self.bold else _markdown(text)
        return text + _markdown(self.marks.get((i, j), ""))


def _columns_taken(text):
    """Return how many columns of a terminal the text takes."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(bool(unicodedata.combining(c)) for c in text)


def _markdown(text):
    text = html.escape(printable(text), quote=False)
    return "".join("\\" + c if c in "\\`*_{}[]()!|~$#" else c for c in text)


def records(frame: pd.DataFrame) -> list[dict]:
    """Return rows as JSON takes them: plain numbers with all digits, None where undefined.

    Examples
    --------
    >>> records(pd.DataFrame({"model": ["m"], "win_rate": [0.1 + 0.2], "ci_low": [float("nan")]}))
    [{'model': 'm', 'win_rate': 0.30000000000000004, 'ci_low': None}]
    """
    rows = frame.astype(object).to_dict("records")
    return [{str(name): _plain(value) for name, value in row.items()} for row in rows]


def _plain(value):
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(v) for v in value]
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, (bool, int, float, str)) else str(value)
