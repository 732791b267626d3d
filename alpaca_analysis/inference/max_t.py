"""Intervals and p-values that hold for several estimates at once: the largest t of a joint bootstrap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class MaxT:
    """The law of the largest absolute t over several estimates.

    Where resamples were not studentised, t has the law of the normal in them; `of_t` then takes a value of t
    that is as rare, for errors are estimated, not known.

    Attributes
    ----------
    largest : ndarray of shape (n_resamples,)
        In the joint bootstrap of all estimates.
    studentised : bool
        Whether each resample had its own errors.

    References
    ----------
    Romano, J. P., Wolf, M. (2005). Exact and approximate stepdown methods for multiple hypothesis
    testing. JASA 100(469), 94-108.

    Examples
    --------
    >>> law = MaxT(np.arange(100) / 100)
    >>> law.critical(0.9), round(float(law.of_t(1.96, 10)), 3)
    (0.9, 2.228)
    """

    largest: np.ndarray
    studentised: bool = False

    def critical(self, confidence_level: float) -> float:
        """Return the value that the largest |t| exceeds in a share 1 - `confidence_level` of resamples."""
        return float(np.quantile(self.largest, confidence_level, method="higher"))

    def of_t(self, z: float, df: Any) -> Any:
        """Return the quantile of t with `df` degrees of freedom that is as rare as `z`."""
        return z if self.studentised else stats.t.isf(stats.norm.sf(z), df)

    def pvalues(self, t: np.ndarray, pvalue: np.ndarray) -> np.ndarray:
        """Return p-values adjusted for all estimates, of each t with its own `pvalue`; NaN where that is."""
        z = np.abs(np.asarray(t, dtype=float)) if self.studentised else stats.norm.isf(np.asarray(pvalue) / 2)
        below = np.searchsorted(np.sort(self.largest), z, side="left")
        adjusted = (1 + len(self.largest) - below) / (1 + len(self.largest))
        return np.where(np.isnan(pvalue), np.nan, adjusted)
