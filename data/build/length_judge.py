"""Judge the Xwin-LM models' outputs by nothing but their length."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from common import main

from alpaca_analysis import fit_length_control, win_rate
from alpaca_analysis.judging import judge

MODELS = ("xwinlm-70b-v0.1", "xwinlm-13b-v0.1", "xwinlm-7b-v0.1", "xwinlm-70b-v0.3")


def build(mirror: Path) -> dict[str, pd.DataFrame]:
    results = mirror / "alpaca_eval" / "results"
    rows = pd.concat(
        [
            judge(
                results / model / "model_outputs.json", reference_outputs(results), judge="length"
            ).to_frame()
            for model in MODELS
        ],
        ignore_index=True,
    )
    rates = win_rate(rows, method="t")
    controlled = fit_length_control(rows).to_frame()
    errors = {name: f"lc_{name}" for name in ("standard_error", "ci_low", "ci_high")}
    controlled = controlled.rename(columns=errors)
    lc = ["lc_win_rate", *errors.values(), "near_equal"]
    table = rates.merge(controlled[["model", *lc]], on="model").round(dict.fromkeys(lc, 6))
    table.insert(1, "reference", "text_davinci_003")
    table.insert(2, "annotator", "length")
    columns = ["model", "reference", "annotator", "n_wins", "n_draws", "n_losses", *lc]
    return {"length_judge": table[columns]}


def reference_outputs(results):
    # What AlpacaEval 1 judged against is in the annotation files; the outputs published under the
    # reference's own name are others.
    path = results / "gpt4" / "alpaca_eval_gpt4" / "annotations.json"
    return [
        {"instruction": r["instruction"], "output": r["output_1"], "generator": r["generator_1"]}
        for r in json.loads(path.read_text(encoding="utf-8"))
    ]


if __name__ == "__main__":
    main(build)
