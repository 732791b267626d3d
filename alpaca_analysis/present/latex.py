"""Tables as LaTeX sets them in a paper: booktabs, columns of numbers, headers and sentences that break."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from alpaca_analysis.present.rendering import printable

if TYPE_CHECKING:
    from alpaca_analysis.present.rendering import Table

SENTENCE = 24  # characters from which on a cell of several words is broken into lines
PAGE_CHARACTERS = 78  # of a line across the page, roughly

_LATEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "…": r"\dots{}",
    "\0": "{}",
    "[": "{[}",  # after a row's end it would open an option
    "*": "{*}",
    **{c: "\\" + c for c in "&%$#_{}"},
}


def escaped(text: str) -> str:
    r"""Return a text as LaTeX sets it, whatever it holds.

    Examples
    --------
    >>> escaped("gpt4_0613 & 50 %")
    'gpt4\\_0613 \\& 50 \\%'
    """
    text = re.sub("(?<=-)-", "\0-", printable(text))  # two in a row would be set as one dash
    return "".join(_LATEX.get(c, c) for c in text)


def write(table: Table, caption: str | None, label: str | None, siunitx: bool, place: str) -> str:
    """Return the table as LaTeX; `Table.to_latex` says what the options mean.

    Parameters
    ----------
    table : Table
        What is shown.
    caption, label : str or None
        Of the float.
    siunitx : bool
        Set numbers in columns of type S.
    place : str
        "column", "page" or "long".

    Returns
    -------
    str
    """
    texts = [list(map(str, table.cells.iloc[:, j])) for j in range(table.cells.shape[1])]
    breaks = [not right and _is_prose(cells) for right, cells in zip(table.numeric, texts, strict=True)]
    tails = [
        max((t for (_, k), t in table.marks.items() if k == j), key=len, default="")
        for j in range(len(texts))
    ]
    formats = [
        _number_format(cells, siunitx, tail) if right else ("l", False)
        for right, cells, tail in zip(table.numeric, texts, tails, strict=True)
    ]
    broken = _broken_column(table, breaks, place)
    columns = "".join(broken if b else f for b, (f, _) in zip(breaks, formats, strict=True))
    head = " & ".join(
        _header(name, cells, right, b, braced)
        for name, cells, right, b, (_, braced) in zip(
            table.cells.columns, texts, table.numeric, breaks, formats, strict=True
        )
    )
    rows = [
        " & ".join(_cell(table, i, j, tails[j], formats[j][1]) for j in range(len(texts))) + r" \\"
        for i in range(len(table.cells))
    ]
    about = [rf"\caption{{{escaped(caption)}}}"] if caption is not None else []
    about += [rf"\label{{{label}}}"] if label is not None else []
    gap = [r"\smallskip"] if caption is not None else []
    under = [rf"\par\smallskip{{\footnotesize\raggedright\noindent {escaped(table.caption)}\par}}"]
    under = under if table.caption else []
    top = [r"\toprule", head + r" \\", r"\midrule"]
    if place == "long":
        first = ["".join(about) + r" \\"] if about else []
        lines = [rf"\begin{{longtable}}{{{columns}}}", *first, *top, r"\endhead", r"\bottomrule", r"\endfoot"]
        return "\n".join([*lines, *rows, r"\end{longtable}", *under]) + "\n"
    inner, width = ("tabularx", r"{\linewidth}") if any(breaks) else ("tabular", "")
    begin = rf"\begin{{{inner}}}{width}{{{columns}}}"
    tabular = [begin, *top, *rows, r"\bottomrule", rf"\end{{{inner}}}", *under]
    if place == "column" and not about:
        return "\n".join(tabular) + "\n"
    environment = "table" if place == "column" else "table*"
    begin, end = rf"\begin{{{environment}}}", rf"\end{{{environment}}}"
    return "\n".join([begin, r"\centering", *about, *gap, *tabular, end]) + "\n"


def _is_prose(cells):
    return any(len(cell) > SENTENCE and " " in cell for cell in cells)


def _broken_column(table, breaks, place):
    """Return the type of columns whose cells break into lines: X shares the width, p has one of its own."""
    ragged = r">{\raggedright\arraybackslash}"
    if place != "long":
        return ragged + "X"
    others = sum(
        2.4 + max([len(name), *map(len, table.cells.iloc[:, j])])
        for j, name in enumerate(table.cells.columns)
        if not breaks[j]
    )
    share = max(0.15, 1 - others / PAGE_CHARACTERS) / max(1, sum(breaks)) - 0.03
    return rf"{ragged}p{{{share:.2f}\linewidth}}"


def _header(name, cells, right, broken, braced):
    """Return a header on as many lines as keep it hardly wider than its column; in braces, for columns S."""
    widest = max([len(cell) for cell in cells] + [len(word) for word in name.split()], default=len(name))
    lines = textwrap.wrap(name, max(widest, 8), break_long_words=False, break_on_hyphens=False)
    if broken or len(lines) < 2:
        return f"{{{escaped(name)}}}" if braced else escaped(name)
    side = "r" if right else "l"
    stacked = r" \\ ".join(map(escaped, lines))
    return rf"{{\shortstack[{side}]{{{stacked}}}}}"


def _cell(table, i, j, tail, is_number):
    text, mark = str(table.cells.iloc[i, j]), table.marks.get((i, j), "")
    if is_number and (number := _number(text)):
        stars = f"{{$^{{{mark.strip()}}}$}}" if mark else ""
        return (r"\bfseries " if (i, j) in table.bold else "") + number + stars
    shown = rf"\textbf{{{escaped(text)}}}" if (i, j) in table.bold else escaped(text)
    shown += rf"$^{{{mark.strip()}}}$" if mark else ""
    missing = tail.strip()[len(mark.strip()) :]
    if missing and table.numeric[j]:  # numbers stay in line, whatever stands behind them
        shown += rf"\phantom{{$^{{{missing}}}$}}"
    return f"{{{shown}}}" if is_number else shown


_NUMBER = re.compile(r"([+−]?)([\d,]+)(?:\.(\d+))?(?: ± ([\d,]+)(?:\.(\d+))?)?")


def _number(text):
    """Return the text as siunitx reads a number, or None where it is none."""
    if not _NUMBER.fullmatch(text):
        return None
    return text.replace(",", "").replace("−", "-").replace("±", r"\pm")


def _number_format(cells, siunitx, tail):
    """Return the type of a column of numbers, and whether siunitx reads its cells."""
    found = [match for cell in cells if (match := _NUMBER.fullmatch(cell))]
    if not siunitx or not found:
        return "r", False
    whole = max(len(m[2].replace(",", "")) for m in found)
    decimals = max(len(m[3] or "") for m in found)
    sign = "-" if any(m[1] for m in found) else ""
    error = max((len((m[4] or "").replace(",", "").lstrip("0")) + len(m[5] or "") for m in found), default=0)
    digits = f"{sign}{whole}.{decimals}" + (f"({error})" if error else "")
    group = "group-separator={,},group-minimum-digits=4,detect-weight=true,mode=text,"
    group += "separate-uncertainty=true,retain-explicit-plus=true"
    stars = f",table-space-text-post={{$^{{{tail.strip()}}}$}}" if tail else ""
    return rf"S[table-format={digits},{group}{stars}]", True
