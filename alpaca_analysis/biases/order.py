"""What the order in which two outputs are shown does to a judge's verdicts.

Pairs that were judged in both orders show it directly: the stored outcome names an output, so a judge that
goes by the output gives the same outcome twice, and one that goes by the place gives opposite ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.biases.sides import different, named_judges, one_side, require_ids, same_side, singly
from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.inference import intervals
from alpaca_analysis.inference.ratios import Units
from alpaca_analysis.inference.results import Reason, finish
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import refuse_mixed
from alpaca_analysis.win_rates.estimates import win_rate
from alpaca_analysis.win_rates.shares import shares_by

RULES = ("mean of both", "conflict is a draw", "conflict dropped")
COUNTS = ("n_pairs", "n_same", "n_first", "n_second", "n_draws", "n_missing")
BEYOND = ("flips", "repeat_flips", "flips_beyond_repeats", "beyond_low", "beyond_high")
RESULT = (*COUNTS, "consistent", "standard_error", "ci_low", "ci_high", "pvalue", *BEYOND, "reason", "note")
NO_REPEATS = Reason("no_repeats", "no pair was judged twice in the same order: noise is not told from order")


def order_consistency(
    table: pd.DataFrame,
    *,
    by: str | Sequence[str] = "annotator",
    method: options.WinRateInterval = "bca",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> pd.DataFrame:
    """Estimate how often a judge prefers the same output in both orders, and what it does otherwise.

    Each judgement of a pair in one order is put beside one in the other order: the first beside the first,
    and so on, where there are several. A weighted outcome counts as the verdict it leans to.

    Parameters
    ----------
    table : DataFrame
        Judgements with ``instruction_id`` and ``position`` (1 where the model's output came first, else 2).
        Which output is called the model's does not matter.
    by : str or sequence of str
        Columns that make a group, each the same on all rows of a pair. To see consistency by difference in
        length, cut it first: ``table.assign(gap=pd.cut((table.length_model - table.length_reference).abs(),
        [-1, 50, 200, 9999]))`` and ``by=["annotator", "gap"]``.
    method : {"bca", "percentile", "t", "wilson"}
        Interval of ``consistent``, as `win_rate` makes it.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples; ignored by "t" and "wilson".
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        `by` columns; ``n_pairs`` (judged in both orders, with a usable verdict in each), ``consistent``
        (share of them in which the same output was preferred both times) with ``standard_error``,
        ``ci_low``, ``ci_high``; ``n_same``, ``n_first`` and ``n_second`` (the output shown first, or
        second, was preferred both times), ``n_draws`` (a draw at least once; the four add up to
        ``n_pairs``), ``n_missing`` (no usable verdict at least once); ``pvalue`` of the exact two-sided
        sign test of first against second, in which each instruction has one vote, the place that it
        favours more often. ``flips`` is the share of different verdicts between orders, ``repeat_flips``
        that between judgements in the same order and ``flips_beyond_repeats`` their difference with a t
        interval, ``beyond_low`` to ``beyond_high``, on the pairs that have both; NaN where no pair was
        judged twice in the same order. Most consistent first.

    Raises
    ------
    AnnotationError
        No position, no instruction ids, or no pair judged in both orders.

    See Also
    --------
    order_rules : Win rates under three rules for verdicts that contradict each other.
    prefer_first : Preference for the first place, also where each pair was shown in one order.

    References
    ----------
    Zheng, L. et al. (2023). Judging LLM-as-a-judge with MT-bench and Chatbot Arena. arXiv:2306.05685.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"instruction_id": list("aabbccdd"), "model": "m", "annotator": "judge",
    ...                       "position": [1, 2] * 4, "outcome": [1, 1, 0, 0, 1, 0, 1, 1]})
    >>> order_consistency(table, method="t")[["n_pairs", "consistent", "n_first", "n_second", "pvalue"]]
       n_pairs  consistent  n_first  n_second  pvalue
    0        4        0.75        1         0     1.0
    """
    options.check_options(confidence_level, n_resamples)
    options.one_of("method", method, options.WinRateInterval)
    by = options.groups(by, RESULT)
    rows = _rows(table, by)
    pairs = _both_orders(rows, by)
    usable = pairs["one"].notna() & pairs["two"].notna()
    first, second = pairs["one"], 1 - pairs["two"]  # 1 where the output shown first was preferred
    same = usable & (pairs["one"] == pairs["two"]) & (pairs["one"] != 0.5)
    place = (usable & (first == second) & (first != 0.5)).to_numpy() * (2 * first.to_numpy() - 1)
    place = np.nan_to_num(place)
    draws = usable & ((pairs["one"] == 0.5) | (pairs["two"] == 0.5))
    kinds = {"n_same": same, "n_first": place > 0, "n_second": place < 0, "n_draws": draws}
    kinds = {"n_pairs": usable, **kinds, "n_missing": ~usable}
    marks = pairs[by].assign(**{name: np.asarray(mark, dtype=int) for name, mark in kinds.items()})
    counts = marks.groupby(by, observed=True, dropna=False)[list(COUNTS)].sum().reset_index()
    share = same.astype(float).where(usable).to_numpy()
    rates = shares_by(pairs, "consistent", share, by, method, confidence_level, n_resamples, rng)
    attrs = rates.attrs
    rates = rates.drop(columns="n").merge(counts, on=by, how="left")
    tests = _by_group(pairs.assign(place=place), by, lambda part: {"pvalue": _sign_test(part)})
    beyond = _by_group(_flips(rows, pairs, by), by, lambda part: _beyond(part, confidence_level), BEYOND)
    result = rates.merge(tests, on=by, how="left").merge(beyond, on=by, how="left")
    lost = result["flips_beyond_repeats"].isna()
    columns = [*by, "n_pairs", "consistent", "standard_error", "ci_low", "ci_high", *COUNTS[1:], "pvalue"]
    return finish(
        result[[*columns, *BEYOND]],
        estimate="consistent",
        method="share of pairs in which the same output was preferred in both orders",
        interval=method,
        unit="instruction",
        confidence_level=confidence_level,
        n_resamples=attrs["n_resamples"],
        rng=rng,
        fractions=["consistent", "flips", "repeat_flips"],
        differences=["flips_beyond_repeats", "beyond_low", "beyond_high"],
        notes=[
            (Reason(code, note) if code else note, NO_REPEATS if none else "")
            for code, note, none in zip(result["reason"], result["note"], lost, strict=True)
        ],
    )


def order_rules(
    table: pd.DataFrame,
    *,
    by: str | Sequence[str] = "model",
    method: options.WinRateInterval = "bca",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> pd.DataFrame:
    """Compute win rates of pairs judged in both orders under three rules for contradicting verdicts.

    Parameters
    ----------
    table : DataFrame
        Judgements of one annotator against one reference, with ``instruction_id`` and ``position``. Pairs
        judged in one order are left out; several judgements in an order are put beside those in the other,
        as in `order_consistency`.
    by : str or sequence of str
        Columns that make a group, each the same on all rows of a pair.
    method : {"bca", "percentile", "t", "wilson"}
        Interval, as `win_rate` makes it.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples; ignored by "t" and "wilson".
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        `by` columns, ``rule`` and the columns of `win_rate`. "mean of both" averages the two outcomes,
        "conflict is a draw" counts 1/2 where the two verdicts differ, "conflict dropped" leaves such pairs
        out (they are ``n_missing``). A weighted outcome enters the last two as the verdict it leans to.

    Raises
    ------
    AnnotationError
        No position, no instruction ids, no pair judged in both orders, several references or annotators.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"instruction_id": list("aabbccdd"), "model": "m", "annotator": "judge",
    ...                       "position": [1, 2] * 4, "outcome": [1, 1, 0, 0, 1, 0, 1, 1]})
    >>> order_rules(table, method="t")[["rule", "win_rate", "n_total"]].round(3)
                     rule  win_rate  n_total
    0        mean of both     0.625        4
    1  conflict is a draw     0.625        4
    2    conflict dropped     0.667        3
    """
    options.check_options(confidence_level, n_resamples)
    options.one_of("method", method, options.WinRateInterval)
    by = options.groups(by, {*RESULT, "rule"})
    refuse_mixed(check(table, require=[*sorted({*by} - {"annotator"}), "position"]), by)
    rows = _rows(table, by, turn=False)
    pairs = _both_orders(rows, by)
    usable = pairs["one"].notna() & pairs["two"].notna()
    conflict = usable & (pairs["one"] != pairs["two"])
    by_rule = {
        RULES[0]: (pairs["one_outcome"] + pairs["two_outcome"]) / 2,
        RULES[1]: pairs["one"].where(usable).mask(conflict, 0.5),
        RULES[2]: pairs["one"].where(usable & ~conflict),
    }
    parts = []
    for rule, outcome in by_rule.items():
        judged = pairs.assign(outcome=outcome, n=1, repeat=np.arange(len(pairs)))
        part = win_rate(
            judged,
            by=by,
            method=method,
            confidence_level=confidence_level,
            n_resamples=n_resamples,
            rng=rng,
        )
        part.insert(len(by), "rule", rule)
        parts.append(part)
    result = pd.concat(parts, ignore_index=True)
    groups = result[by].apply(lambda c: c.astype(str)).agg("/".join, axis=1)
    order = {name: place for place, name in enumerate(groups.drop_duplicates())}
    result = result.iloc[groups.map(order).argsort(kind="stable")].reset_index(drop=True)
    result.attrs = parts[0].attrs | {"method": "mean outcome of pairs judged in both orders"}
    return result


def _rows(table, by, turn=True):
    """Return one row per judgement, all of a pair from one side, with the verdict that each leans to."""
    table = named_judges(check(table, require=[*sorted({*by} - {"annotator"}), "position"]))
    require_ids(table)
    sided = same_side(table) if turn else one_side(table)
    rows = singly(sided.dropna(subset=["position"]))
    return rows.assign(verdict=(np.sign(rows["outcome"] - 0.5) + 1) / 2)


def _both_orders(rows, by):
    """Return the judgements of a pair in one order beside those in the other, k-th beside k-th."""
    key = list(dict.fromkeys(["instruction_id", "annotator", "model", "reference", *by]))
    known = [c for c in ("repeat", "turned") if c in rows]
    rows = rows.sort_values([*key, "position", *known], kind="stable")
    rows = rows.assign(turn=rows.groupby([*key, "position"], observed=True, dropna=False).cumcount())
    columns = [*key, "turn", "verdict", "outcome"]
    one, two = (
        rows.loc[rows["position"] == place, columns].rename(
            columns={"verdict": name, "outcome": f"{name}_outcome"}
        )
        for place, name in ((1, "one"), (2, "two"))
    )
    pairs = one.merge(two, on=[*key, "turn"], how="inner")
    if pairs.empty:
        expected = "pairs judged in both orders: position 1 and position 2 on the same instruction and models"
        raise AnnotationError(expected, column="position", found=Verbatim("none"))
    return pairs.assign(n=1)


def _by_group(frame, by, statistic, empty=()):
    """Return a frame with one row per group: what `statistic` says of its rows; `empty` names its columns."""
    found = []
    for key, part in frame.groupby(by, observed=True, dropna=False):
        found.append(dict(zip(by, key, strict=True)) | statistic(part))
    return pd.DataFrame(found) if found else pd.DataFrame(columns=[*by, *empty])


def _sign_test(pairs):
    votes = np.sign(pairs.groupby("instruction_id")["place"].sum())
    n_first, n_second = int((votes > 0).sum()), int((votes < 0).sum())
    return float(stats.binomtest(n_first, n_first + n_second).pvalue) if n_first + n_second else np.nan


def _flips(rows, pairs, by):
    """Return for each pair its share of different verdicts between orders, and within an order."""
    key = list(dict.fromkeys(["instruction_id", "annotator", "model", "reference", *by]))
    usable = pairs.dropna(subset=["one", "two"])
    between = usable.assign(flip=(usable["one"] != usable["two"]) * 1.0)
    between = between.groupby(key, observed=True, dropna=False)["flip"].mean().rename("between")
    within = different(rows.dropna(subset=["verdict"]), [*key, "position"]).rename("within").dropna()
    within = within.groupby(level=key, observed=True, dropna=False).mean()
    return pd.concat([between, within], axis=1).reset_index().dropna(subset=["between"])


def _beyond(part, confidence_level):
    both = part.dropna(subset=["within"])
    found = dict.fromkeys(BEYOND, np.nan) | {"flips": float(part["between"].mean())}
    if both.empty:
        return found
    code = pd.factorize(both["instruction_id"], sort=True)[0]
    sums = np.stack([np.bincount(code, both[c]) for c in ("between", "within")], axis=1)
    units = Units(sums, np.repeat(np.bincount(code)[:, None], 2, axis=1).astype(float))
    contrast = np.array([[1.0], [-1.0]])
    (difference,), _, (low,), (high,) = intervals.interval(
        units, contrast=contrast, method="t", confidence_level=confidence_level
    )
    values = (float(both["between"].mean()), float(both["within"].mean()), difference, low, high)
    return dict(zip(BEYOND, values, strict=True))
