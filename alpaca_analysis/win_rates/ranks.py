"""Many models: which differences are real, which ranks are possible, how many tiers there are.

Everything rests on one joint bootstrap of all models' estimates. A neighbouring gap, or each
model's own interval, is no statement about ranks: a rank is a statement about all differences.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning, warn
from alpaca_analysis.inference.results import Note, Reason, best_first, finish, has_reason, unit_of
from alpaca_analysis.inference.slices import Cut, Shares, cut
from alpaca_analysis.inference.slices import said as slices_said
from alpaca_analysis.inference.slices import shares as shares_of
from alpaca_analysis.inference.stopped import stopped_notes
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import refuse_mixed
from alpaca_analysis.win_rates.dropping import few_to_reverse
from alpaca_analysis.win_rates.joint import JointEstimates, joint_in_slices, joint_win_rates, times

TOGETHER = "jointly, by instruction"
APART = "independently of each other: no shared instructions"
UNRANKED = "shown neither better nor worse than any: "
ABSENT = Reason("nothing_judged", "undefined: a model has no usable judgement in this slice")
# Six equal models, 2,000 data sets: from here on sets of 95 % cover 94 to 96 %, below up to 99 %.
MANY_INSTRUCTIONS, MANY_CONTRARY = 50, 10
CAUTIOUS = "wider than necessary: {:.0f} instructions, {:.0f} of them with the rarer outcome"
ALIKE = "all outcomes alike: its own error counts as 0"

_OF_PAIRS = (
    *("model", "model_a", "model_b", "difference", "standard_error", "ci_low", "ci_high", "pvalue"),
    *("pvalue_max_t", "pvalue_holm", "pvalue_bh", "ordered", "paired", "n_shared", "reason", "note"),
)
_OF_RANKS = (
    *("model", "rank", "rank_low", "rank_high", "simultaneous_low", "simultaneous_high", "tier"),
    *("win_rate", "reason", "note"),
)


def pairwise_differences(
    table: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
    stratify: str | None = None,
) -> pd.DataFrame:
    """Compare every model with every other, with intervals and p-values that hold for all at once.

    The simultaneous interval of a difference is difference -+ c * standard error, where c is the
    `confidence_level` quantile of the largest absolute t over all pairs in the joint bootstrap (max-t). It
    uses that differences are correlated, which Bonferroni's does not.

    Parameters
    ----------
    table : DataFrame
        Judgements of two or more models against one reference by one annotator.
    by : str or sequence of str, optional
        Columns that cut the table into slices, such as "category". All pairs are then compared in each, with
        intervals and adjusted p-values that hold for all pairs of all slices at once, and one clustered test
        says whether the differences between models are the same in all slices.
    confidence_level : float
        Probability in (0, 1) that all intervals cover at once.
    n_resamples : int
        Bootstrap resamples.
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.
    stratify : str, optional
        Column whose groups keep their size in every resample.

    Returns
    -------
    DataFrame
        One row per pair, the better model first: `by` columns, ``model_a``, ``model_b``, ``difference``,
        ``standard_error``, ``ci_low``, ``ci_high`` (simultaneous), ``pvalue`` (t-test of this pair
        alone), ``pvalue_max_t`` (single-step, joint bootstrap), ``pvalue_holm``, ``pvalue_bh``
        (Holm; Benjamini and Hochberg, over all pairs), ``ordered`` (shown to differ by the step-down
        test behind `rank_sets`), ``paired``, ``n_shared`` (instructions that both were judged on),
        ``note``. Largest difference first; fractions. With `by` ``.attrs["slices"]`` has the test that all
        slices are equal.

    Raises
    ------
    AnnotationError
        Fewer than two models, several references or annotators, a model without a usable judgement.

    Warns
    -----
    UndefinedWarning
        Where a difference shows no variation, or a model has too few judgements to be tested.

    Notes
    -----
    A difference is that of two win rates, each over *all* judged instructions of its model, as in
    `win_rate` and `rank_sets`: one number a model, however many there are. `compare` takes the
    instructions that both models share, and no others. The two agree where all are shared.

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["a", "b"], "n_wins": [90, 50], "n_losses": [10, 50],
    ...                      "n_draws": [0, 0]})
    >>> pairwise_differences(table)[["model_a", "model_b", "difference", "ordered"]]
      model_a model_b  difference  ordered
    0       a       b         0.4     True
    """
    options.check_options(confidence_level, n_resamples)
    by = None if by is None else options.groups(by, _OF_PAIRS)
    from statsmodels.stats.multitest import multipletests

    sliced = _in_slices(table, by, n_resamples, rng, stratify)
    joints = sliced.joints
    largest, critical, betters = simultaneous(joints, confidence_level)
    frames = [_pairs(joint, largest, critical, better) for joint, better in zip(joints, betters, strict=True)]
    out = sliced.glued(frames, ("model_a", "model_b"))
    pvalue = out["pvalue"].to_numpy(dtype=float)
    usable = ~np.isnan(pvalue)
    for name, method in (("pvalue_holm", "holm"), ("pvalue_bh", "fdr_bh")):
        out.insert(out.columns.get_loc("ordered"), name, np.nan)
        if usable.any():
            out.loc[usable, name] = multipletests(pvalue[usable], method=method)[1]
    return finish(
        out.drop(columns="note"),
        estimate="difference",
        differences=["difference"],
        notes=out["note"],
        undefined=[*(by or ()), "model_a", "model_b"],
        **_said(sliced, confidence_level, rng, critical, stratify, int(usable.sum())),
    )


def _pairs(joint, largest, critical, better):
    """Return all pairs of one table or slice, the largest difference first."""
    order = best_order(joint)
    first, second = (order[k] for k in np.triu_indices(len(order), 1))
    difference, error = joint.difference[first, second], joint.difference_error[first, second]
    t = difference * joint.scale[first, second]
    pvalue = np.where(error > 0, 2 * stats.t.sf(np.abs(t), joint.df[first, second]), np.nan)
    usable = ~np.isnan(pvalue)
    half = np.where(usable, critical * error, np.nan)
    names = np.array(joint.models, dtype=object)
    out = pd.DataFrame(
        {
            "model_a": names[first],
            "model_b": names[second],
            "difference": difference,
            "standard_error": error,
            "ci_low": difference - half,
            "ci_high": difference + half,
            "pvalue": pvalue,
            "pvalue_max_t": np.where(usable, _exceedance(largest, np.abs(t)), np.nan),
            "ordered": better[first, second],
            "paired": joint.shared[first, second] > 0,
            "n_shared": joint.shared[first, second].astype(np.int64),
        }
    )
    alike = [
        [Reason("all_alike", f"{name}: {ALIKE}")] * int(same)
        for name, same in zip(names, _alike(joint), strict=True)
    ]
    out["note"] = [
        [_pair_note(joint, j, k, known), *alike[j], *alike[k]]
        for j, k, known in zip(first, second, usable, strict=True)
    ]
    out["_size"] = -ties.tied(out["difference"])
    return out.sort_values(["_size", "model_a", "model_b"], kind="stable").drop(columns="_size")


@dataclass(frozen=True)
class _Sliced:
    """Joint estimates of each slice of a table, or of the table as one."""

    joints: list[JointEstimates]
    cut: Cut | None
    shares: Shares | None
    unranked: list[list[str]]  # models of the table that a slice says nothing of

    def glued(self, frames, names):
        """Return the frames of all slices as one, with a row for what a slice says nothing of."""
        if self.cut is None:
            return frames[0]
        absent = []
        for joint, lost in zip(self.joints, self.unranked, strict=True):
            rows: list[tuple] = [(model,) for model in lost]
            if len(names) == 2:
                rows = [pair for model in lost for pair in itertools.product([model], joint.models)]
                rows += list(itertools.combinations(lost, 2))
            empty = pd.DataFrame(rows, columns=list(names), dtype=object)
            absent.append(empty.assign(note=pd.Series([ABSENT] * len(rows), dtype=object)))
        return self.cut.glued(frames, absent)

    def settings(self, confidence_level, critical, n_intervals):
        """Return what a result says of its slices."""
        if self.cut is None or self.shares is None:
            return {}
        equal = self.shares.equality(relative=True)
        about = {"confidence_level": confidence_level, "n_intervals": n_intervals, "critical_value": critical}
        return {"slices": slices_said(self.cut, equal, **about)}


def _in_slices(table, by, n_resamples, rng, stratify):
    """Return the joint estimates of the slices of a table, or of the table as one."""
    if by is None:
        joint = joint_win_rates(table, n_resamples=n_resamples, rng=rng, stratify=stratify)
        return _Sliced([_two_or_more(joint)], None, None, [[]])
    table = check(table, require=[*by, *([stratify] if stratify else [])])
    refuse_mixed(table, by)
    found = cut(table, by)
    joints, parts = joint_in_slices(table, found, n_resamples=n_resamples, rng=rng, stratify=stratify)
    if all(len(joint.models) < 2 for joint in joints):
        _two_or_more(joints[0])
    models = sorted({model for joint in joints for model in joint.models})
    starts = np.cumsum([0, *(len(joint.models) for joint in joints)])
    moved = [
        replace(part, columns=np.add(part.columns, start))
        for each, start in zip(parts, starts, strict=False)
        for part in each
    ]
    error = np.concatenate([_own_error(joint, each) for joint, each in zip(joints, parts, strict=True)])
    shares = shares_of(
        moved,
        slices=np.repeat(np.arange(len(joints)), np.diff(starts)),
        labels=[models.index(model) for joint in joints for model in joint.models],
        estimate=np.concatenate([joint.estimate for joint in joints]),
        error=error,
    )
    known = {str(model) for model in table["model"].unique()}
    return _Sliced(joints, found, shares, [sorted(known - set(joint.models)) for joint in joints])


def _own_error(joint, parts):
    """Return the error of each win rate, NaN where a model is in no test."""
    error = np.full(len(joint.models), np.nan)
    for part in parts:
        n = part.counts @ part.member
        with np.errstate(divide="ignore", invalid="ignore"):
            error[part.columns] = np.sqrt(part.counts @ part.share**2 * n / (n - 1))
    return np.where(joint.untested == "", error, np.nan)


def _pair_note(joint, j, k, known) -> Note:
    reasons = [f"{joint.models[i]}: {joint.untested[i]}" for i in (j, k) if joint.untested[i]]
    if not known:
        text = "undefined: " + ("; ".join(reasons) or "no variation in the difference")
        return Reason("too_few_units" if reasons else "no_variation", text)
    if joint.own_scale is not None and not joint.own_scale[j, k].any():
        text = "left out of the tests: too few instructions with different outcomes"
        return Reason("too_few_units", text)
    shared, smaller = joint.shared[j, k], min(joint.n[j], joint.n[k])
    if not shared:
        return Reason("unpaired", "taken as " + APART)
    return f"{shared:.0f} of {smaller:.0f} instructions shared" if 2 * shared < smaller else ""


def _alike(joint):
    """Return which models have outcomes without variation, so that a test with them rests on the other's."""
    moved = ~ties.equal(joint.resamples, joint.estimate[:, None]).all(axis=1)
    return ~moved & (joint.untested == "")


