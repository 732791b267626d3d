"""Build the documentation site into build/site, without a network.

    python docs/build.py

The pages in docs/site are executed, so that what they print is what the code says. Beside them stand the
notebooks as committed, with their results, a page for every public name, made from the order of
``alpaca_analysis/__init__.pyi``, the gallery of figures, and the codebook. Warnings are errors.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["TQDM_DISABLE"] = "1"  # nobody watches, and pages are the same every time
os.environ.pop("ALPACA_ANALYSIS_DATA", None)  # pages show what everybody can see

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build"
SOURCE, SITE = BUILD / "docs_source", BUILD / "site"
sys.path.insert(0, str(HERE / "gallery"))

COPIED = {  # pages that live elsewhere, by their name on the site
    "codebook.md": ROOT / "data" / "README.md",
    "what_was_tried.md": ROOT / "tests" / "README.md",
    "changelog.md": ROOT / "CHANGELOG.md",
    "contributing.md": ROOT / "CONTRIBUTING.md",
}
SHARED = "../../notebooks/coverage.png", "../../tests/benchmarks/growth.png"


def main() -> int:
    """Lay out the sources, and let Sphinx build the site."""
    for folder in (SOURCE, SITE):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "site", SOURCE)
    for name, path in COPIED.items():
        (SOURCE / name).write_text(off_site(path.read_text(encoding="utf-8"), path), encoding="utf-8")
    for path in SHARED:
        shutil.copy((HERE / "site" / path).resolve(), SOURCE)
    write_notebooks(SOURCE / "notebooks")
    write_reference(SOURCE / "reference")
    write_gallery(SOURCE / "gallery")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-j", "auto", "-q", "-b", "html"]
    return subprocess.run([*command, str(SOURCE), str(SITE)], check=False).returncode or check_links(SITE)


def check_links(site: Path) -> int:
    """Say which links of the site lead nowhere, and which pages ask something of a network."""
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    ids = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    faults = []
    for path, text in pages.items():
        faults += [
            f"{path}: asks {found}"
            for found in re.findall(r'<(?:script|img|link|iframe)[^>]+"(https?://[^"]+)', text)
        ]
        for link in re.findall(r'<a [^>]*href="([^"]*)"', text):
            if re.match(r"\w+:|#?$", link):
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / unquote(name)).resolve() if name else path
            if not target.exists() or (anchor and target in ids and unquote(anchor) not in ids[target]):
                faults.append(f"{path}: leads to {link}")
    print("\n".join(faults), file=sys.stderr)
    return bool(faults)


def off_site(text: str, path: Path) -> str:
    """Return a page without its links to files that are no pages, whose names stay."""
    shown = re.sub(r"(?<!!)\[([^]]+)\]\((?!https?:|#)[^)]+\)", r"\1", text)
    return re.sub(r"!\[[^]]*\]\((?!https?:)[^)]+\)", "", shown)


def write_notebooks(folder: Path) -> None:
    """Copy the notebooks, with a page that lists them."""
    folder.mkdir()
    paths = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    for path in paths:
        shutil.copy(path, folder)
    listed = "\n".join(path.stem for path in paths)
    (folder / "index.md").write_text(
        "# Notebooks\n\nEach asks one question of the published data and answers it, executed without rows:\n"
        f"what needs rows shows the bundled result.\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n",
        encoding="utf-8",
    )


def topics() -> dict[str, list[str]]:
    """Return the public names of the package by the question that they answer."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "alpaca_analysis" / "__init__.pyi").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            names = found.setdefault(line.removeprefix("# "), [])
        elif match := re.fullmatch(r"from \S+ import \w+ as (\w+)", line):
            names.append(match[1])
    return found


def write_reference(folder: Path) -> None:
    """Write one page a topic; autosummary makes one of each name."""
    import alpaca_analysis
    from alpaca_analysis import figures

    folder.mkdir()
    pages = []
    for title, names in topics().items():
        kept = [name for name in names if name != "figures"]
        pages.append(write_topic(folder, title, "alpaca_analysis", kept))
    drawn = [name for name in figures.__all__ if callable(getattr(figures, name))]
    pages.append(write_topic(folder, "Figures", "alpaca_analysis.figures", drawn))
    listed = "\n   ".join(pages)
    text = (
        f"Every public name of alpaca_analysis {alpaca_analysis.__version__}, by the question it answers.\n\n"
    )
    text += f".. toctree::\n   :maxdepth: 1\n\n   {listed}\n"
    (folder / "index.rst").write_text(heading("Reference") + text, encoding="utf-8")


def heading(title: str) -> str:
    """Return a title, underlined."""
    return f"{title}\n{'=' * len(title)}\n\n"


def write_topic(folder: Path, title: str, module: str, names: list[str]) -> str:
    """Write the page of one topic, and return its name."""
    page = re.sub(r"\W+", "_", title.lower()).strip("_")
    listed = "\n   ".join(names)
    text = f".. currentmodule:: {module}\n\n.. autosummary::\n   :toctree: names\n\n   {listed}\n"
    (folder / f"{page}.rst").write_text(heading(title) + text, encoding="utf-8")
    return page


def write_gallery(folder: Path) -> None:
    """Draw every figure at page width, and write the page that shows it above its lines."""
    import gallery
    import matplotlib.pyplot as plt

    from alpaca_analysis import figures

    folder.mkdir()
    parts = ["# Figure gallery", "Every figure, drawn by the lines under it from data inside the package."]
    for name, entry in gallery.entries().items():
        figures.save(entry.draw(figures.PAGE), folder / name, formats=["png"])
        plt.close("all")
        function = name.partition("-")[0]
        parts.append(
            f"## {entry.title}\n\n![{entry.title}]({name}.png)\n\n```python\n{entry.code.strip()}\n```"
        )
        parts.append(f"{{py:obj}}`alpaca_analysis.figures.{function}`")
    (folder / "index.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
