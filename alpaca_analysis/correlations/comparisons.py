"""Two correlations with the same people, and one correlation among ever fewer models."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.correlations.coefficients import NAMES, coefficient, resampled
from alpaca_analysis.correlations.estimates import CONSTANT, align
from alpaca_analysis.correlations.intervals import crowding, few_models, fisher_interval, percentiles
from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference.results import Note, Reason, finish, warn_undefined

Side = Literal["x", "y"]


def restrict_range(
    x,
    y,
    *,
    method: options.Coefficient = "pearson",
    by: Side = "y",
    minimum: int = 5,
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    """Compute the correlation among ever fewer models: the best ones, and the worst ones.

    A correlation is high among models that differ much. What a linear relation of equal strength would
    give in the narrower field is beside it, so that a loss beyond that shows.

    Parameters
    ----------
    x, y : Series or array of shape (n_models,)
        Win rates (or ratings) in any unit. Series are matched on their index; arrays by position.
    method : {"pearson", "spearman", "kendall"}
        Coefficient; "kendall" is tau-b.
    by : {"x", "y"}
        What the models are ordered by.
    minimum : int
        The smallest field, at least 3.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    DataFrame
        ``keep`` (``"all"``, ``"best"`` or ``"worst"``), ``n``, ``statistic``, ``ci_low``, ``ci_high``
        (Fisher), ``spread`` (standard deviation of `by` in the field over that among all), ``expected``
        (the coefficient of a linear relation with equal residuals: Thorndike's case 2, for Pearson; NaN
        otherwise), ``lowest`` and ``highest`` model of the field, ``reason`` and ``note`` (why an entry is
        NaN, or where win rates crowd at a bound, as in `win_rate_correlation`).

    See Also
    --------
    win_rate_correlation : The correlation among all models.

    References
    ----------
    Thorndike, R. L. (1949). Personnel selection; Sackett, P. R. and Yang, H. (2000), J. Appl. Psych. 85(1).

    Examples
    --------
    >>> import pandas as pd
    >>> found = restrict_range([1, 2, 3, 4, 5, 9], [1, 3, 2, 5, 4, 9], minimum=5)
    >>> found[["keep", "n", "statistic", "expected"]].round(3)
        keep  n  statistic  expected
    0    all  6      0.950     0.950
    1   best  5      0.932     0.946
    2  worst  5      0.800     0.862
    """
    options.check_options(confidence_level)
    options.one_of("method", method, options.Coefficient)
    options.one_of("by", by, Side)
    options.whole("minimum", minimum, 3)
    points, _ = align(x, y)
    points = points.iloc[np.argsort(-ties.tied(points[by]), kind="stable")].reset_index(drop=True)
    n = len(points)
    fields = [("all", points)]
    fields += [("best", points.head(k)) for k in range(n - 1, minimum - 1, -1)]
    fields += [("worst", points.tail(k)) for k in range(n - 1, minimum - 1, -1)]
    rows, whole = [], None
    notes: list[Note] = []
    for keep, field in fields:
        r = coefficient(field["x"].to_numpy()[None], field["y"].to_numpy()[None], method)[0]
        whole = r if whole is None else whole
        spread = field[by].std(ddof=1) / points[by].std(ddof=1)
        low, high = fisher_interval(r, len(field), method, confidence_level)
        expected = whole * spread / np.sqrt(1 + whole**2 * (spread**2 - 1)) if method == "pearson" else np.nan
        rows.append([keep, len(field), r, low, high, spread, expected, *field["model"].iloc[[-1, 0]]])
        if np.isnan(r):
            notes.append(CONSTANT)
        elif np.isnan(low):
            text = "interval undefined: too few models, or points on a line"
            notes.append(Reason("too_few_models", text))
        else:
            notes.append(crowding(field["x"].to_numpy(), field["y"].to_numpy(), method))
    columns = ["keep", "n", "statistic", "ci_low", "ci_high", "spread", "expected", "lowest", "highest"]
    return finish(
        pd.DataFrame(rows, columns=columns),
        estimate="statistic",
        method=NAMES[method],
        interval="fisher",
        unit="model",
        confidence_level=confidence_level,
        notes=notes,
        settings={"by": by},
    )


def compare_correlations(
    x1,
    x2,
    y,
    *,
    method: options.Coefficient = "pearson",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> pd.DataFrame:
    """Compare how two measures correlate with a third over the same models.

    Parameters
    ----------
    x1, x2, y : Series or array of shape (n_models,)
        Two measures, such as raw and length-controlled win rates, and what both are correlated with.
        Series are matched on their index; only models with all three count.
    method : {"pearson", "spearman", "kendall"}
        Coefficient; "kendall" is tau-b.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples of models; the three values of a model stay together.
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        One row: ``statistic_1``, ``statistic_2``, ``statistic_difference``, ``ci_low``, ``ci_high``,
        ``pvalue`` (two-sided, of no difference), ``test``, ``n``, ``reason`` and ``note`` (why an entry is
        NaN, or the interval approximate: for Pearson's coefficients it needs about 80 models). The test is
        Williams's for two dependent correlations that share a variable; for the rank coefficients it is
        twice the smaller share of bootstrap differences on either side of 0.

    Warns
    -----
    UndefinedWarning
        One of the three is constant, or the two measures never differ.

    See Also
    --------
    win_rate_correlation : One correlation with its interval.

    References
    ----------
    Williams, E. J. (1959), JRSS B 21(2); Steiger, J. H. (1980), Psychological Bulletin 87(2), eq. 7.

    Examples
    --------
    >>> y = [1, 2, 3, 4, 5, 6, 7, 8]
    >>> compare_correlations([1, 2, 3, 4, 5, 6, 8, 7], [3, 1, 2, 6, 5, 4, 8, 7], y)[
    ...     ["statistic_1", "statistic_2", "pvalue", "test"]].round(3)
       statistic_1  statistic_2  pvalue      test
    0        0.976         0.81   0.036  Williams
    """
    options.check_options(confidence_level, n_resamples)
    options.one_of("method", method, options.Coefficient)
    first, _ = align(x1, y)
    second, _ = align(x2, y)
    both = first.merge(second[["model", "x"]], on="model", suffixes=("", "2"))
    if len(both) < 4:
        raise AnnotationError(f"at least four models with all three values, found {len(both)}", source="x, y")
    a, b, c = (both[name].to_numpy() for name in ("x", "x2", "y"))
    one, two = (coefficient(v[None], c[None], method)[0] for v in (a, b))
    drawn = np.random.default_rng(rng).integers(len(both), size=(n_resamples, len(both)))
    differences = ties.difference(resampled(a, c, drawn, method), resampled(b, c, drawn, method))
    low, high = percentiles(differences, confidence_level)
    note: Note = ""
    if np.isnan(one + two):
        names = [name for name, v in (("x1", a), ("x2", b), ("y", c)) if ties.equal(v, v[0]).all()]
        note = Reason("constant", f"undefined: {' and '.join(names)} constant")
    elif np.isnan(low):
        note = Reason("too_few_models", "interval undefined: too few models that differ")
    elif not np.nan_to_num(differences).any():
        note = Reason("no_variation", "interval undefined: the two never differ")
    if note:
        low = high = np.nan
    row = {
        "statistic_1": one,
        "statistic_2": two,
        "statistic_difference": float(ties.difference(one, two)),
        "ci_low": low,
        "ci_high": high,
        "pvalue": np.nan if note else _pvalue(a, b, (one, two), differences, method),
        "test": "Williams" if method == "pearson" else "bootstrap",
        "n": len(both),
    }
    result = finish(
        pd.DataFrame([row]),
        estimate="statistic_difference",
        method=f"difference of two correlations, {NAMES[method]}",
        interval="percentile",
        unit="model",
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        rng=rng,
        notes=[note or few_models(len(both), method)],
    )
    warn_undefined(result.assign(what="difference of correlations"), ["what"])
    return result


def _pvalue(a, b, statistics, differences, method):
    """Return the p-value of no difference: Williams's, or by which side of 0 the resamples lie on."""
    if method == "pearson":
        one, two = statistics
        return _williams(one, two, coefficient(a[None], b[None], method)[0], len(a))
    differences = differences[~np.isnan(differences)]
    beside = [(differences <= 0).mean(), (differences >= 0).mean()]
    return min(1.0, 2 * max(min(beside), 1 / len(differences)))


def _williams(r1, r2, r12, n):
    """Return the p-value of Williams's t for corr(x1, y) against corr(x2, y), n - 3 degrees of freedom."""
    determinant = 1 - r1**2 - r2**2 - r12**2 + 2 * r1 * r2 * r12
    mean = (r1 + r2) / 2
    below = 2 * determinant * (n - 1) / (n - 3) + mean**2 * (1 - r12) ** 3
    if ties.equal(r1, r2):
        return 1.0
    if below <= 0:
        return np.nan
    t = (r1 - r2) * np.sqrt((n - 1) * (1 + r12) / below)
    return float(2 * stats.t.sf(abs(t), n - 3))
