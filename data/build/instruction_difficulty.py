"""Make instruction_difficulty.csv and length_control_baselines.csv from AlpacaEval 2's published rows.

Difficulties: `rebuild_difficulty` over 14 ordinary models, with their published coefficients. Left out
are the reference itself, two entries made to game the judge, and three whose files lack rows: AlpacaEval
took difficulties by row number, so that their coefficients belong to other instructions' difficulties.

Baselines: what AlpacaEval adds to each fit as regularisation, rebuilt as pseudo-judgements of the
verbose and concise variants of the reference. Shipped are the lengths of their outputs; the outcomes
follow from their published coefficients.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from common import DATA, main

from alpaca_analysis import read_annotations
from alpaca_analysis.length.control.difficulty import rebuild_difficulty
from alpaca_analysis.table.checks import instruction_id

JUDGE = "weighted_alpaca_eval_gpt4_turbo"
REFERENCE = "gpt4_1106_preview"
GAMED = ("NullModel", "gpt4_gamed")
BASELINES = ("gpt4_1106_preview_verbose", "gpt4_1106_preview_concise")
PENALTY = 0.3


def coefficients() -> pd.DataFrame:
    table = pd.read_csv(DATA / "length_control_coefficients.csv", index_col="model")
    return table.set_axis(["phi", "psi", "theta"], axis=1)


def ordinary_models(table: pd.DataFrame) -> list[str]:
    return [m for m in sorted(table["model"].unique()) if m not in (*GAMED, REFERENCE)]


def complete_models(table: pd.DataFrame) -> list[str]:
    """Return the ordinary models that were judged on every instruction of the table."""
    rows = table.groupby("model", observed=True)["instruction_id"].nunique()
    return [m for m in ordinary_models(table) if rows[m] == table["instruction_id"].nunique()]


def lengths(results: Path, model: str) -> pd.Series:
    """Return the characters of a model's outputs by instruction."""
    records = json.loads((results / model / "model_outputs.json").read_bytes())
    return pd.Series({instruction_id(r["instruction"]): len(r["output"]) for r in records}, dtype=float)


def baselines(results: Path, ids: pd.Index) -> pd.DataFrame:
    reference = lengths(results, REFERENCE).reindex(ids).to_numpy()
    parts = [
        pd.DataFrame(
            {
                "model": model,
                "instruction_id": ids,
                "length_model": lengths(results, model).reindex(ids).to_numpy(),
                "length_reference": reference,
            }
        )
        for model in BASELINES
    ]
    return pd.concat(parts, ignore_index=True).astype({"length_model": int, "length_reference": int})


def build(mirror: Path) -> dict[str, pd.DataFrame]:
    results = mirror / "alpaca_eval" / "results"
    table = read_annotations(results / "*" / JUDGE)
    difficulty = rebuild_difficulty(
        table, coefficients(), models=complete_models(table), penalty=PENALTY
    ).round(6)
    return {
        "instruction_difficulty": difficulty.reset_index(),
        "length_control_baselines": baselines(results, difficulty.index),
    }


if __name__ == "__main__":
    main(build)
