"""Two models: the difference of their win rates, paired wherever instructions are shared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import coverage_notes, intervals, ratios
from alpaca_analysis.inference.intervals import degrees_of_freedom
from alpaca_analysis.inference.results import Reason, finish, unit_of
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import all_identified, refuse_mixed, select_models

UNPAIRED = Reason("unpaired", "taken as independent samples: no shared instruction ids")


def compare(
    table: pd.DataFrame,
    a: str,
    b: str,
    *,
    method: options.Interval = "t",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> pd.DataFrame:
    """Compare the win rates of two models judged against one reference by one annotator.

    Where both models were judged on the same instructions the comparison is paired and uses the
    shared instructions only. Without instruction ids, as in a table of counts, or without shared
    instructions, the two win rates are taken as independent, and the result says so.

    Parameters
    ----------
    table : DataFrame
        Judgements of both models.
    a, b : str
        Names in the ``model`` column.
    method : {"t", "bca", "percentile"}
        Interval of the difference. The p-value is that of the t-test in every case.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples; ignored by "t".
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        One row: ``model_a``, ``model_b``, ``difference`` (win rate of a minus that of b, a fraction),
        ``standard_error``, ``ci_low``, ``ci_high``, ``pvalue`` (two-sided, of no difference),
        ``paired``, ``n`` (shared instructions, or the instructions or judgements of both),
        ``n_unshared`` (instructions of one model alone, left out), ``note`` (also that the interval is
        approximate: it rests on few units).

    Raises
    ------
    AnnotationError
        An unknown model, judgements against several references or by several annotators, or
        instruction ids on some rows of a model only.

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["xwinlm-70b-v0.1", "gpt4"], "n_wins": [765, 761],
    ...                      "n_losses": [35, 32], "n_draws": [1, 12]})
    >>> compare(table, "xwinlm-70b-v0.1", "gpt4")[["difference", "standard_error", "paired"]].round(5)
       difference  standard_error  paired
    0     0.00289         0.01019   False
    """
    options.check_options(confidence_level, n_resamples)
    options.one_of("method", method, options.Interval)
    pair = pair_of(table, a, b)
    (difference,), (error,), (low,), (high,) = intervals.interval(
        pair.units,
        contrast=np.array([[1.0], [-1.0]]),
        method=method,
        df=pair.df,
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        rng=rng,
    )
    row = {
        "model_a": a,
        "model_b": b,
        "difference": difference,
        "standard_error": error,
        "ci_low": low,
        "ci_high": high,
        "pvalue": 2 * stats.t.sf(abs(difference) / error, pair.df) if error > 0 else np.nan,
        "paired": pair.paired,
        "n": pair.n,
        "n_unshared": pair.n_unshared,
    }
    few = coverage_notes.of_difference(pair.units)
    if np.isnan(low):
        why = "too_few_units" if np.isnan(error) else "no_variation"
        text = "fewer than two units" if np.isnan(error) else "no variation"
        few = Reason(why, f"interval undefined: {text}")
    return finish(
        pd.DataFrame([row]),
        estimate="difference",
        method="paired difference of win rates" if pair.paired else "difference of independent win rates",
        interval=method,
        unit=pair.unit,
        confidence_level=confidence_level,
        n_resamples=None if method == "t" else n_resamples,
        rng=rng,
        differences=["difference"],
        notes=[(few, *pair.notes) if np.isnan(low) else (*pair.notes, few)],
        undefined=["model_a", "model_b"],
    )


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
    """

    units: ratios.Units
    paired: bool
    df: float
    n: int
    n_unshared: int
    unit: str
    notes: tuple[Reason, ...]


def pair_of(table: pd.DataFrame, a: str, b: str) -> Pair:
    """Return the units of two models, as `compare` takes them.

    Raises
    ------
    AnnotationError
        A model that the table lacks, or several references or annotators.
    """
    table = check(table)
    select_models(table, [a, b])
    sides = [_side(table, model) for model in (a, b)]
    refuse_mixed(pd.concat(sides))
    ids = [side["instruction_id"] for side in sides]
    known = [all_identified(side["instruction_id"], side[["model"]]) for side in sides]
    identified = all(known)
    shared = np.intersect1d(*ids) if identified else []
    paired = a == b or len(shared) > 0
    one, two = (_units(side, shared if paired and identified else None) for side in sides)
    units = ratios.beside(one, two) if paired else ratios.apart(one, two)
    unshared = sum(i.nunique() - len(shared) for i in ids) if paired and identified else 0
    notes = [UNPAIRED] if not paired else []
    if unshared and paired:
        text = f"{unshared} instruction{'s' * (unshared != 1)} of only one model left out"
        notes = [Reason("unshared_left_out", text)]
    used = units.m > 0
    sizes, both = units.counts @ used, units.counts @ used.all(axis=1)
    return Pair(
        units=units,
        paired=paired,
        df=float(degrees_of_freedom(ratios.standard_error(units) ** 2, sizes, both)[0, 1]),
        n=int(units.counts.sum()),
        n_unshared=unshared,
        unit=unit_of(identified),
        notes=tuple(notes),
    )


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
