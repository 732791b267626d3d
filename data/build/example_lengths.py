"""Count the characters of outputs to the two example questions of the article on Xwin-LM."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from common import main

from alpaca_analysis import load, read_outputs

ROWS = (195, 597)  # a plate put on an apple; "good evening" in French
MODELS = ("xwinlm-70b-v0.1", "xwinlm-13b-v0.1", "xwinlm-7b-v0.1", "xwinlm-70b-v0.3", "gpt4")
MODELS += ("llama-2-70b-chat-hf", "text_davinci_003")


def build(mirror: Path) -> dict[str, pd.DataFrame]:
    paths = [mirror / "alpaca_eval" / "results" / model / "model_outputs.json" for model in MODELS]
    return {"example_lengths": lengths(read_outputs(paths))}


def lengths(outputs: pd.DataFrame) -> pd.DataFrame:
    instructions = load("alpaca_eval_v1_instructions")
    asked = instructions.loc[instructions["row"].isin(ROWS), ["row", "instruction_id"]]
    found = outputs.merge(asked, on="instruction_id").astype({"model": str, "length": int})
    found = found[found["model"].isin(MODELS)].sort_values(["row", "model"], kind="stable")
    return found[["row", "model", "length"]].reset_index(drop=True)


if __name__ == "__main__":
    main(build)
