"""Two models: the difference of their win rates, paired wherever instructions are shared."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import coverage_notes, intervals, ratios
from alpaca_analysis.inference.intervals import degrees_of_freedom
from alpaca_analysis.inference.max_t import MaxT
from alpaca_analysis.inference.results import Reason, finish, unit_of
from alpaca_analysis.inference.slices import Part, cut
from alpaca_analysis.inference.slices import said as slices_said
from alpaca_analysis.inference.slices import shares as shares_of
from alpaca_analysis.inference.stopped import stopped_notes
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import all_identified, refuse_mixed, select_models
from alpaca_analysis.win_rates.joint import joint_win_rates, times

_COLUMNS = (
    *("model", "model_a", "model_b", "difference", "standard_error", "ci_low", "ci_high", "pvalue"),
    *("pvalue_adjusted", "equivalence_low", "equivalence_high", "not_worse", "equivalent", "verdict"),
    *("paired", "n_unshared", "reason", "note"),
)
UNPAIRED = Reason("unpaired", "taken as independent samples: no shared instruction ids")


def compare(
    table: pd.DataFrame,
    a: str | None = None,
    b: str | None = None,
    *,
    by: str | Sequence[str] | None = None,
    margin: float | None = None,
    adjust: options.Adjustment = "holm",
    method: options.Interval = "t",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> pd.DataFrame:
    """Compare win rates: two models, one with all others, or every pair, with a verdict in words.

    Where two models were judged on the same instructions the comparison is paired and uses the shared
    instructions only. Without instruction ids, as in a table of counts, or without shared instructions, the
    two win rates are taken as independent, and the result says so.

    Parameters
    ----------
    table : DataFrame
        Judgements of models against one reference by one annotator.
    a, b : str, optional
        Names in the ``model`` column. With `b` alone, every other model is compared with it (the baseline);
        with `a` alone, it with every other; without both, every pair, the better model first.
    by : str or sequence of str, optional
        Columns that cut the table into slices, such as "category": the comparison is made in each. All
        intervals of all slices then hold at once (max-t, whatever `adjust` and `method`), and one clustered
        test says whether the differences are the same in all slices.
    margin : float, optional
        Difference, a fraction, that would not matter; verdicts may then be "equivalent" or "not worse".
    adjust : {"holm", "max-t"}
        For several comparisons: p-values by Holm with intervals at Bonferroni's level, or p-values and
        intervals from the largest t of the joint bootstrap, which uses that differences are correlated and is
        narrower.
    method : {"t", "bca", "percentile"}
        Interval of a difference; "max-t" makes its own. The p-value is that of the t-test in every case.
    confidence_level : float
        Coverage in (0, 1), of all intervals at once.
    n_resamples : int
        Bootstrap resamples; ignored by "t".
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        One row per comparison, `by` columns first: ``model_a``, ``model_b``, ``difference`` (win rate of a
        minus that of b, a fraction), ``standard_error``, ``ci_low``, ``ci_high``, ``pvalue`` (two-sided, of
        no difference; of several or in slices ``pvalue_adjusted`` beside it), ``verdict``, ``paired``, ``n``
        (shared instructions, or the instructions or judgements of both), ``n_unshared`` (instructions of one
        model alone, left out), ``note`` (also that the interval is approximate: it rests on few units). With
        a margin also ``equivalence_low``, ``equivalence_high``: the interval at level
        1 - 2 (1 - confidence_level), whose ends are two one-sided tests; ``not_worse`` and ``equivalent``,
        whether it lies above -margin, and within the margin on both sides. ``.attrs["slices"]`` has the test
        that all slices are equal.

    Raises
    ------
    AnnotationError
        An unknown model, judgements against several references or by several annotators, or
        instruction ids on some rows of a model only.

    Notes
    -----
    The verdict is the first of these that the intervals support: "better" (the interval lies above 0),
    "worse" (below), "equivalent", "not worse", else "undecided". A model may be worse and still within the
    margin: ``not_worse`` says so. Undecided is not equal: more instructions may decide, see
    `plan_comparison`.

    See Also
    --------
    pairwise_differences : All pairs from win rates over all judged instructions, as ranks use them.

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["xwinlm-70b-v0.1", "gpt4"], "n_wins": [765, 761],
    ...                      "n_losses": [35, 32], "n_draws": [1, 12]})
    >>> found = compare(table, "xwinlm-70b-v0.1", "gpt4", margin=0.02)
    >>> found[["difference", "standard_error", "verdict"]].round(5)
       difference  standard_error     verdict
    0     0.00289         0.01019  equivalent
    """
    options.check_options(confidence_level, n_resamples)
    options.one_of("method", method, options.Interval)
    options.one_of("adjust", adjust, options.Adjustment)
    by = None if by is None else options.groups(by, _COLUMNS)
    if margin is not None:
        options.fraction("margin", margin, closed="neither")
    table = check(table, require=by or ())
    pairs = _asked(table, a, b)
    several = len(pairs) > 1
    sliced, shares, law = None, None, None
    if by is not None:
        refuse_mixed(table, by)
        sliced = cut(table, by)
        groups = [_paired(part, pairs) for part in sliced.parts(table)]
        shares = _shares(groups, pairs)
        law = shares.max_t(n_resamples=n_resamples, rng=rng)
    else:
        groups = [_paired(table, pairs, needed=True)]
        law = _critical(table, pairs, n_resamples, rng) if several and adjust == "max-t" else None
    level = confidence_level if law or not several else 1 - (1 - confidence_level) / len(pairs)
    bootstrap = {"method": method if law is None else "t", "n_resamples": n_resamples, "rng": rng}
    found = [
        [
            _compared(pair, units, level, margin, law, bootstrap)
            for pair, units in zip(pairs, group, strict=True)
        ]
        for group in groups
    ]
    frames = [pd.DataFrame([row for row, _ in rows]) for rows in found]
    frame = sliced.glued(frames) if sliced else frames[0]
    if several or sliced:
        t = frame["difference"] / frame["standard_error"]
        adjusted = law.pvalues(t, frame["pvalue"]) if law else holm(frame["pvalue"])
        frame.insert(frame.columns.get_loc("pvalue") + 1, "pvalue_adjusted", adjusted)
    paired = frame.loc[frame["n"] > 0, "paired"].all()
    made = ("max-t" if law else f"{method}, Bonferroni's level") if several or sliced else method
    settings: dict[str, Any] = {"margin": margin, "adjust": adjust if several else None}
    if sliced and shares and law:
        settings |= {
            "adjust": "max-t",
            "slices": _said(sliced, shares, law, pairs, b is None, confidence_level),
        }
    return finish(
        frame,
        estimate="difference",
        method="paired difference of win rates" if paired else "difference of independent win rates",
        interval=made,
        unit=unit_of(table["instruction_id"].notna().any()),
        confidence_level=confidence_level,
        n_resamples=n_resamples if law or method != "t" else None,
        rng=rng,
        differences=["difference"],
        notes=[
            [*notes, *own]
            for (_, notes), own in zip(itertools.chain(*found), _stops(table, frame), strict=True)
        ],
        undefined=[*(by or ()), "model_a", "model_b"],
        settings=settings,
    )


def _paired(table, pairs, needed=False):
    """Return the units of each pair; None where, unless they are needed, one side was not judged."""
    judged = table.loc[table["outcome"].notna(), "model"]
    known = {model for pair in pairs for model in pair} & set(judged.astype(str))
    sides = {model: _side(table, model) for model in known}
    if needed:
        sides = {model: _side(table, model) for pair in pairs for model in pair}
    return [_pair(sides[a], sides[b], a == b) if {a, b} <= set(sides) else None for a, b in pairs]


def _shares(groups, pairs):
    """Return what instructions contribute to the difference of each pair in each slice."""
    parts: list[Part] = []
    estimates, errors = [], []
    for column, units in enumerate(units for group in groups for units in group):
        difference, error = (np.nan, np.nan) if units is None else _difference(units)
        estimates.append(difference)
        errors.append(error)
        if units is not None:
            parts += units.parts(column)
    n_slices, n_pairs = len(groups), len(pairs)
    return shares_of(
        parts,
        slices=np.repeat(np.arange(n_slices), n_pairs),
        labels=np.tile(np.arange(n_pairs), n_slices),
        estimate=estimates,
        error=errors,
    )


def _said(sliced, shares, law, pairs, every, confidence_level):
    """Return what the result says of its slices; of every pair, those with the best model are tested."""
    n_intervals = int(shares.known.sum())
    if every:
        shares = shares.only([k for k, j in enumerate(shares.labels) if pairs[j][0] == pairs[0][0]])
    critical = law.critical(confidence_level)
    about = {"confidence_level": confidence_level, "critical_value": critical}
    return slices_said(sliced, shares.equality(), n_intervals=n_intervals, **about)


CONTRAST = np.array([[1.0], [-1.0]])


def _difference(units):
    """Return the difference of a pair with its error."""
    found = intervals.interval(units.units, contrast=CONTRAST, df=units.df, method="t")
    return found[0][0], found[1][0]


def _stops(table, frame):
    """Return what each comparison has to say of models whose judging was stopped early."""
    sides = (frame[[c]].set_axis(["model"], axis=1) for c in ("model_a", "model_b"))
    return list(zip(*(stopped_notes(table, side) for side in sides), strict=True))


def _asked(table, a, b):
    """Return the pairs of names that are compared."""
    known = [name for name in (a, b) if name is not None]
    select_models(table, known)
    if len(known) == 2:
        return [(a, b)]
    models = [str(m) for m in table["model"].unique()]
    if len(models) < 2:
        raise AnnotationError("two or more models", column="model", found=models)
    rate = table.assign(y=table["outcome"] * table["n"], m=table["n"].where(table["outcome"].notna()))
    sums = rate.groupby("model", observed=True)[["y", "m"]].sum()
    rates = pd.Series(ties.tied(sums["y"] / sums["m"].clip(lower=1)), sums.index.astype(str))
    order = sorted(models, key=lambda model: (-rates[model], model))
    if b is not None:
        return [(m, b) for m in order if m != b]
    if a is not None:
        return [(a, m) for m in order if m != a]
    return list(itertools.combinations(order, 2))


def _compared(pair, units, level, margin, law, bootstrap):
    """Return the row of one comparison and its notes."""
    a, b = pair
    if units is None:
        return _not_compared(pair, margin)
    options_ = {"contrast": CONTRAST, "df": units.df, **bootstrap}
    (difference,), (error,), (low,), (high,) = intervals.interval(
        units.units, confidence_level=level, **options_
    )
    if law and error > 0:
        half = law.of_t(law.critical(level), units.df) * error
        low, high = difference - half, difference + half
    row = {
        "model_a": a,
        "model_b": b,
        "difference": difference,
        "standard_error": error,
        "ci_low": low,
        "ci_high": high,
        "pvalue": 2 * stats.t.sf(abs(difference) / error, units.df) if error > 0 else np.nan,
    }
    inner = (np.nan, np.nan)
    if margin is not None:
        _, _, (inner_low,), (inner_high,) = intervals.interval(
            units.units, confidence_level=1 - 2 * (1 - level), **options_
        )
        inner = (inner_low, inner_high)
        if law and error > 0:
            half = law.of_t(law.critical(1 - 2 * (1 - level)), units.df) * error
            inner = difference - half, difference + half
        not_worse = bool(inner[0] > -margin)
        row |= {
            "equivalence_low": inner[0],
            "equivalence_high": inner[1],
            "not_worse": not_worse,
            "equivalent": not_worse and bool(inner[1] < margin),
        }
    row |= {"verdict": verdict_of(row), "paired": units.paired, "n": units.n, "n_unshared": units.n_unshared}
    few = coverage_notes.of_difference(units.units)
    if np.isnan(low):
        why = "too_few_units" if np.isnan(error) else "no_variation"
        text = "fewer than two units" if np.isnan(error) else "no variation"
        few = Reason(why, f"interval undefined: {text}")
    return row, (few, *units.notes) if np.isnan(low) else (*units.notes, few)


def _not_compared(pair, margin):
    """Return the row of a comparison that a slice does not allow."""
    names = ("difference", "standard_error", "ci_low", "ci_high", "pvalue")
    row = {"model_a": pair[0], "model_b": pair[1], **dict.fromkeys(names, np.nan)}
    if margin is not None:
        row |= {
            "equivalence_low": np.nan,
            "equivalence_high": np.nan,
            "not_worse": False,
            "equivalent": False,
        }
    row |= {"verdict": "undecided", "paired": False, "n": 0, "n_unshared": 0}
    return row, (Reason("nothing_judged", "undefined: one model has no usable judgement in this slice"),)


def verdict_of(row: Mapping[str, Any]) -> str:
    """Return what the intervals of a comparison support, in words; see `compare`.

    Examples
    --------
    >>> verdict_of({"ci_low": -0.01, "ci_high": 0.02, "not_worse": True, "equivalent": False})
    'not worse'
    """
    if row["ci_low"] > 0:
        return "better"
    if row["ci_high"] < 0:
        return "worse"
    if row.get("equivalent"):
        return "equivalent"
    return "not worse" if row.get("not_worse") else "undecided"


def _critical(table, pairs, n_resamples, rng):
    """Return the law of the largest t over the comparisons that were asked for."""
    models = sorted({model for pair in pairs for model in pair})
    rows = table[table["model"].isin(models)]
    joint = joint_win_rates(rows, n_resamples=n_resamples, rng=rng)
    place = {model: k for k, model in enumerate(joint.models)}
    first, second = (np.array([place[pair[side]] for pair in pairs]) for side in (0, 1))
    scale = joint.scale[first, second]
    largest = np.zeros(joint.centred.shape[1])
    for j, k, s in zip(first, second, scale, strict=True):
        t = np.abs(joint.centred[j] - joint.centred[k]) * s
        if joint.own_scale is not None:
            times(t, joint.own_scale[j, k])
        np.maximum(largest, t, out=largest)
    return MaxT(largest, joint.own_scale is not None)


def holm(pvalues):
    """Return Holm's adjusted p-values; statsmodels has them too, and takes a second to load."""
    ordered = pvalues.dropna().sort_values()
    steps = ordered * np.arange(len(ordered), 0, -1)
    return steps.cummax().clip(upper=1).reindex(pvalues.index)


