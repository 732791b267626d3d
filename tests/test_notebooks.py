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
