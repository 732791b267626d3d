"""Every figure as the example of its docstring draws it, at both widths, with the lines that draw it.

``python docs/gallery/gallery.py FOLDER`` writes ``index.html`` and, per figure and width,
PDF, SVG and PNG (``--formats png`` for these alone).
"""

from __future__ import annotations

import doctest
import html
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from alpaca_analysis import figures
from alpaca_analysis.foundations.files import write_text

WIDTHS = {"column": figures.COLUMN, "page": figures.PAGE}
ORDER = (  # what is looked for first stands first; what is not named here follows
    *(
        "forest",
        "panels",
        "difference",
        "pairwise",
        "rank_sets",
        "by_source",
        "bounds",
        "claims_table",
        "claims",
        "planning",
    ),
    *("length_control", "length_response", "length_histogram", "length_scatter", "specification_curve"),
    *("preferences", "beyond_humans", "gameability", "coverage", "agreement", "agreement_groups"),
    *("agreement_growth", "confusion", "agreement_cost", "bias_variance", "label_budget", "correlation"),
)


@dataclass(frozen=True)
class Entry:
    """One picture: what it shows, and the lines that draw it; the last one makes the Axes."""

    name: str
    title: str
    lines: tuple[str, ...]

    def draw(self, width: float):
        """Return the Axes drawn in a figure of `width` inches."""
        *before, last = self.lines
        wide = re.sub(r"\)\s*$", f", width={width})", last)
        space: dict = {}
        exec("".join([*before, wide]), space)
        return space["ax"]

    @property
    def code(self) -> str:
        """The lines as they are shown."""
        return "".join(self.lines)


def is_figure(name: str) -> bool:
    """Say whether a public name of `figures` draws one."""
    drawn = getattr(getattr(figures, name), "__wrapped__", None)
    return "width" in getattr(drawn, "__annotations__", {})


def entries() -> dict[str, Entry]:
    """Return the pictures by name: each example of a docstring that draws one."""
    names = [name for name in figures.__all__ if is_figure(name)]
    names.sort(key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    found = {}
    for name in names:
        function = getattr(figures, name)
        title = function.__doc__.partition("\n")[0].removeprefix("Draw ").rstrip(".")
        lines: list[str] = []
        k, drawn = 0, False
        for example in doctest.DocTestParser().get_examples(function.__doc__):
            if drawn and example.source.startswith(("import ", "from ")):
                lines = []  # an example that stands for itself
            lines.append(example.source)
            drawn = example.source.startswith(f"ax = figures.{name}(")
            if drawn:
                key = name if k == 0 else f"{name}-{k + 1}"
                found[key] = Entry(key, title[0].upper() + title[1:], tuple(lines))
                lines = [line for line in lines[:-1] if not line.startswith("ax = ")]
                k += 1
    return found


def draw(folder, *, names=None, formats=figures.style.FORMATS, progress=True) -> list[Path]:
    """Draw the gallery.

    Parameters
    ----------
    folder : path
        Where to write; made if it is not there.
    names : iterable of str, optional
        Keys of `entries`; all by default.
    formats : sequence of str
        "png" is what the page shows; others are linked.
    progress : bool
        Whether to report each figure on standard error.

    Returns
    -------
    list of Path
        The files written, the page last.
    """
    import matplotlib.pyplot as plt

    folder, every = Path(folder), entries()
    shown = [every[name] for name in (every if names is None else names)]
    files = []
    for entry in shown:
        started = time.perf_counter()
        for word, width in WIDTHS.items():
            ax = entry.draw(width)
            files += figures.save(ax, folder / f"{entry.name}-{word}", formats=formats)
            plt.close("all")
        if progress:
            print(f"{entry.name}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
    return [*files, write_text(folder / "index.html", _page(shown, formats))]


def _page(shown, formats):
    """Return the page; its pictures are the files beside it."""
    sections = []
    for entry in shown:
        name, title = entry.name, html.escape(entry.title)
        pictures = "".join(
            f'<img src="{name}-{word}.png" alt="{title}" style="width: {width}in">'
            for word, width in WIDTHS.items()
        )
        links = (
            f'<a href="{name}-{word}.{suffix}">{word}, {suffix.upper()}</a>'
            for word in WIDTHS
            for suffix in formats
        )
        code = f"<pre>{html.escape(entry.code)}</pre>"
        body = f"<div>{pictures}</div>\n{code}\n<p>{' · '.join(links)}</p>"
        sections.append(f'<section id="{name}">\n<h2>{title}</h2>\n{body}\n</section>')
    style = (
        ":root {color-scheme: light dark} "
        "body {font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1080px; padding: 0 1em} "
        "img {background: white; vertical-align: top; margin: 0 1em 1em 0; max-width: 100%} "
        "pre {background: #8881; padding: .6em .9em; overflow: auto; font-size: 13px; border-radius: 4px}"
    )
    head = f'<meta charset="utf-8">\n<title>Figures</title>\n<style>{style}</style>'
    about = f"<p>Width of a column ({figures.COLUMN} in) and of a page ({figures.PAGE} in).</p>"
    body = "\n".join(["<h1>Figures</h1>", about, *sections])
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def main(arguments=None) -> int:
    """Draw the gallery into the folder named on the command line."""
    import argparse

    import matplotlib as mpl

    parser = argparse.ArgumentParser(prog="python docs/gallery/gallery.py")
    parser.description = "Draw every figure on bundled data, at both widths, with a page to look through."
    parser.add_argument("folder", help="where to write; made if it is not there")
    parser.add_argument(
        "--formats", nargs="+", choices=figures.style.FORMATS, default=figures.style.FORMATS,
        help="files of each figure; the page shows the PNG (default: all three)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    mpl.use("Agg")
    files = draw(options.folder, formats=options.formats)
    print(f"{len(entries())} figures in {files[-1]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
