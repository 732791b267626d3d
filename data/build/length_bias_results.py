"""Save the answers about length that need rows, from preferences to what people share of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from common import main

import alpaca_analysis as aa

DIGITS = 6
SPECIFIED = ["gpt4", "claude-2", "recycled-wizardlm-7b-v2.0"]
SLOPES = {
    "pooled": [],
    "within models": ["model"],
    "within models and sources": ["model", "dataset"],
    "within models, at equal difficulty": ["model", "difficulty"],
}


def build(mirror: Path) -> dict[str, pd.DataFrame]:
    results = mirror / "alpaca_eval" / "results" / "*"
    judged = {
        "alpaca_eval_v1": aa.read_annotations(results / "alpaca_eval_gpt4"),
        "alpaca_eval_v2": aa.read_annotations(results / "weighted_alpaca_eval_gpt4_turbo"),
        "pandalm": aa.read_annotations(mirror / "pandalm", format="pandalm"),
    }
    for table in judged.values():
        table.attrs = {}
    pandalm = judged["pandalm"]
    human = pandalm["annotator"].astype(str).str.startswith("human")
    return {
        "length_preference": preferences(judged),
        "length_response": responses({k: judged[k] for k in ("alpaca_eval_v1", "pandalm")}),
        "length_control_v2": controlled(judged["alpaca_eval_v2"]),
        "length_specifications": specifications(judged["alpaca_eval_v1"]),
        "length_slopes": slopes(judged["alpaca_eval_v1"]),
        "length_beyond_humans": aa.bias_beyond_humans(pandalm[~human], pandalm[human])
        .fillna({"note": ""})
        .round(DIGITS),
    }


def preferences(judged):
    parts = [aa.prefer_longer(table).assign(data=name) for name, table in judged.items()]
    return _data_first(pd.concat(parts, ignore_index=True))


def responses(judged):
    parts = []
    for name, table in judged.items():
        who = table["annotator"].astype(str).replace(r"human_\d", "people", regex=True)
        for kind in ("bins", "spline"):
            curve = aa.response_curve(table.assign(who=who), by="who", kind=kind, n_points=41)
            curve = curve.rename(columns={"who": "annotator"})
            parts.append(curve.assign(data=name, kind=kind))
    return _data_first(pd.concat(parts, ignore_index=True))


def slopes(table):
    difficulty = aa.load("instruction_difficulty").set_index("instruction_id")["difficulty"]
    table = table.assign(difficulty=table["instruction_id"].map(difficulty).astype(float))
    parts = [
        aa.length_regression(table, controls=controls).assign(fit=fit, model="")
        for fit, controls in SLOPES.items()
    ]
    parts.append(aa.length_regression(table, by="model").assign(fit="one model"))
    every = pd.concat([part.astype({"model": str}) for part in parts], ignore_index=True)
    every = every[every["term"] == "length"].drop(columns="term")
    return every[["fit", "model", *every.columns.drop(["fit", "model"])]].round(DIGITS)


def controlled(table):
    fitted = aa.fit_length_control(table).to_frame()
    columns = ["model", "win_rate", "lc_win_rate", "standard_error", "ci_low", "ci_high", "note"]
    return fitted[columns].round(DIGITS)


def specifications(table):
    return aa.specification_curve(table, models=SPECIFIED).round(DIGITS)


def _data_first(frame):
    return frame[["data", *frame.columns.drop("data")]].round(DIGITS)


if __name__ == "__main__":
    main(build)
