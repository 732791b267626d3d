"""Tables compile and fit the columns of a two-column paper (make test-latex)."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pandas as pd
import pytest

import alpaca_analysis as aa
from alpaca_analysis.present import tables
from alpaca_analysis.present.latex import escaped

ROOT = Path(__file__).parents[2]
PREAMBLE = r"""\documentclass[twocolumn,10pt]{article}
\usepackage[T1]{fontenc}
\usepackage{lmodern,textcomp,booktabs,tabularx,longtable,siunitx}
\usepackage[margin=0.8in,columnsep=0.25in]{geometry}
\setlength{\tabcolsep}{3pt}\small\sloppy
\begin{document}\small
"""
pytestmark = pytest.mark.latex


def compiled(body, folder, name):
    """Return the log of pdflatex, which must succeed; ALPACA_ANALYSIS_LATEX names a folder to keep pages in."""
    (folder / f"{name}.tex").write_text(PREAMBLE + body + "\n\\end{document}\n", encoding="utf-8")
    command = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    for _ in range(2 if "longtable}" in body else 1):  # longtable measures its columns once more
        run = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120, check=False
        )
        assert run.returncode == 0, run.stdout[-3000:]
    kept = os.environ.get("ALPACA_ANALYSIS_LATEX")
    if kept:
        shutil.copy(folder / f"{name}.pdf", kept)
    return run.stdout


def overfull(log):
    return re.findall(r"Overfull \\[hv]box.*", log)


def shown_by(notebook, folder, monkeypatch):
    """Return every result that a notebook shows, and in which columns, executed without rows."""
    found = []

    def record(frame, *, columns=None, note=True, **said):
        frame = frame.to_frame() if hasattr(frame, "to_frame") else frame.copy()
        frame.attrs = frame.attrs | said
        found.append((frame, columns))

    monkeypatch.setattr(tables, "show", record)
    monkeypatch.setattr(aa, "show", record)
    monkeypatch.delenv("ALPACA_ANALYSIS_DATA", raising=False)
    monkeypatch.setenv("ALPACA_ANALYSIS_CACHE", str(folder / "none"))
    (folder / "notebooks").mkdir()
    monkeypatch.chdir(folder / "notebooks")
    scope = {}
    for cell in nbformat.read(ROOT / "notebooks" / notebook, as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, scope)
    return found


def place_of(frame, columns):
    """Return where a table belongs by its size: a column holds some 50 characters, a page 40 lines."""
    cells = tables._paper(frame, tables._Layout(columns, equal=True)).cells
    if len(cells) > 40:
        return "long"
    widths = [min(24, max(map(len, cells[c]), default=0)) + 2 for c in cells]
    return "column" if sum(widths) <= 46 else "page"


@pytest.mark.parametrize("notebook", ["02_xwin_lm.ipynb", "09_many_models.ipynb"])
def test_tables_of_notebooks_fit_two_columns(notebook, tmp_path, monkeypatch):
    frames = shown_by(notebook, tmp_path, monkeypatch)
    assert len(frames) >= 2
    short, long = [], []
    for k, (frame, columns) in enumerate(frames):
        place = place_of(frame, columns)
        for siunitx in (False, True):
            name = {"caption": f"Table {k}.", "label": f"t:{k}{siunitx}"}
            text = aa.to_latex(frame, columns=columns, siunitx=siunitx, place=place, **name)
            (long if place == "long" else short).append(text)
    body = "\n\n".join([*short, r"\clearpage\onecolumn", *long])
    assert not overfull(compiled(body, tmp_path, Path(notebook).stem))


@pytest.fixture(scope="module")
def rates():
    board = aa.load("alpaca_eval_v1_leaderboard_2023_09_19")
    return aa.from_counts(
        board[board["model"] != "text_davinci_003"].assign(n_asked=805), reference="text_davinci_003"
    )


@pytest.mark.parametrize("siunitx", [False, True], ids=["plain", "siunitx"])
def test_marks_fit_a_column_and_a_long_table_breaks(rates, siunitx, tmp_path):
    columns = ["model", "win_rate", "standard_error", "ci_low", "ci_high"]
    several = aa.compare(rates, b="gpt4")
    common = {"siunitx": siunitx, "caption": "Differences & stars."}
    best = aa.to_latex(
        aa.win_rate(rates).head(9), columns=columns[:3], digits=1, best="bold", baseline="gpt4", **common
    )
    starred = ["model_a", "difference", "standard_error", "ci_low", "ci_high"]
    stars = aa.to_latex(several.head(9), columns=starred, stars=True, **common)
    long = aa.to_latex(several, stars=True, place="long", columns=[*starred, "verdict"], **common)
    body = "\n".join([best, stars, r"\clearpage\onecolumn", long])
    log = compiled(body, tmp_path, f"marks_{'siunitx' if siunitx else 'plain'}")
    assert not overfull(log)
    assert int(re.search(r"Output written on .* \((\d+) pages", log)[1]) >= 3


def test_a_table_that_is_too_wide_is_noticed(tmp_path):
    frame = pd.DataFrame({f"column {k}": ["some_name_without_a_space"] for k in range(9)})
    assert overfull(compiled(aa.to_latex(frame, caption="Wide."), tmp_path, "wide"))


def test_hostile_text_compiles(tmp_path):
    texts = [r"\input{/etc/passwd}", "$x^2_1$ & 50% #1 ~{}", "[1cm] *", "a -- b", '"`quoted\'"', "<a|b>"]
    frame = pd.DataFrame({"model": texts, "value": [1.5] * len(texts)})
    log = compiled(aa.to_latex(frame, siunitx=True, caption=texts[1]), tmp_path, "hostile")
    assert "root:" not in log
    assert all(escaped(text) in aa.to_latex(frame) for text in texts)
