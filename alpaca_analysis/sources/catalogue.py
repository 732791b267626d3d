"""What data there is and where it comes from: bundled tables, and access to published files.

Figures and counts lie in ``data/`` beside the package (inside it once installed). Rows, that is
judgements with their instructions, are not ours to pass on: they come from the folder that the
environment variable ``ALPACA_ANALYSIS_DATA`` names (a mirror, laid out as ``data/registry.csv``
lists it), else from a cache that is filled by verified downloads from their publishers.

``ALPACA_ANALYSIS_CACHE`` names another folder for the cache, ``ALPACA_ANALYSIS_URL`` another web
address to download from, laid out as the mirror is.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from alpaca_analysis.foundations.errors import DataUnavailableError
from alpaca_analysis.sources.downloads import (
    CACHE,
    MIRROR,
    advice,
    download_files,
    inside,
    status,
)


def data_folder() -> Path:
    """Return the folder of bundled tables: inside the installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "data", package.parent / "data"):
        if (folder / "catalog.csv").is_file():
            return folder
    raise DataUnavailableError(
        f"no bundled tables in {package / 'data'} or {package.parent / 'data'}: install the package again"
    )


@cache
def _catalog() -> pd.DataFrame:
    return pd.read_csv(data_folder() / "catalog.csv", dtype=str, keep_default_na=False).set_index("name")


@cache
def _registry() -> pd.DataFrame:
    return pd.read_csv(data_folder() / "registry.csv", dtype={"bytes": "Int64"}).set_index("path")


def registry() -> pd.DataFrame:
    """Return every published file that the door knows.

    Returns
    -------
    DataFrame
        ``path`` in a mirror, ``url`` (at a fixed commit where the publisher has commits),
        ``sha256`` and ``bytes`` (missing where not known beforehand), ``licence``.

    Examples
    --------
    >>> registry().set_index("path").loc["pandalm/testset-v1.json", "bytes"].item()
    937899
    """
    return _registry().reset_index()


def catalog() -> pd.DataFrame:
    """List the data that `load` knows by name.

    Returns
    -------
    DataFrame
        ``name``; ``what`` it is; ``kind`` (figures: published or derived numbers; counts: judgements
        without their instructions; rows: judgements; hub: judgements that a data set of the Hugging
        Face hub holds); ``files`` (bundled file, pattern of published files, or name on the hub at a
        fixed revision, which `read_annotations` takes too); ``n_files``; ``licence``; ``bytes`` (missing
        where unknown); ``available`` (bundled; mirror: in the folder named by ALPACA_ANALYSIS_DATA;
        cached: downloaded before; download: from its publisher when loaded; hub: by `datasets`, from
        its cache or when loaded).

    Examples
    --------
    >>> catalog().set_index("name").loc["xwin_claims", ["kind", "available"]].tolist()
    ['figures', 'bundled']
    """
    rows = []
    for name, entry in _catalog().iterrows():
        size: float | None = None
        n_files = 1
        if entry["kind"] == "rows":
            paths = _paths(str(name))
            size, n_files = _registry()["bytes"][paths].sum(skipna=False), len(paths)
        elif entry["kind"] != "hub":
            size = inside(data_folder(), entry["files"]).stat().st_size
        rows.append(
            {
                "name": name,
                "what": entry["what"],
                "kind": entry["kind"],
                "files": entry["files"],
                "n_files": n_files,
                "licence": entry["licence"],
                "bytes": size,
                "available": available(str(name)),
            }
        )
    return pd.DataFrame(rows).astype({"bytes": "Int64"})


def available(name: str) -> str:
    """Say where data would come from: bundled, mirror, cached or download.

    Parameters
    ----------
    name : str
        A name of the catalogue, a path of the registry, or a pattern of such paths.

    Returns
    -------
    str
        The farthest place any of the files comes from: "download" if one has to be downloaded; "hub"
        for what `datasets` reads.

    Examples
    --------
    >>> available("models")
    'bundled'
    """
    if name in _catalog().index and _catalog().loc[name, "kind"] != "rows":
        return "hub" if _catalog().loc[name, "kind"] == "hub" else "bundled"
    found = {_where(path)[0] for path in _paths(name)}
    return next(place for place in ("download", "cached", "mirror") if place in found)


