"""Tables of judgements that tests build: from outcomes, from votes, and with a known truth."""

import os

import numpy as np
import pandas as pd
from scipy.special import expit


def said(outcomes, annotator="judge", *, model="m", reference="r", ids=None, **columns):
    """Return what one annotator says of one model's pairs i000, i001, ..., in that order."""
    ids = [f"i{k:03}" for k in range(len(outcomes))] if ids is None else ids
    names = {"instruction_id": ids, "model": model, "reference": reference, "annotator": annotator}
    return pd.DataFrame(names | {"outcome": np.array(outcomes, dtype=float)} | columns)


def people(*votes):
    """Return the votes of people p0, p1, ... on the same pairs."""
    return pd.concat([said(each, f"p{k}") for k, each in enumerate(votes)], ignore_index=True)


def side_by_side(outcomes):
    """Return judgements from an array of outcomes: one row per instruction, one column per model."""
    n, p = outcomes.shape
    ids, models = np.repeat([f"i{k}" for k in range(n)], p), np.tile([f"m{j}" for j in range(p)], n)
    return pd.DataFrame({"instruction_id": ids, "model": models, "outcome": outcomes.ravel()})


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


def data_sets(whole: int) -> int:
    """Return how many data sets a simulation draws: a quarter, or the whole with ``SIMULATE=whole``."""
    return whole if os.environ.get("SIMULATE") == "whole" else whole // 4
