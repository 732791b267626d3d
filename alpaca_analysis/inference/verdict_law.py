"""The exact bootstrap law of a win rate from counts of wins, draws and losses.

A resample of n verdicts has k half wins, where k is the sum of n independent draws of 2, 1 or 0. Its law is a
convolution, so intervals need neither resamples nor a seed, and resamples can be drawn from it by inversion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

NOISE = 1e-13  # what the transform leaves where nothing is possible
REACH = 14.0  # standard deviations beyond which the law holds less than 1e-40


@dataclass(frozen=True)
class VerdictLaw:
    """Distribution of the number of half wins in a resample.

    Attributes
    ----------
    n : int
        Verdicts.
    first : int
        Half wins of the first support point.
    probability : ndarray of shape (n_points,)
        Of `first`, `first` + 1, ... half wins.
    """

    n: int
    first: int
    probability: np.ndarray

    @property
    def support(self) -> np.ndarray:
        """Return the win rates that a resample can have."""
        return (self.first + np.arange(len(self.probability))) / (2 * self.n)

    def cumulative(self) -> np.ndarray:
        """Return the distribution function at the support points."""
        return np.minimum(np.cumsum(self.probability), 1.0)

    def quantile(self, level: Any) -> np.ndarray:
        """Return the smallest support point whose distribution function reaches each level."""
        at = np.searchsorted(self.cumulative(), np.asarray(level) * (1 - 1e-13), side="left")
        return self.support[np.minimum(at, len(self.probability) - 1)]

    def draw(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """Return win rates of `size` resamples, by inversion of uniform numbers."""
        return self.quantile(rng.random(size))


def verdict_law(n_wins: int, n_draws: int, n_losses: int) -> VerdictLaw:
    """Return the law of the win rate over resamples of these verdicts.

    Parameters
    ----------
    n_wins, n_draws, n_losses : int
        Counts; at least one verdict in all.

    Returns
    -------
    VerdictLaw

    Examples
    --------
    >>> law = verdict_law(1, 0, 1)
    >>> law.support.tolist(), law.probability.round(3).tolist()
    ([0.0, 0.25, 0.5, 0.75, 1.0], [0.25, 0.0, 0.5, 0.0, 0.25])
    """
    n = int(n_wins + n_draws + n_losses)
    win, tie, loss = n_wins / n, n_draws / n, n_losses / n
    mean = 2 * n_wins + n_draws
    spread = np.sqrt(n * max(4 * win + tie - (2 * win + tie) ** 2, 0.0))
    reach = int(np.ceil(REACH * spread)) + 2 * 40  # rare losses: their law is Poisson's, not normal
    first, last = max(0, int(mean) - reach), min(2 * n, int(mean) + reach)
    size = last - first + 1
    angle = 2 * np.pi * np.arange(size // 2 + 1) / size
    one = np.exp(-1j * angle)
    transform = (loss + tie * one + win * one**2) ** n * np.exp(1j * angle * first)
    probability = np.fft.irfft(transform, size)
    probability = np.where(probability < NOISE, 0.0, probability)
    return VerdictLaw(n, first, probability / probability.sum())


def bca_interval(
    law: VerdictLaw, rate: float, acceleration: float, *, confidence_level: float = 0.95
) -> tuple[float, float]:
    """Return the BCa interval of a win rate under its exact law.

    Parameters
    ----------
    law : VerdictLaw
        Of the win rate.
    rate : float
        The win rate.
    acceleration : float
        From the jackknife.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    low, high : float
        NaN where all verdicts are alike.

    References
    ----------
    Efron, B. (1987). Better bootstrap confidence intervals. JASA 82(397).
    """
    half_wins = int(np.rint(2 * law.n * rate)) - law.first
    below = law.probability[:half_wins].sum() + law.probability[half_wins] / 2
    z0 = special.ndtri(below)
    tail = special.ndtri(np.array([(1 - confidence_level) / 2, (1 + confidence_level) / 2]))
    levels = special.ndtr(z0 + (z0 + tail) / (1 - acceleration * (z0 + tail)))
    if not np.isfinite(levels).all():
        return np.nan, np.nan
    low, high = law.quantile(levels)
    return float(low), float(high)
