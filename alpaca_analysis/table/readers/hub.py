"""Data sets by `datasets`: folders that it saved, and names of the Hugging Face hub, pinned to a revision.

Nobody waits for a hub that cannot be reached: whether it answers is asked once, for `SECONDS`, before
`datasets`, which tries for half a minute, is.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from alpaca_analysis.foundations.errors import AnnotationError, DataUnavailableError, Verbatim, warn
from alpaca_analysis.table.readers.files import Columns, read_all
from alpaca_analysis.table.readers.objects import from_dataset, from_object, one_split
from alpaca_analysis.table.readers.paths import find_files

PREFIX = "hf:"
NAME = re.compile(
    r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?:/(?P<config>[\w.-]+))?(?:@(?P<revision>[\w./-]+))?(?::(?P<split>[\w.-]+))?",
    re.ASCII,
)
COMMIT = re.compile(r"[0-9a-f]{40}")
SECONDS = 3


def read_sources(
    source: Any, *, split: str | None = None, name: str = "annotations"
) -> Generator[Columns, None, None]:
    """Yield the columns of each file, data set or object that `source` names.

    Parameters
    ----------
    source : object
        See `read_annotations`.
    split : str, optional
        Which split of data sets that have several.
    name : str
        Which files of a folder, see `find_files`.
    """
    items = source if isinstance(source, (list, tuple)) else [source]
    if not any(is_name(item) or is_saved(item) for item in items):
        columns = from_object(source, split=split)
        yield from read_all(find_files(source, name=name)) if columns is None else [columns]
        return
    for item in items:
        if is_name(item):
            yield read_hub(item, split=split)
        elif is_saved(item):
            yield read_saved(Path(item), split=split)
        else:
            yield from read_all(find_files(item, name=name))


def is_name(source: Any) -> bool:
    """Say whether `source` names a data set of the hub: ``hf:owner/name``."""
    return isinstance(source, str) and source.startswith(PREFIX)


def is_saved(source: Any) -> bool:
    """Say whether `source` is a folder that ``save_to_disk`` of `datasets` wrote."""
    if not isinstance(source, (str, os.PathLike)) or not os.path.isdir(source):
        return False
    inside = set(os.listdir(source))
    return "dataset_dict.json" in inside or {"state.json", "dataset_info.json"} <= inside


def read_saved(folder: Path, *, split: str | None = None) -> Columns:
    """Read a folder that ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote.

    Its hash is that of its Arrow files, one after another in the order of their names.
    """
    import datasets

    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # whatever Arrow, JSON or the file system says of a damaged folder
        expected = f"a folder saved by datasets ({_first_line(error)})"
        raise AnnotationError(expected, source=folder) from None
    part = folder
    if isinstance(loaded, Mapping):
        dataset = one_split(loaded, split, folder)
        part = folder / next(name for name, each in loaded.items() if each is dataset)
    elif split is not None:
        raise AnnotationError(f"splits for split={split!r}", source=folder, found=Verbatim("one data set"))
    else:
        dataset = loaded
    return from_dataset(dataset, part, sha256=partial(_sha256, sorted(part.glob("*.arrow"))))


def _sha256(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as data:
            while block := data.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def read_hub(name: str, *, split: str | None = None) -> Columns:
    """Read a data set of the hub, from the cache of `datasets` where it holds that very revision.

    Parameters
    ----------
    name : str
        ``hf:owner/name`` or ``hf:owner/name/configuration``, with ``@revision`` and ``:split`` behind it
        where wanted: a commit is read again from the cache without a network; anything else is looked
        up, and what it stands for today is said in one warning.
    split : str, optional
        Which split, where there are several.

    Raises
    ------
    DataUnavailableError
        Not in the cache, and the hub does not answer, or refuses.
    """
    parts = NAME.fullmatch(name)
    if parts is None:
        expected = "'hf:owner/name' or 'hf:owner/name/configuration', then '@revision' and ':split' if wanted"
        raise AnnotationError(expected, source="source", found=name)
    if split is not None and parts["split"] not in (None, split):
        raise AnnotationError(f"split={split!r}, as the option says", source=name, found=parts["split"])
    repo, config, revision = parts["repo"], parts["config"], parts["revision"]
    split = split or parts["split"]
    commit = revision if revision and COMMIT.fullmatch(revision) else None
    splits, which = _cached(name, repo, config, commit) if commit else None, "of today"
    if splits is None:
        offline = _why_offline()
        if offline is None:
            commit = commit or _commit(name, repo, revision)
            splits = _cached(name, repo, config, commit) or _load(name, repo, config, commit)
        else:
            commit = None if revision else _newest(repo, config)
            if commit is None:
                raise DataUnavailableError(
                    f"{name}: {offline}, and the cache of datasets does not hold "
                    f"{f'revision {revision}' if revision else 'it'}. Connect to the internet and read it "
                    "once, or pass a folder that save_to_disk wrote elsewhere."
                )
            splits, which = _cached(name, repo, config, commit), f"that is newest in the cache ({offline})"
            if splits is None:
                raise DataUnavailableError(
                    f"{name}: {offline}, and what the cache of datasets holds is not whole"
                )
    pinned = f"{PREFIX}{repo}{f'/{config}' if config else ''}@{commit}"
    if revision != commit:
        warn(f"{name}: read at the revision {which}; {pinned} reads the same again")
    dataset = one_split(splits, split, pinned)
    return from_dataset(dataset, pinned if len(splits) == 1 else f"{pinned}:{split}")


def is_cached(name: str) -> bool:
    """Say whether the cache of `datasets` holds a data set at the commit that its name fixes."""
    parts = NAME.fullmatch(name)
    return parts is not None and bool(_folders(parts["repo"], parts["config"], parts["revision"]))


def _folders(repo: str, config: str | None, commit: Any) -> list[Path]:
    """Return the folders of a data set in the cache of `datasets`, the newest last."""
    import datasets
    from datasets.naming import camelcase_to_snakecase

    owner, name = repo.split("/")
    root = Path(datasets.config.HF_DATASETS_CACHE).expanduser() / f"{owner}___{camelcase_to_snakecase(name)}"
    found = [f for f in root.glob(f"{config or '*'}/*/{commit or '*'}") if COMMIT.fullmatch(f.name)]
    return sorted(found, key=lambda folder: folder.stat().st_mtime)


def _newest(repo: str, config: str | None) -> str | None:
    folders = _folders(repo, config, None)
    return folders[-1].name if folders else None


def _cached(name: str, repo: str, config: str | None, commit: Any) -> Any:
    """Return all splits from the cache of `datasets`, or None where it does not hold the commit."""
    from datasets.packaged_modules.cache.cache import Cache

    folders = _folders(repo, config, commit)
    configs = {folder.parts[-3] for folder in folders}
    if len(configs) > 1:
        found = Verbatim("the configurations " + ", ".join(sorted(configs)))
        raise AnnotationError(f"one of them, as hf:{repo}/configuration", source=name, found=found)
    if not folders:
        return None
    about = {"config_name": folders[-1].parts[-3], "version": folders[-1].parts[-2], "hash": commit}
    try:
        builder = Cache(dataset_name=repo.split("/")[1], repo_id=repo, **about)
        builder.download_and_prepare()
        return builder.as_dataset()
    except Exception:  # not whole: the hub is asked
        return None


def _load(name: str, repo: str, config: str | None, commit: Any) -> Any:
    import datasets

    if os.path.isdir(repo):
        found = Verbatim(f"a local folder {repo}, which datasets would read instead")
        raise AnnotationError("another working folder", source=name, found=found)
    try:
        return datasets.load_dataset(repo, config, revision=commit)
    except Exception as error:  # gated, gone, script-based, or no data set
        raise DataUnavailableError(f"{name}: datasets could not load it ({_first_line(error)})") from error


def _commit(name: str, repo: str, revision: str | None) -> str | None:
    import huggingface_hub

    try:
        return huggingface_hub.HfApi().dataset_info(repo, revision=revision, timeout=10).sha
    except Exception as error:
        raise DataUnavailableError(f"{name}: the hub does not know it ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _why_offline() -> str | None:
    """Return why the hub cannot be asked, or None if it answers."""
    from huggingface_hub import constants

    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        if os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE"):
            return f"{variable} is set"
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE was set when huggingface_hub was imported"
    return (
        None if _answers(constants.ENDPOINT) else f"{constants.ENDPOINT} does not answer within {SECONDS} s"
    )


def _answers(address: str) -> bool:
    """Say whether a server answers within the time limit, its name server included."""
    import requests

    answered = []

    def ask() -> None:
        try:
            requests.head(address, timeout=SECONDS, allow_redirects=False)
        except requests.RequestException:
            return
        answered.append(True)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(SECONDS)
    return bool(answered)
