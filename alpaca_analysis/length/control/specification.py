"""How much a length-controlled win rate owes to the way length is controlled."""

from __future__ import annotations

from itertools import product
from typing import get_args

import numpy as np
import pandas as pd

from alpaca_analysis.foundations import options, progress
from alpaca_analysis.inference.results import finish
from alpaca_analysis.length.control.fitting import fit_length_control
from alpaca_analysis.table.checks import COLUMNS as TABLE
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import select_models

FEATURES = get_args(options.Feature)
TEXTS = ("output_model", "output_reference")
COLUMNS = (
    "model",
    "specification",
    "feature",
    "difficulty",
    "baselines",
    "penalty",
    "lc_win_rate",
    "standard_error",
    "ci_low",
    "ci_high",
    "near_equal",
    "note",
)


def specification_curve(
    table: pd.DataFrame,
    *,
    models=None,
    difficulty="published",
    penalty: float = 1.0,
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    """Fit length control under every reasonable specification, and say how far each model extrapolates.

    Varied are the length feature (tanh(D/s), D/s clipped to [-1, 1], log ratio; in characters, and in
    words where the columns ``output_model`` and ``output_reference`` hold the texts), whether difficulty
    is a term, whether AlpacaEval's gamed baselines take part, and an L1 penalty. Cells, of which only
    ``length_feature`` is known, are fitted with tanh.

    Parameters
    ----------
    table : DataFrame
        Judgements with lengths, or cells.
    models : sequence of str, optional
        Which models; all by default.
    difficulty : "published" or Series
        The difficulty of the specifications that have one. With a Series there are no baselines.
    penalty : float
        Strength of the L1 penalty where there is one.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    DataFrame
        ``model``, ``specification`` (a label), ``feature``, ``difficulty`` and ``baselines`` (bool),
        ``penalty``, ``lc_win_rate``, ``standard_error``, ``ci_low``, ``ci_high``, ``near_equal`` (share of
        instructions with ``abs(D/s) <= 0.25``; where it is small, equal length is an extrapolation),
        ``note``; by model, AlpacaEval's specification first. The spread over specifications is not
        sampling error.

    Raises
    ------
    AnnotationError
        The texts of one side without those of the other.

    References
    ----------
    Simonsohn, U., Simmons, J. P., Nelson, L. D. (2020). Specification curve analysis. Nature Human
    Behaviour 4.

    Examples
    --------
    >>> from alpaca_analysis import load
    >>> curve = specification_curve(load("alpaca_eval_v1_cells"), models=["gpt4"])
    >>> curve.loc[0, "specification"], len(curve)
    ('tanh, difficulty, baselines', 8)
    """
    options.level("confidence_level", confidence_level)
    options.number("penalty", penalty, 0)
    if isinstance(difficulty, str) and difficulty != "published":
        raise ValueError(f"difficulty: found {difficulty!r}, expected 'published' or a Series")
    table = check(table)
    if set(TEXTS) & set(table):
        check(table, require=TEXTS)
    if models is not None:
        select_models(table, models)
        table = table[table["model"].isin(models)].reset_index(drop=True)
    asked = [
        (feature, counted, *terms)
        for feature, counted in _features(table)
        for terms in product((True, False), (True, False), (0.0, penalty))
        if not terms[1] or (isinstance(difficulty, str) and not feature.endswith("words"))
    ]
    near, parts = None, list[pd.DataFrame]()
    with progress.bar(len(asked), "Specifications") as steps:
        for feature, counted, with_difficulty, with_baselines, l1 in asked:
            result = fit_length_control(
                counted,
                difficulty=difficulty if with_difficulty else None,
                baselines="published" if with_baselines else None,
                feature=feature.split()[0],
                penalty=l1,
                confidence_level=confidence_level,
            ).to_frame()
            if near is None:
                near = result.set_index("model")["near_equal"]
            parts.append(
                result.assign(
                    specification=_label(feature, with_difficulty, with_baselines, l1),
                    feature=feature,
                    difficulty=with_difficulty,
                    baselines=with_baselines,
                    penalty=l1,
                    near_equal=result["model"].map(near),
                    order=len(parts),
                )
            )
            steps.update()
    curve = pd.concat(parts).sort_values(["model", "order"], ignore_index=True)
    curve = curve[list(COLUMNS)]
    return finish(
        curve,
        estimate="lc_win_rate",
        fractions=["lc_win_rate", "near_equal"],
        method="specification curve of logistic regressions at equal length",
        interval="logit wald",
        unit=parts[0].attrs["unit"],
        confidence_level=confidence_level,
        settings={"n_specifications": len(parts)},
    )


def _label(feature, difficulty, baselines, penalty):
    terms = [feature, "difficulty" if difficulty else "", "baselines" if baselines else ""]
    return ", ".join([t for t in terms if t] + (["penalty"] if penalty else []))


def _features(table):
    """Yield each feature's name with the table whose lengths it takes."""
    texts = table[list(TEXTS)] if TEXTS[0] in table else None
    table = table[[c for c in (*TABLE, "repeat", "position", "length_feature", "difficulty") if c in table]]
    if table[["length_model", "length_reference"]].isna().all(axis=None):
        yield "tanh", table
        return
    for feature in FEATURES:
        yield feature, table
    if texts is not None:
        counted = table.assign(
            length_model=words(texts["output_model"]), length_reference=words(texts["output_reference"])
        )
        for feature in FEATURES:
            yield f"{feature} words", counted.drop(columns="length_feature", errors="ignore")


def words(texts: pd.Series) -> np.ndarray:
    """Return the number of words of each text, NaN where it is not text.

    Examples
    --------
    >>> words(pd.Series(["two words", None])).tolist()
    [2.0, nan]
    """
    return np.array([len(t.split()) if isinstance(t, str) else np.nan for t in texts])