def _cautious(joint) -> list[Note]:
    """Return a note for every model with so few instructions that its sets are wider than they need be."""
    contrary = joint.n * np.minimum(joint.estimate, 1 - joint.estimate)
    few = (joint.n < MANY_INSTRUCTIONS) | (ties.difference(contrary, MANY_CONTRARY) < 0)
    few &= (joint.untested == "") & ~_alike(joint) & (joint.own_scale is not None)
    return [
        Reason("few_units", CAUTIOUS.format(n, k)) if note else ""
        for n, k, note in zip(joint.n, contrary, few, strict=True)
    ]


def _exceedance(largest, t):
    """Return (1 + how many of `largest` reach t) / (1 + how many there are)."""
    reached = len(largest) - np.searchsorted(np.sort(largest), t, side="left")
    return (1 + reached) / (1 + len(largest))


def rank_sets(
    table: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
    stratify: str | None = None,
    dropped: bool = False,
) -> pd.DataFrame:
    """Compute confidence sets for the ranks of all models, and the tiers they form.

    The rank of a model is 1 + the number of models with a higher win rate. Its confidence set runs
    from 1 + the number of models shown to be better to p - the number shown to be worse. "Shown" means
    rejected by the step-down max-t test of the one-sided hypotheses "j is not better than k", in both
    directions, from the joint bootstrap of all differences. The *marginal* set covers the rank of
    this one model with probability `confidence_level`, the *simultaneous* ones cover all ranks at
    once; use the first for a model named beforehand, the second for a statement about the whole
    list. Simultaneous statements are closed under transitivity (a above b and b above c give a
    above c), which is free: it is true whenever they are.

    The tier of a model is the length of the longest chain of models, each shown to be better than
    the next, that ends in it. Within a tier no two models are shown to differ; the number of
    tiers is the largest number of models whose order is known.

    Parameters
    ----------
    table : DataFrame
        Judgements of two or more models against one reference by one annotator. Without
        instruction ids (a table of counts) models are drawn independently, and ``note`` says so:
        sets are then wider or narrower than the paired ones, usually wider.
    by : str or sequence of str, optional
        Columns that cut the table into slices, such as "category". Models are then ranked in each:
        simultaneous sets hold for all models of all slices at once, and one clustered test says whether the
        differences between models are the same in all slices.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples.
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.
    stratify : str, optional
        Column whose groups keep their size in every resample.
    dropped : bool
        Say of each model how few instructions put it above the next; see `dropped_to_reverse`.

    Returns
    -------
    DataFrame
        `by` columns, ``model``, ``rank``, ``rank_low``, ``rank_high`` (marginal), ``simultaneous_low``,
        ``simultaneous_high``, ``tier``, ``win_rate``, ``note`` (how the model was drawn, why it is in no
        test, that all its outcomes are alike, or that few instructions make the sets wider than they need
        be); best first, integers from 1.
        ``.attrs`` holds the settings, ``n_tiers`` and ``n_pairs_ordered`` of ``n_pairs`` (the most tiers, and
        all pairs, of all slices); with `by` ``.attrs["slices"]`` has the test that all slices are equal.
        A model without a usable judgement in a slice has no rank there. With `dropped` also
        ``n_to_reverse``: without so many of the instructions that both share, the next model is the better
        one; 0 where it is so, or they tie, on all that they share; missing for the last, without instruction
        ids, and where no removal turns it.

    Raises
    ------
    AnnotationError
        Fewer than two models, several references or annotators, a model without a usable judgement.

    Warns
    -----
    UndefinedWarning
        Where a model has too few judgements to be tested against others. It may have any rank, as may
        the others relative to it; they are ranked among each other as if it were not there.

    References
    ----------
    Mogstad, M., Romano, J. P., Shaikh, A. M., Wilhelm, D. (2024). Inference for ranks with
    applications to mobility across neighbourhoods and academic achievement across countries.
    Review of Economic Studies 91(1), 476-518.

    Romano, J. P., Wolf, M. (2005). Exact and approximate stepdown methods for multiple hypothesis
    testing. JASA 100(469), 94-108.

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["a", "b", "c"], "n_wins": [90, 52, 50],
    ...                      "n_losses": [10, 48, 50], "n_draws": [0, 0, 0]})
    >>> rank_sets(table)[["model", "rank", "rank_low", "rank_high", "tier"]]
      model  rank  rank_low  rank_high  tier
    0     a     1         1          1     1
    1     b     2         2          3     2
    2     c     3         2          3     2
    """
    options.check_options(confidence_level, n_resamples)
    by = None if by is None else options.groups(by, _OF_RANKS)
    sliced = _in_slices(table, by, n_resamples, rng, stratify)
    frames, critical = rank_sets_of(sliced.joints, confidence_level=confidence_level)
    for frame, joint in zip(frames, sliced.joints, strict=True):
        alike = dict(zip(joint.models, _alike(joint), strict=True))
        cautious = dict(zip(joint.models, _cautious(joint), strict=True))
        stops = stopped_notes(table, frame[["model"]])
        frame["note"] = [
            [note, Reason("all_alike", ALIKE) if alike[model] else "", cautious[model], stopped]
            for model, note, stopped in zip(frame["model"], frame["note"], stops, strict=True)
        ]
    counts = {name: sum(frame.attrs[name] for frame in frames) for name in ("n_pairs_ordered", "n_pairs")}
    counts = {"n_tiers": max(frame.attrs["n_tiers"] for frame in frames), **counts}
    out = sliced.glued(frames, ("model",)).rename(columns={"estimate": "win_rate"})
    if dropped:
        out.insert(out.columns.get_loc("note"), "n_to_reverse", few_to_reverse(table, out, by or []))
    said = _said(sliced, confidence_level, rng, critical, stratify, counts["n_pairs"])
    said["settings"] = said["settings"] | counts
    found = ["win_rate"]
    out = finish(out, estimate=None, fractions=found, higher_is_better=found, **said)
    lost = out[has_reason(out, "untested")]
    if len(lost):
        names = ", ".join(lost["model"].head(3)) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")
        warn(f"{names}: {lost['note'].iloc[0]}", UndefinedWarning)
    return out


