"""Save what the AlpacaEval 1 instructions can show: how each separates models, what fewer would do."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from common import main

import alpaca_analysis as aa

SIZES = (50, 100, 200, 300, 500, 805, 1600, 3200)


def build(mirror: Path) -> dict[str, pd.DataFrame]:
    rows = aa.read_annotations(mirror / "alpaca_eval" / "results" / "*" / "alpaca_eval_gpt4")
    rows.attrs = {}
    return {
        "instruction_discrimination": discrimination(rows).round(6),
        "fewer_instructions": aa.fewer_instructions(rows, sizes=SIZES).round(6),
    }


def discrimination(rows):
    """Over all models, and over the ten best."""
    best = rows.groupby("model", observed=True)["outcome"].mean().nlargest(10).index
    among_best = aa.discrimination(rows[rows["model"].isin(best)]).set_index("instruction_id")
    every = aa.discrimination(rows)
    for column in ("discrimination", "ci_low", "separates"):
        every[f"top_{column}"] = every["instruction_id"].map(among_best[column])
    return every


if __name__ == "__main__":
    main(build)