@dataclass(frozen=True)
class Pair:
    """Two models as the columns of one bootstrap: on shared units, or as two strata.

    Attributes
    ----------
    units : Units
        Two columns; what is resampled.
    paired : bool
        Whether both columns are defined on the same units.
    df : float
        Degrees of freedom of the t-test.
    n, n_unshared : int
        Units in all; instructions left out because one model alone was judged on them.
    unit : str
        What a unit is.
    notes : tuple of Reason
        What a reader has to know.
    ids : ndarray, optional
        The instruction of each unit.
    """

    units: ratios.Units
    paired: bool
    df: float
    n: int
    n_unshared: int
    unit: str
    notes: tuple[Reason, ...]
    ids: np.ndarray | None = None

    def parts(self, column: int) -> list[Part]:
        """Return what the units contribute to the difference; those of two samples are drawn apart."""
        values, counts, strata = ratios.influence(self.units) @ CONTRAST, self.units.counts, self.units.strata
        samples = np.zeros(len(values), dtype=np.int64) if strata is None else strata
        return [
            Part(values[k], [column], None if self.ids is None else self.ids[k], counts[k])
            for k in (samples == s for s in np.unique(samples))
        ]


def pair_of(table: pd.DataFrame, a: str, b: str) -> Pair:
    """Return the units of two models, as `compare` takes them.

    Raises
    ------
    AnnotationError
        A model that the table lacks, or several references or annotators.
    """
    table = check(table)
    select_models(table, [a, b])
    return _pair(_side(table, a), _side(table, b), a == b)


