"""Style of texts in numbers: length in several units, markdown, opening phrases, refusals, script.

Markdown is counted by a parser (markdown-it-py), so that what counts is what a reader would see rendered: a
``#`` inside a block of code is no header. Each distinct text is read once, and texts without any markdown
character are not parsed.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.foundations.progress import bar

COUNTS = (
    *("characters", "words", "sentences", "headers", "bold", "bulleted", "numbered"),
    *("code_blocks", "tables", "links"),
)
FLAGS = ("opening", "refusal")
SCRIPT = "script"
FEATURES = (*COUNTS, *FLAGS, SCRIPT)
BLOCKS = {  # what a token of the parser counts as
    "heading_open": "headers",
    "fence": "code_blocks",
    "table_open": "tables",
    "strong_open": "bold",
    "link_open": "links",
}
MARKED = re.compile(r"[#*_`|\[<\-+]|\d[.)]|https?:")  # without these nothing is markdown
INLINE = re.compile(r"\*\*|__|\]\(|\]\[|<http|https?:")  # without these there is no bold text and no link
SENTENCE = re.compile(r"[.!?](?:[\"')\]]*(?:\s|$))|[。！？]")
OPENING = re.compile(
    r"\W*(?:sure|certainly|of course|absolutely|definitely|great question|good question|"
    r"thank you for|thanks for|i'd be happy to|i would be happy to|i'm happy to|happy to help|"
    r"here is|here are|here's)\b",
    re.IGNORECASE,
)
REFUSAL = re.compile(
    r"\W*(?:(?:i'm|i am)(?: very| really| truly)? (?:sorry|afraid|unable)|sorry,? but|i apologi[sz]e|"
    r"my apologies|unfortunately,? i (?:can't|cannot|can not|am not able|am unable)|"
    r"i (?:can't|cannot|can not|won't|will not|am not able to|am unable to|must decline)|"
    r"as an ai\b[^.]{0,80}\b(?:can't|cannot|can not|unable|not able|don't|do not))",
    re.IGNORECASE,
)
SAMPLE = 500  # letters that tell the script of a text


def style_features(texts: Iterable[str | None], *, progress: bool | None = None) -> pd.DataFrame:
    r"""Count what makes the style of each text.

    Parameters
    ----------
    texts : iterable of str or None
        Outputs. A Series keeps its index.
    progress : bool, optional
        Whether to show progress; by default where a person watches.

    Returns
    -------
    DataFrame
        One row per text. Counts: ``characters``, ``words`` (separated by white space), ``sentences``,
        ``headers``, ``bold`` (spans), ``bulleted`` and ``numbered`` (list items), ``code_blocks`` (fenced),
        ``tables``, ``links``. Flags, 0 or 1: ``opening`` (begins with a phrase such as "Sure" or "Here is"),
        ``refusal`` (begins by declining, in English). ``script``: that of most letters, such as "latin" or
        "cyrillic", empty without letters. A missing text is missing in all.

    Raises
    ------
    AnnotationError
        A value that is neither text nor missing.

    Notes
    -----
    Words and sentences mean little in scripts that do not separate words. Opening phrases and refusals are
    known in English only; a text in another language has 0.

    Examples
    --------
    >>> features = style_features(["# Title\n\n- **one**\n- two", "Sure! No list here."])
    >>> features[["headers", "bold", "bulleted", "opening"]].to_numpy().tolist()
    [[1.0, 1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """
    given = texts if isinstance(texts, pd.Series) else pd.Series(list(texts), dtype=object)
    code, distinct = pd.factorize(given.astype(object), use_na_sentinel=True)
    bad = next((k for k, text in enumerate(distinct) if not isinstance(text, str)), None)
    if bad is not None:
        row = int(np.flatnonzero(code == bad)[0])
        raise AnnotationError("text, or nothing", source="texts", row=row, found=distinct[bad])
    counts = np.zeros((len(distinct) + 1, len(COUNTS) + len(FLAGS)))
    counts[-1] = np.nan
    scripts = np.full(len(distinct) + 1, None, dtype=object)
    with bar(len(distinct), "Style", shown=progress, unit="text") as steps:
        for k, text in enumerate(distinct):
            counts[k], scripts[k] = _numbers(text), script_of(text)
            if k % 200 == 199:
                steps.update(200)
    out = pd.DataFrame(counts[code], given.index, [*COUNTS, *FLAGS])
    return out.assign(**{SCRIPT: scripts[code]})


def add_features(table: pd.DataFrame, *, keep_texts: bool = True) -> pd.DataFrame:
    r"""Add the features of both outputs of every row, as columns such as ``headers_model``.

    Features are numbers and survive without the texts, in files and in data sets.

    Parameters
    ----------
    table : DataFrame
        Judgements with ``output_model`` and ``output_reference``, as from ``read_annotations(texts=True)``.
    keep_texts : bool
        Whether the texts stay in the table.

    Returns
    -------
    DataFrame
        The table with ``<feature>_model`` and ``<feature>_reference`` for each of `style_features`, save
        characters, which are ``length_model`` and ``length_reference``; and with ``list_model`` and
        ``list_reference``, whether an output holds a list, where they are not there.

    Raises
    ------
    AnnotationError
        No texts.

    Examples
    --------
    >>> table = pd.DataFrame({"model": ["m"], "outcome": [1.0], "output_model": ["- one\n- two"],
    ...                       "output_reference": ["One and two."]})
    >>> add_features(table)[["bulleted_model", "bulleted_reference", "list_model"]].iloc[0].tolist()
    [2.0, 0.0, 1.0]
    """
    texts = ("output_model", "output_reference")
    for column in texts:
        if column not in table:
            raise AnnotationError("the texts of both outputs; read_annotations(texts=True)", column=column)
    both = style_features(pd.concat([table[column] for column in texts], ignore_index=True))
    out = table.copy()
    for side, part in (("model", both[: len(table)]), ("reference", both[len(table) :])):
        for name in FEATURES[1:]:
            out[f"{name}_{side}"] = part[name].to_numpy()
        if f"list_{side}" not in table:
            lists = part["bulleted"] + part["numbered"]
            out[f"list_{side}"] = (lists > 0).where(lists.notna()).astype(float).to_numpy()
    out.attrs = dict(table.attrs)
    return out if keep_texts else out.drop(columns=list(texts))


@cache
def _parsers() -> tuple[Any, Any]:
    from markdown_it import MarkdownIt

    whole = MarkdownIt("commonmark", {"linkify": False}).enable("table")
    blocks = MarkdownIt("commonmark").enable("table").disable(["inline"])
    return whole, blocks


def _numbers(text: str) -> list[float]:
    """Return counts and flags of one text, in the order of `COUNTS` and `FLAGS`."""
    found: Counter = Counter()
    if MARKED.search(text):
        whole, blocks = _parsers()
        for token in (whole if INLINE.search(text) else blocks).parse(text):
            _count(token, found)
            for inside in token.children or ():
                _count(inside, found)
    sizes = {"characters": len(text), "words": len(text.split()), "sentences": len(SENTENCE.findall(text))}
    flags = [bool(OPENING.match(text)), bool(REFUSAL.match(text))]
    return [*(float({**found, **sizes}.get(name, 0)) for name in COUNTS), *map(float, flags)]


def _count(token: Any, found: Counter) -> None:
    if token.type == "list_item_open":
        found["numbered" if token.markup in (".", ")") else "bulleted"] += 1
    elif token.type in BLOCKS:
        found[BLOCKS[token.type]] += 1


def script_of(text: str) -> str:
    """Return the script of most letters of a text in lower case, or nothing without letters."""
    if text.isascii():
        return "latin" if any(map(str.isalpha, text)) else ""
    letters = [c for c in text if c.isalpha()][:SAMPLE]
    names = Counter(unicodedata.name(c, "unknown").partition(" ")[0].lower() for c in letters)
    return names.most_common(1)[0][0] if names else ""