def joint_rank_sets(joint: JointEstimates, *, confidence_level=0.95) -> tuple[pd.DataFrame, float]:
    """Return the rank sets and tiers of `joint` as `rank_sets` does, and the simultaneous critical value.

    Parameters
    ----------
    joint : JointEstimates
        Estimates with their joint resamples, of win rates or of anything else.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    frame : DataFrame
        The columns of `rank_sets`, with ``estimate`` in place of ``win_rate``.
    critical : float
        Critical value of the largest absolute t over all pairs.
    """
    (frame,), critical = rank_sets_of([_two_or_more(joint)], confidence_level=confidence_level)
    return frame, critical


def rank_sets_of(
    joints: Sequence[JointEstimates], *, confidence_level: float
) -> tuple[list[pd.DataFrame], float]:
    """Return the rank sets of each of several lists of models, whose simultaneous sets hold for all at once.

    Parameters
    ----------
    joints : sequence of JointEstimates
        With as many resamples each, the same of instructions that they share.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    frames : list of DataFrame
        As of `joint_rank_sets`.
    critical : float
        Critical value of the largest absolute t over all pairs of all lists.
    """
    _, critical, betters = simultaneous(joints, confidence_level)
    found = [_ranked(joint, better, confidence_level) for joint, better in zip(joints, betters, strict=True)]
    return found, critical


