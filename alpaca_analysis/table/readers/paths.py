"""Which files a path, a folder or a pattern names."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alpaca_analysis.foundations.errors import AnnotationError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")


def find_files(source: Any, *, name: Any = "annotations") -> list[Path]:
    """Return the files that `source` names, each once, sorted within each folder or pattern.

    Parameters
    ----------
    source : path, glob pattern or list of these
        Of a folder those files are taken, at any depth, that are called `name` (with any known
        suffix); where there is none, all data files that are not model outputs.
    name : str
        File name without suffix.
    """
    if isinstance(source, Sequence) and not isinstance(source, (str, bytes)):
        if not source:
            raise FileNotFoundError("an empty list of paths; expected at least one")
        return list(dict.fromkeys(path for item in source for path in find_files(item, name=name)))
    if not isinstance(source, (str, os.PathLike)):
        expected = "a path, a list of paths, a DataFrame or a Dataset"
        raise AnnotationError(expected, source="source", found=type(source).__name__)
    if source == "":  # pathlib would take it for the folder one is in
        raise FileNotFoundError("an empty path; expected a file or folder")
    path = Path(source)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:  # a name too long for any file
        raise FileNotFoundError(f"{str(source)[:200]}: {error.strerror}") from None
    if is_file:
        return [path]
    if is_folder:
        return _in_folder(path, name)
    if os.path.lexists(path):
        what = (
            "a link to nothing"
            if not os.path.exists(path)
            else "a pipe or device; save what it gives to a file"
        )
        raise FileNotFoundError(f"{source}: expected a file or folder, found {what}")
    matches = [
        p for p in sorted(glob.glob(str(source), recursive=True)) if os.path.isfile(p) or os.path.isdir(p)
    ]
    if not matches:
        raise FileNotFoundError(
            f"{source}: no such file or folder, and nothing matches it as a pattern" + _nearest_folder(path)
        )
    return list(dict.fromkeys(p for match in matches for p in find_files(match, name=name)))


def _in_folder(folder: Path, name: Any) -> list[Path]:
    known = sorted(p for p in folder.rglob("*") if _stem(p) is not None and p.is_file())
    found = [p for p in known if _stem(p) == name]
    if not found and name == "annotations":
        found = [p for p in known if _stem(p) != "model_outputs"]
    if not found:
        expected = f"a folder with {name} files ({', '.join(SUFFIXES)}, also .gz), found none"
        raise AnnotationError(expected, source=folder)
    return found


def _stem(path: Any) -> str | None:
    """Return the name without known suffixes; None if it has no known suffix, or the file is hidden."""
    name = path.name.removesuffix(".gz")
    if name.startswith("."):  # such as what a killed process was writing
        return None
    stem, suffix = os.path.splitext(name)
    return stem if suffix in SUFFIXES else None


def _nearest_folder(path: Any) -> str:
    parent = next((p for p in path.absolute().parents if p.is_dir()), None)
    return f"; the path exists up to {parent}" if parent else ""
