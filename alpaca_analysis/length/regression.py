"""Logistic regressions of judgements on length, with errors clustered by instruction.

Outcomes anywhere in [0, 1] are taken as fractions; the fits are those of statsmodels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference.clustered_logistic import fit_logistic
from alpaca_analysis.inference.results import finish, unit_of, warn_undefined
from alpaca_analysis.length.scales import length_difference
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import refuse_mixed

COLUMNS = (
    "term",
    "estimate",
    "standard_error",
    "ci_low",
    "ci_high",
    "pvalue",
    "n",
    "n_instructions",
    "reason",
    "note",
)


def length_regression(
    table: pd.DataFrame,
    *,
    scale: options.Scale = "tanh",
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
    options.level("confidence_level", confidence_level)
    options.one_of("scale", scale, options.Scale)
    by = [] if by is None else options.groups(by, COLUMNS)
    controls = options.groups(controls, name="controls") if controls else []
    table = check(table, require=[*by, *controls])
    blocks = [key for key in ("model", "reference", "annotator") if table[key].notna().any()]
    x = length_difference(table, scale=scale, by=blocks) / (100 if scale == "characters" else 1)
    used = x.notna() & table["outcome"].notna() & table[list(controls)].notna().all(axis=1)
    rows = table[used].assign(difference=x[used])
    if rows.empty:
        raise AnnotationError("at least one judgement with both lengths", column="length_model", found="none")
    parts = []
    refuse_mixed(rows, by, columns=["annotator"])
    for key, group in rows.groupby(by, observed=True, dropna=False) if by else [((), rows)]:
        part = _fit_length(group, controls, confidence_level)
        for name, value in zip(reversed(by), reversed(key), strict=True):
            part.insert(0, name, value)
        parts.append(part)
    result = pd.concat(parts, ignore_index=True)
    result = finish(
        result,
        estimate="estimate",
        method="logistic regression, errors clustered by instruction",
        interval="wald",
        unit=unit_of(table["instruction_id"].notna().any()),
        confidence_level=confidence_level,
        settings={
            "scale": "100 characters" if scale == "characters" else scale,
            "controls": list(controls),
        },
    )
    undefined = result[result["estimate"].isna()].drop_duplicates([*by, "note"])
    warn_undefined(undefined.assign(fit="pooled fit"), by or ["fit"])
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
