"""Notebooks show what they compute: executed anew without rows, they print what is committed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
VARIES = re.compile(r"0x[0-9a-f]+|\d+(?:\.\d+)? (?:s|ms|seconds)\b|T_[0-9a-f]{5}|/\S+/build/")


def printed(path):
    """Return what each cell of a notebook prints, without what differs from run to run."""
    found = []
    for cell in nbformat.read(path, as_version=4).cells:
        outputs = cell.get("outputs", [])
        texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs]
        found.append(VARIES.sub("_", "".join(texts)))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_print_what_is_committed(path, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "ALPACA_ANALYSIS_DATA"}
    environment |= {
        "ALPACA_ANALYSIS_CACHE": str(tmp_path / "none"),
        "TQDM_DISABLE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    made = tmp_path / path.name
    command = [
        sys.executable,
        "-m",
        "nbconvert",
        "--to",
        "notebook",
        "--execute",
        "--output",
        str(made),
        str(path),
    ]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert printed(made) == printed(path)


def code_of(path):
    """Return the code of each cell, without blank lines and comments."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return [
        [line for line in cell.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        for cell in cells
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_short_and_the_same_with_and_without_rows(path):
    cells = code_of(path)
    assert sum(map(len, cells)) < 100
    code = "\n".join(line for cell in cells for line in cell)
    for branch in ('"mirror"', '"cached"', "have_rows", "sources.available", "def "):
        assert branch not in code, branch


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_say_first_what_was_found_and_end_with_collapsed_checks(path):
    cells = nbformat.read(path, as_version=4).cells
    assert "**What was found.**" in cells[0].source
    checks = cells[-1]
    assert checks.metadata == {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}
    assert "assert" in checks.source
    asserting = [
        c for c in cells[:-1] if c.cell_type == "code" and re.search(r"^assert ", c.source, re.MULTILINE)
    ]
    assert not asserting
    assert not checks.get("outputs")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_show_no_long_lists(path):
    lengths = {i: len(text.splitlines()) for i, text in enumerate(printed(path))}
    report = path.stem == "10_leaderboard_audit"  # prints the audit's summary
    assert max(lengths.values()) <= (60 if report else 30), lengths
