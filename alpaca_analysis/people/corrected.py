"""Win rates corrected for the judge's errors: Rogan and Gladen's estimator, from counts and from tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options, ties
from alpaca_analysis.inference import coverage_notes, fieller, ratios, resampling
from alpaca_analysis.inference.results import Note, Reason, best_first, finish
from alpaca_analysis.people import votes
from alpaca_analysis.people.pilots import WEIGHTED, Pairs, judged_pairs

WEAK = Reason(
    "weak_judge",
    "the judge is not shown to tell better from worse: sensitivity + specificity may be 1",
)
CHANCE = Reason("weak_judge", "undefined: the judge tells better from worse no better than chance")
FEW_LABELS = 10  # of one kind, below which the interval covered 75 to 93 % for 95 % in simulation
UNLABELLED = Reason("nothing_labelled", "undefined: no judged pair with a label")
NO_DRAWS = Reason(
    "no_draws",
    "undefined: people call draws and the judge none, so that two verdicts cannot tell three kinds of "
    "pairs apart; calibrated_win_rate can",
)
TOO_FEW = Reason("too_few_units", "error undefined: fewer than two instructions")


def rogan_gladen(
    n_preferred: int,
    n_judged: int,
    *,
    sensitivity: tuple[int, int],
    specificity: tuple[int, int],
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    r"""Correct a win rate for the judge's errors, from counts.

    A judge prefers the model's output where people do with probability `sensitivity`, and the reference's
    where people do with probability `specificity`. With p the share of pairs for which it prefers the model,

        theta = (p + specificity - 1) / J,    J = sensitivity + specificity - 1,

    is the share for which people would. Verdicts are wins and losses, one per instruction, and the pairs on
    which the judge was checked are not among the `n_judged`; `rogan_gladen_win_rate` takes tables, draws,
    and pairs in both roles.

    Parameters
    ----------
    n_preferred, n_judged : int
        Pairs for which the judge prefers the model, of how many.
    sensitivity : (int, int)
        Right verdicts, and pairs, among those where people prefer the model; such as ``(78, 80)``.
    specificity : (int, int)
        The same where people prefer the reference.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    DataFrame
        One row: ``win_rate`` (cut to [0, 1]), ``standard_error`` (delta method), ``ci_low``, ``ci_high``
        (Fieller's, from shares with z^2 / 2 successes and failures added to p, and one of each to the other
        two, as Lang and Reiczigel do: valid also where J may be 0), ``judge_win_rate``, ``sensitivity``,
        ``specificity``, ``n_judged``, ``reason`` and ``note`` (the estimate was cut, the judge is weak, or
        its verdicts do not fit the two rates).

    Raises
    ------
    ValueError
        Counts that are none, or a J of 0 or less: such a judge says nothing of people.

    Warns
    -----
    UndefinedWarning
        No win rate explains p: the judge was checked on pairs of another kind.

    References
    ----------
    Rogan, W. J., Gladen, B. (1978). Estimating prevalence from the results of a screening test. American
    Journal of Epidemiology 107(1); Lang, Z., Reiczigel, J. (2014), Preventive Veterinary Medicine 113(1);
    Lee, C. et al. (2025). How to correctly report LLM-as-a-judge evaluations, arXiv:2511.21140.

    Examples
    --------
    >>> found = rogan_gladen(320, 400, sensitivity=(78, 80), specificity=(30, 40))
    >>> found[["win_rate", "standard_error", "ci_low", "ci_high"]].round(4)
       win_rate  standard_error  ci_low  ci_high
    0    0.7586          0.0402  0.6706    0.843
    """
    options.check_options(confidence_level)
    k1, m1 = _share("sensitivity", sensitivity)
    k0, m0 = _share("specificity", specificity)
    n = options.whole("n_judged", n_judged)
    n1 = options.whole("n_preferred", n_preferred, 0)
    if n1 > n:
        raise ValueError(f"n_preferred: found {n1}, expected at most the {n} of n_judged")
    if k1 / m1 + k0 / m0 <= 1 + 1e-12:
        raise ValueError(
            f"sensitivity, specificity: found {k1 / m1:g} + {k0 / m0:g}, expected a sum above 1: this judge "
            "tells better from worse no better than chance"
        )
    row = from_shares(n1, n, k1, m1, k0, m0, confidence_level)
    notes = row.pop("notes")
    return finish(
        pd.DataFrame([row]),
        estimate="win_rate",
        method="corrected for the judge's errors (Rogan and Gladen)",
        interval="fieller",
        unit="judgement (no instruction ids)",
        confidence_level=confidence_level,
        fractions=["win_rate", "judge_win_rate", "sensitivity", "specificity"],
        higher_is_better=["win_rate"],
        notes=[notes],
        undefined=["n_judged"],
    )


def from_shares(n1, n, k1, m1, k0, m0, confidence_level) -> dict[str, Any]:
    """Return the row of `rogan_gladen`, and its notes: n1 of n, k1 of m1 and k0 of m0 right."""
    p, sens, spec = n1 / n, k1 / m1, k0 / m0
    youden = sens + spec - 1
    theta = (p + spec - 1) / youden
    variance = p * (1 - p) / n + (1 - theta) ** 2 * spec * (1 - spec) / m0
    variance = (variance + theta**2 * sens * (1 - sens) / m1) / youden**2
    z = float(stats.norm.ppf((1 + confidence_level) / 2))
    shares = np.array([(n1 + z**2 / 2) / (n + z**2), (k1 + 1) / (m1 + 2), (k0 + 1) / (m0 + 2)])
    errors = shares * (1 - shares) / [n + z**2, m1 + 2, m0 + 2]
    low, high, notes = _fieller(shares, np.diag(errors), z, float(np.clip(theta, 0, 1)))
    return {
        "win_rate": float(np.clip(theta, 0, 1)),
        "standard_error": float(np.sqrt(variance)),
        "ci_low": low,
        "ci_high": high,
        "judge_win_rate": p,
        "sensitivity": sens,
        "specificity": spec,
        "n_judged": n,
        "notes": [_cut(theta), *notes],
    }


def _share(name, given) -> tuple[int, int]:
    """Return a count and of how many, or raise."""
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 2:
        raise ValueError(f"{name}: found {given!r}, expected two whole numbers, such as (78, 80)")
    some, everything = given[0], options.whole(name, given[1])
    options.whole(name, some, 0)
    if some > everything:
        raise ValueError(f"{name}: found {some} of {everything}, expected a part of the whole")
    return int(some), everything


def _cut(theta) -> Note:
    if 0 <= theta <= 1:
        return ""
    return Reason("cut", f"{100 * theta:.1f} % before it was cut to between 0 and 100")


def _fieller(shares, covariance, quantile, theta):
    """Return the interval from shares p, sensitivity and specificity, which holds theta, and notes."""
    p, sens, spec = shares
    turn = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    both = turn @ covariance @ turn.T
    low, high = fieller.ratio_interval(p + spec - 1, sens + spec - 1, both, quantile)
    notes: list[Note] = []
    if sens + spec - 1 <= quantile * np.sqrt(both[1, 1]):
        notes.append(WEAK)
    if np.isnan(low):
        text = "interval undefined: no win rate explains the judge's verdicts; was it checked on such pairs?"
        return np.nan, np.nan, [*notes, Reason("does_not_fit", text)]
    return min(low, theta), max(high, theta), notes


_COLUMNS = (
    "win_rate", "standard_error", "ci_low", "ci_high", "judge_win_rate", "human_win_rate", "sensitivity",
    "specificity", "n_labelled", "n_judged", "n_unjudged", "reason", "note",
)  # fmt: skip


def rogan_gladen_win_rate(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    *,
    by: str | Sequence[str] = "model",
    pooled: bool = False,
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
    on: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Correct win rates for the judge's errors, all of which are estimated from pairs that people labelled.

    As `rogan_gladen`, for pairs that are labelled and judged at once, several per instruction, and draws:
    everything is resampled together by instruction. A pair's label is the majority of its people, in
    expectation where it is not unique. Where people call no draws, a judge's draw counts half. Where they
    do, the shares of wins, draws and losses come from the 3 x 3 table of the judge's verdicts by people's.

    Parameters
    ----------
    table : DataFrame
        Judgements by one judge of all pairs.
    humans : DataFrame
        Judgements by one or more people of some of the pairs, as `calibrated_win_rate` takes them.
    by : str or sequence of str
        Columns that make a group; one estimate each, NaN where nobody labelled any of it.
    pooled : bool
        Estimate the judge's errors from the labels of all groups together. Right only if the judge errs
        alike on all of them, and the result says how many labels are of other groups. By default each group
        has its own.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples.
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart. By default ``idx`` where both tables have it, and
        ``repeat`` where it numbers comparisons: each of its values belongs to one pair only, and several
        people share it. Tables of counts are matched by these alone. ``.attrs["on"]`` says which were
        taken.

    Returns
    -------
    DataFrame
        `by` columns, ``win_rate`` (cut to [0, 1]), ``standard_error`` (jackknife over instructions),
        ``ci_low``, ``ci_high`` (percentile bootstrap; 0 and 1 where too many resamples hold no better judge
        than chance), ``judge_win_rate`` (over all pairs), ``human_win_rate`` (labelled pairs alone),
        ``sensitivity``, ``specificity`` (the judge's mean outcome where people prefer the model, and 1 less
        that where they prefer the reference), ``n_labelled``, ``n_judged``, ``n_unjudged``, ``reason`` and
        ``note``; best first, fractions.

    Raises
    ------
    AnnotationError
        Several judges or references in a group, no labelled pair at all, or probabilities that are none.

    Warns
    -----
    UndefinedWarning
        A group without labels of each kind, whose judge is no better than chance, or where people call
        draws and the judge never does.

    See Also
    --------
    calibrated_win_rate : Right also where the judge errs differently on labelled pairs, and rarely wider.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> people = (rng.random(600) < 0.6).astype(float)
    >>> judge = np.where(rng.random(600) < 0.85, people, 1 - people)
    >>> rows = pd.DataFrame({"instruction_id": np.arange(600).astype(str), "model": "m",
    ...                      "reference": "r"})
    >>> found = rogan_gladen_win_rate(rows.assign(annotator="judge", outcome=judge),
    ...                               rows.assign(annotator="p", outcome=people).head(150))
    >>> found[["win_rate", "judge_win_rate", "sensitivity", "specificity"]].round(2)
       win_rate  judge_win_rate  sensitivity  specificity
    0      0.55            0.56         0.88         0.84
    """
    options.check_options(confidence_level, n_resamples)
    by = options.groups(by, _COLUMNS)
    pairs = judged_pairs(table, humans, by, on)
    generator = np.random.default_rng(rng)
    rows = []
    for key, members in pairs.groups:
        row = _corrected(pairs, members, pooled, confidence_level, n_resamples, generator)
        rows.append(dict(zip(by, key, strict=True)) | row)
    labelled = ~np.isnan(pairs.people + pairs.judge)
    settings = pairs.settings | {"pooled": pooled}
    if np.ptp(pairs.probability[labelled]) > 1e-9:
        settings["draw"] = WEIGHTED
    return finish(
        best_first(pd.DataFrame(rows), "win_rate", by),
        estimate="win_rate",
        method="corrected for the judge's errors (Rogan and Gladen)",
        interval="percentile",
        unit=pairs.unit,
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        rng=rng,
        fractions=["win_rate", "judge_win_rate", "human_win_rate", "sensitivity", "specificity"],
        higher_is_better=["win_rate"],
        undefined=by,
        settings=settings,
    )


