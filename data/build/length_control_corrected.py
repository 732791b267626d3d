"""Correct AlpacaEval 2's length-controlled win rates whose fit took difficulties by row number.

One row for every entry whose file is in the mirror, and for every entry whose number of judgements is below
the board's. Where the file is at hand its win rate is fitted twice: with the difficulties of its row numbers,
as alpaca-eval takes them, and with those of its instructions. For the others there are the published
coefficients only: how far psi lies below what complete entries of the same constant have.

Difficulties are rebuilt from complete entries, without the entry that is fitted.
"""

from __future__ import annotations

from pathlib import Path

import common
import numpy as np
import pandas as pd
from instruction_difficulty import JUDGE, PENALTY, REFERENCE, coefficients, complete_models

from alpaca_analysis import fit_length_control, read_annotations
from alpaca_analysis.length.control.difficulty import rebuild_difficulty

DIGITS = 6


def board() -> pd.DataFrame:
    """Return the leaderboard by model, length-controlled win rates as fractions, with their ranks."""
    table = pd.read_csv(common.DATA / "alpaca_eval_v2_leaderboard.csv", index_col="model")
    printed = table["length_controlled_winrate"] / 100
    return pd.DataFrame(
        {"n_judged": table["n_total"], "printed": printed, "rank_printed": printed.rank(ascending=False)}
    ).dropna(subset="printed")


def fitted(table: pd.DataFrame, difficulties: dict[str, pd.Series]) -> pd.DataFrame:
    fits = [
        fit_length_control(table[table["model"] == m], difficulty=d, baselines="published").to_frame()
        for m, d in difficulties.items()
    ]
    return pd.concat(fits).set_index("model")


def difficulties_without_each(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Return for each model the difficulties that the complete models give without it."""
    donors = complete_models(table)
    return {
        model: rebuild_difficulty(
            table, coefficients(), models=[m for m in donors if m != model], penalty=PENALTY
        )
        for model in sorted(table["model"].unique())
    }


def by_row(table: pd.DataFrame, order: list) -> pd.DataFrame:
    """Return the table with the instruction that each row's number has in a complete file."""
    number = table.groupby("model", observed=True).cumcount()
    return table.assign(instruction_id=np.asarray(order)[number])


def psi_below_others(all_rows: pd.DataFrame) -> pd.Series:
    """Return how many standard deviations psi lies from the parabola of complete entries, by theta."""
    known = coefficients().join(all_rows, how="inner").drop(index=REFERENCE)
    complete = known[known["n_judged"] == all_rows["n_judged"].max()]
    curve = np.polyfit(complete["theta"], complete["psi"], 2)
    residual = known["psi"] - np.polyval(curve, known["theta"])
    return residual / residual[complete.index].std(ddof=3)


def build(mirror: Path) -> dict[str, pd.DataFrame]:
    table = read_annotations(mirror / "alpaca_eval" / "results" / "*" / JUDGE)
    table.attrs = {}
    printed = board()
    n_rows = table.groupby("model", observed=True).size()
    whole = table[table["model"] == n_rows.idxmax()]
    difficulties = difficulties_without_each(table)
    right = fitted(table, difficulties)
    shifted = fitted(by_row(table, whole["instruction_id"].tolist()), difficulties)
    size = printed["n_judged"].max()
    listed = printed[printed.index.isin(n_rows.index) | (printed["n_judged"] < size)].copy()
    listed["n_rows"] = n_rows.reindex(listed.index)
    listed["by_row"] = shifted["lc_win_rate"].reindex(listed.index)
    for column in ("lc_win_rate", "standard_error", "ci_low", "ci_high"):
        listed[column] = right[column].reindex(listed.index)
    listed["rank"] = [rank_of(m, printed, listed) for m in listed.index]
    listed["psi_deviation"] = psi_below_others(printed).reindex(listed.index)
    listed = listed.sort_values("printed", ascending=False).reset_index()
    counts = ["n_judged", "n_rows"]
    listed[counts] = listed[counts].astype("Int64")
    return {"length_control_corrected": listed.round(DIGITS)}


def rank_of(model: str, printed: pd.DataFrame, listed: pd.DataFrame) -> float:
    """Return the rank an entry would have if its printed value alone were replaced."""
    value = listed["lc_win_rate"][model]
    if np.isnan(value):
        return np.nan
    return printed["printed"].where(printed.index != model, value).rank(ascending=False)[model]


if __name__ == "__main__":
    common.main(build)
