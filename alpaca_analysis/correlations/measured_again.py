"""Win rates measured again: what the same models could get, were they judged anew with errors of this size.

Win rates hold noise already. Adding more of it to them would count it twice, so the true win rates are drawn
first, given the measured ones, and then the noise. True win rates are taken for bivariate normal over
models: both sides are drawn together, because drawing each given itself alone would lose their correlation.
What is not known of mean and covariance over models is drawn too, as if from flat priors.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, stats

from alpaca_analysis.foundations import ties
from alpaca_analysis.inference import ratios, resampling
from alpaca_analysis.inference.results import Reason

N_PRIORS = 499  # distributions over models that are drawn where each costs the solution of a system


def independent(values: np.ndarray, errors: np.ndarray, *, n_resamples: int, rng) -> np.ndarray:
    """Return win rates measured again, each with an independent error.

    Parameters
    ----------
    values, errors : ndarray of shape (2, n_models)
        Win rates of both sides and their standard errors; 0 is exact.
    n_resamples : int
        Draws.
    rng : Generator
        What draws.

    Returns
    -------
    ndarray of shape (n_resamples, 2, n_models)

    Examples
    --------
    >>> z, rng = np.array([[0.1, 0.4, 0.5, 0.9], [0.2, 0.3, 0.6, 0.8]]), np.random.default_rng(0)
    >>> again = independent(z, np.array([[0.05] * 4, [0.0] * 4]), n_resamples=999, rng=rng)
    >>> again.shape, bool((again[:, 1] == z[1]).all())
    ((999, 2, 4), True)
    """
    shape = (n_resamples, *values.shape)
    mean, spread = _over_models(values, np.diag((errors**2).mean(axis=1)), n_resamples, rng)
    true = mean[:, :, None] + np.linalg.cholesky(spread) @ rng.standard_normal(shape)
    gap = values - true - errors * rng.standard_normal(shape)
    a, d = (spread[:, k, k, None] + errors[k] ** 2 for k in (0, 1))
    b = spread[:, 0, 1, None]
    solved = np.stack([d * gap[:, 0] - b * gap[:, 1], a * gap[:, 1] - b * gap[:, 0]], axis=1)
    true = true + spread @ (solved / (a * d - b**2)[:, None])
    return np.where(errors > 0, true + errors * rng.standard_normal(shape), values)


def jointly(units: ratios.Units, *, n_resamples: int, rng) -> np.ndarray:
    """Return win rates of two tables measured again, their errors those of resampled instructions.

    Parameters
    ----------
    units : Units
        Instructions; the first half of the columns are one table's models, the second half the other's.
    n_resamples : int
        Draws.
    rng : Generator
        What draws.

    Returns
    -------
    ndarray of shape (n_resamples, 2, n_models)

    Notes
    -----
    True win rates t from the prior, measured with noise as t + e, give t + L (x - t - e), whose mean
    m + L (x - m) and covariance L S are the posterior's: no root of a large matrix is needed.
    """
    x, size = units.estimate, len(units.y)
    n_models = len(x) // 2
    covariance = ratios.covariance(ratios.influence(units), units.counts)
    # A resample of n instructions varies by the factor (n - 1) / n less than their covariance says.
    noise = (resampling.resample(units, n_resamples=2 * n_resamples, rng=rng) - x) * np.sqrt(
        size / (size - 1)
    )
    values, n_priors = x.reshape(2, n_models), min(N_PRIORS, n_resamples)
    mean, spread = _over_models(values, mean_noise(covariance), n_priors, rng)
    root, out = np.linalg.cholesky(spread), np.empty((n_resamples, len(x)))
    for k, drawn in enumerate(np.array_split(np.arange(n_resamples), n_priors)):
        prior = np.kron(spread[k], np.eye(n_models))
        true = mean[k][:, None] + root[k] @ rng.standard_normal((len(drawn), 2, n_models))
        gap = x - true.reshape(len(drawn), -1) - noise[drawn]
        solved = linalg.solve(prior + covariance, gap.T, assume_a="pos")
        out[drawn] = true.reshape(len(drawn), -1) + (prior @ solved).T
    return (out + noise[n_resamples:]).reshape(n_resamples, 2, n_models)


def mean_noise(covariance: np.ndarray) -> np.ndarray:
    """Return how far noise raises variances and covariance over models (2, 2); what all share does not.

    Parameters
    ----------
    covariance : ndarray of shape (2 n_models, 2 n_models)
        Of the errors of both sides' win rates.
    """
    n = len(covariance) // 2
    blocks = covariance.reshape(2, n, 2, n)
    return (np.einsum("aibi->ab", blocks) - blocks.sum(axis=(1, 3)) / n) / (n - 1)


def no_spread(values: np.ndarray, noise: np.ndarray) -> Reason | None:
    """Return why win rates (2, n_models) cannot be drawn again: one side spreads no more than its noise."""
    lacking = values.var(axis=1, ddof=1) <= np.diag(noise)
    lacking |= ties.equal(values, values[:, :1]).all(axis=1)
    if not lacking.any():
        return None
    text = f"noise undefined: {'xy'[lacking.argmax()]} spreads no more than its errors"
    return Reason("no_spread_beyond_errors", text)


def _over_models(values, noise, size, rng):
    """Draw mean (size, 2) and covariance (size, 2, 2) of true win rates over models.

    The covariance of measured win rates is inverse Wishart given that of the sample; the noise is then
    subtracted, and what is left made positive definite.
    """
    n, scale = values.shape[1], values.std(axis=1, ddof=1)
    bartlett = np.zeros((size, 2, 2))
    for k in (0, 1):
        bartlett[:, k, k] = np.sqrt(stats.chi2.ppf(rng.random(size), n - 1 - k))
    bartlett[:, 1, 0] = rng.standard_normal(size)
    # Cholesky's root is unique, so that a seed draws the same on every machine.
    root = np.linalg.cholesky(_positive(np.corrcoef(values)[None] * (n - 1)))[0]
    root = root @ np.swapaxes(np.linalg.inv(bartlett), 1, 2)
    mean = values.mean(axis=1) + scale * (root @ rng.standard_normal((size, 2, 1)))[:, :, 0] / np.sqrt(n)
    both = np.outer(scale, scale)
    return mean, both * _positive(root @ np.swapaxes(root, 1, 2) - noise / both)


def _positive(matrices):
    """Return symmetric matrices with no eigenvalue below a small share of the largest."""
    values, vectors = np.linalg.eigh(matrices)
    floor = ties.GAP * np.abs(values).max(axis=-1, keepdims=True)
    return (vectors * np.maximum(values, floor)[:, None]) @ np.swapaxes(vectors, -1, -2)
