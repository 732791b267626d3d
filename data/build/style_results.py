"""Save what moves judges besides length, as far as it needs rows: style, order, and style beyond people."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from common import main

import alpaca_analysis as aa
from alpaca_analysis.table.style_pairs import STYLE

DIGITS = 6
FEATURES = ("words", *STYLE)
LEAST = 100  # judgements of outputs that differ in a feature, below which it is left out


def differing(table: pd.DataFrame, feature: str) -> int:
    return int((table[f"{feature}_model"] != table[f"{feature}_reference"]).sum())


def build(mirror: Path) -> dict[str, pd.DataFrame]:
    results = mirror / "alpaca_eval" / "results" / "*"
    first = aa.read_annotations(results / "alpaca_eval_gpt4", features=True)
    second = aa.read_annotations(results / "weighted_alpaca_eval_gpt4_turbo", features=True)
    pandalm = aa.read_annotations(mirror / "pandalm", format="pandalm", features=True)
    llmbar = aa.read_annotations(mirror / "llmbar", format="llmbar")
    for table in (first, second, pandalm, llmbar):
        table.attrs = {}
    human = pandalm["annotator"].astype(str).str.startswith("human")
    judged = {"alpaca_eval_v1": first, "alpaca_eval_v2": second, "pandalm": pandalm}
    return {
        "style_preference": preferences(judged),
        "style_control": aa.control_by_feature(first).round(DIGITS),
        "style_beyond_humans": beyond(pandalm[~human], pandalm[human]),
        "order_consistency": orders(llmbar),
    }


def preferences(judged: dict[str, pd.DataFrame]) -> pd.DataFrame:
    parts = [
        aa.prefer(table, feature).assign(data=name)
        for name, table in judged.items()
        for feature in FEATURES
        if differing(table, feature) >= LEAST
    ]
    frame = pd.concat(parts, ignore_index=True).round(DIGITS)
    return frame[["data", *[c for c in frame if c != "data"]]].fillna({"note": ""})


def beyond(judges: pd.DataFrame, humans: pd.DataFrame) -> pd.DataFrame:
    """Return what each feature adds beside length, one feature at a time: together they are too rare."""
    found = [
        aa.bias_beyond_humans(judges, humans, covariates=["length", feature])
        for feature in STYLE
        if differing(judges, feature) >= LEAST
    ]
    frame = pd.concat(found, ignore_index=True)
    kept = (frame["covariate"] != "length") & (frame["quantity"] == "at_equal_preference")
    return frame[kept].drop(columns=["quantity"]).round(DIGITS)


def orders(table: pd.DataFrame) -> pd.DataFrame:
    both = table[table["position"].notna()]
    return aa.order_consistency(both).round(DIGITS).dropna(axis="columns", how="all")


if __name__ == "__main__":
    main(build)
