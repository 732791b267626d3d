"""Estimates of many models with the resamples they share: what ranks and plans of an order rest on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from alpaca_analysis.foundations import ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import ratios, resampling
from alpaca_analysis.inference.blocks import blocks_of
from alpaca_analysis.inference.intervals import degrees_of_freedom
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import refuse_mixed

# A model is in no test if more than this share of resamples holds no judgement of it: fewer than about
# ten units of many.
MISSED = 1e-4


@dataclass(frozen=True)
class JointEstimates:
    """Estimates of p models with the resamples they share.

    Attributes
    ----------
    models : list of str
        Names, in any order.
    estimate : ndarray of shape (p,)
        Win rates, or anything else by which models are ranked (larger is better).
    resamples : ndarray of shape (p, n_resamples)
        The estimates in each joint resample.
    difference_error : ndarray of shape (p, p)
        Standard error of every difference; 0 or NaN where the data show no variation.
    df : ndarray of shape (p, p)
        Degrees of freedom of the t-test of each difference; inf for the normal.
    shared : ndarray of shape (p, p)
        Instructions that two models share; 0 where they are drawn independently.
    n : ndarray of shape (p,)
        Units (instructions, or judgements without one) behind each estimate.
    untested : ndarray of str of shape (p,)
        Why a model can be in no test, and "" where it can.
    """

    models: list[str]
    estimate: np.ndarray
    resamples: np.ndarray
    difference_error: np.ndarray
    df: np.ndarray
    shared: np.ndarray
    n: np.ndarray
    untested: np.ndarray

    @property
    def difference(self) -> np.ndarray:
        """Return estimate of row minus estimate of column, of shape (p, p)."""
        return ties.difference(self.estimate[:, None], self.estimate)

    @property
    def scale(self) -> np.ndarray:
        """Return 1 / standard error of each difference, and 0 where that is undefined."""
        usable = self.difference_error > 0
        return np.divide(1.0, self.difference_error, out=np.zeros_like(self.difference_error), where=usable)

    @property
    def centred(self) -> np.ndarray:
        """Return resamples minus estimate, in float32: a quantile over resamples needs no more."""
        return (self.resamples - self.estimate[:, None]).astype(np.float32)


def joint_win_rates(
    table: pd.DataFrame, *, n_resamples: int = 9999, rng=0, stratify: str | None = None
) -> JointEstimates:
    """Return the win rates of all models with their joint bootstrap.

    Models judged on shared instructions are resampled together, which keeps their pairing. Models
    that share none, as all do in a table of counts, are drawn independently. The estimate of a model
    rests on all its judged instructions, shared or not.

    A resample without a judgement of a model says nothing of it: its own estimate stands there. Where
    more than `MISSED` of resamples are so, or the error of a model is undefined, so are its differences.

    Parameters
    ----------
    table : DataFrame
        Judgements against one reference by one annotator.
    n_resamples, rng
        Number of resamples and seed.
    stratify : str, optional
        Column whose groups keep their size in every resample.

    Returns
    -------
    JointEstimates
        In the order of the models' names.

    Raises
    ------
    AnnotationError
        Several references or annotators, or a model without a usable judgement.

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["a", "b"], "n_wins": [6, 5], "n_losses": [4, 5], "n_draws": [0, 0]})
    >>> joint_win_rates(table, n_resamples=9).estimate.tolist()
    [0.6, 0.5]
    """
    table = check(table, require=[stratify] if stratify else [])
    refuse_mixed(table)
    rng = np.random.default_rng(rng)
    blocks = list(blocks_of(table, ["model"], stratify))
    models = [str(m) for block in blocks for m in block.groups["model"]]
    judged = np.concatenate([block.counts["n_total"] for block in blocks])
    if (judged == 0).any():
        found = f"none of {models[int(np.argmin(judged))]!r}"
        raise AnnotationError("at least one usable judgement of each model", column="outcome", found=found)
    p = len(models)
    covariance, shared, sizes = np.zeros((p, p)), np.zeros((p, p)), np.empty(p)
    untested = np.empty(p, dtype=object)
    draws, start = [], 0
    for block in blocks:
        units, inside = block.units, slice(start, start + len(block.groups))
        used = (units.m > 0).astype(float)
        sizes[inside] = units.counts @ used
        if table["instruction_id"].notna().any():
            shared[inside, inside] = used.T @ used
        covariance[inside, inside] = _covariance(units)
        untested[inside] = _untested(units, sizes[inside])
        drawn = resampling.resample(units, n_resamples=n_resamples, rng=rng)
        draws.append(np.where(np.isnan(drawn), units.estimate, drawn).T)
        start = inside.stop
    order = np.argsort(models, kind="stable")
    variance = np.diag(covariance)
    error = difference_error(covariance)
    out = untested != ""
    error[out[:, None] | out] = np.nan
    return JointEstimates(
        models=[models[k] for k in order],
        estimate=np.concatenate([b.units.estimate for b in blocks])[order],
        resamples=np.concatenate(draws)[order],
        difference_error=error[np.ix_(order, order)],
        df=degrees_of_freedom(variance, sizes, shared)[np.ix_(order, order)],
        shared=shared[np.ix_(order, order)],
        n=sizes[order],
        untested=untested[order],
    )


def difference_error(covariance: np.ndarray) -> np.ndarray:
    """Return the standard error of all differences; 0 where a variance is only what rounding leaves."""
    variance = np.diag(covariance)
    of_difference = variance[:, None] + variance - 2 * covariance
    rounding = 1e-12 * np.maximum(variance[:, None], variance)
    return np.sqrt(np.where(of_difference > rounding, of_difference, 0.0))


def _covariance(units):
    """Return the covariance of all columns, with each column's own standard error on the diagonal.

    The correction for small samples then counts the units of each column, not of all.
    """
    covariance = ratios.covariance(ratios.influence(units), units.counts, units.strata)
    diagonal = np.sqrt(np.diag(covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.where(diagonal == 0, 1.0, ratios.standard_error(units) / diagonal)
    return covariance * factor * factor[:, None]


def _untested(units, sizes):
    total = units.counts.sum()
    with np.errstate(divide="ignore"):
        missed = np.exp(total * np.log1p(-sizes / total))
    few = [
        f"{n:.0f} units are too few: some resamples hold none" if m > MISSED else ""
        for n, m in zip(sizes, missed, strict=True)
    ]
    reasons = ratios.undefined_errors(units)
    return np.where(reasons != "", reasons, few)