def _ranked(joint, better, confidence_level):
    """Return the rank sets of one list, given who is shown to be better than whom."""
    p = len(joint.models)
    centred, t, own = joint.centred, _tested(joint), joint.own_scale
    each = [_marginal(centred, joint.scale, t, j, confidence_level, own) for j in range(p)]
    marginal = np.array(each, dtype=np.int64).reshape(p, 2)
    out = pd.DataFrame(
        {
            "model": joint.models,
            "rank": stats.rankdata(-ties.tied(joint.estimate), method="min").astype(np.int64),
            "rank_low": 1 + marginal[:, 0],
            "rank_high": p - marginal[:, 1],
            "simultaneous_low": 1 + better.sum(axis=0),
            "simultaneous_high": p - better.sum(axis=1),
            "tier": _tiers(better),
            "estimate": joint.estimate,
        }
    )
    drawn = [Reason("unpaired", "drawn " + APART) if apart else "" for apart in _drawn_apart(joint)]
    out["note"] = [
        Reason("untested", UNRANKED + why) if why else note
        for why, note in zip(joint.untested, drawn, strict=True)
    ]
    out = best_first(out, "estimate", ["model"])
    out.attrs = {
        "n_tiers": int(out["tier"].max()) if p else 0,
        "n_pairs_ordered": int(better.sum()),
        "n_pairs": p * (p - 1) // 2,
    }
    return out