def _corrected(pairs: Pairs, members, pooled, confidence_level, n_resamples, rng) -> dict[str, Any]:
    own = np.isin(np.arange(len(pairs.judge)), members)
    judged, labelled = ~np.isnan(pairs.judge), ~np.isnan(pairs.people)
    n, both = pairs.items["n"].to_numpy(), judged & labelled
    checked = both & own if not pooled else both
    row = dict.fromkeys(_COLUMNS[:8], np.nan) | {
        "n_labelled": int(n[both & own].sum()),
        "n_judged": int(n[judged & own].sum()),
        "n_unjudged": int(n[labelled & ~judged & own].sum()),
    }
    if (judged & own).any():
        row["judge_win_rate"] = np.average(pairs.judge[judged & own], weights=n[judged & own])
    if (both & own).any():
        weights = n[both & own] / pairs.probability[both & own]
        row["human_win_rate"] = np.average(pairs.people[both & own], weights=weights)
    if not checked.any() or not (judged & own).any():
        return row | {"note": UNLABELLED}
    label = np.where(checked[:, None], votes.majority(pairs.votes), 0.0)
    draws = bool(label[:, 1].any())
    units = _units(pairs, judged & own, label / pairs.probability[:, None], draws)
    theta, tells = solved(units.estimate, draws)
    seen = units.estimate[1:4] if draws else units.estimate[[1, 1, 2]]
    row |= {"sensitivity": seen[2], "specificity": 1 - seen[0]}
    if note := _undefined(units, tells, draws):
        return row | {"note": note}
    drawn, told = solved(resampling.resample(units, n_resamples=n_resamples, rng=rng), draws)
    low, high, weak = percentile(drawn, told, confidence_level)
    out, _ = solved(ratios.jackknife(units), draws)
    size = units.counts.sum()
    error = np.sqrt((size - 1) / size * (units.counts @ (out - theta) ** 2)) if size > 1 else np.nan
    other = int(n[checked & ~own].sum())
    labels = ratios.Units(
        units.y[:, 1:4].sum(axis=1, keepdims=True),
        units.m[:, 1:4].sum(axis=1, keepdims=True),
        units.multiplicity,
    )
    notes: list[Note] = [_cut(theta), WEAK if weak else "", few(n @ label, draws)]
    notes += coverage_notes.of_sizes(labels, "percentile")
    if other:
        text = f"{other} of {n[checked].sum()} labels are of other groups: right only if the judge errs alike"
        notes.append(Reason("calibrated_elsewhere", text))
    if np.isnan(error):
        low = high = np.nan
        notes = [TOO_FEW]
    return row | {
        "win_rate": float(np.clip(theta, 0, 1)),
        "standard_error": float(ties.standard_error(error)),
        "ci_low": float(low),
        "ci_high": float(high),
        "note": notes,
    }


