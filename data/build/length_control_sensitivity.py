"""How AlpacaEval's published length control is reproduced under other penalties on the difficulties.

The penalty of `rebuild_difficulty` was chosen by looking at these published values; this table shows
what that choice is worth. AlpacaEval 1: the models with published values, difficulties from AlpacaEval 2.
AlpacaEval 2: each of the models whose difficulties they are is left out in turn.
"""

from __future__ import annotations

from pathlib import Path

import common
import pandas as pd
from instruction_difficulty import JUDGE, coefficients, complete_models

from alpaca_analysis import fit_length_control, read_annotations
from alpaca_analysis.length.control.difficulty import rebuild_difficulty

PENALTIES = (0.1, 0.2, 0.3, 0.5, 1.0, 2.0)


def published(board):
    table = pd.read_csv(common.DATA / f"{board}_leaderboard.csv", index_col="model")
    return table["length_controlled_winrate"].dropna()


def fitted(table, difficulty, baselines="published"):
    frame = fit_length_control(table, difficulty=difficulty, baselines=baselines).to_frame()
    return 100 * frame.set_index("model")["lc_win_rate"]


def left_out(table, penalty, board):
    errors = {}
    models = complete_models(table)
    for model in models:
        rest = [m for m in models if m != model]
        difficulty = rebuild_difficulty(table, coefficients(), models=rest, penalty=penalty)
        errors[model] = fitted(table[table["model"] == model], difficulty)[model] - board[model]
    return pd.Series(errors)


def errors(differences, suffix):
    return {
        f"mean_absolute_error_{suffix}": differences.abs().mean(),
        f"median_absolute_error_{suffix}": differences.abs().median(),
        f"largest_error_{suffix}": differences.abs().max(),
    }


def build(mirror: Path) -> dict[str, pd.DataFrame]:
    results = mirror / "alpaca_eval" / "results"
    first, second = (read_annotations(results / "*" / judge) for judge in ("alpaca_eval_gpt4", JUDGE))
    boards = published("alpaca_eval_v1"), published("alpaca_eval_v2")
    records = []
    for penalty in PENALTIES:
        difficulty = rebuild_difficulty(
            second, coefficients(), models=complete_models(second), penalty=penalty
        )
        for baselines in ("published", None):
            ours = fitted(first, difficulty, baselines)
            both = pd.concat([ours, boards[0]], axis=1, join="inner").set_axis(["ours", "published"], axis=1)
            record = {"penalty": penalty, "baselines": baselines is not None, "n_v1": len(both)}
            record |= errors(both["ours"] - both["published"], "v1")
            record["spearman_v1"] = both.corr(method="spearman").iloc[0, 1]
            if baselines is not None:
                held_out = left_out(second, penalty, boards[1])
                record |= {"n_v2": len(held_out)} | errors(held_out, "v2")
            records.append(record)
    return {"length_control_sensitivity": pd.DataFrame(records).astype({"n_v2": "Int64"}).round(6)}


if __name__ == "__main__":
    common.main(build)
