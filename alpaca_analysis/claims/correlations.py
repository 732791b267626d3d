"""What a correlation does not say: its dependence on the range, on the rival, and on the print."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction

import numpy as np
import pandas as pd

from alpaca_analysis.claims.win_rates import rounds_to
from alpaca_analysis.correlations.coefficients import check_method, coefficient
from alpaca_analysis.correlations.estimates import align
from alpaca_analysis.correlations.intervals import crowding, fisher_interval
from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import results


def check_correlation(
    printed: str,
    x,
    y,
    *,
    method: str = "pearson",
    power: int = 1,
    reading_error: float = 0.0,
    confidence_level: float = 0.95,
    n_draws: int = 999,
    rng=0,
) -> pd.DataFrame:
    """Check a printed correlation against the points.

    Parameters
    ----------
    printed : str
        As printed, such as ``"0.94"``: the number of digits is part of the claim.
    x, y : Series or array of shape (n_models,)
        As for `win_rate_correlation`.
    method : {"pearson", "spearman", "kendall"}
        Coefficient.
    power : {1, 2}
        2 where the print is of R^2.
    reading_error : float
        How far the points may be off in either direction, in their units, such as for points read off a
        figure. The coefficient's range is taken over uniform draws within.
    confidence_level : float
        Coverage of the Fisher interval.
    n_draws, rng
        Draws of the reading error, and their seed.

    Returns
    -------
    DataFrame
        One row: ``printed``, ``statistic``, ``agrees`` (rounds to what is printed, halves either way),
        ``could_agree`` (so does some draw within the reading error), ``ci_low``, ``ci_high``, ``n``,
        ``note`` (where win rates crowd at a bound, as in `win_rate_correlation`).

    Raises
    ------
    AnnotationError
        `printed` is not a number as text.

    Examples
    --------
    >>> check_correlation("0.90", [1, 2, 3, 4, 5], [1, 3, 2, 4, 5])[["printed", "statistic", "agrees"]]
      printed  statistic  agrees
    0    0.90        0.9    True
    """
    options.check_options(confidence_level)
    check_method(method)
    if power not in (1, 2):
        raise ValueError(f"power: found {power!r}, expected 1 or 2")
    value = _decimal(printed)
    points, _ = align(x, y)
    a, b = points["x"].to_numpy(), points["y"].to_numpy()
    r = coefficient(a[None], b[None], method)[0]
    low, high = fisher_interval(r, len(points), method, confidence_level)
    agrees = _agrees(r**power, value)
    could = agrees
    if reading_error > 0 and not agrees:
        shift = np.random.default_rng(rng).uniform(-reading_error, reading_error, (2, n_draws, len(points)))
        could = any(_agrees(v, value) for v in coefficient(a + shift[0], b + shift[1], method) ** power)
    if power == 2:
        low, high = sorted((low**2, high**2)) if low * high > 0 else (0.0, max(low**2, high**2))
    row = [printed, r**power, agrees, could, low, high, len(points), crowding(a, b, method)]
    columns = ["printed", "statistic", "agrees", "could_agree", "ci_low", "ci_high", "n", "note"]
    result = pd.DataFrame([row], columns=columns)
    result.attrs = results.settings(method=method, unit="model", confidence_level=confidence_level)
    result.attrs |= {"power": power, "interval": "fisher"}
    if reading_error > 0:
        result.attrs |= {"n_draws": n_draws, "rng": results.seed_of(rng)}
    return result


def _decimal(printed) -> Decimal:
    try:
        if not isinstance(printed, str):
            raise InvalidOperation
        return Decimal(printed.strip())
    except InvalidOperation:
        raise AnnotationError("a number as printed, as text", source="printed", found=printed) from None


def _agrees(value, printed):
    """Tell whether a coefficient is printed so; what is left of rounding in binary is no difference."""
    return bool(np.isfinite(value)) and rounds_to(Fraction(repr(float(round(value, 12)))), printed)
