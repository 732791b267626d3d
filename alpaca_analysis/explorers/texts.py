"""The texts of pairs: in the table itself, or in the published files that its rows were read from."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd

from alpaca_analysis.foundations.errors import DataUnavailableError

COLUMNS = ("instruction", "output_model", "output_reference")
EXPLANATIONS = ("explanation", "rationale", "raw_completion", "judgement", "judgment", "reply")
LONGEST = 100_000  # characters of one text that are shown
_KEY = ("instruction_id", "model", "reference", "annotator", "position", "repeat")
NONE = (
    "The texts are not at hand: read_annotations(..., texts=True) keeps them, and so does "
    ".to_frame(texts=True) of what judge returned."
)


class Texts:
    """Texts by the row of a frame of pairs, read when they are first asked for.

    Parameters
    ----------
    pairs : DataFrame
        Judgements. Without text columns, rows that `load` named are looked up in their files, one
        model's files at a time.
    """

    def __init__(self, pairs: pd.DataFrame):
        self._pairs = pairs
        self._own = all(column in pairs for column in COLUMNS)
        self._read: dict[str, pd.DataFrame] = {}
        self._files = {} if self._own else _files(pairs)
        self.known = self._own or bool(self._files)

    def of(self, rows) -> pd.DataFrame:
        """Return the three texts of some rows, given by position; missing ones are NA."""
        part = self._pairs.iloc[list(rows)]
        if self._own:
            return part[list(COLUMNS)].reset_index(drop=True)
        if not self._files:
            return pd.DataFrame(pd.NA, index=range(len(part)), columns=list(COLUMNS), dtype=object)
        key = [c for c in _KEY if c in part]
        wanted = part[key].astype(object).where(part[key].notna(), None).reset_index(drop=True)
        models = wanted["model"].unique()
        held = pd.concat([self._of_model(str(model)) for model in models], ignore_index=True)
        on = [c for c in key if c in held]
        return wanted.merge(held.drop_duplicates(on), on=on, how="left")[list(COLUMNS)]

    def _of_model(self, model):
        if model not in self._read:
            from alpaca_analysis.table.readers import read_annotations

            rows = read_annotations(self._files.get(model) or self._files[""], texts=True)
            rows = rows[rows["model"].astype(str) == model] if model not in self._files else rows
            key = [c for c in _KEY if c in rows]
            held = rows[[*key, *COLUMNS]].astype(object)
            self._read[model] = held.where(held.notna(), None)
        return self._read[model]

    def search(self, words: str) -> list[int]:
        """Return the positions of the pairs one of whose texts holds `words`, upper or lower case alike."""
        sought, found = words.casefold(), []
        cells = self._folded
        for row, texts in enumerate(zip(*(cells[column] for column in COLUMNS), strict=True)):
            if any(sought in text for text in texts):
                found.append(row)
        return found

    @functools.cached_property
    def _folded(self) -> dict[str, list[str]]:
        texts = self.of(range(len(self._pairs)))
        return {
            column: [text.casefold() if isinstance(text, str) else "" for text in texts[column]]
            for column in COLUMNS
        }


def _files(pairs) -> dict[str, list[Path]]:
    """Return the files of each model among published ones; under "" all of them."""
    from alpaca_analysis.sources.catalogue import available, fetch

    name = pairs.attrs.get("name")
    try:
        if not name or available(name) not in ("mirror", "cached"):
            return {}
        paths = fetch(name, download=False)
    except (ValueError, DataUnavailableError):
        return {}
    files: dict[str, list[Path]] = {"": paths}
    for path in paths:
        if "results" in path.parts and path.name.startswith("annotations"):
            files.setdefault(path.parts[path.parts.index("results") + 1], []).append(path)
    return files


@functools.cache
def _markdown():
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def rendered(text: str) -> str:
    r"""Return Markdown as HTML: tags in it are text, and images are links.

    Examples
    --------
    >>> rendered("**bold** <script>")
    '<p><strong>bold</strong> &lt;script&gt;</p>\n'
    """
    return _markdown().render(text)


def shortened(text) -> str:
    """Return a text as it is shown: empty where there is none, cut where it is longer than `LONGEST`."""
    if not isinstance(text, str):
        return ""
    text = text.encode("utf-8", "replace").decode()
    more = len(text) - LONGEST
    return text if more <= 0 else f"{text[:LONGEST]}\n… ({more:,} characters more)"
