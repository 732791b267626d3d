"""Logistic regressions of judgements on length, with errors clustered by instruction.

Outcomes anywhere in [0, 1] are taken as fractions; the fits are those of statsmodels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special, stats

from .annotations import AnnotationError, UndefinedWarning, all_identified, check
from .bootstrap import check_options, settings, unit_of
from .lengths import length_difference

PLATEAU = 50  # log odds per standard deviation of a regressor: an error that no data give
# Wins or losses, whichever are fewer; with less, 67 to 91 % of the intervals of slopes covered in simulation.
FEW = 10
SEPARATED = "undefined: the predictors separate wins from losses"


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
    note : str
        Why the fit does not exist, else empty.
    """

    params: np.ndarray
    covariance: np.ndarray
    n_units: int
    note: str = ""


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
        return LogisticFit(*undefined, f"undefined: {n_units} units for {n_terms} coefficients")
    if np.linalg.matrix_rank(x) < n_terms:
        return LogisticFit(*undefined, "undefined: the regressors are collinear")
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
    note = (
        f"interval approximate: about {rarer:.0f} wins or losses, whichever are fewer" if rarer < FEW else ""
    )
    return LogisticFit(fitted.params, fitted.cov_params(), n_units, note)


def logit_interval(fit: LogisticFit, at: np.ndarray, confidence_level=0.95) -> pd.DataFrame:
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


def length_regression(
    table: pd.DataFrame,
    *,
    scale: str = "tanh",
    by: str | Sequence[str] | None = None,
    controls: Sequence[str] = (),
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    """Regress outcomes on the difference in length by logistic regression.

    Without `by` all judgements are pooled into one fit; ``by="model"`` fits each model alone.
    ``controls=["model"]`` in a pooled fit asks how length counts *within* models,
    ``controls=["dataset"]`` within sources of prompts, ``controls=["difficulty"]`` at equal
    difficulty. logit P(outcome) = constant + slope * difference + controls; errors are clustered by
    instruction.

    Parameters
    ----------
    table : DataFrame
        Judgements with lengths, by one annotator.
    scale : {"tanh", "characters", "log_ratio"}
        How the difference is measured, see `length_difference`; in a pooled fit "tanh" takes the
        spread of each model against each reference. "characters" counts in hundreds, so that a slope
        is a change of log odds per 100 characters.
    by : str or sequence of str, optional
        Columns; each group is fitted alone.
    controls : sequence of str
        Columns that enter as further regressors: a number as it is, a category as indicators against
        its first level.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    DataFrame
        `by` columns, ``term`` ("length", "constant" and the controls), ``estimate`` (log odds),
        ``standard_error``, ``ci_low``, ``ci_high``, ``pvalue`` (two-sided, of 0, from the normal
        distribution), ``n`` (judgements), ``n_instructions`` and ``note``.

    Raises
    ------
    AnnotationError
        A group with several annotators, an unknown column, or no lengths.

    Warns
    -----
    UndefinedWarning
        Where a fit does not exist, as for a model that always wins.

    References
    ----------
    Papke, L. E. and Wooldridge, J. M. (1996). Econometric methods for fractional response variables.
    Journal of Applied Econometrics 11(6).

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> x = np.arange(-50, 50)
    >>> table = pd.DataFrame({"annotator": "judge", "model": "m", "outcome": (x % 7 + x / 10 > 3) * 1.0,
    ...                       "length_model": 100 + x, "length_reference": 100})
    >>> length_regression(table, scale="characters")[["term", "estimate", "n"]].round(2)
           term  estimate    n
    0    length      8.43  100
    1  constant     -0.04  100
    """
    check_options(confidence_level)
    by = [] if by is None else [by] if isinstance(by, str) else list(by)
    table = check(table, require=[*by, *controls])
    blocks = [key for key in ("model", "reference", "annotator") if table[key].notna().any()]
    x = length_difference(table, scale=scale, by=blocks) / (100 if scale == "characters" else 1)
    used = x.notna() & table["outcome"].notna() & table[list(controls)].notna().all(axis=1)
    rows = table[used].assign(difference=x[used])
    if rows.empty:
        raise AnnotationError("at least one judgement with both lengths", column="length_model", found="none")
    parts = []
    for key, group in rows.groupby(by, observed=True, dropna=False) if by else [((), rows)]:
        annotators = group["annotator"].dropna().unique()
        if len(annotators) > 1:
            found = ", ".join(sorted(annotators)[:4])
            raise AnnotationError(
                "one annotator in a fit; select one, or put 'annotator' in `by`",
                column="annotator",
                found=found,
            )
        part = _fit_length(group, controls, confidence_level)
        for name, value in zip(reversed(by), reversed(key), strict=True):
            part.insert(0, name, value)
        parts.append(part)
    result = pd.concat(parts, ignore_index=True)
    result.attrs = {
        "scale": "100 characters" if scale == "characters" else scale,
        "controls": list(controls),
    } | settings(
        method="wald",
        unit=unit_of(table["instruction_id"].notna().any()),
        confidence_level=confidence_level,
    )
    undefined = result[result["estimate"].isna()].drop_duplicates([*by, "note"])
    if len(undefined):
        names = ", ".join("/".join(map(str, row)) for row in undefined[by].head(3).to_numpy()) or "pooled fit"
        warnings.warn(f"{names}: {undefined['note'].iloc[0]}", UndefinedWarning, stacklevel=2)
    return result


def _fit_length(rows, controls, confidence_level):
    columns = {"length": rows["difference"], "constant": pd.Series(1.0, rows.index)}
    for control in controls:
        values = rows[control]
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            columns[control] = values.astype(float)
        else:
            dummies = pd.get_dummies(values.astype("string"), prefix=control, drop_first=True, dtype=float)
            columns |= {str(name): dummies[name] for name in dummies}
    design = pd.DataFrame(columns)
    fit = fit_logistic(rows["outcome"], design.to_numpy(), rows["instruction_id"], rows["n"])
    error = np.sqrt(np.diag(fit.covariance))
    half = stats.norm.ppf((1 + confidence_level) / 2) * error
    return pd.DataFrame(
        {
            "term": design.columns,
            "estimate": fit.params,
            "standard_error": error,
            "ci_low": fit.params - half,
            "ci_high": fit.params + half,
            "pvalue": 2 * stats.norm.sf(np.abs(fit.params) / error),
            "n": int(rows["n"].sum()),
            "n_instructions": rows["instruction_id"].nunique(),
            "note": fit.note,
        }
    )