def _pair(one_side, other_side, same):
    sides = [one_side, other_side]
    refuse_mixed(pd.concat(sides))
    ids = [side["instruction_id"] for side in sides]
    known = [all_identified(side["instruction_id"], side[["model"]]) for side in sides]
    identified = all(known)
    shared = np.intersect1d(*ids) if identified else []
    paired = same or len(shared) > 0
    one, two = (_units(side, shared if paired and identified else None) for side in sides)
    units = ratios.beside(one, two) if paired else ratios.apart(one, two)
    unshared = sum(i.nunique() - len(shared) for i in ids) if paired and identified else 0
    notes = [UNPAIRED] if not paired else []
    if unshared and paired:
        text = f"{unshared} instruction{'s' * (unshared != 1)} of only one model left out"
        notes = [Reason("unshared_left_out", text)]
    used = units.m > 0
    sizes, both = units.counts @ used, units.counts @ used.all(axis=1)
    worth = ratios.effective_units(units) / sizes
    return Pair(
        units=units,
        paired=paired,
        df=float(degrees_of_freedom(ratios.standard_error(units) ** 2, sizes, both, worth)[0, 1]),
        n=int(units.counts.sum()),
        n_unshared=unshared,
        unit=unit_of(identified),
        notes=tuple(notes),
        ids=_ids(ids, shared, paired) if identified else None,
    )


def _ids(ids, shared, paired):
    """Return the instruction of each unit, in the order of `_units`."""
    known = [np.unique(one.to_numpy(dtype=object)) for one in ids]
    return np.asarray(shared) if paired else np.concatenate(known)


def _side(table, model):
    side = table[(table["model"] == model) & table["outcome"].notna()]
    if side.empty:
        raise AnnotationError("at least one usable judgement", column="outcome", found=f"none of {model!r}")
    return side


def _units(side, ids=None):
    """Return the sums of one model: by instruction in the order of `ids`, or row by row."""
    y, n = side["outcome"].to_numpy(), side["n"].to_numpy()
    if side["instruction_id"].isna().all():
        order = np.lexsort((n, -y))  # a bootstrap of counts draws them in turn
        y, n = y[order], n[order]
        return ratios.Units(y[:, None], np.ones((len(y), 1)), n)
    known = side["instruction_id"].to_numpy(dtype=object)
    ids = np.unique(known) if ids is None else ids
    code = pd.Index(ids).get_indexer(known)
    used = code >= 0
    sums = (np.bincount(code[used], v[used], len(ids))[:, None] for v in (y * n, n))
    return ratios.Units(*sums)