def load(name: str, *, download: bool = True, features: bool = False) -> pd.DataFrame:
    """Load one of the data sets that `catalog` lists.

    Parameters
    ----------
    name : str
        One of the names of `catalog`.
    download : bool
        Whether rows that are in neither the mirror nor the cache may be downloaded.
    features : bool
        Count the style of outputs while rows are read, see `add_features`; of other data there are none.

    Returns
    -------
    DataFrame
        Figures as published, ``model`` first, win rates in percent; printed claims as text. Counts
        and rows that state an outcome are the table (fractions), as from `read_annotations`. Counts
        are never handed out for rows. ``.attrs`` says what it is (``name``, ``licence``) and, of
        results, which columns are fractions and which column an interval belongs to.

    Raises
    ------
    ValueError
        No such name; the message lists near ones.
    DataUnavailableError
        Rows that cannot be had; the message says what to do and which counts are bundled.

    Examples
    --------
    >>> load("xwin_claims").loc[1, ["model", "reference", "printed"]].tolist()
    ['xwinlm-70b-v0.1', 'gpt4', '60.61']
    >>> load("alpaca_eval_v1_leaderboard_2023_09_19").loc[0, "n_wins"].item()
    765
    """
    _known(name)
    entry = _catalog().loc[name]
    if entry["kind"] == "hub":
        frame = _load_hub(entry, download)
    else:
        is_rows = entry["kind"] == "rows"
        frame = _load_rows(name, entry, download, features) if is_rows else _load_bundled(entry)
    frame.attrs |= {"name": name, "licence": entry["licence"]}
    return frame


def load_result(
    name: str,
    rows: str,
    compute: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    *,
    bundled: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    features: bool = False,
) -> pd.DataFrame:
    """Compute a result from rows where they are at hand; else load the bundled result, and say which.

    Nothing is downloaded: rows are at hand that lie in the mirror or were downloaded before.

    Parameters
    ----------
    name : str
        The bundled result, one of the names of `catalog`.
    rows : str
        The rows it was computed from, likewise.
    compute : callable, optional
        Takes the rows, returns the result; without it the rows are returned themselves.
    bundled : callable, optional
        Takes what is bundled, returns the result; without it the bundled table is the result.
    features : bool
        Read the rows with features of style.

    Returns
    -------
    DataFrame
        What `compute` returns, or the bundled result, which has the same columns with fewer digits.
        Counts instead of rows are told apart by their name, which is printed.
        ``.attrs["computed_from"]`` is the name of the rows or "bundled result"; one line is printed.

    Examples
    --------
    >>> found = load_result("length_judge", "alpaca_eval_outputs", len)  # doctest: +SKIP
    length_judge: the bundled result (the rows of alpaca_eval_outputs are not at hand)
    """
    if available(rows) in ("mirror", "cached"):
        result = _rows_once(rows, features, os.environ.get(MIRROR), str(cache_folder())).copy()
        if compute is not None:  # several results put together may have lost what they say of themselves
            said = load(name).attrs
            result = compute(result)
            known = {key: said.get(key) for key in ("estimate", "fractions", "differences")}
            result.attrs = known | result.attrs
        result.attrs["computed_from"] = rows
        print(f"{rows}: the rows" if compute is None else f"{name}: computed from the rows of {rows}")
        return result
    result = load(name) if bundled is None else bundled(load(name))
    result.attrs["computed_from"] = "bundled result"
    print(f"{name}: the bundled result (the rows of {rows} are not at hand)")
    return result


@lru_cache(maxsize=4)
def _rows_once(rows, features, mirror, cache):
    """Return rows that several results are computed from; they are looked for again if the folders change."""
    return load(rows, download=False, features=features)


def _load_bundled(entry):
    from alpaca_analysis.table.checks import check

    path = inside(data_folder(), entry["files"])
    frame = pd.read_csv(path, dtype=dict.fromkeys(entry["text_columns"].split(), str))
    said = frame.columns.intersection(["reason", "note"])
    frame = frame.assign(**{column: frame[column].astype(object).fillna("") for column in said})
    frame.attrs = {key: entry[key].split() for key in ("fractions", "differences")}
    frame.attrs["estimate"] = entry["estimate"] or None
    is_table = entry["kind"] == "counts" and "outcome" in frame
    return check(frame, source=path.name) if is_table else frame


def _load_hub(entry, download):
    from alpaca_analysis.table.readers import read_annotations
    from alpaca_analysis.table.readers.hub import is_cached

    if not download and not is_cached(entry["files"]):
        raise DataUnavailableError(
            f"{entry['files']} is not in the cache of datasets, and downloading was not asked for."
        )
    return read_annotations(entry["files"])


def _load_rows(name, entry, download, features):
    from alpaca_analysis.table.readers import read_annotations, read_outputs

    try:
        paths = fetch(name, download=download)
    except DataUnavailableError as error:
        instead = entry["counts"]
        bundled = f" Bundled, without instructions: load({instead!r})." if instead else ""
        raise DataUnavailableError(f"The rows of {name!r} are not at hand. {error}{bundled}") from error
    if name == "alpaca_eval_outputs":
        return read_outputs(paths)
    format: Any = name if name in ("pandalm", "llmbar") else "alpaca_eval"
    return read_annotations(paths, format=format, features=features)


