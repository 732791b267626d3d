"""Save correlations of win rates whose noise, drawn over instructions, needs rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from common import main

import alpaca_analysis as aa

DIGITS = 6
REFERENCE = "gpt4_1106_preview"  # of AlpacaEval 2: 50 % by definition
COLUMNS = ["comparison", "n", "statistic", "ci_low", "ci_high", "noise_low", "noise_high"]


def build(mirror: Path) -> dict[str, pd.DataFrame]:
    results = mirror / "alpaca_eval" / "results" / "*"
    v1 = aa.read_annotations(results / "alpaca_eval_gpt4")
    v2 = aa.read_annotations(results / "weighted_alpaca_eval_gpt4_turbo")
    found = {
        "AlpacaEval 1 and 2": aa.correlation_from_rows(
            v1[v1["model"] != REFERENCE], v2[v2["model"] != REFERENCE]
        ),
        "AlpacaEval 1 and 2, its reference included": aa.correlation_from_rows(v1, v2),
        "PandaLM, judge and people": aa.correlation_from_rows(
            *judge_and_people(aa.read_annotations(mirror / "pandalm", format="pandalm"))
        ),
    }
    parts = [result.to_frame().assign(comparison=name) for name, result in found.items()]
    return {"correlations_from_rows": pd.concat(parts)[COLUMNS].round(DIGITS)}


def judge_and_people(rows):
    """See every pair from both sides, so that each model meets the other four."""
    turned = rows.assign(model=rows["reference"], reference=rows["model"], outcome=1 - rows["outcome"])
    field = pd.concat([rows, turned], ignore_index=True).assign(reference="the other four")
    field["repeat"] = np.arange(len(field))
    said = field["annotator"].astype(str)
    return field[said == "pandalm-7b"], field[said.str.startswith("human")].assign(annotator="people")


if __name__ == "__main__":
    main(build)
