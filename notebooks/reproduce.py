"""Execute every notebook without a network and put what they show under build/.

    python notebooks/reproduce.py [--keep] [NOTEBOOK ...]

Leaves under build/: executed notebooks and their HTML (notebooks/), figures as PDF, SVG and PNG
(figures/), tables as CSV, LaTeX and Markdown (tables/), an audit report (audit/) and, if all notebooks
run, a gallery of every figure (gallery/). Ends with every published number that the
notebooks check beside the recomputed one: what they save as ``NN_*_published``, which is for numbers that
somebody printed.

With ``--keep`` the results are kept in the notebooks themselves, as they are committed: computed without
rows, so that everybody sees the same.
"""

from __future__ import annotations

import argparse
import html
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the hub client would retry for 23 s
os.environ.setdefault("OMP_NUM_THREADS", "1")  # one kernel a core
os.environ["TQDM_DISABLE"] = "1"  # nobody watches the kernels, and what is kept is the same on every run
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"

import nbclient
import nbformat
import pandas as pd
from jupyter_client.manager import AsyncKernelManager
from nbconvert import HTMLExporter
from tqdm import tqdm

from alpaca_analysis.foundations.files import write_text

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build"
COLLAPSED = """
.celltag_hide-input .highlight pre { height: 1.4em; overflow: hidden; opacity: 0.6; }
.celltag_hide-input .highlight:hover pre { height: auto; opacity: 1; }
"""  # the checks, until someone points at them
NO_REQUESTS = ("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url", "widget_renderer_url")


def execute(source: Path, folder: Path, progress: tqdm) -> str | None:
    """Execute one notebook in its own kernel, write it and its HTML, and return what failed."""
    notebook = nbformat.read(source, as_version=4)
    failure, started = None, time.time()
    with tempfile.TemporaryDirectory(prefix="kernel-") as private:

        class Kernel(AsyncKernelManager):  # a class, so that the client stops it
            def __init__(self, **options):
                super().__init__(**options)
                self.transport, self.ip = "ipc", f"{private}/kernel"

        client = nbclient.NotebookClient(
            notebook,
            kernel_manager_class=Kernel,
            timeout=600,
            record_timing=False,
            store_widget_state=False,  # or the page would ask the network for a renderer of widgets
            resources={"metadata": {"path": str(source.parent)}},
            on_cell_executed=lambda **_: progress.update(),
        )
        try:
            client.execute()
        except nbclient.exceptions.CellExecutionError as error:
            failure = f"{source.name}: {error}"
        except nbclient.exceptions.DeadKernelError as error:
            failure = f"{source.name}: {error}"
    for table in (BUILD / "tables").glob(f"{source.stem.split('_')[0]}_*_published.*"):
        if table.stat().st_mtime < started:
            table.unlink()  # of an earlier run: nothing that this one found
    write_text(folder / source.name, nbformat.writes(notebook) + "\n")
    write_text(folder / f"{source.stem}.html", to_html(notebook, source.stem))
    return failure


def keep(executed: Path, source: Path) -> None:
    """Write an executed notebook where its source is, without what differs from run to run."""
    notebook = nbformat.read(executed, as_version=4)
    for cell in notebook.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in ("tags", "jupyter")}
        for output in cell.get("outputs", []):
            output.metadata = {} if "metadata" in output else output.get("metadata")
            if output.output_type == "stream":
                output.pop("metadata", None)
    checks = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    checks.metadata = {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    text = nbformat.writes(notebook, indent=1) + "\n"
    names = dict.fromkeys(re.findall(r"T_[0-9a-f]{5}", text))  # of styled tables, drawn at random
    stable = {name: f"T_{number:05x}" for number, name in enumerate(names)}
    text = re.sub(r"T_[0-9a-f]{5}", lambda match: stable[match[0]], text)
    write_text(source, re.sub(r"(?<= at )0x[0-9a-f]+", "0x0", text))


def draw_gallery(folder: Path) -> str | None:
    """Draw every figure in a process of its own, and return what failed."""
    command = [
        sys.executable,
        str(HERE.parent / "docs" / "gallery" / "gallery.py"),
        str(folder),
        "--formats",
        "png",
    ]
    run = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent, check=False)
    return f"gallery: {run.stderr[-2000:]}" if run.returncode else None


def to_html(notebook, title: str) -> str:
    """Return a page that asks nothing of any network."""
    exporter = HTMLExporter(embed_images=True, **dict.fromkeys(NO_REQUESTS, ""))
    page = exporter.from_notebook_node(notebook, {"metadata": {"name": title}})[0]
    return page.replace("</head>", f"<style>{COLLAPSED}</style></head>", 1)


def published_numbers() -> pd.DataFrame:
    """Collect what each notebook's last table says of published numbers, as it is shown."""
    parts = []
    for path in sorted((BUILD / "tables").glob("*_published.md")):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
        names, _, *rows = [[_unescaped(c) for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
        names = [re.sub(r"^95 % | \((%|points)\)$", "", name) for name in names]
        part = pd.DataFrame(rows, columns=names)
        parts.append(part.assign(notebook=path.stem.removesuffix("_published")))
    if not parts:
        return pd.DataFrame()
    together = pd.concat(parts, ignore_index=True).fillna("")
    first = ["notebook", "claim", "model", "reference", "printed", "recomputed", "interval", "verdict"]
    return together[[name for name in first if name in together]]


def _unescaped(cell):
    return html.unescape(re.sub(r"\\(.)", r"\1", cell.strip()))


def main() -> int:
    """Run the notebooks named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all in this folder")
    parser.add_argument("--keep", action="store_true", help="keep results in the notebooks, without rows")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="kernels at once")
    options = parser.parse_args()
    sources = [p.resolve() for p in options.notebooks] or sorted(HERE.glob("[0-9]*.ipynb"))
    if options.keep:
        os.environ.pop("ALPACA_ANALYSIS_DATA", None)
        os.environ["ALPACA_ANALYSIS_CACHE"] = tempfile.mkdtemp(prefix="no-rows-")
    start, failures = time.monotonic(), []
    cells = sum(c.cell_type == "code" for s in sources for c in nbformat.read(s, as_version=4).cells)
    with (
        tqdm(disable=False, total=cells, unit="cell", mininterval=1) as progress,
        ThreadPoolExecutor(options.jobs) as pool,
    ):
        jobs = {pool.submit(execute, s, BUILD / "notebooks", progress): s.name for s in sources}
        if not options.notebooks and not options.keep:
            jobs[pool.submit(draw_gallery, BUILD / "gallery")] = "gallery"
        for job in as_completed(jobs):
            if job.result():
                failures.append(job.result())
            progress.write(f"{'FAILED' if job.result() else 'done  '} {jobs[job]}", file=sys.stderr)
    numbers = published_numbers()
    if len(numbers):
        print(numbers.to_string(index=False, max_colwidth=100))
    done = len(jobs) - len(failures)
    if options.keep and not failures:
        for source in sources:
            keep(BUILD / "notebooks" / source.name, source)
    print(f"{done} of {len(jobs)} in {time.monotonic() - start:.0f} s; see {BUILD}")
    if failures:
        print("\n\n".join(failures), file=sys.stderr)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
