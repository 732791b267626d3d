"""Length at the level of models: win rates on mean lengths, and variants that were asked for length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from . import bootstrap
from .annotations import AnnotationError


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

    def to_frame(self) -> pd.DataFrame:
        """Return one row each for the slope and the two correlations."""
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
        return frame.drop(columns="column").assign(n=self.n)


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
    confidence_level, n_resamples, rng
        Intervals; those of the correlations are BCa over models.

    Returns
    -------
    ModelLengthRegression
        With ``.to_frame()`` and ``.leave_one_out``.

    Raises
    ------
    AnnotationError
        Win rates outside [0, 1], a model listed twice, or fewer than four models in common.

    Examples
    --------
    >>> import pandas as pd
    >>> models = list("abcdef")
    >>> fit = model_length_regression(pd.Series([0.3, 0.4, 0.5, 0.5, 0.7, 0.6], models),
    ...                               pd.Series([500, 800, 900, 1200, 1500, 1600], models))
    >>> round(fit.slope, 4), fit.n
    (0.0308, 6)
    """
    bootstrap.check_options(confidence_level, n_resamples)
    import statsmodels.api as sm

    points = _points(win_rates, lengths)
    y, x = points["win_rate"].to_numpy(), points["length"].to_numpy() / unit
    design = sm.add_constant(x)
    fitted = sm.OLS(y, design).fit(cov_type="HC3", use_t=True)
    low, high = fitted.conf_int(alpha=1 - confidence_level)[1]
    influence = sm.OLS(y, design).fit().get_influence()
    left_out = [np.delete(np.arange(len(points)), i) for i in range(len(points))]
    points = points.assign(
        fitted=fitted.fittedvalues,
        residual=fitted.resid,
        leverage=influence.hat_matrix_diag,
        cooks_distance=influence.cooks_distance[0],
        slope=[np.polyfit(x[rest], y[rest], 1)[0] for rest in left_out],
        pearson=[stats.pearsonr(x[rest], y[rest]).statistic for rest in left_out],
        spearman=[stats.spearmanr(x[rest], y[rest]).statistic for rest in left_out],
    )
    estimates = stats.pearsonr(x, y).statistic, stats.spearmanr(x, y).statistic
    without = points[["pearson", "spearman"]].to_numpy()
    intervals = _intervals(x, y, estimates, without, confidence_level, n_resamples, rng)
    return ModelLengthRegression(
        slope=float(fitted.params[1]),
        standard_error=float(fitted.bse[1]),
        ci_low=float(low),
        ci_high=float(high),
        intercept=float(fitted.params[0]),
        pearson=float(estimates[0]),
        pearson_interval=intervals[0],
        spearman=float(estimates[1]),
        spearman_interval=intervals[1],
        unit=unit,
        n=len(points),
        leave_one_out=points.sort_values("cooks_distance", ascending=False, ignore_index=True),
    )


def _points(win_rates, lengths):
    for name, values in (("win_rates", win_rates), ("lengths", lengths)):
        if not isinstance(values, pd.Series):
            raise AnnotationError("a Series indexed by model", column=name, found=type(values).__name__)
        if values.index.has_duplicates:
            twice = values.index[values.index.duplicated()][0]
            raise AnnotationError("each model once", column=name, found=twice)
    points = pd.concat({"length": lengths, "win_rate": win_rates}, axis=1, join="inner").astype(float)
    points = points.dropna().rename_axis("model").reset_index()
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
    return points


def _intervals(x, y, estimates, left_out, confidence_level, n_resamples, rng):
    """Return the BCa intervals over models of the Pearson and the Spearman correlation."""
    drawn = np.random.default_rng(rng).integers(len(x), size=(n_resamples, len(x)))
    x, y = x[drawn], y[drawn]
    ranked = stats.rankdata(x, axis=1), stats.rankdata(y, axis=1)
    resamples = np.column_stack([_correlations(x, y), _correlations(*ranked)])
    resamples = resamples[np.isfinite(resamples).all(axis=1)]  # a resample of one model has none
    low, high = bootstrap.bca_interval(
        np.array(estimates), resamples, left_out, confidence_level=confidence_level
    )
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _correlations(x, y):
    x, y = (v - v.mean(axis=1, keepdims=True) for v in (x, y))
    with np.errstate(invalid="ignore"):
        return (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))


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
    bootstrap.check_options(confidence_level)
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
    result.attrs = {"unit": "model", "method": "t", "confidence_level": confidence_level}
    return result


def _gameability(scores, models, variants, confidence_level):
    rows = pd.DataFrame({"model": models, "measure": scores.name, "plain": scores[models].to_numpy()})
    for variant in variants:
        rows[variant.lstrip("_")] = scores[[f"{m}{variant}" for m in models]].to_numpy()
    seen = rows.iloc[:, 2:]
    rows["gameability"] = seen.std(axis=1, ddof=1) / seen.mean(axis=1)
    rows = rows.assign(standard_error=np.nan, ci_low=np.nan, ci_high=np.nan, n=1)
    rows["note"] = "no interval: each variant was seen once"
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
        "note": "" if n > 1 else "no interval: one model",
    }
    return pd.concat([rows, pd.DataFrame([mean])], ignore_index=True)