def simultaneous_critical_value(joint: JointEstimates, *, confidence_level=0.95) -> float:
    """Return the `confidence_level` quantile, over resamples, of the largest absolute t over all pairs."""
    nothing = np.zeros((len(joint.models),) * 2, dtype=bool)
    return _quantile(_largest_of_all(joint.centred, joint.scale, nothing, joint.own_scale), confidence_level)


def _drawn_apart(joint):
    return (joint.shared > 0).sum(axis=1) <= 1  # with itself alone, or without instruction ids not even so


def _said(sliced, confidence_level, rng, critical, stratify, n_intervals):
    """Return what a result of the joint bootstrap says of itself, as `finish` takes it."""
    apart = any(_drawn_apart(joint).any() for joint in sliced.joints)
    return {
        "method": "max-t step-down on the joint bootstrap",
        "interval": "max-t",
        "unit": unit_of(any(joint.shared.any() for joint in sliced.joints)),
        "confidence_level": confidence_level,
        "n_resamples": max(joint.resamples.shape[1] for joint in sliced.joints),
        "rng": rng,
        "settings": {
            "stratify": stratify,
            "critical_value": critical,
            "note": "models drawn " + (APART if apart else TOGETHER),
            **sliced.settings(confidence_level, critical, n_intervals),
        },
    }


