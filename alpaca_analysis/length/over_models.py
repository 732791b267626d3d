"""Length at the level of models: win rates on mean lengths, and variants that were asked for length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.correlations.coefficients import coefficient, resampled
from alpaca_analysis.correlations.intervals import few_models
from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import intervals
from alpaca_analysis.inference.results import Note, Reason, finish, seed_of, warn_undefined
from alpaca_analysis.table.groups import in_order

CORRELATIONS = ("pearson", "spearman")


@dataclass(frozen=True)
class ModelLengthRegression:
    """Win rates of models regressed on the mean length of their outputs.

    Attributes
    ----------
    slope, standard_error, ci_low, ci_high : float
        Change of the win rate (a fraction) per unit of length, with the HC3 error and its t interval.
    intercept : float
        Fitted win rate at length 0.
    pearson, spearman : float
        Correlations of win rate and mean length.
    pearson_interval, spearman_interval : tuple of float
        Bootstrap (BCa) intervals over models.
    unit : float
        Characters in a unit of length.
    n : int
        Models.
    note : str or Reason
        Why the slope's error is NaN.
    confidence_level : float
        Coverage of all intervals.
    n_resamples : int
    seed : int or str
        Of the bootstrap.
    leave_one_out : DataFrame
        Per model ``model``, ``length``, ``win_rate``, ``fitted``, ``residual``, ``leverage``,
        ``cooks_distance`` and what is left without it: ``slope``, ``pearson``, ``spearman``; the
        most influential (by Cook's distance) first.
    """

    slope: float
    standard_error: float
    ci_low: float
    ci_high: float
    intercept: float
    pearson: float
    pearson_interval: tuple[float, float]
    spearman: float
    spearman_interval: tuple[float, float]
    unit: float
    n: int
    leave_one_out: pd.DataFrame = field(repr=False)
    note: str | Reason = ""
    confidence_level: float = field(default=0.95, repr=False)
    n_resamples: int = field(default=9999, repr=False)
    seed: int | str = field(default=0, repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return one row each for the slope (HC3, t) and the two correlations (BCa over models).

        ``note`` says where an interval is not defined, or covers less than it says: that of Pearson's
        coefficient needs about 80 models.
        """
        rows = [
            (f"slope per {self.unit:g} characters", self.slope, self.ci_low, self.ci_high, "slope"),
            ("Pearson correlation", self.pearson, *self.pearson_interval, "pearson"),
            ("Spearman correlation", self.spearman, *self.spearman_interval, "spearman"),
        ]
        columns = ["quantity", "estimate", "ci_low", "ci_high", "column"]
        frame = pd.DataFrame(rows, columns=columns)
        left = self.leave_one_out
        frame["lowest_without_one"] = [left[c].min() for c in frame["column"]]
        frame["highest_without_one"] = [left[c].max() for c in frame["column"]]
        undefined = Reason("too_few_units", "interval undefined: too few models that differ")
        notes = [
            undefined if np.isnan(low) else few_models(self.n, method, "bca")
            for method, low in zip(frame["column"], frame["ci_low"], strict=True)
        ]
        return finish(
            frame.drop(columns="column").assign(n=self.n),
            estimate="estimate",
            method="least squares over models; correlations",
            interval="HC3 t (slope), bca (correlations)",
            unit="model",
            confidence_level=self.confidence_level,
            n_resamples=self.n_resamples,
            rng=self.seed,
            notes=[self.note, *notes[1:]],
        )


def model_length_regression(
    win_rates: pd.Series,
    lengths: pd.Series,
    *,
    unit: float = 100,
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> ModelLengthRegression:
    """Regress models' win rates on the mean length of their outputs, and leave each model out in turn.

    The points are models, so the intervals say what other models of the same kind could show. They
    cannot tell a judge that likes length from models that are better *and* write more.

    Parameters
    ----------
    win_rates : Series
        Fractions, indexed by model.
    lengths : Series
        Mean characters of the models' outputs; aligned with `win_rates` on the index.
    unit : float
        Characters in a unit of length.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples of models, for the BCa intervals of the correlations.
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    ModelLengthRegression
        With ``.to_frame()`` and ``.leave_one_out``.

    Raises
    ------
    AnnotationError
        Win rates outside [0, 1], a model listed twice, fewer than four models in common, or all of one
        length or one win rate.

    Warns
    -----
    UndefinedWarning
        Where an interval is not defined.

    Examples
    --------
    >>> import pandas as pd
    >>> models = list("abcdef")
    >>> fit = model_length_regression(pd.Series([0.3, 0.4, 0.5, 0.5, 0.7, 0.6], models),
    ...                               pd.Series([500, 800, 900, 1200, 1500, 1600], models))
    >>> round(fit.slope, 4), fit.n
    (0.0308, 6)
    """
    options.check_options(confidence_level, n_resamples)
    options.number("unit", unit, 0, closed="right")
    points = _points(win_rates, lengths)
    y, x = points["win_rate"].to_numpy(), points["length"].to_numpy() / unit
    params, error, (low, high), (leverage, distance), note = _line(x, y, confidence_level)
    rest = ~np.eye(len(points), dtype=bool)
    without = {m: [coefficient(x[k][None], y[k][None], m)[0] for k in rest] for m in CORRELATIONS}
    points = points.assign(
        fitted=params[0] + params[1] * x,
        residual=y - params[0] - params[1] * x,
        leverage=leverage,
        cooks_distance=distance,
        slope=[_slope(x[k], y[k]) for k in rest],
        **without,
    )
    estimates = [float(coefficient(x[None], y[None], method)[0]) for method in CORRELATIONS]
    left_out = points[list(CORRELATIONS)].to_numpy()
    intervals = _intervals(x, y, estimates, left_out, confidence_level, n_resamples, rng)
    result = ModelLengthRegression(
        slope=float(params[1]),
        standard_error=error,
        ci_low=low,
        ci_high=high,
        intercept=float(params[0]),
        pearson=estimates[0],
        pearson_interval=intervals[0],
        spearman=estimates[1],
        spearman_interval=intervals[1],
        unit=unit,
        n=len(points),
        leave_one_out=points.sort_values("cooks_distance", ascending=False, ignore_index=True),
        note=note,
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        seed=seed_of(rng),
    )
    warn_undefined(result.to_frame(), ["quantity"])
    return result


def _line(x, y, confidence_level):
    """Return the least-squares line with its HC3 error and interval, the models' influence, and a note."""
    import statsmodels.api as sm

    design = sm.add_constant(x)
    plain = sm.OLS(y, design).fit()
    with np.errstate(invalid="ignore", divide="ignore"):
        influence = plain.get_influence()
        influence = influence.hat_matrix_diag, influence.cooks_distance[0]
    note: Note = ""
    if ties.equal(influence[0], 1.0).any():
        note = Reason("no_variation", "error undefined: without one model all lengths are equal")
    elif ties.equal(plain.fittedvalues, y).all():
        note = Reason("no_residuals", "error undefined: all models lie on a line")
    if note:
        return plain.params, np.nan, (np.nan, np.nan), influence, note
    robust = plain.get_robustcov_results("HC3", use_t=True)
    low, high = robust.conf_int(alpha=1 - confidence_level)[1]
    return plain.params, float(robust.bse[1]), (float(low), float(high)), influence, note


def _slope(x, y):
    """Return the slope of the least-squares line; NaN where all lengths are equal."""
    apart = x - x.mean()
    square = apart @ apart
    return np.nan if ties.equal(x, x[0]).all() else float(apart @ y / square)


def _points(win_rates, lengths):
    for name, values in (("win_rates", win_rates), ("lengths", lengths)):
        if not isinstance(values, pd.Series):
            raise AnnotationError("a Series indexed by model", column=name, found=type(values).__name__)
        if values.index.has_duplicates:
            twice = values.index[values.index.duplicated()][0]
            raise AnnotationError("each model once", column=name, found=twice)
    points = pd.concat({"length": lengths, "win_rate": win_rates}, axis=1, join="inner").astype(float)
    points = points.dropna().rename_axis("model")
    points = points.loc[in_order(points.index)].reset_index()
    outside = ~points["win_rate"].between(0, 1)
    if outside.any():
        row = points[outside].iloc[0]
        raise AnnotationError(
            f"a fraction in [0, 1] for {row['model']!r} (divide percent by 100)",
            column="win_rates",
            found=float(row["win_rate"]),
        )
    if len(points) < 4:
        raise AnnotationError("at least 4 models with win rate and length", found=len(points))
    for name, column in (("win_rates", "win_rate"), ("lengths", "length")):
        if ties.equal(points[column], points[column].iloc[0]).all():
            found = float(points[column].iloc[0])
            raise AnnotationError("values that differ between models", column=name, found=found)
    return points


def _intervals(x, y, estimates, left_out, confidence_level, n_resamples, rng):
    """Return the BCa intervals over models of the Pearson and the Spearman correlation."""
    drawn = np.random.default_rng(rng).integers(len(x), size=(n_resamples, len(x)))
    resamples = np.column_stack([resampled(x, y, drawn, method) for method in CORRELATIONS])
    resamples = resamples[np.isfinite(resamples).all(axis=1)]  # a resample of one model has none
    settled = ties.standard_error(resamples.std(axis=0)) == 0
    low, high = intervals.bca_interval(
        np.array(estimates), resamples, left_out, confidence_level=confidence_level
    )
    bounds = np.where(settled, np.nan, [low, high]).T
    return [(float(a), float(b)) for a, b in bounds]


def gameability(
    board: pd.DataFrame,
    *,
    measures: Sequence[str] = ("win_rate",),
    variants: Sequence[str] = ("_verbose", "_concise"),
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    """Measure how far a model's score moves when it is only asked to write more or less.

    Gameability of a model is the standard deviation (ddof = 1) over the mean of its score across its
    plain entry and its variants; 0 is a score that prompting for length cannot move.

    Parameters
    ----------
    board : DataFrame
        A column ``model`` and the columns `measures`, fractions or percent. Variants are entries
        whose name is that of another entry with one of `variants` appended.
    measures : sequence of str
        Columns to judge, such as ``win_rate`` and ``length_controlled_winrate``.
    variants : sequence of str
        Suffixes; a model counts if all of its variants are on the board.
    confidence_level : float
        Coverage in (0, 1) of the interval of the mean, Student's t over models.

    Returns
    -------
    DataFrame
        ``model`` and per measure a row: ``measure``, ``plain`` and one column per variant (named
        without the underscore), ``gameability``, ``standard_error``, ``ci_low``, ``ci_high``, ``n``
        (models) and ``note``. Rows of one model have no interval: it was seen once in each variant.
        The mean over models is the row "(mean)" at the end of each measure.

    Raises
    ------
    AnnotationError
        A missing column, or no model with all variants.

    References
    ----------
    Dubois, Y., Galambosi, B., Liang, P. and Hashimoto, T. B. (2024). Length-controlled AlpacaEval.
    arXiv:2404.04475.

    Examples
    --------
    >>> import pandas as pd
    >>> board = pd.DataFrame({"model": ["m", "m_verbose", "m_concise"], "win_rate": [0.5, 0.6, 0.4]})
    >>> float(gameability(board).loc[0, "gameability"].round(3))
    0.2
    """
    options.check_options(confidence_level)
    for column in ("model", *measures):
        if column not in board:
            raise AnnotationError(f"a column {column!r}", source="board", found=list(board.columns))
    scores = board.set_index("model")
    if scores.index.has_duplicates:
        twice = scores.index[scores.index.duplicated()][0]
        raise AnnotationError("each model once", source="board", column="model", found=twice)
    names = set(scores.index)
    models = [m for m in scores.index if all(f"{m}{v}" in names for v in variants)]
    if not models:
        raise AnnotationError(
            f"a model with all variants {', '.join(variants)}", source="board", column="model", found="none"
        )
    parts = [_gameability(scores[m].astype(float), models, variants, confidence_level) for m in measures]
    result = pd.concat(parts, ignore_index=True)
    return finish(
        result,
        estimate="gameability",
        method="standard deviation over mean across variants",
        interval="t",
        unit="model",
        confidence_level=confidence_level,
    )


def _gameability(scores, models, variants, confidence_level):
    rows = pd.DataFrame({"model": models, "measure": scores.name, "plain": scores[models].to_numpy()})
    for variant in variants:
        rows[variant.lstrip("_")] = scores[[f"{m}{variant}" for m in models]].to_numpy()
    seen = rows.iloc[:, 2:]
    rows["gameability"] = seen.std(axis=1, ddof=1) / seen.mean(axis=1)
    rows = rows.assign(standard_error=np.nan, ci_low=np.nan, ci_high=np.nan, n=1)
    rows["note"] = Reason("too_few_units", "no interval: each variant was seen once")
    values, n = rows["gameability"], len(rows)
    error = values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    half = stats.t.ppf((1 + confidence_level) / 2, n - 1) * error if n > 1 else np.nan
    mean = {
        "model": "(mean)",
        "measure": scores.name,
        **rows[seen.columns].mean().to_dict(),
        "gameability": values.mean(),
        "standard_error": error,
        "ci_low": values.mean() - half,
        "ci_high": values.mean() + half,
        "n": n,
        "note": "" if n > 1 else Reason("too_few_units", "no interval: one model"),
    }
    return pd.concat([rows, pd.DataFrame([mean])], ignore_index=True)
