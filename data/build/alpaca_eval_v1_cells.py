"""Bin the judgements of the AlpacaEval 1 models by length feature, difficulty and outcome."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from common import DATA, main

from alpaca_analysis import read_annotations
from alpaca_analysis.length.scales import length_feature

BY = ["model", "reference", "annotator"]
FEATURE_BINS = np.linspace(-1, 1, 21)
N_DIFFICULTY_BINS = 5


def build(mirror: Path) -> dict[str, pd.DataFrame]:
    rows = read_annotations(mirror / "alpaca_eval" / "results" / "*" / "alpaca_eval_gpt4")
    return {"alpaca_eval_v1_cells": cells(rows)}


def cells(rows: pd.DataFrame, feature_bins=FEATURE_BINS, n_difficulty_bins=N_DIFFICULTY_BINS) -> pd.DataFrame:
    difficulty = pd.read_csv(DATA / "instruction_difficulty.csv", index_col="instruction_id")["difficulty"]
    bins = pd.qcut(difficulty, n_difficulty_bins, labels=False)
    rows = rows.assign(
        length_feature=length_feature(rows),
        difficulty=rows["instruction_id"].map(difficulty).astype(float),
        feature_bin=lambda t: pd.cut(t["length_feature"], feature_bins, labels=False, include_lowest=True),
        difficulty_bin=rows["instruction_id"].map(bins).astype(int),
    ).astype(dict.fromkeys(BY, str))
    keys = [*BY, "feature_bin", "difficulty_bin", "outcome"]
    groups = rows.groupby(keys, dropna=False)
    # One decimal keeps a cell of one judgement from naming its instruction; the fit hardly moves.
    means = groups[["length_feature", "difficulty"]].mean().round({"length_feature": 3, "difficulty": 1})
    table = means.assign(n=groups["n"].sum()).reset_index()
    return table[[*BY, "outcome", "length_feature", "difficulty", "n"]]


if __name__ == "__main__":
    main(build)
