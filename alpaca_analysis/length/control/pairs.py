"""The error of one model's length-controlled win rate against another's, from both models' fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from alpaca_analysis.inference import logistic
from alpaca_analysis.length.control.one_model import Rows


@dataclass(frozen=True)
class FittedModel:
    """One model's rows with its regression.

    Attributes
    ----------
    rows : Rows
        What was fitted.
    coefficients : ndarray of shape (p,)
        Of length, difficulty where used, and the constant.
    information : ndarray of shape (p, p)
        Negative Hessian at the coefficients.
    """

    rows: Rows
    coefficients: np.ndarray
    information: np.ndarray

    def influence(self) -> np.ndarray:
        """Return what each single judgement contributes to the coefficients, of shape (n_rows, p).

        Residuals are divided by 1 - h, as in the HC3 estimator.
        """
        X, inverse = self.rows.X, logistic.inverse(self.information[None])[0]
        p = expit(X @ self.coefficients)
        leverage = p * (1 - p) * ((X @ inverse) * X).sum(axis=1)
        residual = np.where(self.rows.judged, self.rows.y - p, 0.0) / (1 - np.minimum(leverage, 0.99))
        return residual[:, None] * (X @ inverse)


def pair_error(a: FittedModel | None, b: FittedModel | None) -> float:
    """Return the standard error of the mean over instructions of sigmoid of the difference of two fits.

    Parameters
    ----------
    a, b : FittedModel or None
        The models; None is the reference, whose coefficients are 0 by definition.

    Returns
    -------
    float
        By M-estimation over instructions: both fits and the average over instructions are part of it, and
        instructions that both share keep their pairing. Without instruction ids the models are independent.
    """
    sides = [(fit, sign) for fit, sign in ((a, 1.0), (b, -1.0)) if fit is not None]
    if not sides:
        return 0.0
    zero = np.zeros_like(sides[0][0].coefficients)
    difference = (zero if a is None else a.coefficients) - (zero if b is None else b.coefficients)
    parts = [_contributions(fit, sign, difference, 1 / len(sides)) for fit, sign in sides]
    units, n = [fit.rows.unit for fit, _ in sides], [fit.rows.n for fit, _ in sides]
    if any(unit is None for unit in units):
        squares = [(w * part**2).sum() * _correction(w.sum()) for w, part in zip(n, parts, strict=True)]
        return float(np.sqrt(sum(squares)))
    unit = np.concatenate([np.asarray(codes) for codes in units])
    sums = np.bincount(unit, np.concatenate([w * part for w, part in zip(n, parts, strict=True)]))
    return float(np.sqrt((sums**2).sum() * _correction(len(np.unique(unit)))))


def _correction(size):
    return size / max(size - 1, 1)


def _contributions(fit, sign, difference, share):
    """Return what each judgement of one side contributes to the win rate of the pair."""
    at_equal_length, n = fit.rows.X0, fit.rows.n
    p = expit(at_equal_length @ difference)
    mean = np.average(p, weights=n)
    gradient = sign * np.average((p * (1 - p))[:, None] * at_equal_length, axis=0, weights=n)
    return fit.influence() @ gradient + share * (p - mean) / n.sum()
