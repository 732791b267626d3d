"""Correlation of two sets of win rates over models: what a printed 0.94 rests on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.correlations import measured_again
from alpaca_analysis.correlations.coefficients import NAMES, coefficient, resampled
from alpaca_analysis.correlations.intervals import crowding, few_models, fisher_interval, percentiles
from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import intervals, ratios
from alpaca_analysis.inference.results import Reason, finish, joined, seed_of, warn_undefined
from alpaca_analysis.table.checks import check, to_numeric
from alpaca_analysis.table.groups import in_order, refuse_mixed

Interval = Literal["fisher", "bootstrap"]
CONSTANT = Reason("constant", "undefined: one side is constant")


@dataclass(frozen=True)
class Correlation:
    """A correlation over models, with what it rests on.

    Attributes
    ----------
    statistic : float
        The coefficient of the points as they are.
    ci_low, ci_high : float
        Confidence interval over models, by `interval`.
    n : int
        Models with both values.
    method, interval : str
        Coefficient and kind of interval.
    confidence_level : float
        Coverage of every interval here.
    bootstrap_low, bootstrap_high : float
        Percentile interval from resampling models, whatever `interval` is.
    pvalue : float
        Two-sided, of no association.
    noise_low, noise_high : float
        Where the coefficient of these same models would lie, were their win rates measured again with
        errors of the same size: percentile interval of the predictive distribution. The noise that the
        win rates hold is first taken out, so that it does not count twice. NaN without errors, or where
        win rates spread no more than their errors; `note` says so.
    disattenuated : float
        The coefficient of win rates without noise, as estimated from the standard errors (Pearson only):
        NaN without them or where they are as large as the win rates' spread, and cut at -1 and 1;
        `note` says so.
    leave_one_out : Series
        The coefficient without each model, by model; lowest first.
    points : DataFrame
        ``model``, ``x``, ``y``, ``x_se``, ``y_se``: what was correlated.
    dropped : tuple of str
        Models with only one of the two values.
    reason : str
        Codes of what `note` says, for programs.
    note : str
        Why something is NaN, what the noise leaves out, and where the interval covers less than it says.
    n_resamples : int
        Bootstrap resamples and noise draws.
    seed : int or str
        Seed of both; "generator" where one of unknown state was given.
    """

    statistic: float
    ci_low: float
    ci_high: float
    n: int
    method: str
    interval: str
    confidence_level: float
    bootstrap_low: float
    bootstrap_high: float
    pvalue: float
    noise_low: float
    noise_high: float
    disattenuated: float
    leave_one_out: pd.Series = field(repr=False)
    points: pd.DataFrame = field(repr=False)
    dropped: tuple[str, ...] = field(repr=False)
    reason: str = field(default="", repr=False)
    note: str = ""
    n_resamples: int = field(default=9999, repr=False)
    seed: int | str = field(default=0, repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return one row: coefficient, intervals, the range when one model is left out, settings."""
        left_out = self.leave_one_out
        row = {
            "method": self.method,
            "statistic": self.statistic,
            "ci_low": self.ci_low,
            "ci_high": self.ci_high,
            "n": self.n,
            "pvalue": self.pvalue,
            "bootstrap_low": self.bootstrap_low,
            "bootstrap_high": self.bootstrap_high,
            "noise_low": self.noise_low,
            "noise_high": self.noise_high,
            "disattenuated": self.disattenuated,
            "leave_one_out_low": left_out.min(),
            "leave_one_out_high": left_out.max(),
            "reason": self.reason,
            "note": self.note,
        }
        return finish(
            pd.DataFrame([row]),
            estimate="statistic",
            method=NAMES[self.method],
            interval="percentile" if self.interval == "bootstrap" else self.interval,
            unit="model",
            confidence_level=self.confidence_level,
            n_resamples=self.n_resamples,
            rng=self.seed,
        )


