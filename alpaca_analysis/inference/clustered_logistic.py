"""Logistic regression of outcomes with errors clustered by instruction."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special, stats

from alpaca_analysis.inference.results import Reason
from alpaca_analysis.table.groups import all_identified

PLATEAU = 50  # log odds per standard deviation of a regressor: an error that no data give


# Wins or losses, whichever are fewer; with less, 67 to 91 % of the intervals of slopes covered in simulation.
FEW = 10


SEPARATED = Reason("separated", "undefined: the predictors separate wins from losses")


@dataclass(frozen=True)
class LogisticFit:
    """Coefficients of a logistic regression and their clustered covariance.

    Attributes
    ----------
    params : ndarray of shape (n_terms,)
        Coefficients; NaN where the fit does not exist.
    covariance : ndarray of shape (n_terms, n_terms)
        Sandwich covariance with the small-sample factor of statsmodels.
    n_units : int
        Clusters: instructions, or judgements where those are unknown.
    note : str or Reason
        Why the fit does not exist, or is approximate; else empty.
    """

    params: np.ndarray
    covariance: np.ndarray
    n_units: int
    note: str | Reason = ""


def fit_logistic(
    outcome: pd.Series, design: np.ndarray, instruction_id: pd.Series, n: pd.Series
) -> LogisticFit:
    """Fit a logistic regression of fractional outcomes with errors clustered by instruction.

    Parameters
    ----------
    outcome : Series of shape (n_rows,)
        In [0, 1], none missing.
    design : ndarray of shape (n_rows, n_terms)
        Regressors, the constant among them.
    instruction_id : Series of shape (n_rows,)
        Clusters; where all are NA each judgement is its own. NA on some rows only is refused.
    n : Series of shape (n_rows,)
        Frequency weights.

    Returns
    -------
    LogisticFit
        With NaN and a note where wins and losses are separated or all the same, or where the
        regressors are collinear; with a note alone where fewer than 10 wins or losses carry it.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> y = pd.Series([1.0, 0.0, 1.0, 1.0])
    >>> ids = pd.Series(["a", "b", "c", "d"])
    >>> fit = fit_logistic(y, np.ones((4, 1)), ids, pd.Series([1] * 4))
    >>> float(fit.params[0].round(4))  # log(3)
    1.0986
    """
    import statsmodels.api as sm
    from statsmodels.tools.sm_exceptions import (
        ConvergenceWarning,
        DomainWarning,
        PerfectSeparationWarning,
    )

    rows = np.repeat(np.arange(len(outcome)), n)  # statsmodels' sandwich ignores frequency weights
    y, x = np.asarray(outcome, dtype=float)[rows], np.asarray(design, dtype=float)[rows]
    known = all_identified(pd.Series(instruction_id))
    clusters = pd.factorize(np.asarray(instruction_id)[rows])[0] if known else np.arange(len(rows))
    n_units, n_terms = len(np.unique(clusters)), x.shape[1]
    undefined = (np.full(n_terms, np.nan), np.full((n_terms, n_terms), np.nan), n_units)
    if n_units <= n_terms:
        return LogisticFit(
            *undefined, Reason("too_few_units", f"undefined: {n_units} units for {n_terms} coefficients")
        )
    if np.linalg.matrix_rank(x) < n_terms:
        return LogisticFit(*undefined, Reason("collinear", "undefined: the regressors are collinear"))
    if y.min() == y.max() and y[0] in (0, 1):
        return LogisticFit(*undefined, SEPARATED)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        warnings.simplefilter("error", PerfectSeparationWarning)
        warnings.simplefilter("ignore", DomainWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            fitted = sm.GLM(y, x, family=sm.families.Binomial()).fit(
                cov_type="cluster", cov_kwds={"groups": clusters}
            )
        except (ConvergenceWarning, PerfectSeparationWarning, np.linalg.LinAlgError):
            return LogisticFit(*undefined, SEPARATED)
    # Where no finite maximum exists the iteration stops on a plateau: errors explode in its direction.
    spread = np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    if (np.sqrt(np.diag(fitted.normalized_cov_params)) * spread).max() > PLATEAU:
        return LogisticFit(*undefined, SEPARATED)
    rarer = min(y.sum(), (1 - y).sum())
    few = Reason("few_units", f"interval approximate: about {rarer:.0f} wins or losses, whichever are fewer")
    return LogisticFit(fitted.params, fitted.cov_params(), n_units, few if rarer < FEW else "")


def logit_interval(fit: LogisticFit, at: np.ndarray, confidence_level: float = 0.95) -> pd.DataFrame:
    """Predict the mean outcome at the rows of `at`, with intervals made on the logit scale.

    Returns
    -------
    DataFrame
        ``outcome``, ``standard_error`` (by the delta method), ``ci_low``, ``ci_high``.
    """
    eta = at @ fit.params
    error = np.sqrt(np.einsum("ij,jk,ik->i", at, fit.covariance, at))
    half = stats.norm.ppf((1 + confidence_level) / 2) * error
    p = special.expit(eta)
    return pd.DataFrame(
        {
            "outcome": p,
            "standard_error": p * (1 - p) * error,
            "ci_low": special.expit(eta - half),
            "ci_high": special.expit(eta + half),
        }
    )
