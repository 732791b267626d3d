"""AlpacaEval's own fit of length control: its penalty, its folds, and scikit-learn's solver."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import expit, xlogy

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.inference.results import best_first, finish
from alpaca_analysis.length.control.fitting import BASELINE_WEIGHT, FRACTIONS, prepared
from alpaca_analysis.table.checks import to_numeric

NEEDED = ("preference", "index", "std_delta_len", "instruction_difficulty")
GRID = np.logspace(-4, 4, 10)  # scikit-learn's grid of C, the inverse strength of the penalty
SEED = 123  # of the solver, which visits the terms in random order
SMALLEST = 1e-15  # probabilities are cut there before their logarithm


def fit_as_alpaca_eval(
    table: pd.DataFrame,
    published: pd.DataFrame | str | os.PathLike,
    *,
    instructions: Sequence[str] | None = None,
    n_splits: int = 5,
    C: float = 100.0,
) -> pd.DataFrame:
    """Fit length-controlled win rates as alpaca-eval does, to explain a printed value.

    For an analysis of one's own `fit_length_control` is the right function: it finds difficulties by
    instruction, needs no choice of a penalty and states an error that includes the fit.

    Parameters
    ----------
    table : DataFrame
        Judgements with lengths, of models against one reference by one annotator, in the order of their
        files.
    published : DataFrame or path
        AlpacaEval's ``df_gamed.csv``: the judgements of its two gamed baselines, with the columns
        ``preference`` (0 to 1), ``index`` (the row of the instruction, from 0), ``std_delta_len`` and
        ``instruction_difficulty``.
    instructions : sequence of str, optional
        Instruction ids in the order of ``index``. Difficulties are then taken by instruction. Without, they
        are taken by row number as alpaca-eval takes them, which is wrong in files that lack rows.
    n_splits : int
        Folds of the cross-validation that chooses the penalty; 0 for none.
    C : float
        Inverse strength of the penalty where nothing is cross-validated.

    Returns
    -------
    DataFrame
        One row per model, best first: ``model``, ``win_rate``, ``lc_win_rate`` (fractions),
        ``lc_standard_error`` (of the mean prediction; it leaves out the error of the fit), ``phi``, ``psi``,
        ``theta``, ``C``.

    Raises
    ------
    AnnotationError
        Columns that are missing, rows or instructions without a published difficulty.
    ModuleNotFoundError
        scikit-learn is not installed: ``pip install "alpaca-analysis[published]"``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> pairs = pd.DataFrame({"model": "m", "length_model": rng.integers(100, 900, 200),
    ...                       "length_reference": rng.integers(100, 900, 200),
    ...                       "outcome": rng.random(200).round()})
    >>> gamed = pd.DataFrame({"preference": 0.4, "index": range(200), "std_delta_len": rng.normal(size=200),
    ...                       "instruction_difficulty": rng.normal(size=200)})
    >>> fit_as_alpaca_eval(pairs, gamed)[["model", "lc_win_rate"]].round(2)
      model  lc_win_rate
    0     m          0.5

    References
    ----------
    Dubois, Y., Galambosi, B., Liang, P., Hashimoto, T. B. (2024). Length-controlled AlpacaEval: a simple
    way to debias automatic evaluators. arXiv:2404.04475.
    """
    options.whole("n_splits", n_splits, 0)
    options.number("C", C, 0, closed="neither")
    if n_splits == 1:
        raise ValueError("n_splits: found 1, expected 0 or at least 2")
    _require_scikit_learn()
    gamed = _published(published)
    table = prepared(table, "tanh")
    difficulty = gamed.drop_duplicates("index").set_index("index")["instruction_difficulty"]
    if instructions is not None:
        difficulty = difficulty.reindex(range(len(instructions))).set_axis(list(instructions))
    records = [_fit(rows, gamed, difficulty, instructions is None, n_splits, C) for rows in _models(table)]
    return finish(
        best_first(pd.DataFrame(records), "lc_win_rate", ["model"]),
        estimate="lc_win_rate",
        fractions=[f for f in FRACTIONS if f != "near_equal"],
        higher_is_better=["win_rate", "lc_win_rate"],
        method="alpaca-eval's penalised logistic regression",
        unit="judgement",
        settings={"difficulty": "by row number" if instructions is None else "by instruction"},
    )


def _require_scikit_learn():
    try:
        import sklearn  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "alpaca-eval's fit needs scikit-learn: pip install 'alpaca-analysis[published]'"
        ) from error


def _published(published):
    frame = published if isinstance(published, pd.DataFrame) else pd.read_csv(published)
    source = "published" if isinstance(published, pd.DataFrame) else published
    missing = [column for column in NEEDED if column not in frame]
    if missing:
        raise AnnotationError(f"the columns {list(NEEDED)}", source=source, found=Verbatim(f"no {missing}"))
    frame = frame[list(NEEDED)].apply(to_numeric)
    bad = ~np.isfinite(frame.to_numpy(float)).all(axis=1)
    if bad.any():
        raise AnnotationError("numbers", source=source, row=int(bad.argmax()), found=Verbatim("a gap"))
    return frame


def _models(table):
    return [rows for _, rows in table.groupby("model", observed=True, sort=True)]


def _fit(rows, gamed, difficulty, by_row, n_splits, C):
    d = _difficulties(rows, difficulty, by_row)
    own = np.column_stack([rows["x"], d, np.ones(len(rows))])
    theirs = np.column_stack(
        [np.tanh(gamed["std_delta_len"]), gamed["instruction_difficulty"], np.zeros(len(gamed))]
    )
    y = rows["outcome"].to_numpy(float)
    judged = ~np.isnan(y)
    X, y_all = np.vstack([theirs, own[judged]]), np.concatenate([gamed["preference"], y[judged]])
    weight = np.concatenate([np.full(len(gamed), BASELINE_WEIGHT), np.ones(judged.sum())])
    if n_splits:
        C = _cross_validated(X, y_all, weight, n_splits)
    b = _solve(X, y_all, weight, C)
    predicted = expit(own[:, 1:] @ b[1:])
    return {
        "model": rows["model"].iloc[0],
        "win_rate": np.nanmean(y),
        "lc_win_rate": predicted.mean(),
        "lc_standard_error": predicted.std(ddof=1) / np.sqrt(len(predicted)),
        **dict(zip(("phi", "psi", "theta"), b, strict=True)),
        "C": C,
    }


def _difficulties(rows, difficulty, by_row):
    keys = pd.Series(range(len(rows))) if by_row else rows["instruction_id"]
    values = keys.map(difficulty).to_numpy(float)
    if np.isnan(values).any():
        place = int(np.isnan(values).argmax())
        found = Verbatim(f"{keys.tolist()[place]!r} of {rows['model'].iloc[0]!r}")
        raise AnnotationError("a row or instruction with a published difficulty", row=place, found=found)
    return values


def _solve(X, y, weight, C):
    """Return the coefficients that minimise the weighted log loss with an L1 penalty.

    The solver knows classes only, so that every judgement enters twice: as a win with weight y and as a
    loss with weight 1 - y.
    """
    from sklearn.linear_model import LogisticRegression

    solver = LogisticRegression(C=C, l1_ratio=1, solver="liblinear", fit_intercept=False, random_state=SEED)
    classes = np.repeat([1, 0], len(y))
    solver.fit(np.vstack([X, X]), classes, sample_weight=np.concatenate([weight * y, weight * (1 - y)]))
    return solver.coef_[0]


def _cross_validated(X, y, weight, n_splits):
    """Return the C of the grid whose mean log loss over the folds is smallest, the first of equals."""
    from sklearn.model_selection import GroupKFold

    losses = np.zeros(len(GRID))
    for train, test in GroupKFold(n_splits).split(X, groups=np.arange(len(X))):
        for k, C in enumerate(GRID):
            p = expit(X[test] @ _solve(X[train], y[train], weight[train], C))
            p = np.clip(p, SMALLEST, 1 - SMALLEST)
            losses[k] -= np.mean(weight[test] * (xlogy(y[test], p) + xlogy(1 - y[test], 1 - p)))
    return float(GRID[losses.argmin()])