def win_rate_correlation(
    x,
    y,
    *,
    method: options.Coefficient = "pearson",
    x_se=None,
    y_se=None,
    interval: Interval = "fisher",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> Correlation:
    """Correlate two sets of win rates over models.

    The points are models, so the interval is over models: it says what other models of this kind could
    have given, and takes them for a random sample, which a leaderboard is not. The win rates' own noise
    has already lowered the coefficient and is in the interval; `noise_low`, `noise_high` and
    `disattenuated` show it apart. Noise is drawn for each number independently. Judge and people
    share instructions and reference, which this leaves out: with rows, use `correlation_from_rows`.

    Win rates measured again are drawn in two steps, so that the noise they hold does not count twice.
    With T the covariance of (x, y) over models less the mean of their squared errors, and S_i the squared
    errors of model i, its true win rates are drawn around m + L_i (z_i - m) with covariance L_i S_i, where
    z_i = (x_i, y_i), m is the mean over models and L_i = T (T + S_i)^-1; then noise of variance S_i is
    added. What is not known of m and T is drawn as well.

    Parameters
    ----------
    x, y : Series or array of shape (n_models,)
        Win rates (or ratings) in any unit. Series are matched on their index; arrays by position.
    method : {"pearson", "spearman", "kendall"}
        Coefficient; "kendall" is tau-b.
    x_se, y_se : Series, array or float, optional
        Standard errors, in the units of `x` and `y`, of all models that count. A side without any is
        taken as exact where the other has them.
    interval : {"fisher", "bootstrap"}
        z-transformation with variance 1 / (n - 3) for Pearson, (1 + r^2 / 2) / (n - 3) for Spearman
        (Bonett and Wright), 0.437 / (n - 4) for Kendall (Fieller, Hartley and Pearson); or percentiles
        of the bootstrap over models. Fisher's interval of Pearson's coefficient supposes normal
        variables: where win rates crowd at 0 or 1 it covered 84 to 93 % in simulation instead of 95 %,
        at any number of models, and ``note`` says so (from 15 % of the models within 10 points of a
        bound). That of Spearman's does not depend on the shape. The bootstrap needs about 80 models.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples, and draws of noise.
    rng : int, Generator or SeedSequence
        Seed of both.

    Returns
    -------
    Correlation
        ``.statistic``, ``.ci_low``, ``.ci_high``, ``.n``, ``.leave_one_out`` and more; ``.to_frame()``.

    Raises
    ------
    AnnotationError
        Fewer than three models in common, a model twice, arrays of different lengths, text for numbers.

    Warns
    -----
    UndefinedWarning
        A constant side, or too few models for the interval.

    See Also
    --------
    correlation_from_rows : With rows, the noise drawn jointly over instructions.
    compare_correlations : Two measures against the same third.
    restrict_range : The correlation among ever fewer models.

    References
    ----------
    Fisher, R. A. (1921); Bonett, D. G. and Wright, T. A. (2000), Psychometrika 65(1); Fieller, E. C.,
    Hartley, H. O. and Pearson, E. S. (1957), Biometrika 44(3); Spearman, C. (1904), for attenuation.

    Examples
    --------
    >>> import pandas as pd
    >>> judge = pd.Series([0.93, 0.64, 0.55, 0.50, 0.39, 0.22], index=list("abcdef"))
    >>> people = pd.Series([0.70, 0.53, 0.55, 0.50, 0.41, 0.33], index=list("abcdef"))
    >>> found = win_rate_correlation(judge, people)
    >>> round(found.statistic, 3), round(found.ci_low, 3), found.n
    (0.981, 0.833, 6)
    >>> found.leave_one_out.idxmin()
    'a'
    """
    _check_options(method, interval, confidence_level, n_resamples)
    points, dropped = align(x, y, x_se, y_se)
    seed, rng = seed_of(rng), np.random.default_rng(rng)
    noise, notes = _independent_noise(points, method, n_resamples, rng)
    found = correlate(points, dropped, method, interval, confidence_level, n_resamples, rng, noise, notes)
    return replace(found, seed=seed)


def _check_options(method, interval, confidence_level, n_resamples):
    options.one_of("method", method, options.Coefficient)
    options.one_of("interval", interval, Interval)
    options.check_options(confidence_level, n_resamples)


def correlate(
    points, dropped, method, interval, confidence_level, n_resamples, rng, noise, notes
) -> Correlation:
    """Assemble a `Correlation` from points and draws of the coefficient under noise (or None)."""
    x, y = points["x"].to_numpy(), points["y"].to_numpy()
    n = len(x)
    statistic = coefficient(x[None], y[None], method)[0]
    indices = rng.integers(n, size=(n_resamples, n))
    boot = percentiles(resampled(x, y, indices, method), confidence_level)
    low, high = fisher_interval(statistic, n, method, confidence_level)
    if interval == "bootstrap":
        low, high = boot
    notes = [*notes]
    if np.isnan(statistic):
        notes.append(CONSTANT)
        low = high = np.nan
    elif np.isnan(low):
        notes.append(Reason("too_few_models", f"interval undefined: {n} models, or points on a line"))
    else:
        notes.append(few_models(n, method) if interval == "bootstrap" else crowding(x, y, method))
    keep = ~np.eye(n, dtype=bool)
    left_out = pd.Series(
        [coefficient(x[k][None], y[k][None], method)[0] for k in keep], index=points["model"], name=method
    )
    without_noise, unclear = _disattenuate(points, statistic) if method == "pearson" else (np.nan, "")
    notes += [] if np.isnan(statistic) else [unclear]
    reason, note = joined(notes)
    result = Correlation(
        statistic=float(statistic),
        ci_low=float(low),
        ci_high=float(high),
        n=n,
        method=method,
        interval=interval,
        confidence_level=confidence_level,
        bootstrap_low=boot[0],
        bootstrap_high=boot[1],
        pvalue=_pvalue(x, y, method) if not np.isnan(statistic) else np.nan,
        noise_low=percentiles(noise, confidence_level)[0],
        noise_high=percentiles(noise, confidence_level)[1],
        disattenuated=without_noise,
        leave_one_out=left_out.iloc[np.argsort(ties.tied(left_out), kind="stable")],
        points=points,
        dropped=dropped,
        reason=reason,
        note=note,
        n_resamples=n_resamples,
    )
    warn_undefined(result.to_frame().assign(what="correlation"), ["what"])
    return result


def align(x, y, x_se=None, y_se=None) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the models with both values, and the names of those with only one.

    Parameters
    ----------
    x, y : Series or array of shape (n_models,)
        Win rates (or ratings) in any unit. Series are matched on their index; arrays by position.
    x_se, y_se : Series, array or float, optional
        Standard errors, in the units of `x` and `y`.

    Returns
    -------
    points : DataFrame
        ``model``, ``x``, ``y``, ``x_se``, ``y_se`` (NaN where not given).
    dropped : tuple of str
        Models left out.
    """
    if not isinstance(x, pd.Series) or not isinstance(y, pd.Series):
        x, y = (v.to_numpy() if isinstance(v, pd.Series) else v for v in (x, y))
        if np.ndim(x) != 1 or np.shape(x) != np.shape(y):
            found = f"shapes {np.shape(x)} and {np.shape(y)}"
            raise AnnotationError(f"two arrays of one length, or two Series; {found}", source="x and y")
        x, y = pd.Series(x), pd.Series(y)
    sides = {"x": _numbers(x, "x"), "y": _numbers(y, "y")}
    index = in_order(sides["x"].index.union(sides["y"].index, sort=False))
    for name, error, side in (("x_se", x_se, "x"), ("y_se", y_se, "y")):
        if error is None or np.ndim(error) == 0:
            sides[name] = pd.Series(np.nan if error is None else float(error), index=index)
        elif isinstance(error, pd.Series):
            sides[name] = _numbers(error, name)
        elif len(error) == len(sides[side]):
            sides[name] = pd.Series(np.asarray(error, dtype=float), index=sides[side].index)
        else:
            raise AnnotationError(f"{len(sides[side])} errors, one per model", source=name, found=len(error))
        if (sides[name] < 0).any():
            raise AnnotationError("errors >= 0", source=name, found=float(sides[name].min()))
    points = pd.DataFrame({name: side.reindex(index) for name, side in sides.items()})
    both = points[["x", "y"]].notna().all(axis=1)
    if both.sum() < 3:
        raise AnnotationError(f"at least three models with both values, found {both.sum()}", source="x and y")
    dropped = tuple(map(str, index[~both]))
    return points[both].rename_axis("model").reset_index(), dropped


def _numbers(values, name):
    if values.index.has_duplicates:
        twice = values.index[values.index.duplicated()][0]
        raise AnnotationError("each model once", source=name, column="index", found=twice)
    numbers = to_numeric(values).astype(float)
    bad = (numbers.isna() & values.notna()) | np.isinf(numbers)
    if bad.any():
        raise AnnotationError("a number", source=name, row=values.index[bad][0], found=values[bad].iloc[0])
    return numbers


def _pvalue(x, y, method):
    test = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}[method]
    return float(test(ties.tied(x), ties.tied(y)).pvalue)


def _independent_noise(points, method, n_resamples, rng):
    """Draw the coefficient of win rates measured again: each number with its own error, independently."""
    errors = points[["x_se", "y_se"]]
    if errors.isna().all(axis=None):
        return None, []
    if lacking := _lacking(points):
        return None, [Reason("error_missing", f"noise and disattenuation undefined: {lacking}")]
    errors = errors.fillna(0.0).to_numpy().T
    values = points[["x", "y"]].to_numpy().T
    if lost := measured_again.no_spread(values, np.diag((errors**2).mean(axis=1))):
        return None, [lost]
    drawn = measured_again.independent(values, errors, n_resamples=n_resamples, rng=rng)
    text = "noise drawn independently: shared instructions are left out"
    exact = [f"{side} taken as exact" for side in ("x", "y") if points[f"{side}_se"].isna().all()]
    return coefficient(drawn[:, 0], drawn[:, 1], method), [Reason("noise_independent", text), *exact]


def _lacking(points):
    """Return which models have no error on a side where others have one, as text."""
    for name in ("x_se", "y_se"):
        missing = points[name].isna()
        if missing.any() and not missing.all():
            more = f" and {missing.sum() - 1} more" if missing.sum() > 1 else ""
            return f"no {name} of {points.loc[missing, 'model'].iloc[0]!r}{more}"
    return ""


def _disattenuate(points, statistic):
    """Divide by the root of both reliabilities; return that and what is wrong with it."""
    if points[["x_se", "y_se"]].isna().all(axis=None) or _lacking(points):
        return np.nan, ""
    reliability = 1.0
    for side in ("x", "y"):
        error = np.nan_to_num(points[f"{side}_se"].to_numpy())
        spread = points[side].var(ddof=1)
        if spread <= (error**2).mean():
            text = f"disattenuation undefined: {side} spreads no more than its errors"
            return np.nan, Reason("no_spread_beyond_errors", text)
        reliability *= 1 - (error**2).mean() / spread
    estimate = statistic / np.sqrt(reliability)
    within = float(np.clip(estimate, -1, 1))
    if within == estimate:
        return within, ""
    return within, Reason("cut", f"disattenuated coefficient {estimate:.2f} cut at {within:.0f}")


def correlation_from_rows(
    table_x: pd.DataFrame,
    table_y: pd.DataFrame,
    *,
    method: options.Coefficient = "pearson",
    interval: Interval = "fisher",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> Correlation:
    """Correlate the win rates of two tables over models, their noise drawn jointly over instructions.

    As `win_rate_correlation`, but `noise_low` and `noise_high` draw the noise by resampling instructions
    with all their rows in both tables: models that share instructions and a reference, and judges or
    people who saw the same outputs, move together. S is then the covariance of all win rates, shared
    instructions included, in place of the single models' errors.

    Parameters
    ----------
    table_x, table_y : DataFrame
        Judgements by one annotator (or by people) each, with instruction ids.
    method : {"pearson", "spearman", "kendall"}
        Coefficient; "kendall" is tau-b.
    interval : {"fisher", "bootstrap"}
        z-transformation, or percentiles of the bootstrap over models, as in `win_rate_correlation`.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples of models, and of instructions.
    rng : int, Generator or SeedSequence
        Seed of both.

    Returns
    -------
    Correlation
        With ``points["x_se"]`` and ``["y_se"]`` clustered by instruction.

    Raises
    ------
    AnnotationError
        Rows without instruction ids, several references or annotators of a model, or fewer than three
        models in both tables.

    See Also
    --------
    win_rate_correlation : From win rates and their standard errors.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> rows = pd.DataFrame({"instruction_id": np.tile(np.arange(80), 5).astype(str),
    ...                      "model": np.repeat(list("abcde"), 80), "reference": "r"})
    >>> skill = np.repeat([0.2, 0.35, 0.5, 0.65, 0.8], 80)
    >>> judge = rows.assign(outcome=(rng.random(400) < skill).astype(float))
    >>> people = rows.assign(outcome=(rng.random(400) < skill).astype(float))
    >>> found = correlation_from_rows(judge, people, n_resamples=999)
    >>> found.n, found.noise_low < found.statistic
    (5, True)
    """
    _check_options(method, interval, confidence_level, n_resamples)
    parts = [check(t, source=name) for t, name in ((table_x, "table_x"), (table_y, "table_y"))]
    for part, name in zip(parts, ("table_x", "table_y"), strict=True):
        refuse_mixed(part, ["model"])
        if part["instruction_id"].isna().any():
            raise AnnotationError("instruction ids on every row", source=name, column="instruction_id")
    judged = [set(part.loc[part["outcome"].notna(), "model"].astype(str)) for part in parts]
    shared = sorted(judged[0] & judged[1])
    if len(shared) < 3:
        raise AnnotationError(f"at least three models in both tables, found {len(shared)}", source="tables")
    units = _joint_units(parts, shared)
    estimate, error, _, _ = intervals.interval(units, method="t", confidence_level=confidence_level)
    k = len(shared)
    sides = [pd.Series(v, index=shared) for v in (estimate[:k], estimate[k:], error[:k], error[k:])]
    points, _ = align(*sides)
    seed, rng = seed_of(rng), np.random.default_rng(rng)
    noise: np.ndarray | None = None
    covariance = ratios.covariance(ratios.influence(units), units.counts)
    if lost := measured_again.no_spread(estimate.reshape(2, k), measured_again.mean_noise(covariance)):
        notes = [lost]
    else:
        drawn = measured_again.jointly(units, n_resamples=n_resamples, rng=rng)
        noise = coefficient(drawn[:, 0], drawn[:, 1], method)
        notes = [Reason("noise_joint", "noise drawn jointly over instructions")]
    dropped = tuple(sorted((judged[0] | judged[1]) - set(shared)))
    found = correlate(points, dropped, method, interval, confidence_level, n_resamples, rng, noise, notes)
    return replace(found, seed=seed)


def _joint_units(parts, shared):
    """Return sums by instruction with a column for every model of every table."""
    rows = pd.concat(
        [p[["instruction_id", "model", "outcome", "n"]].assign(side=s) for s, p in enumerate(parts)]
    )
    rows = rows[rows["model"].isin(shared) & rows["outcome"].notna()]
    code, ids = pd.factorize(rows["instruction_id"], sort=True)
    column = pd.Index(shared).get_indexer(rows["model"]) + len(shared) * rows["side"].to_numpy()
    shape = (len(ids), 2 * len(shared))
    cell = code * shape[1] + column
    n = rows["n"].to_numpy()
    sums = [np.bincount(cell, v, shape[0] * shape[1]).reshape(shape) for v in (rows["outcome"] * n, n)]
    return ratios.Units(*sums)
