"""Verified downloads into the cache: a file is there whole and right, or not at all.

pooch writes to a temporary name, compares the hash and moves the file into place, so that neither a
broken connection nor a second process can leave half a file. What is added here: which failures are
worth another try, one progress bar, the shape check for files whose hash nobody knows beforehand,
and messages that say what to do.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from alpaca_analysis.foundations.errors import DataUnavailableError
from alpaca_analysis.foundations.progress import bar
from alpaca_analysis.foundations.secrets import without_user

MIRROR = "ALPACA_ANALYSIS_DATA"
CACHE = "ALPACA_ANALYSIS_CACHE"
URL = "ALPACA_ANALYSIS_URL"
ATTEMPTS = 3
PAUSE = 0.5  # seconds before the second attempt, doubled before the third
TIMEOUT = (5, 30)  # seconds to connect, and between two pieces of the body
PASSING = {429, 500, 502, 503, 504}


def advice() -> str:
    """Return what a user can do where a file cannot be had."""
    return (
        f"Connect to the internet and load it again, or set {MIRROR} to a folder that holds the files as "
        f"sources.registry() lists them."
    )


def inside(folder: Path, path: str) -> Path:
    """Return where a listed file lies in a folder, or raise where the path would leave it."""
    if "\\" in path or {"", ".."} & set(path.split("/")) or Path(path).drive:
        raise DataUnavailableError(f"the list of data names {path!r}, expected a path inside a folder")
    return folder / path


class _Truncated(Exception):
    """A body that is shorter than the registry says."""


def download_files(
    files: pd.DataFrame, folder: Path, *, url: str | None = None, progress: bool = True, download: bool = True
) -> None:
    """Bring every file of `files` into `folder`, or raise.

    Parameters
    ----------
    files : DataFrame
        Indexed by path, with the registry's columns ``url``, ``sha256`` and ``bytes``.
    folder : Path
        The cache.
    url : str, optional
        Address of a copy, laid out as the paths; by default what ALPACA_ANALYSIS_URL says, else
        each file's own address.
    progress : bool
        Show one bar for all files.
    download : bool
        False only checks what is there.

    Raises
    ------
    DataUnavailableError
        A file that could not be had, or a cached one that is damaged while `download` is False.
    """
    listed = [(str(path), row) for path, row in files.iterrows()]
    wanted = [(path, row) for path, row in listed if not _is_good(inside(folder, path), row)]
    if not wanted:
        return
    if not download:
        raise DataUnavailableError(
            f"{folder / wanted[0][0]} is damaged and downloading was not asked for. {advice()}"
        )
    base = _base(url)
    sizes = [row["bytes"] for _, row in wanted]
    total = None if any(pd.isna(size) for size in sizes) else int(sum(sizes))
    look = {"unit": "B", "unit_scale": True, "delay": 0, "leave": True}
    with bar(total, "Downloading", shown=progress, **look) as steps:
        for path, row in wanted:
            address = f"{base.rstrip('/')}/{quote(path)}" if base else row["url"]
            _download(path, address, row, folder, steps)


def _base(url):
    base = url or os.environ.get(URL)
    if base and not base.startswith(("http://", "https://")):
        raise DataUnavailableError(
            f"{URL} or url: found {without_user(base)!r}, expected an address that starts with https://"
        )
    return base


def _is_good(file, row):
    found = status(file, row)
    if found != "unknown hash":
        return found == "ok"
    try:  # put there by hand, or left by a process that ended before it recorded the hash
        _check_shape(file, file)
    except DataUnavailableError:
        return False
    _write_record(file)
    return True


def status(file: Path, row: pd.Series) -> str:
    """Compare a file with what the registry, or the record of its first download, says of it.

    Parameters
    ----------
    file : Path
        On this machine.
    row : Series
        ``sha256`` and ``bytes``, missing where unknown.

    Returns
    -------
    str
        ok, absent, wrong size, wrong hash, or unknown hash.
    """
    import pooch

    if not file.is_file():
        return "absent"
    if not pd.isna(row["bytes"]) and file.stat().st_size != row["bytes"]:
        return "wrong size"
    expected = _expected_hash(file, row)
    if expected is None:
        return "unknown hash"
    return "ok" if pooch.file_hash(str(file)) == expected else "wrong hash"


def _expected_hash(file, row):
    if not pd.isna(row["sha256"]):
        return row["sha256"]
    record = _record(file)
    return record.read_text().strip() if record.is_file() else None


def _record(file):
    return file.with_name(f"{file.name}.sha256")


def _download(path, address, row, folder, steps):
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # the bar reports; a line per file would bury it
    target, shown = folder / path, without_user(address)
    expected = _expected_hash(target, row)
    keeper = pooch.create(
        path=folder, base_url="", registry={path: expected and f"sha256:{expected}"}, urls={path: address}
    )

    def downloader(url, file, _):
        _with_retries(url, file, row, steps)
        if expected is None:
            _check_shape(file, shown)
        os.chmod(file, 0o644)  # temporary files are private; a cache may be shared

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        keeper.fetch(path, downloader=downloader)
        if expected is None:
            _write_record(target)
    except DataUnavailableError:
        raise
    except requests.HTTPError as error:
        broken = DataUnavailableError(_refused(path, shown, _code(error)))
    except requests.RequestException as error:
        reason = "there is no connection to it" if _unreachable(error) else "the connection broke off"
        broken = DataUnavailableError(f"{path}: asked {shown}, but {reason}. {advice()}")
    except _Truncated as error:
        raise DataUnavailableError(
            f"{path}: {error}, {ATTEMPTS} times. Nothing was kept. {advice()}"
        ) from error
    except ValueError as error:  # pooch: the hash differs
        raise DataUnavailableError(_altered(path, shown, row, target)) from error
    except OSError as error:
        raise DataUnavailableError(
            f"{path}: the cache {folder} cannot be written ({error.strerror or error}). Set {CACHE} to a "
            f"folder that can, or {MIRROR} to one that holds the files as sources.registry() lists them."
        ) from error
    else:
        return
    # Raised outside the handlers: the errors of requests hold the address with its password.
    raise broken


def _with_retries(url, file, row, steps):
    import requests

    for attempt in range(ATTEMPTS):
        before = steps.n
        try:
            return _stream(url, file, row, steps)
        except (requests.RequestException, _Truncated) as error:
            refused = isinstance(error, requests.HTTPError) and _code(error) not in PASSING
            if refused or _unreachable(error) or attempt == ATTEMPTS - 1:
                raise
            steps.update(before - steps.n)
            time.sleep(PAUSE * 2**attempt)


def _stream(url, file, row, steps):
    import requests

    received = 0
    with requests.get(url, stream=True, timeout=TIMEOUT) as response, open(file, "wb") as out:
        response.raise_for_status()
        for piece in response.iter_content(chunk_size=1 << 16):
            out.write(piece)
            received += len(piece)
            steps.update(len(piece))
    if not pd.isna(row["bytes"]) and received < row["bytes"]:
        raise _Truncated(f"{without_user(url)} sent {received:,} of {row['bytes']:,} bytes")


def _code(error):
    return error.response.status_code


def _unreachable(error):
    """Tell a machine without a network, where another try only costs time, from a connection that broke."""
    import requests
    from urllib3.exceptions import NewConnectionError

    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError)):
        return True
    inner = error.args[0] if error.args else None
    return isinstance(getattr(inner, "reason", inner), NewConnectionError)


def _check_shape(file, address):
    """Raise unless a file without a known hash holds judgements of pairs by numbered annotators."""
    from alpaca_analysis.foundations.errors import AnnotationError
    from alpaca_analysis.table.readers import read_annotations

    try:
        table = read_annotations(Path(file), format="alpaca_eval")
        if not table["annotator"].astype(str).str.startswith("human_").all():
            raise AnnotationError("judgements with an 'annotator_index'", source=file)
    except AnnotationError as error:
        raise DataUnavailableError(
            f"{address} does not hold human annotations: {str(error).partition(': ')[2]}. Nothing was kept. "
            f"{advice()}"
        ) from error


def _write_record(target):
    import pooch

    partial = target.with_name(f"{target.name}.sha256.{os.getpid()}")
    partial.write_text(f"{pooch.file_hash(str(target))}\n")
    partial.replace(_record(target))


def _refused(path, address, code):
    if code == 404:
        return (
            f"{path}: {address} does not exist (404); its publisher may have moved it. Set {MIRROR} to a "
            f"folder that holds the files as sources.registry() lists them."
        )
    return f"{path}: {address} answered with error {code}. Try again later. {advice()}"


def _altered(path, address, row, target):
    if pd.isna(row["sha256"]):
        return (
            f"{path}: {address} is not the file first downloaded, whose hash {_record(target)} keeps. "
            f"Nothing was changed. Delete that record to accept the new file."
        )
    return (
        f"{path}: {address} sent other bytes than published (SHA-256 is not {row['sha256'][:12]}...). "
        f"Nothing was kept. A proxy or login page may stand between: look at the address in a browser. "
        f"{advice()}"
    )
