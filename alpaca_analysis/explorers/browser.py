"""Read judged pairs: prompt and both outputs side by side, filtered, sorted, sliced, selected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from alpaca_analysis.explorers import pairs as measured
from alpaca_analysis.explorers import texts as read
from alpaca_analysis.explorers.window import page, parts
from alpaca_analysis.explorers.window.widget import Host, window
from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.files import write_text

PAGE_PAIRS = 500  # of a self-contained page, unless told
PAGE_BYTES = 9_500_000


class Browser:
    """Judged pairs to read; what `browse` returns.

    JupyterLab shows it as a widget (extra ``notebooks``); `to_html` writes a page that needs nothing else.

    Attributes
    ----------
    pairs : DataFrame
        The judgements in the order shown, with what they are sorted by; the index is the row of the table.
    """

    def __init__(self, pairs: pd.DataFrame, sort: str, title: str, of: int):
        self.pairs = pairs
        self._sort, self._title, self._of = sort, title, of
        self._texts = read.Texts(pairs)
        self._host: Host | None = None

    @property
    def selection(self) -> pd.DataFrame:
        """The pairs that were selected, as rows of the table; empty where none was."""
        rows = self._host.selected if self._host else []
        return self.pairs.iloc[rows].drop(columns=[c for c in measured.ADDED if c in self.pairs])

    @property
    def widget(self):
        """What Jupyter shows."""
        return self._shown().widget

    def _shown(self) -> Host:
        if self._host is None:
            self._host = window("browse", parts.numbers(self.pairs, self._sort, of=self._of), self._answer)
        return self._host

    def _answer(self, message: Mapping[str, Any]) -> dict | None:
        if "want" in message:
            rows = [int(row) for row in message["want"]][:1000]
            rows = [row for row in rows if 0 <= row < len(self.pairs)]
            return {"texts": parts.texts(self.pairs, self._texts, rows)}
        if "search" in message:
            words = str(message["search"])
            return {"search": words, "found": self._texts.search(words)}
        return None

    def to_html(self, path, *, n: int = PAGE_PAIRS) -> Path:
        """Write one page that holds the first `n` pairs and asks nothing of a network.

        Parameters
        ----------
        path : path
            The file to make or replace.
        n : int
            At most how many pairs; fewer where the page would exceed 10 MB. The page says how many it
            left out.

        Returns
        -------
        Path
        """
        n = min(options.whole("n", n), len(self.pairs))
        held, size = parts.texts(self.pairs, self._texts, range(n)), 0
        for row, entry in held.items():
            size += page.size(entry)
            if size > PAGE_BYTES:
                n = max(1, row)
                break
        numbers = parts.numbers(self.pairs.head(n), self._sort, of=self._of) | {"left": len(self.pairs) - n}
        content = page.render(self._title, numbers, [held[row] for row in range(n)])
        return write_text(path, content)

    def _repr_mimebundle_(self, **_options):
        return self._shown().bundle(repr(self))

    def __repr__(self) -> str:
        return f"<Browser of {len(self.pairs):,} judged pairs, by {self._sort.replace('_', ' ')}>"


def browse(
    table: pd.DataFrame,
    *,
    where: str | Mapping[str, Any] | Iterable[bool] | None = None,
    sort: measured.Sort = "surprise",
    n: int | None = None,
    humans: pd.DataFrame | None = None,
    rng: Any = 0,
) -> Browser:
    """Read judged pairs side by side: texts, verdict, lengths, people's votes, what sets them apart.

    Words that both outputs share, or that one alone has, are marked. In the view pairs are searched,
    filtered, sorted and cut into slices whose win rates have the intervals of ``win_rate(method="t")``. Texts
    travel when they are looked at.

    Parameters
    ----------
    table : DataFrame
        Judgements, as `read_annotations` with ``texts=True`` returns them. Of rows that `load` named and
        that are on this machine, texts are read when they are looked at.
    where : str, dict, or sequence of bool, optional
        Which pairs: a condition on columns, ``"outcome == 0 and length_difference > 1000"``; values by
        column, ``{"model": ["gpt4", "claude-2"]}``; or one truth value a row. What pairs are sorted by
        are columns, too.
    sort : {"surprise", "length_difference", "disagreement", "influence", "random", "table"}
        What stands first. "surprise": verdicts least expected from the model's other judgements and from
        other models' on the instruction. "length_difference": outputs of the most different lengths.
        "disagreement": the judge against the mean of `humans`, else several judges of one pair against
        each other. "influence": judgements that move the model's win rate at equal length most. "random":
        a random order, the same for the same `rng`.
    n : int, optional
        How many to show; all by default. With ``sort="random"`` this is a random sample.
    humans : DataFrame, optional
        Judgements of the same pairs by people, matched also where sides are flipped.
    rng : int, Generator or SeedSequence
        Seed of the random order.

    Returns
    -------
    Browser
        ``.selection``: what was selected in the view, as rows of the table; ``.pairs``: what is shown, with
        the columns ``length_difference``, ``expected``, ``surprise``, ``disagreement``, ``influence``;
        ``.to_html(path)``: a self-contained page.

    Raises
    ------
    ValueError
        An option that cannot be, a condition that keeps nothing, or an order that nothing is known for.
    AnnotationError
        A table of counts: it names no pairs.

    See Also
    --------
    label : The same view blind, to be filled in.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "instruction": ["Say hello.", "Count to 3.", "Name a colour."],
    ...     "model": "mine", "reference": "ref",
    ...     "output_model": ["Hello!", "1, 2, 3", "Red."], "output_reference": ["Hi", "1 2", "I will not."],
    ...     "outcome": [1.0, 1.0, 0.0]})
    >>> browser = browse(table)
    >>> browser
    <Browser of 3 judged pairs, by surprise>
    >>> browser.pairs["instruction"].tolist()
    ['Name a colour.', 'Say hello.', 'Count to 3.']
    """
    options.one_of("sort", sort, measured.Sort)
    if n is not None:
        options.whole("n", n)
    if where is not None and not isinstance(where, str | Mapping | Iterable):
        raise ValueError(f"where: found {where!r}, expected a condition, values by column, or truth values")
    every = measured.measure(table, humans=humans, rng=rng)
    kept = measured.chosen(every, where, sort)
    return Browser(kept if n is None else kept.head(n), sort, parts.title(kept), len(kept))
