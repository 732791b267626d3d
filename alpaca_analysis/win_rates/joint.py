"""Estimates of many models with the resamples they share: what ranks and plans of an order rest on."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alpaca_analysis.foundations import ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import ratios, resampling
from alpaca_analysis.inference.blocks import blocks_of
from alpaca_analysis.inference.intervals import degrees_of_freedom
from alpaca_analysis.inference.slices import Cut, Part
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import refuse_mixed

# A model is in no test if more than this share of resamples holds no judgement of it: fewer than about
# ten units of many.
MISSED = 1e-4
FEW = 300  # units below which differences are studentised within their resamples
LOST = 0.005  # share of resamples that may be infinitely far out, in all slices together


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
    own_scale : ndarray of float32 of shape (p, p, n_resamples), optional
        Standard error of each difference over that in the resample: what a difference is multiplied with to
        be studentised within its resample. Given where units are few; pairs left out of tests are 0.
    """

    models: list[str]
    estimate: np.ndarray
    resamples: np.ndarray
    difference_error: np.ndarray
    df: np.ndarray
    shared: np.ndarray
    n: np.ndarray
    untested: np.ndarray
    own_scale: np.ndarray | None = None

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
    ((joint,), _) = joint_in_slices(table, None, n_resamples=n_resamples, rng=rng, stratify=stratify)
    return joint


def joint_in_slices(
    table: pd.DataFrame, cut: Cut | None, *, n_resamples: int, rng, stratify: str | None = None
) -> tuple[list[JointEstimates], list[list[Part]]]:
    """Return the joint win rates in each slice; instructions that slices share are drawn for all at once.

    Parameters
    ----------
    table : DataFrame
        Checked judgements, in each slice against one reference by one annotator.
    cut : Cut, optional
        The slices; without, the table is one.
    n_resamples, rng, stratify
        As of `joint_win_rates`.

    Returns
    -------
    joints : list of JointEstimates
        Of each slice; models without a usable judgement in it are left out.
    parts : list of list of Part
        What units contribute to them; columns count the models of a slice in the order of its estimates.

    Raises
    ------
    AnnotationError
        Without slices, a model without a usable judgement.
    """
    rng = np.random.default_rng(rng)
    if cut is not None:
        table = table.assign(_slice=cut.code)[cut.code >= 0].reset_index(drop=True)
    pieces: list[list[_Piece]] = [[] for _ in range(1 if cut is None else len(cut))]
    identified = table["instruction_id"].notna().any()
    by = ["model"] if cut is None else ["_slice", "model"]
    for number, block in enumerate(blocks_of(table, by, stratify)):
        units, judged = block.units, block.counts["n_total"] > 0
        if cut is None and not judged.all():
            found = f"none of {block.groups['model'].iloc[int(np.argmin(judged))]!r}"
            raise AnnotationError(
                "at least one usable judgement of each model", column="outcome", found=found
            )
        again = copy.deepcopy(rng)  # the same resamples once more, for their errors
        drawn = resampling.resample(units, n_resamples=n_resamples, rng=rng)
        drawn = np.where(np.isnan(drawn), units.estimate, drawn).T
        inside = np.zeros(len(judged), dtype=int) if cut is None else block.groups["_slice"].to_numpy()
        for k in np.unique(inside[judged]):
            columns = np.flatnonzero(judged & (inside == k))
            part = ratios.Units(units.y[:, columns], units.m[:, columns], units.multiplicity, units.strata)
            names = [str(model) for model in block.groups["model"].iloc[columns]]
            pieces[k].append(_Piece(names, part, drawn[columns], again, number, cut is None))
    lost = None if stratify else LOST / len(pieces)
    return [_joined(each, identified, lost) for each in pieces], [_parts(each) for each in pieces]


@dataclass(frozen=True)
class _Piece:
    """Models of one slice that share units, with their resamples and the generator that drew them."""

    models: list[str]
    units: ratios.Units
    draws: np.ndarray
    rng: np.random.Generator
    block: int
    whole: bool  # the units are those of the slice, judged or not

    @property
    def size(self) -> int:
        """Return the number of rows of units."""
        return len(self.units.y) if self.whole else int((self.units.m > 0).any(axis=1).sum())