def _units(pairs: Pairs, judged, label, draws) -> ratios.Units:
    """Return what is resampled.

    Columns are the judge's mean outcome, that where people say loss, (draw,) and win; where people call
    draws also the judge's share of draws, over all and in the same three cases.
    """
    kinds = [0, 1, 2] if draws else [0, 2]
    weights = np.column_stack([judged.astype(float), label[:, kinds]])
    scores = np.repeat(pairs.judge[:, None], weights.shape[1], axis=1)
    if draws:
        share = np.repeat(pairs.drawn[:, None], weights.shape[1], axis=1)
        scores, weights = np.hstack([scores, share]), np.hstack([weights, weights])
    scores = np.where(weights > 0, scores, np.nan)
    return votes.clustered(pairs.items, scores, weights)


def solved(means: np.ndarray, draws: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return theta and how well the judge tells kinds of pairs apart (1 perfectly, 0 not at all).

    Parameters
    ----------
    means : ndarray of shape (..., n_columns)
        As `_units` has its columns.
    draws : bool
        Whether people call draws.
    """
    if not draws:
        p, lost, won = np.moveaxis(means, -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            tells = ties.difference(won, lost)
            return (p - lost) / tells, tells
    moments = np.stack([np.ones((*means.shape[:-1], 3)), means[..., 1:4], means[..., 5:8]], axis=-2)
    tells = -np.linalg.det(np.nan_to_num(moments))
    tells = np.where(
        np.isnan(moments).any(axis=(-2, -1)), np.nan, ties.standard_error(np.abs(tells)) * np.sign(tells)
    )
    known = np.stack([np.ones(means.shape[:-1]), means[..., 0], means[..., 4]], axis=-1)
    solvable = ~np.isnan(tells) & (tells != 0)
    safe = np.where(solvable[..., None, None], moments, np.eye(3))
    shares = np.linalg.solve(safe, known[..., None])[..., 0]
    return np.where(solvable, shares[..., 2] + shares[..., 1] / 2, np.nan), tells


def few(labels: np.ndarray, draws: bool) -> Note:
    """Return a note if the judge's errors are known from few labels of one kind.

    Parameters
    ----------
    labels : ndarray of shape (3,)
        How many labels say loss, draw and win.
    draws : bool
        Whether people call draws.
    """
    rarest = (labels if draws else labels[[0, 2]]).min()
    if rarest >= FEW_LABELS:
        return ""
    return Reason("few_labels", f"interval approximate: about {rarest:.0f} labels of the rarest kind")


def percentile(drawn: np.ndarray, told: np.ndarray, confidence_level: float) -> tuple[float, float, bool]:
    """Return the percentile interval of resamples, and whether too many hold no better judge than chance."""
    lost, tail = ~(told > 0), (1 - confidence_level) / 2
    if lost.mean() > tail:
        return 0.0, 1.0, True
    low, high = np.quantile(np.clip(drawn[~lost], 0, 1), [tail, 1 - tail])
    return float(low), float(high), False


def _undefined(units, tells, draws) -> Note:
    """Return why there is no estimate, and "" where there is one."""
    kinds = ["reference", "draw", "model"] if draws else ["reference", "model"]
    for k, kind in enumerate(kinds, start=1):
        if not units.m[:, k].any():
            text = f"undefined: no labelled pair of which people say {kind!r}"
            return Reason("one_kind_of_label", text)
    if draws and not units.y[:, 5:].any():
        return NO_DRAWS
    return "" if tells > 0 else CHANCE