def fetch(name: str, *, download: bool = True, progress: bool = True, url: str | None = None) -> list[Path]:
    """Return where published files lie on this machine, downloading what is missing.

    Parameters
    ----------
    name : str
        A name of the catalogue, a path of the registry, or a pattern (``*``) of such paths.
    download : bool
        Whether files that are in neither the mirror nor the cache may be downloaded.
    progress : bool
        Show a progress bar while downloading.
    url : str, optional
        Download from this address, laid out as the registry's paths, instead of the publishers';
        by default what ALPACA_ANALYSIS_URL says.

    Returns
    -------
    list of Path
        In the registry's order. Cached and downloaded files were checked against their hash; files
        of a mirror are taken as they are (`verify` checks them).

    Raises
    ------
    ValueError
        Nothing of that name.
    DataUnavailableError
        A file that could not be had; nothing half-written is kept.

    Examples
    --------
    >>> fetch("models")[0].name
    'models.csv'
    """
    if name in _catalog().index and _catalog().loc[name, "kind"] == "hub":
        raise ValueError(f"name: {name!r} is a data set of the hub, not files; load({name!r}) reads it")
    if name in _catalog().index and _catalog().loc[name, "kind"] != "rows":
        return [inside(data_folder(), str(_catalog().loc[name, "files"]))]
    paths = _paths(name)
    places = {path: _where(path) for path in paths}
    absent = [path for path in paths if places[path][0] == "download"]
    if absent and not download:
        raise DataUnavailableError(
            f"{len(absent)} of {len(paths)} files are in neither the mirror nor the cache, the first "
            f"{absent[0]!r}, and downloading was not asked for. {advice()}"
        )
    if all(place == "mirror" for place, _ in places.values()):
        return [file for _, file in places.values()]

    cached = [path for path in paths if places[path][0] != "mirror"]
    download_files(_registry().loc[cached], cache_folder(), url=url, progress=progress, download=download)
    return [file for _, file in places.values()]


def verify(name: str | None = None) -> pd.DataFrame:
    """Check files on this machine against the registry's sizes and hashes; downloads nothing.

    Parameters
    ----------
    name : str, optional
        A name of the catalogue, a path of the registry, or a pattern of such paths; by default every
        published file.

    Returns
    -------
    DataFrame
        ``path``; ``where`` (mirror, cached or download where it is on neither); ``status``: ok,
        absent, wrong size, wrong hash, or unknown hash where nobody recorded one.

    Examples
    --------
    >>> sorted(verify("pandalm").columns)
    ['path', 'status', 'where']
    """
    paths = list(_registry().index) if name is None else _paths(name)
    rows = []
    for path in paths:
        place, file = _where(path)
        found = "absent" if place == "download" else status(file, _registry().loc[path])
        rows.append({"path": path, "where": place, "status": found})
    return pd.DataFrame(rows, columns=["path", "where", "status"])


def cache_folder() -> Path:
    """Return the folder that downloads are kept in."""
    import pooch

    return Path(os.environ.get(CACHE) or pooch.os_cache("alpaca_analysis"))


def _mirror():
    named = os.environ.get(MIRROR)
    if not named:
        return None
    if not Path(named).is_dir():
        raise DataUnavailableError(f"{MIRROR} names {named!r}, which is not a folder. Correct or unset it.")
    return Path(named)


def _where(path):
    mirror = _mirror()
    if mirror is not None and inside(mirror, path).is_file():
        return "mirror", mirror / path
    cached = inside(cache_folder(), path)
    return ("cached" if cached.is_file() else "download"), cached


def _known(name):
    names = list(_catalog().index)
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.4) or names[:3]
        raise ValueError(
            f"name: found {name!r}, expected one of {len(names)} such as {', '.join(map(repr, near))}; "
            "catalog() lists them"
        )


def _paths(name):
    entry = _catalog()
    pattern = entry.loc[name, "files"] if name in entry.index else name
    found = [path for path in _registry().index if path == pattern or fnmatchcase(path, pattern)]
    if not found:
        near = difflib.get_close_matches(str(name), [*entry.index, *_registry().index], n=3, cutoff=0.4)
        hint = f" such as {', '.join(map(repr, near))}" if near else ""
        raise ValueError(f"name: found {name!r}, expected a name of catalog() or a path of registry(){hint}")
    return found
