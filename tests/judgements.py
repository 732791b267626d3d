"""Judgements with a known truth, shared by the tests of length control."""

import numpy as np
import pandas as pd
from scipy.special import expit


def made_up(n=400, *, models=("a", "b"), seed=1, theta=0.4, phi=-1.0, psi=0.8):
    """Return judgements with a known truth, and the difficulties."""
    rng = np.random.default_rng(seed)
    ids = pd.Index([f"{k:04d}" for k in range(n)])
    difficulty = pd.Series(rng.normal(size=n), ids, name="difficulty")
    reference = rng.gamma(4, 120, n).round()
    parts = []
    for model in models:
        own = (reference * rng.gamma(6, 0.25, n)).round()
        gap = reference - own
        p = expit(theta + phi * np.tanh(gap / gap.std(ddof=1)) + psi * difficulty)
        y = (rng.random(n) < p.to_numpy()).astype(float)
        y[::17] = 0.5  # draws
        parts.append(
            pd.DataFrame(
                {"instruction_id": ids, "model": model, "reference": "r", "annotator": "j", "outcome": y}
                | {"length_model": own, "length_reference": reference}
            )
        )
    return pd.concat(parts, ignore_index=True), difficulty


def columns(table, difficulty):
    gap = table["length_reference"] - table["length_model"]
    x = np.tanh(gap / gap.std(ddof=1))
    return np.column_stack([x, difficulty.loc[table["instruction_id"]], np.ones(len(table))])
