"""What a judge prefers besides quality: the longer output, lists, what it is shown first.

Length is the number of characters of an output; a *difference* is that of the model's output minus
that of the reference's, so that it is positive where the model wrote more. None of the numbers here
says that the preference is wrong: people prefer longer outputs too, and better answers may be longer.
`bias_beyond_humans` compares a judge with people on the same pairs, `fit_length_control` removes
length from a win rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference.clustered_logistic import fit_logistic, logit_interval
from alpaca_analysis.inference.results import finish, unit_of
from alpaca_analysis.length.scales import length_difference
from alpaca_analysis.table.checks import check, refuse, to_numeric
from alpaca_analysis.table.style import FEATURES, SCRIPT, add_features
from alpaca_analysis.table.style_pairs import style_difference
from alpaca_analysis.win_rates.shares import RESULT, shares_by

RESERVED = {"probability", "outcome", "difference", "difference_low", "difference_high", "bin"}


def prefer_longer(
    table: pd.DataFrame,
    *,
    min_difference: float = 30,
    by: str | Sequence[str] = "annotator",
    method: options.WinRateInterval = "bca",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> pd.DataFrame:
    """Estimate how often an annotator that decides prefers the longer of two outputs.

    Judgements that are no draw and whose outputs differ by more than `min_difference` characters
    count; each counts once, however many there are of a pair. (alpaca-eval takes the first judgement
    of each pair: to do the same, pass the rows of the first ``repeat``.) A weighted outcome is
    rounded to the verdict it leans to. All judgements of an instruction are resampled together.

    Parameters
    ----------
    table : DataFrame
        Judgements with ``length_model`` and ``length_reference``.
    min_difference : float
        Characters; pairs that differ by no more are left out.
    by : str or sequence of str
        Columns that make a group; each group gets one probability.
    method : {"bca", "percentile", "t", "wilson"}
        Interval, as `win_rate` makes it.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples; ignored by "t" and "wilson".
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        `by` columns, ``probability``, ``standard_error``, ``ci_low``, ``ci_high``, ``n`` (the judgements
        that count), ``reason`` and ``note``, largest first; 0.5 is no preference. A group without such a
        judgement is NaN with the reason.

    Raises
    ------
    AnnotationError
        No row of the table has both lengths.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"annotator": "judge", "model": "m", "outcome": [1, 1, 0, 1, 0.5],
    ...                       "length_model": [90, 80, 20, 20, 99], "length_reference": 50})
    >>> prefer_longer(table, min_difference=29, method="t")[["annotator", "probability", "n"]]
      annotator  probability  n
    0     judge         0.75  4
    """
    _check_options(method, confidence_level, n_resamples)
    options.number("min_difference", min_difference, 0)
    table, by = _grouped(table, by)
    difference = table["length_model"] - table["length_reference"]
    if difference.isna().all():
        raise AnnotationError("at least one row with both lengths", column="length_model", found="none")
    longer = (2.0 * (difference > 0) - 1).where(difference.abs() > min_difference)
    result = _preference(table, longer, by, method, confidence_level, n_resamples, rng)
    result.attrs["min_difference"] = min_difference
    return result


def prefer_lists(
    table: pd.DataFrame,
    *,
    by: str | Sequence[str] = "annotator",
    method: options.WinRateInterval = "bca",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> pd.DataFrame:
    """Estimate how often an annotator that decides prefers the one output of two that has a list.

    Parameters
    ----------
    table : DataFrame
        Judgements with ``list_model`` and ``list_reference``: whether the output holds a bulleted,
        numbered or lettered list (boolean, or 0 and 1); without them, the texts ``output_model`` and
        ``output_reference``, in which lists are found. Pairs where both or neither do are left out.
    by : str or sequence of str
        Columns that make a group; each group gets one probability.
    method : {"bca", "percentile", "t", "wilson"}
        Interval, as `win_rate` makes it.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples; ignored by "t" and "wilson".
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        `by` columns, ``probability``, ``standard_error``, ``ci_low``, ``ci_high``, ``n`` (the judgements
        that count), ``reason`` and ``note``, largest first; 0.5 is no preference. A group without such a
        judgement is NaN with the reason.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"annotator": "judge", "model": "m", "outcome": [1, 0, 0, 1],
    ...                       "list_model": [1, 1, 0, 1], "list_reference": [0, 0, 1, 1]})
    >>> prefer_lists(table, method="t")[["probability", "n"]].round(3)
       probability  n
    0        0.667  3
    """
    _check_options(method, confidence_level, n_resamples)
    by = options.groups(by, {*RESULT, *RESERVED})
    if "list_model" not in table and {"output_model", "output_reference"} <= set(table.columns):
        table = add_features(table)
    table, by = _grouped(table, by, "list_model", "list_reference")
    has = [_flags(table, column) for column in ("list_model", "list_reference")]
    lists = (has[0] - has[1]).replace(0, np.nan)
    return _preference(table, lists, by, method, confidence_level, n_resamples, rng)


def prefer_first(
    table: pd.DataFrame,
    *,
    by: str | Sequence[str] = "annotator",
    method: options.WinRateInterval = "bca",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> pd.DataFrame:
    """Estimate how often an annotator prefers the output it was shown first, a draw counting half.

    Draws count here, as they do in alpaca-eval's figure, and weighted outcomes are taken as they are.
    Where each pair was shown in both orders 0.5 means that order does not matter; where it was shown
    in one, that also takes orders that do not depend on which output is better.

    Parameters
    ----------
    table : DataFrame
        Judgements with ``position``: 1 where the model's output came first, 2 where it came second.
    by : str or sequence of str
        Columns that make a group; each group gets one probability.
    method : {"bca", "percentile", "t", "wilson"}
        Interval, as `win_rate` makes it.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples; ignored by "t" and "wilson".
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        `by` columns, ``probability``, ``standard_error``, ``ci_low``, ``ci_high``, ``n`` (the judgements
        that count), ``reason`` and ``note``, largest first; 0.5 is no preference. A group without such a
        judgement is NaN with the reason.

    Raises
    ------
    AnnotationError
        A position that is neither 1 nor 2 nor missing.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"annotator": "judge", "model": "m", "outcome": [1, 0, 0.5],
    ...                       "position": [1, 2, 2]})
    >>> prefer_first(table, method="t")[["probability", "n"]].round(3)
       probability  n
    0        0.833  3
    """
    _check_options(method, confidence_level, n_resamples)
    table, by = _grouped(table, by, "position")
    position = to_numeric(table["position"])
    bad = table["position"].notna() & ~position.isin([1, 2])
    refuse(bad, "1 (the model's output first), 2 (second) or NaN", table["position"], column="position")
    first = 3 - 2 * position.astype(float)
    return _preference(table, first, by, method, confidence_level, n_resamples, rng, draws=True)


def prefer(
    table: pd.DataFrame,
    feature: str,
    *,
    by: str | Sequence[str] = "annotator",
    method: options.WinRateInterval = "bca",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> pd.DataFrame:
    """Estimate how often an annotator that decides prefers the output with more of a feature of style.

    Judgements that are no draw and whose outputs differ in the feature count. That a judge prefers more of
    something is no bias by itself: people may prefer it too, see `bias_beyond_humans`.

    Parameters
    ----------
    table : DataFrame
        Judgements with the columns of `add_features`, such as ``bold_model`` and ``bold_reference``.
    feature : str
        One of `style_features` other than the script.
    by : str or sequence of str
        Columns that make a group; each group gets one probability.
    method : {"bca", "percentile", "t", "wilson"}
        Interval, as `win_rate` makes it.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples; ignored by "t" and "wilson".
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        `by` columns, ``feature``, ``probability``, ``standard_error``, ``ci_low``, ``ci_high``, ``n`` (the
        judgements that count), ``reason`` and ``note``, largest first; 0.5 is no preference. A group without
        such a judgement is NaN with the reason.

    Raises
    ------
    AnnotationError
        The table does not hold the feature.

    See Also
    --------
    prefer_longer : The longer output, by characters and at least so many of them.
    prefer_lists : An output with a list over one without.
    prefer_first : The output that was shown first.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"annotator": "judge", "model": "m", "outcome": [1, 1, 0, 1],
    ...                       "bold_model": [3, 2, 1, 0], "bold_reference": [0, 0, 2, 0]})
    >>> prefer(table, "bold", method="t")[["feature", "probability", "n"]]
      feature  probability  n
    0    bold          1.0  3
    """
    _check_options(method, confidence_level, n_resamples)
    by = options.groups(by, {*RESULT, *RESERVED})
    allowed = [name for name in FEATURES if name != SCRIPT]
    if feature not in allowed:
        raise ValueError(f"feature: found {feature!r}, expected one of {', '.join(allowed)}")
    table, by = _grouped(table, by)
    more = np.sign(style_difference(table, feature)).replace(0, np.nan)
    result = _preference(table, more, by, method, confidence_level, n_resamples, rng)
    result.insert(len(by), "feature", feature)
    result.attrs["feature"] = feature
    return result


def _check_options(method, confidence_level, n_resamples):
    options.check_options(confidence_level, n_resamples)
    options.one_of("method", method, options.WinRateInterval)


def _flags(table, column):
    values = table[column].astype("Float64").astype(float)
    bad = values.notna() & ~values.isin([0, 1])
    refuse(bad, "True, False or NaN", table[column], column=column)
    return values


def _grouped(table, by, *require):
    """Return the checked table and the columns that make a group, none of them a column of a result."""
    by = options.groups(by, {*RESULT, *RESERVED})
    return check(table, require=[*by, *require]), by


def _preference(table, side, by, method, confidence_level, n_resamples, rng, *, draws=False):
    """Estimate the share of judgements for the output that `side` names: 1 model, -1 reference."""
    verdict = table["outcome"] - 0.5 if draws else np.sign(table["outcome"] - 0.5).replace(0, np.nan) / 2
    share = (0.5 + side * verdict).to_numpy()
    rates = shares_by(table, "probability", share, by, method, confidence_level, n_resamples, rng)
    rates["note"] = rates["note"].str.replace("nothing was judged", "no judgement qualifies")
    return rates


def response_curve(
    table: pd.DataFrame,
    *,
    kind: Literal["bins", "spline"] = "bins",
    scale: options.Scale = "characters",
    by: str | Sequence[str] = "annotator",
    n_bins: int = 10,
    df: int = 4,
    n_points: int = 61,
    method: options.WinRateInterval = "bca",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> pd.DataFrame:
    """Trace the mean outcome against the difference in length, in bins or as a smooth curve.

    A curve that rises says that longer outputs win more often. It does not say why: length comes
    with the model and with the prompt. Compare with the curve of people on the same pairs.

    Parameters
    ----------
    table : DataFrame
        Judgements with lengths.
    kind : {"bins", "spline"}
        Mean outcome in `n_bins` groups of about equal size, or a logistic regression on a natural
        cubic spline with `df` degrees of freedom, evaluated between the 1st and 99th percentile of
        the difference, its outer knots; its errors are clustered by instruction, its interval is made
        on the logit scale.
    scale : {"characters", "log_ratio", "tanh"}
        How a difference is measured; see `length_difference`. "tanh" takes the spread of each group.
    by : str or sequence of str
        Columns that make a group; each group gets its curve.
    n_bins, df, n_points : int
        Bins; degrees of freedom; points at which the spline is evaluated.
    method : {"bca", "percentile", "t", "wilson"}
        Interval of a bin, as `win_rate` makes it; ignored by "spline".
    confidence_level : float
        Coverage in (0, 1), point by point: the band does not cover the whole curve at once.
    n_resamples : int
        Bootstrap resamples; ignored by "t", "wilson" and "spline".
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        `by` columns, ``difference`` (mean in the bin, or the point; positive where the model wrote
        more), for bins ``difference_low`` and ``difference_high`` (smallest and largest in it),
        ``outcome``, ``standard_error``, ``ci_low``, ``ci_high``, ``n`` (judgements: in the bin, or
        behind the curve) and ``note``.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> x = np.arange(-50, 50)
    >>> table = pd.DataFrame({"annotator": "judge", "model": "m", "outcome": (x % 7 + x / 10 > 3) * 1.0,
    ...                       "length_model": 100 + x, "length_reference": 100})
    >>> response_curve(table, n_bins=2, method="t")[["difference", "outcome", "n"]]
       difference  outcome   n
    0       -25.5     0.18  50
    1        24.5     0.80  50
    """
    _check_options(method, confidence_level, n_resamples)
    options.whole("n_bins", n_bins)
    options.whole("df", df, 2)
    options.whole("n_points", n_points, 2)
    options.one_of("kind", kind, ("bins", "spline"))
    options.one_of("scale", scale, options.Scale)
    table, by = _grouped(table, by)
    table = table.assign(difference=length_difference(table, scale=scale, by=by))
    used = table["difference"].notna() & table["outcome"].notna()
    for key, some in used.groupby([table[c] for c in by], observed=True, dropna=False):
        if not some.any():
            expected = "at least one judgement with both lengths"
            raise AnnotationError(expected, column="length_model", found=f"none in {key}")
    rows = table[used].reset_index(drop=True)
    common: dict[str, Any] = {
        "estimate": "outcome",
        "fractions": ["outcome"],
        "unit": unit_of(table["instruction_id"].notna().any()),
        "confidence_level": confidence_level,
        "settings": {"kind": kind, "scale": scale},
    }
    if kind == "spline":
        curve = _splines(rows, by, df, n_points, confidence_level)
        return finish(curve, method="natural cubic spline, logistic", interval="logit wald", **common)
    curve = _binned(rows, by, n_bins, method, confidence_level, n_resamples, rng)
    drawn = n_resamples if method in ("bca", "percentile") else None
    return finish(curve, method="mean outcome in bins", interval=method, n_resamples=drawn, rng=rng, **common)


def _binned(rows, by, n_bins, method, confidence_level, n_resamples, rng):
    """Return the bins of all groups, which share resamples."""
    groups = rows.groupby(by, observed=True, dropna=False, sort=True)
    if not 1 <= n_bins <= groups.size().min():
        found = f"n_bins: found {n_bins!r}, expected 1 to the {groups.size().min()} judgements of a group"
        raise ValueError(found)
    cut = groups["difference"].transform(lambda x: pd.qcut(x, n_bins, labels=False, duplicates="drop"))
    rows = rows.assign(bin=cut.fillna(0).astype(int), sum=rows["difference"] * rows["n"])
    keys = [*by, "bin"]
    rates = shares_by(
        rows, "outcome", rows["outcome"].to_numpy(), keys, method, confidence_level, n_resamples, rng
    )
    inside = rows.groupby(keys, observed=True, dropna=False, sort=True).agg(
        difference=("sum", "sum"),
        n=("n", "sum"),
        difference_low=("difference", "min"),
        difference_high=("difference", "max"),
    )
    order = rates.groupby(keys, observed=True, dropna=False, sort=True).ngroup().argsort()
    curve = rates.iloc[order].reset_index(drop=True).drop(columns="bin")
    curve[by] = pd.DataFrame({c: list(curve[c]) for c in by})  # plain names, as of a spline
    for place, name in enumerate(("difference", "difference_low", "difference_high"), len(by)):
        values = inside[name] / inside["n"] if name == "difference" else inside[name]
        curve.insert(place, name, values.to_numpy())
    return curve


def _splines(rows, by, df, n_points, confidence_level):
    parts = []
    for key, group in rows.groupby(by, observed=True, dropna=False, sort=True):
        curve = _spline(group, df, n_points, confidence_level)
        for name, value in zip(reversed(by), reversed(key), strict=True):
            curve.insert(0, name, value)
        parts.append(curve)
    return pd.concat(parts, ignore_index=True)


def _spline(rows, df, n_points, confidence_level):
    from patsy import build_design_matrices, dmatrix

    distinct = rows["difference"].nunique()
    if distinct <= df:
        raise AnnotationError(
            f"more than df={df} different lengths in a group", column="length_model", found=int(distinct)
        )
    low, high = np.quantile(rows["difference"], [0.01, 0.99])
    spline = f"cr(x, df={int(df)}, lower_bound={low!r}, upper_bound={high!r}, constraints='center')"
    design = dmatrix(spline, {"x": rows["difference"].to_numpy()})
    grid = np.linspace(low, high, n_points)
    at = np.asarray(build_design_matrices([design.design_info], {"x": grid})[0])
    fit = fit_logistic(rows["outcome"], np.asarray(design), rows["instruction_id"], rows["n"])
    curve = pd.DataFrame({"difference": grid}).join(logit_interval(fit, at, confidence_level))
    return curve.assign(n=int(rows["n"].sum()), note=fit.note)
