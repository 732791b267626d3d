"""Two models: the difference of their win rates, paired wherever instructions are shared."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from scipy import stats

from . import bootstrap
from .annotations import AnnotationError, UndefinedWarning, check, select_models


def compare(
    table: pd.DataFrame,
    a: str,
    b: str,
    *,
    method: str = "t",
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
        ``paired``, ``n`` (shared instructions, or the judgements of both), ``n_unshared``, ``note``.

    Raises
    ------
    AnnotationError
        An unknown model, or judgements against several references or by several annotators.

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["xwinlm-70b-v0.1", "gpt4"], "n_wins": [765, 761],
    ...                      "n_losses": [35, 32], "n_draws": [1, 12]})
    >>> compare(table, "xwinlm-70b-v0.1", "gpt4")[["difference", "standard_error", "paired"]].round(5)
       difference  standard_error  paired
    0     0.00289         0.01019   False
    """
    bootstrap.check_options(confidence_level, n_resamples)
    if method not in ("t", "bca", "percentile"):
        raise ValueError(f"method: found {method!r}, expected one of t, bca, percentile")
    table = check(table)
    select_models(table, [a, b])
    sides = [_side(table, model) for model in (a, b)]
    for column in ("reference", "annotator"):
        names = pd.unique(pd.concat(sides)[column])
        if len(names) > 1:
            raise AnnotationError(
                f"one {column} for both models", column=column, found=", ".join(map(str, names))
            )
    shared = np.intersect1d(*(side["instruction_id"].dropna() for side in sides))
    if a == b or len(shared):
        row = _paired(sides, shared, method, confidence_level, n_resamples, rng)
    else:
        row = _independent(sides, method, confidence_level, n_resamples, rng)
    result = pd.DataFrame([{"model_a": a, "model_b": b, **row}])
    result.attrs = {
        "method": method,
        "confidence_level": confidence_level,
        "unit": "instruction" if row["paired"] else "judgement",
        "n_resamples": None if method == "t" else n_resamples,
        "seed": None if method == "t" else bootstrap.seed_of(rng),
    }
    if np.isnan(row["ci_low"]):
        reason = "no variation" if row["standard_error"] == 0 else "fewer than two units"
        result["note"] = row["note"] = (
            f"interval undefined: {reason}" + ("; " if row["note"] else "") + row["note"]
        )
        warnings.warn(f"{a} against {b}: {row['note']}", UndefinedWarning, stacklevel=2)
    return result


def _side(table, model):
    side = table[(table["model"] == model) & table["outcome"].notna()]
    if side.empty:
        raise AnnotationError("at least one usable judgement", column="outcome", found=f"none of {model!r}")
    return side


def _units(side, ids=None):
    """Return the sums of one model: by instruction in the order of `ids`, or row by row."""
    y, n = side["outcome"].to_numpy(), side["n"].to_numpy()
    if ids is None and side["instruction_id"].isna().all():
        order = np.lexsort((n, -y))  # a bootstrap of counts draws them in turn
        y, n = y[order], n[order]
        return bootstrap.Units(y[:, None], np.ones((len(y), 1)), n)
    known = side["instruction_id"].to_numpy(dtype=object)
    ids = np.unique(known) if ids is None else ids
    code = pd.Index(ids).get_indexer(known)
    used = code >= 0
    sums = (np.bincount(code[used], v[used], len(ids))[:, None] for v in (y * n, n))
    return bootstrap.Units(*sums)


def _paired(sides, shared, method, confidence_level, n_resamples, rng):
    one, two = (_units(side, shared) for side in sides)
    units = bootstrap.Units(np.hstack([one.y, two.y]), np.hstack([one.m, two.m]))
    difference = units.estimate[0] - units.estimate[1]
    shares = bootstrap.influence(units) @ np.array([1.0, -1.0])
    error = (
        float(np.sqrt(bootstrap.covariance(shares[:, None], units.counts)[0, 0]))
        if len(shared) > 1
        else np.nan
    )
    resampled = left_out = None
    if method != "t":
        resampled = _minus(bootstrap.resample(units, n_resamples=n_resamples, rng=rng))
        left_out = _minus(bootstrap.jackknife(units))
    unshared = sum(len(np.setdiff1d(side["instruction_id"].dropna(), shared)) for side in sides)
    note = f"{unshared} instructions of only one model left out" if unshared else ""
    return {
        **_inference(difference, error, len(shared) - 1, method, confidence_level, resampled, left_out, None),
        "paired": True,
        "n": len(shared),
        "n_unshared": unshared,
        "note": note,
    }


def _minus(columns):
    return columns[:, :1] - columns[:, 1:]


def _independent(sides, method, confidence_level, n_resamples, rng):
    units = [_units(side) for side in sides]
    estimates = [u.estimate[0] for u in units]
    errors = np.array([bootstrap.standard_error(u)[0] for u in units])
    sizes = np.array([u.counts.sum() for u in units])
    difference, error = estimates[0] - estimates[1], float(np.hypot(*errors))
    resampled = left_out = counts = None
    if method != "t":
        rng = np.random.default_rng(rng)
        draws = [bootstrap.resample(u, n_resamples=n_resamples, rng=rng) for u in units]
        resampled = draws[0] - draws[1]
        jacks = [bootstrap.jackknife(u) for u in units]
        left_out = np.vstack([jacks[0] - estimates[1], estimates[0] - jacks[1]])
        counts = np.concatenate([u.counts for u in units])
    with np.errstate(invalid="ignore", divide="ignore"):
        df = float((errors**2).sum() ** 2 / (errors**4 / (sizes - 1)).sum())  # Welch and Satterthwaite
    return {
        **_inference(difference, error, df, method, confidence_level, resampled, left_out, counts),
        "paired": False,
        "n": int(sizes.sum()),
        "n_unshared": 0,
        "note": "taken as independent samples: no shared instruction ids",
    }


def _inference(difference, error, df, method, confidence_level, resampled, left_out, counts):
    low = high = pvalue = np.nan
    if error > 0:
        pvalue = float(2 * stats.t.sf(abs(difference) / error, df))
        if method == "t":
            half = stats.t.ppf((1 + confidence_level) / 2, df) * error
            low, high = difference - half, difference + half
        elif method == "percentile":
            low, high = (
                x[0] for x in bootstrap.percentile_interval(resampled, confidence_level=confidence_level)
            )
        else:
            low, high = (
                x[0]
                for x in bootstrap.bca_interval(
                    np.array([difference]),
                    resampled,
                    left_out,
                    counts=counts,
                    confidence_level=confidence_level,
                )
            )
    return {
        "difference": float(difference),
        "standard_error": error,
        "ci_low": float(low),
        "ci_high": float(high),
        "pvalue": pvalue,
    }