def _joined(pieces, identified, lost):
    """Return the estimates of one slice from the models that share units."""
    models = [model for piece in pieces for model in piece.models]
    p = len(models)
    covariance, shared, sizes = np.zeros((p, p)), np.zeros((p, p)), np.empty(p)
    untested = np.empty(p, dtype=object)
    start = 0
    for piece in pieces:
        units, inside = piece.units, slice(start, start + len(piece.models))
        used = (units.m > 0).astype(float)
        sizes[inside] = units.counts @ used
        if identified:
            shared[inside, inside] = used.T @ used
        covariance[inside, inside] = _covariance(units)
        untested[inside] = _untested(units, sizes[inside])
        start = inside.stop
    own = None
    if len(pieces) == 1 and lost is not None and _are_few(pieces[0]):
        own = _own_scale(pieces[0], lost, np.sqrt(np.maximum(_of_difference(covariance), 0)))
    order = np.argsort(models, kind="stable")
    variance = np.diag(covariance)
    error = difference_error(covariance)
    out = untested != ""
    error[out[:, None] | out] = np.nan
    return JointEstimates(
        models=[models[k] for k in order],
        estimate=np.array([rate for piece in pieces for rate in piece.units.estimate])[order],
        resamples=np.concatenate([piece.draws for piece in pieces] or [np.zeros((0, 0))])[order],
        difference_error=error[np.ix_(order, order)],
        df=degrees_of_freedom(variance, sizes, shared)[np.ix_(order, order)],
        shared=shared[np.ix_(order, order)],
        n=sizes[order],
        untested=untested[order],
        own_scale=None if own is None else own[np.ix_(order, order)],
    )


def _parts(pieces):
    """Return what units contribute to the estimates of one slice, in the order of its models."""
    models = [model for piece in pieces for model in piece.models]
    place = np.argsort(np.argsort(models, kind="stable"))
    found, start = [], 0
    for piece in pieces:
        columns = place[start : start + len(piece.models)]
        ids = [(piece.block, k) for k in range(len(piece.units.y))]
        used = piece.units.m > 0
        found.append(Part(ratios.influence(piece.units), columns, ids, piece.units.counts, used))
        start += len(columns)
    return found


def _are_few(piece):
    return piece.units.multiplicity is None and 2 <= piece.size < FEW


def _of_difference(covariance):
    variance = np.diag(covariance)
    return variance[:, None] + variance - 2 * covariance


def _own_scale(piece, most, error):
    """Return the error of every difference over that in each resample, as `JointEstimates` has it.

    A resample in which a difference has moved and shows no error of its own is infinitely far out. Pairs
    whose resamples are so too often (two models that differ on a few instructions) are left out, or nothing
    else could be ordered.
    """
    units, drawn, rng = piece.units, piece.draws.T, copy.deepcopy(piece.rng)
    n, p = piece.size, units.y.shape[1]
    first, second = np.triu_indices(p, 1)
    yy, mm = (v[:, first] * v[:, second] for v in (units.y, units.m))
    ym, my = units.y[:, first] * units.m[:, second], units.m[:, first] * units.y[:, second]
    estimate = units.estimate
    ratio = np.empty((len(first), len(drawn)), dtype=np.float32)
    lost = np.zeros((len(first), len(drawn)), dtype=bool)
    start = 0
    for weights in resampling.draw_weights(units, n_resamples=len(drawn), rng=rng):
        rows = slice(start, start + len(weights))
        theta, total = drawn[rows], np.maximum(weights @ units.m, 1)
        squares = (
            weights @ units.y**2
            - 2 * theta * (weights @ (units.y * units.m))
            + theta**2 * (weights @ units.m**2)
        )
        variance = squares / total**2
        a, b = theta[:, first], theta[:, second]
        cross = weights @ yy - b * (weights @ ym) - a * (weights @ my) + a * b * (weights @ mm)
        cross = cross / (total[:, first] * total[:, second])
        own = np.sqrt(np.maximum(variance[:, first] + variance[:, second] - 2 * cross, 0) * n / (n - 1))
        own = ties.standard_error(own)
        moved = ~ties.equal(a - b, (estimate[first] - estimate[second]))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio[:, rows] = np.where(own > 0, error[first, second] / own, np.where(moved, np.inf, 1.0)).T
        lost[:, rows] = ((own == 0) & moved).T
        start += len(weights)
    out = np.ones((p, p, len(drawn)), dtype=np.float32)
    ratio[_left_out(lost, most)] = 0.0
    out[first, second] = out[second, first] = ratio
    return out


def _left_out(lost, most):
    """Return the pairs to leave out, those with most lost resamples first, until few resamples are lost."""
    out = np.zeros(len(lost), dtype=bool)
    for k in np.argsort(-lost.sum(axis=1), kind="stable"):
        if lost[~out].any(axis=0).mean() <= most:
            break
        out[k] = True
    return out


def times(t: np.ndarray, own: np.ndarray) -> None:
    """Multiply t by the own scale of each resample, in place; what has not moved stays 0."""
    still = t == 0
    with np.errstate(invalid="ignore"):
        t *= own
    t[still] = 0.0


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
