"""What control of each feature of an output moves: one by one, and all at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options
from alpaca_analysis.inference.results import finish, unit_of
from alpaca_analysis.length.control import one_model
from alpaca_analysis.length.control.difficulty import difficulty_of
from alpaca_analysis.length.control.fitting import model_rows, prepared
from alpaca_analysis.table.style_pairs import feature_names

ALL = "all"
COLUMNS = (
    *("model", "controlled", "win_rate", "lc_win_rate", "moved", "standard_error", "ci_low", "ci_high"),
    *("near_equal", "note"),
)


def control_by_feature(
    table: pd.DataFrame,
    *,
    features: str | Sequence[str] = ("length", "style"),
    difficulty=None,
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    """Show how far control of each feature alone, and of all at once, moves the win rate of each model.

    Parameters
    ----------
    table : DataFrame
        Judgements with lengths and the columns of `add_features`, of models against one reference by one
        annotator.
    features : str or sequence of str
        As `fit_length_control` takes them.
    difficulty : {"published"}, None or Series
        As `fit_length_control` takes it. Gamed baselines take no part, as their style is not known.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    DataFrame
        One row per model and feature, and one with ``controlled`` "all" where there are several: ``model``,
        ``controlled``, ``win_rate`` (raw) and ``lc_win_rate`` (at no difference in the feature), fractions;
        ``moved``, their difference, with ``standard_error``, ``ci_low``, ``ci_high`` (both win rates are of
        the same judgements, and their error knows it); ``near_equal`` (share of instructions that nearly
        agree in what is controlled), ``note``. Best raw win rate first.

    Notes
    -----
    What moves is what goes together with the feature, in this judge's verdicts, within each model. Whether
    people would follow the feature likewise, only people's judgements can tell (`bias_beyond_humans`).
    Features go together: the effects of single features do not add up to that of all.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"model": "m", "length_model": rng.integers(100, 900, 300),
    ...                       "length_reference": rng.integers(100, 900, 300),
    ...                       "bold_model": rng.integers(1, 5, 300), "bold_reference": 1})
    >>> table["outcome"] = (rng.random(300) < 0.1 + 0.2 * table["bold_model"]).astype(float)
    >>> control_by_feature(table, features=["length", "bold"])[["controlled", "moved"]].round(2)
      controlled  moved
    0     length  -0.00
    1       bold  -0.37
    2        all  -0.37
    """
    options.level("confidence_level", confidence_level)
    names = feature_names(features)
    table = prepared(table, "tanh")
    if difficulty is not None:
        table = table.assign(d=difficulty_of(table, difficulty))
    groups = [[name] for name in names] + ([names] if len(names) > 1 else [])
    records = [r for group in groups for r in _moved(table, group, ALL if group == names else group[0])]
    frame = pd.DataFrame(records)
    half = stats.norm.ppf((1 + confidence_level) / 2) * frame["standard_error"]
    frame = frame.assign(ci_low=frame["moved"] - half, ci_high=frame["moved"] + half)
    order = [*dict.fromkeys(group[0] for group in groups), ALL]
    frame["place"] = frame["controlled"].map({name: k for k, name in enumerate(order)})
    frame = frame.sort_values(["win_rate", "model", "place"], ascending=[False, True, True])
    return finish(
        frame[list(COLUMNS)],
        estimate="moved",
        fractions=["win_rate", "lc_win_rate", "near_equal"],
        differences=["moved"],
        method="controlled minus raw win rate, M-estimation",
        interval="wald",
        unit=unit_of(table["instruction_id"].notna().any()),
        confidence_level=confidence_level,
        settings={"features": names},
    )


def _moved(table, names, label):
    """Return one record per model for the control of some features."""
    rows, _ = model_rows(table, "tanh", names)
    found = one_model.estimates(rows, None, penalty=0.0, method="sandwich", confidence_level=0.95)
    for one, estimate in zip(rows, found, strict=True):
        raw = np.average(one.y[one.judged], weights=one.n[one.judged])
        error = 0.0
        if estimate.contribution is not None:
            own = np.where(one.judged, one.y - raw, 0.0) / one.n[one.judged].sum()
            error = one_model.standard_error((estimate.contribution - own)[None], one.n, one.unit)[0]
        value = estimate.record["lc_win_rate"]
        yield {
            "model": one.model,
            "controlled": label,
            "win_rate": raw,
            "lc_win_rate": value,
            "moved": value - raw,
            "standard_error": error if not np.isnan(estimate.record["standard_error"]) else np.nan,
            "near_equal": one.near,
            "note": estimate.record["note"],
        }
