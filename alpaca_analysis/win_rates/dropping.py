"""How few judgements carry an order: what has to be left out for it to turn."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference.results import finish
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import all_identified, refuse_mixed, select_models


def dropped_to_reverse(
    table: pd.DataFrame, a: str, b: str, *, statistic: options.Ranked = "win_rate"
) -> pd.DataFrame:
    """Find the fewest instructions whose removal turns the order of two models.

    An instruction goes with all judgements of both models. With one judgement of each model per
    instruction the answer is exact: instructions go in order of their difference. With several, or with
    unequal numbers, they go by what each contributes, the win rates are computed anew at every step, and
    the answer is an upper bound. So it is for Bradley-Terry ratings: what pulls the two ratings furthest
    apart goes first (by influence), and the ratings are fitted anew.

    Parameters
    ----------
    table : DataFrame
        Judgements of both models against one reference by one annotator, with instruction ids. For ratings
        battles of any models, as of `bradley_terry`; an instruction goes with all its battles, without ids
        single judgements go.
    a, b : str
        Names in the ``model`` column.
    statistic : {"win_rate", "rating"}
        What the two models are ordered by.

    Returns
    -------
    DataFrame
        The instructions to leave out, in their order, as far as the order turns: ``instruction_id``,
        ``outcome_a``, ``outcome_b`` (mean outcomes, of the better model first), ``difference`` (what is left
        of the difference of win rates without it and those before, a fraction). Of ratings
        ``instruction_id``, ``model``, ``reference``, ``outcome`` (where one battle goes), ``n_battles`` and
        ``difference`` (of the ratings, log odds; NaN where they were not fitted anew after each).
        ``.attrs`` has ``model_a``, ``model_b`` (the better one first), ``difference`` (of all), ``n`` (shared
        instructions; of ratings all that could go), ``n_to_tie``, ``n_to_reverse`` (None where no removal was
        found that turns it) and ``exact``. Empty for two models that tie.

    Raises
    ------
    AnnotationError
        No instruction ids, or no shared instruction; of ratings, a model without a finite one.

    Notes
    -----
    Few instructions that carry an order are no fault of the data, and not the same as a large p-value: the
    number says what one would have to read to be convinced (Broderick, Giordano and Meager, 2020):
    ``browse(table[table["instruction_id"].isin(found["instruction_id"])])`` shows these pairs.

    References
    ----------
    Broderick, T., Giordano, R., Meager, R. (2020). An automatic finite-sample robustness metric.
    arXiv:2011.14999. Huang, J. Y. et al. (2025). Dropping just a handful of preferences can change top large
    language model rankings. arXiv:2508.11847.

    Examples
    --------
    >>> rows = pd.DataFrame({"instruction_id": ["i1", "i2", "i3"] * 2, "model": ["a"] * 3 + ["b"] * 3,
    ...                      "outcome": [1, 1, 0, 0, 1, 0]})
    >>> found = dropped_to_reverse(rows, "a", "b")
    >>> found["instruction_id"].tolist(), found.attrs["n_to_tie"], found.attrs["n_to_reverse"]
    (['i1'], 1, None)
    """
    options.one_of("statistic", statistic, options.Ranked)
    if statistic == "rating":
        from alpaca_analysis.win_rates.dropping_ratings import dropped_ratings

        return dropped_ratings(table, a, b)
    table = check(table)
    select_models(table, [a, b])
    rows = table[table["model"].isin([a, b]) & table["outcome"].notna()]
    refuse_mixed(rows)
    if not all_identified(rows["instruction_id"], rows[["model"]]):
        raise AnnotationError("instruction ids: they tell which judgements belong together", found="none")
    rows = rows.assign(y=rows["outcome"] * rows["n"])
    sums = rows.groupby(["instruction_id", "model"], observed=True)[["y", "n"]].sum().unstack("model")
    sums = sums[["y", "n"]].dropna()
    if sums.empty:
        raise AnnotationError("instructions on which both models were judged", found="none")
    y, n = (sums[c][[a, b]].to_numpy(float) for c in ("y", "n"))
    rates = y.sum(axis=0) / n.sum(axis=0)
    start = float(ties.difference(rates[0], rates[1]))
    if start < 0:
        a, b, y, n = b, a, y[:, ::-1], n[:, ::-1]
    ids = sums.index.to_numpy(dtype=object)
    exact = bool((n == n[0]).all() and (n[:, 0] == n[:, 1]).all())
    order, left = _greedy(y, n) if start else (np.array([], dtype=int), np.array([]))
    tie, turned = (next((k + 1 for k, d in enumerate(left) if done(d)), None) for done in (_tied, _turned))
    shown = order[: turned or tie or 0]
    means = y / n
    frame = pd.DataFrame(
        {
            "instruction_id": ids[shown],
            "outcome_a": means[shown, 0],
            "outcome_b": means[shown, 1],
            "difference": left[: len(shown)],
        }
    )
    about = {
        "model_a": a,
        "model_b": b,
        "difference": abs(start),
        "n": len(ids),
        "n_to_tie": tie,
        "n_to_reverse": turned,
    }
    return finish(
        frame,
        estimate=None,
        method="fewest shared instructions left out" + ("" if exact else ", at most"),
        unit="instruction",
        differences=["difference"],
        settings=about | {"exact": exact, "statistic": statistic},
    )


def few_to_reverse(table: pd.DataFrame, ranked: pd.DataFrame, by: Sequence[str] = ()) -> pd.Series:
    """Return for each model of a list how few shared instructions put it above the next one.

    Parameters
    ----------
    table : DataFrame
        Judgements.
    ranked : DataFrame
        ``model``, best first, and the columns `by`.
    by : sequence of str
        Columns that cut table and list into slices.

    Returns
    -------
    Series of Int64
        As `rank_sets` has it.
    """
    found = pd.Series(pd.NA, ranked.index, dtype="Int64")
    slices = ranked.groupby(list(by), observed=True, dropna=False, sort=False) if by else [((), ranked)]
    for key, part in slices:
        inside = np.ones(len(table), dtype=bool)
        for column, value in zip(by, key if isinstance(key, tuple) else (key,), strict=True):
            inside &= (table[column].isna() if pd.isna(value) else table[column] == value).to_numpy(
                dtype=bool
            )
        rows = table[inside]
        for place, (a, b) in zip(part.index, itertools.pairwise(part["model"]), strict=False):
            few = few_between(rows, a, b)
            found[place] = pd.NA if few is None else few
    return found


def few_between(table: pd.DataFrame, a: str, b: str) -> int | None:
    """Return how few shared instructions keep `a` above `b`, as `rank_sets` has it; None where unknown."""
    try:
        about = dropped_to_reverse(table, a, b).attrs
    except AnnotationError:  # no ids, none shared, or nothing judged
        return None
    return 0 if about["difference"] == 0 or about["model_a"] != a else about["n_to_reverse"]


def _tied(difference):
    return not difference > 0


def _turned(difference):
    return difference < 0


def _greedy(y, n):
    """Return instructions in the order in which they go, and the difference after each."""
    order, left = [], []
    inside = np.ones(len(y), dtype=bool)
    totals, sizes = y.sum(axis=0), n.sum(axis=0)
    for _ in range(len(y) - 1):
        rates = totals / sizes
        share = (y[:, 0] - rates[0] * n[:, 0]) / sizes[0] - (y[:, 1] - rates[1] * n[:, 1]) / sizes[1]
        k = int(np.argmax(np.where(inside, np.round(share, 12), -np.inf)))
        inside[k] = False
        totals, sizes = totals - y[k], sizes - n[k]
        difference = float(ties.difference(*(totals / sizes)))
        order.append(k)
        left.append(difference)
        if difference < 0:
            break
    return np.array(order, dtype=int), np.array(left)
