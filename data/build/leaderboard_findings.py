"""Audit AlpacaEval's two leaderboards against the files behind their rows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from common import main

from alpaca_analysis import audit_leaderboard, load, read_annotations

BOARDS = {
    "alpaca_eval_v1_leaderboard": "alpaca_eval_gpt4",
    "alpaca_eval_v2_leaderboard": "weighted_alpaca_eval_gpt4_turbo",
}


def build(mirror: Path) -> dict[str, pd.DataFrame]:
    results = mirror / "alpaca_eval" / "results"
    parts = [
        audit_leaderboard(load(board), annotations=read_annotations(results / "*" / judge)).assign(
            board=board
        )
        for board, judge in BOARDS.items()
    ]
    found = pd.concat(parts, ignore_index=True)
    columns = ["board", "model", "check", "severity", "message"]
    return {"leaderboard_findings": found[columns]}


if __name__ == "__main__":
    main(build)
