"""Correlation of two properties of models at equal values of a third."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.correlations.coefficients import pearson
from alpaca_analysis.correlations.estimates import align
from alpaca_analysis.correlations.intervals import fisher_interval
from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference.results import Reason, finish


def partial_correlation(
    x,
    y,
    *,
    given,
    method: options.PartialCoefficient = "pearson",
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    """Correlate two properties of models with each other where a third is equal.

    Parameters
    ----------
    x, y, given : Series or array of shape (n_models,)
        Such as mean lengths, ratings and win rates, in any unit. Series are matched on their index; arrays
        by position.
    method : {"pearson", "spearman"}
        Of the values or of their ranks.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    DataFrame
        One row: ``statistic``, ``ci_low``, ``ci_high`` (Fisher's, with one model less for the third
        property), ``n``, ``reason`` ("no_spread") and ``note``; NaN where x or y does not vary beside it.

    Raises
    ------
    AnnotationError
        Fewer than five models with all three.

    See Also
    --------
    win_rate_correlation : The correlation itself.

    Notes
    -----
    The correlation of what two linear regressions on `given` leave of x and y: (r_xy - r_xz r_yz) /
    sqrt((1 - r_xz^2)(1 - r_yz^2)); Fisher's interval as of n - 1 models (Fisher 1924, Metron 3).

    Examples
    --------
    >>> x, y, z = [1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5], [1, 1, 2, 2, 3, 3]
    >>> partial_correlation(x, y, given=z)[["statistic", "n"]]
       statistic  n
    0       -1.0  6
    """
    options.check_options(confidence_level)
    options.one_of("method", method, options.PartialCoefficient)
    first, _ = align(x, given)
    second, _ = align(y, given)
    points = first.merge(second, on="model", suffixes=("", "_of_y"))
    if len(points) < 5:
        raise AnnotationError(
            "five or more models with all three values", source="x, y and given", found=len(points)
        )
    columns = [points[name].to_numpy() for name in ("x", "x_of_y", "y")]
    if method == "spearman":
        columns = [stats.rankdata(ties.tied(values)) for values in columns]
    a, b, z = columns
    xy, xz, yz = (float(pearson(u[None], v[None])[0]) for u, v in ((a, b), (a, z), (b, z)))
    left = (1 - xz**2) * (1 - yz**2)
    defined = np.isfinite(left) and ties.difference(left, 0) > 0
    r = float(np.clip((xy - xz * yz) / np.sqrt(left), -1, 1)) if defined else np.nan
    low, high = fisher_interval(r, len(points) - 1, method, confidence_level)
    row = {"statistic": r, "ci_low": float(low), "ci_high": float(high), "n": len(points)}
    why = Reason("no_spread", "x or y does not vary beside the given values")
    return finish(
        pd.DataFrame([row]),
        estimate="statistic",
        method=f"partial correlation, {method}",
        interval="fisher",
        unit="model",
        confidence_level=confidence_level,
        notes=["" if defined else why],
    )
