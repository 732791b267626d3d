"""Printed correlations against the points that they summarise."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alpaca_analysis.claims.values import is_printed_so, number
from alpaca_analysis.correlations.coefficients import NAMES, coefficient
from alpaca_analysis.correlations.estimates import align
from alpaca_analysis.correlations.intervals import crowding, fisher_interval
from alpaca_analysis.foundations import options
from alpaca_analysis.inference.results import finish, seed_of


def check_correlation(
    printed: str,
    x,
    y,
    *,
    method: options.Coefficient = "pearson",
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
        Win rates (or ratings) in any unit. Series are matched on their index; arrays by position.
    method : {"pearson", "spearman", "kendall"}
        Coefficient; "kendall" is tau-b.
    power : {1, 2}
        2 where the print is of R^2.
    reading_error : float
        How far the points may be off in either direction, in their units, such as for points read off a
        figure. The coefficient's range is taken over uniform draws within.
    confidence_level : float
        Coverage in (0, 1).
    n_draws : int
        Draws of the reading error.
    rng : int, Generator or SeedSequence
        Seed of the draws.

    Returns
    -------
    DataFrame
        One row: ``printed``, ``statistic``, ``agrees`` (rounds to what is printed, halves either way),
        ``could_agree`` (so does some draw within the reading error), ``ci_low``, ``ci_high`` (Fisher),
        ``n``, ``reason`` and ``note`` (where win rates crowd at a bound, as in `win_rate_correlation`).

    Raises
    ------
    AnnotationError
        `printed` is not a number as text.

    See Also
    --------
    win_rate_correlation : The correlation with all its intervals.
    check_claims : Printed win rates.

    Examples
    --------
    >>> check_correlation("0.90", [1, 2, 3, 4, 5], [1, 3, 2, 4, 5])[["printed", "statistic", "agrees"]]
      printed  statistic  agrees
    0    0.90        0.9    True
    """
    options.check_options(confidence_level)
    options.one_of("method", method, options.Coefficient)
    options.one_of("power", power, (1, 2))
    options.number("reading_error", reading_error, 0)
    options.whole("n_draws", n_draws)
    value = number(printed)
    points, _ = align(x, y)
    a, b = points["x"].to_numpy(), points["y"].to_numpy()
    r = coefficient(a[None], b[None], method)[0]
    low, high = fisher_interval(r, len(points), method, confidence_level)
    agrees = is_printed_so(r**power, value)
    could = agrees
    if reading_error > 0 and not agrees:
        shift = np.random.default_rng(rng).uniform(-reading_error, reading_error, (2, n_draws, len(points)))
        could = any(is_printed_so(v, value) for v in coefficient(a + shift[0], b + shift[1], method) ** power)
    if power == 2:
        low, high = sorted((low**2, high**2)) if low * high > 0 else (0.0, max(low**2, high**2))
    row = [printed, r**power, agrees, could, low, high, len(points)]
    columns = ["printed", "statistic", "agrees", "could_agree", "ci_low", "ci_high", "n"]
    drawn = {"n_draws": n_draws, "rng": seed_of(rng)} if reading_error > 0 else {}
    return finish(
        pd.DataFrame([row], columns=columns),
        estimate="statistic",
        method=NAMES[method] + (", squared" if power == 2 else ""),
        interval="fisher",
        unit="model",
        confidence_level=confidence_level,
        notes=[crowding(a, b, method)],
        settings={"power": power, "decimals_of": {"statistic": "printed"}, **drawn},
    )
