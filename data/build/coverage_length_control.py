"""Simulate how often intervals of length-controlled win rates cover the truth; takes some minutes.

805 judgements a data set; length gaps and difficulties are drawn with replacement from those of AlpacaEval 1
models, from little to much longer than the reference ("none": a model's gaps without their mean). Outcomes
follow the fitted model with phi = -2, psi = 0.5 and a constant that gives the wanted raw win rate. The
truth is the average over the population drawn from. Beside the default interval stands that of AlpacaEval's
``lc_standard_error`` (mean prediction +- 1.96 standard errors of the mean prediction).

The same pair drawn several times is kept as two rows, won and lost, with frequencies: all data sets then
share their design and are fitted in one batch by the code that fits one.
"""

from __future__ import annotations

from pathlib import Path

import common
import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

from alpaca_analysis import read_annotations
from alpaca_analysis.inference import logistic as _logistic
from alpaca_analysis.length.control import one_model as _length_fit
from alpaca_analysis.length.control.difficulty import difficulty_of

GAPS = {
    "none": "zephyr-7b-alpha",
    "ghost-7b-alpha": "ghost-7b-alpha",
    "gpt4": "gpt4",
    "cohere": "cohere",
    "recycled-wizardlm-7b-v2.0": "recycled-wizardlm-7b-v2.0",
    "llama-2-chat-7b-evol70k-neft": "llama-2-chat-7b-evol70k-neft",
}
WIN_RATES = (0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99)
PHI, PSI, N, REPETITIONS, SEED = -2.0, 0.5, 805, 5000, 1
BATCH = 1000


def populations(mirror: Path) -> dict[str, pd.DataFrame]:
    """Return the length feature and difficulty of each gap's instructions."""
    out = {}
    for gap, model in GAPS.items():
        rows = read_annotations(mirror / "alpaca_eval" / "results" / model / "alpaca_eval_gpt4")
        d = rows["length_reference"] - rows["length_model"]
        d = d - d.mean() if gap == "none" else d
        x = np.tanh(d / d.std(ddof=1))
        out[gap] = pd.DataFrame({"x": x, "difficulty": difficulty_of(rows, "published")})
    return out


def constant(x, d, win_rate):
    """Return theta that gives the raw win rate."""
    return brentq(lambda theta: expit(theta + PHI * x + PSI * d).mean() - win_rate, -15, 15)


def simulate(x, d, theta, *, n=N, repetitions=REPETITIONS, rng) -> pd.DataFrame:
    """Return one row a data set: estimate, interval, AlpacaEval's error, and whether a note warns."""
    p = expit(theta + PHI * x + PSI * d)
    X = np.tile(_length_fit.design(x, d), (2, 1))
    X0 = X * [0, 1, 1]
    y = np.repeat([1.0, 0.0], len(x))
    near = np.abs(X[:, 0]) <= np.tanh(_length_fit.NEAR)
    parts = []
    for start in range(0, repetitions, BATCH):
        size = min(BATCH, repetitions - start)
        drawn = rng.multinomial(n, np.full(len(x), 1 / len(x)), size=size)
        won = rng.binomial(drawn, p)
        weight = np.hstack([won, drawn - won]).astype(float)
        fit = _logistic.fit(X, y, weight)
        mean, contribution = _logistic.influence(X, X0, y, weight, weight, fit)
        error = _length_fit.standard_error(contribution, weight)
        low, high = _length_fit.interval(mean, error, 0.95)
        _, p0, _ = _logistic.mean_at(X0, weight, fit.coefficients)
        spread = np.sqrt((weight * (p0 - mean[:, None]) ** 2).sum(axis=1) / (n - 1) / n)
        unsure = _length_fit.unreliable(weight, y, mean, error)
        noted = unsure | (weight @ near / n < _length_fit.SPARSE) | fit.separated
        parts.append(
            pd.DataFrame(
                {
                    "estimate": mean,
                    "error": error,
                    "low": low,
                    "high": high,
                    "ae_error": spread,
                    "noted": noted,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def summary(draws: pd.DataFrame, truth: float) -> dict:
    """Return what the table says of one scenario."""
    covered = (draws["low"] <= truth) & (truth <= draws["high"])
    half = 1.96 * draws["ae_error"]
    by_ae = (draws["estimate"] - half <= truth) & (truth <= draws["estimate"] + half)
    kept = covered[~draws["noted"]]
    return {
        "lc_win_rate": truth,
        "bias": draws["estimate"].mean() - truth,
        "sd": draws["estimate"].std(),
        "mean_standard_error": draws["error"].mean(),
        "coverage": covered.mean(),
        "noted": draws["noted"].mean(),
        "coverage_unless_noted": kept.mean() if len(kept) >= 1000 else np.nan,
        "alpaca_eval_standard_error": draws["ae_error"].mean(),
        "alpaca_eval_coverage": by_ae.mean(),
        "repetitions": len(draws),
    }


def build(mirror: Path) -> dict[str, pd.DataFrame]:
    records = []
    rng = np.random.default_rng(SEED)
    for gap, population in populations(mirror).items():
        x, d = population["x"].to_numpy(), population["difficulty"].to_numpy()
        near = (np.abs(x) <= np.tanh(_length_fit.NEAR)).mean()
        for win_rate in WIN_RATES:
            theta = constant(x, d, win_rate)
            truth = expit(theta + PSI * d).mean()
            draws = simulate(x, d, theta, rng=rng)
            records.append({"gap": gap, "near_equal": near, "win_rate": win_rate, **summary(draws, truth)})
    return {"coverage_length_control": pd.DataFrame(records).round(6)}


if __name__ == "__main__":
    common.main(build)
