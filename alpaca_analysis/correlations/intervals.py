"""Intervals of correlations over models, and when they cover less than they say."""

from __future__ import annotations

import numpy as np
from scipy import stats

from alpaca_analysis.foundations import ties
from alpaca_analysis.inference.results import Note, Reason

NEAR_BOUND = 0.1  # win rates this near to 0 or 1 are squeezed together
CROWDED = 0.15  # share of models near a bound from which Fisher's interval covers less than it says
FEW_MODELS = 80  # below, so does the bootstrap over models


def fisher_interval(statistic, n, method: str, confidence_level: float):
    """Return the interval on the scale of the inverse hyperbolic tangent; NaN where it is not defined.

    `statistic` and `n` are numbers, or arrays of one shape.
    """
    spare = np.asarray(n, dtype=float) - (4 if method == "kendall" else 3)
    with np.errstate(invalid="ignore"):
        defined = (spare > 0) & ~ties.equal(np.abs(statistic), 1)
    r, spare = np.where(defined, statistic, np.nan), np.where(defined, spare, np.nan)
    factor = {"pearson": 1.0, "spearman": 1 + r**2 / 2, "kendall": 0.437}[method]
    half = stats.norm.ppf((1 + confidence_level) / 2) * np.sqrt(factor / spare)
    return np.tanh(np.arctanh(r) - half), np.tanh(np.arctanh(r) + half)


def few_models(n: int, method: str, interval: str = "percentile") -> Note:
    """Return a note where the bootstrap has too few models; ranks need no more than there are."""
    if method != "pearson" or n >= FEW_MODELS:
        return ""
    covered = {"percentile": "89 to 93 %", "bca": "92 to 95 %"}[interval]
    text = f"interval approximate: the bootstrap over {n} models may cover {covered} for 95 %"
    return Reason("few_models", text)


def crowding(x: np.ndarray, y: np.ndarray, method: str) -> Note:
    """Return a note where win rates crowd at a bound, so that Fisher's interval of Pearson's r is too short.

    The z-transformation supposes normal variables. Values in [0, 1] are taken as fractions, others in
    [0, 100] that reach beyond 10 as percent; on other scales nothing is known of bounds. Ranks do not
    crowd.
    """
    if method != "pearson":
        return ""
    near = np.minimum(_to_bound(x), _to_bound(y)) < NEAR_BOUND
    if near.mean() < CROWDED:
        return ""
    return Reason(
        "crowded",
        f"interval approximate: {near.sum()} of {len(x)} models within 10 points of 0 or 100 %, where "
        "Fisher's interval may cover 84 to 93 % for 95 %; method='spearman' does not depend on that",
    )


def _to_bound(values):
    """Return the distance to the nearer bound as a fraction of the scale; infinite without bounds."""
    top = 1.0 if values.max() <= 1 else 100.0
    if values.min() < 0 or values.max() > top or 1 < values.max() <= 10:
        return np.full(len(values), np.inf)
    return np.minimum(values, top - values) / top


def percentiles(draws: np.ndarray | None, confidence_level: float) -> tuple[float, float]:
    """Return the percentile interval of the draws; NaN without any, or where more than 5 % are undefined."""
    if draws is None or np.isnan(draws).mean() > 0.05:
        return np.nan, np.nan
    tail = (1 - confidence_level) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return float(low), float(high)
