"""Files that are whole or not there: written beside under a temporary name, then renamed."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path) -> Iterator[Path]:
    """Give a temporary path to write to; rename it to `path` when the block ends well.

    Parameters
    ----------
    path : path
        The file to make or replace; missing folders are made.

    Yields
    ------
    Path
        In the same folder, with the same suffix. Removed if the block raises, so that what was at
        `path` before is still there. A link stays, and the file it leads to is replaced. A device or
        pipe, such as ``/dev/stdout``, is itself given, to be written to.

    Raises
    ------
    IsADirectoryError
        `path` is a folder.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a" / "b.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder; expected the name of a file to write", str(path))
    if (path.exists() and not path.is_file()) or path.parent == Path("/dev"):
        yield path  # renaming a file to it would remove the device
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def folder_name(name: str) -> str:
    r"""Return a name from a file as the name of one folder, which leads nowhere else.

    Slashes, backslashes and control characters become ``_``, as do names of nothing but dots; on
    Windows the colon of a drive does too.

    Examples
    --------
    >>> folder_name("meta/llama-3"), folder_name("../../etc"), folder_name("..")
    ('meta_llama-3', '.._.._etc', '__')
    """
    safe = re.sub(r"[/\\\x00-\x1f]" if os.name != "nt" else r"[/\\:\x00-\x1f]", "_", name)
    return safe if safe.strip(". ") else "_" * max(1, len(safe))


def write_text(path, text: str) -> Path:
    """Write `text` in UTF-8 to `path`, whole or not at all, and return the path."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
    return Path(path)


def write_json(path, value) -> Path:
    """Write `value` as JSON in UTF-8, whole or not at all; halves of surrogate pairs become ``?``."""
    text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)
    return write_text(path, text.encode("utf-8", "replace").decode() + "\n")