def best_order(joint: JointEstimates) -> np.ndarray:
    """Return the positions of the models, best first; models that tie are in the order of their names."""
    return np.lexsort((np.array(joint.models, dtype=str), -ties.tied(joint.estimate)))


def _two_or_more(joint):
    if len(joint.models) < 2:
        raise AnnotationError("at least two models", column="model", found=joint.models)
    return joint


def _quantile(largest, confidence_level):
    return float(np.quantile(largest, confidence_level, method="higher"))


def _largest(centred, scale, j, others, won, lost, own=None):
    """Return, per resample, the largest centred t among the hypotheses about j still open.

    Both directions are open against models in neither `won` nor `lost`; where j was shown better,
    "j's rival is not better than j" stays open, and the reverse where it was shown worse.
    """
    top = np.zeros(centred.shape[1], dtype=np.float32)
    t = np.empty_like(top)
    for k in others:
        np.subtract(centred[j], centred[k], out=t)
        t *= np.float32(-scale[j, k] if won[k] else scale[j, k])
        if own is not None:
            times(t, own[j, k])
        if not won[k] and not lost[k]:
            np.abs(t, out=t)
        np.maximum(top, t, out=top)
    return top


def _largest_of_all(centred, scale, better, own=None):
    top = np.zeros(centred.shape[1], dtype=np.float32)
    for j in range(len(centred) - 1):
        others = range(j + 1, len(centred))
        np.maximum(top, _largest(centred, scale, j, others, better[j], better[:, j], own), out=top)
    return top


def _marginal(centred, scale, t, j, confidence_level, own=None):
    """Return how many models are shown to be better than j, and how many worse, for j alone."""
    others = np.delete(np.arange(len(t)), j)
    won = lost = np.zeros(len(t), dtype=bool)
    while True:
        critical = _quantile(_largest(centred, scale, j, others, won, lost, own), confidence_level)
        now_won, now_lost = won | (t[j] > critical), lost | (t[j] < -critical)
        if (now_won == won).all() and (now_lost == lost).all():
            return int(lost.sum()), int(won.sum())
        won, lost = now_won, now_lost


def simultaneous(joints, confidence_level):
    """Return the largest |t| per resample over all lists, its critical value, and who is better in each."""
    scored = [(joint.centred, joint.scale, joint.own_scale) for joint in joints]
    tested = [_tested(joint) for joint in joints]
    betters = [np.zeros(t.shape, dtype=bool) for t in tested]
    first = None
    while True:
        tops = [
            _largest_of_all(centred, scale, better, own)
            for (centred, scale, own), better in zip(scored, betters, strict=True)
            if len(centred)
        ]
        shortest = min(map(len, tops))  # of ratings, resamples without finite ones are left out
        top = np.maximum.reduce([each[:shortest] for each in tops])
        critical = _quantile(top, confidence_level)
        first = (top, critical) if first is None else first
        now = [better | (t > critical) for better, t in zip(betters, tested, strict=True)]
        if all((a == b).all() for a, b in zip(now, betters, strict=True)):
            return *first, [_closure(better) for better in betters]
        betters = now


def _tested(joint):
    """Return t of every difference, 0 where a pair is left out of the tests."""
    t = joint.difference * joint.scale
    return t if joint.own_scale is None else np.where((joint.own_scale == 0).all(axis=2), 0.0, t)


def _closure(better):
    """Return the transitive closure of a relation, a boolean matrix."""
    while True:
        wider = better | ((better.astype(float) @ better.astype(float)) > 0)
        if (wider == better).all():
            return better
        better = wider


def _tiers(better):
    """Return the length of the longest chain that ends in each model."""
    tier = np.ones(len(better), dtype=np.int64)
    for _ in range(len(better)):
        above = np.where(better, tier[:, None], 0).max(axis=0)
        if (tier == above + 1).all():
            break
        tier = above + 1
    return tier
