"""Every figure on bundled data, at both widths, with a page to look through them.

``python docs/gallery/gallery.py FOLDER`` writes ``index.html`` and, per figure and width,
PDF, SVG and PNG (``--formats png`` for these alone).
"""

from __future__ import annotations

import html
import sys
import time
from pathlib import Path

from examples import ENTRIES

from alpaca_analysis import figures
from alpaca_analysis.foundations.files import write_text

WIDTHS = {"column": figures.COLUMN, "page": figures.PAGE}


def draw(folder, *, names=None, formats=figures.style.FORMATS, progress=True) -> list[Path]:
    """Draw the gallery.

    Parameters
    ----------
    folder : path
        Where to write; made if it is not there.
    names : iterable of str, optional
        Keys of ``ENTRIES``; all by default.
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

    folder = Path(folder)
    names = list(ENTRIES if names is None else names)
    files = []
    for name in names:
        started = time.perf_counter()
        figure, args, options = ENTRIES[name][1]()
        for word, width in WIDTHS.items():
            ax = figure(*args, **options, width=width)
            files += figures.save(ax, folder / f"{name}-{word}", formats=formats)
            plt.close(ax.figure)
        if progress:
            print(f"{name}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
    return [*files, write_text(folder / "index.html", _page(names, formats))]


def _page(names, formats):
    """Return the page; its pictures are the files beside it."""
    sections = []
    for name in names:
        title = html.escape(ENTRIES[name][0])
        pictures = "".join(
            f'<img src="{name}-{word}.png" alt="{title}" style="width: {width}in">'
            for word, width in WIDTHS.items()
        )
        links = (
            f'<a href="{name}-{word}.{suffix}">{word}, {suffix.upper()}</a>'
            for word in WIDTHS
            for suffix in formats
        )
        body = f"<div>{pictures}</div>\n<p>{' · '.join(links)}</p>"
        sections.append(f'<section id="{name}">\n<h2>{title}</h2>\n{body}\n</section>')
    style = (
        ":root {color-scheme: light dark} "
        "body {font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1080px; padding: 0 1em} "
        "img {background: white; vertical-align: top; margin: 0 1em 1em 0; max-width: 100%}"
    )
    head = f'<meta charset="utf-8">\n<title>Figures</title>\n<style>{style}</style>'
    body = "\n".join(["<h1>Figures</h1>", *sections])
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
    print(f"{len(ENTRIES)} figures in {files[-1]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
