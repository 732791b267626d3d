"""Save the answers about agreement on PandaLM's pairs whose errors need to know the instructions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from common import main

import alpaca_analysis as aa

DIGITS = 6
PAIRS = [("gpt-3.5-turbo", "pandalm-7b"), ("gpt-3.5-turbo", "humans"), ("pandalm-7b", "humans")]


def build(mirror: Path) -> dict[str, pd.DataFrame]:
    rows = aa.read_annotations(mirror / "pandalm", format="pandalm")
    people = rows["annotator"].astype(str).str.startswith("human")
    judges, humans = rows[~people], rows[people]
    results = {
        "pandalm_agreement": aa.human_agreement(judges, humans),
        "pandalm_agreement_differences": pd.concat(
            aa.compare_agreement(judges, humans, a, b) for a, b in PAIRS
        ),
        "pandalm_agreement_groups": groups(judges, humans),
        "pandalm_agreement_growth": aa.agreement_by_majority(judges, humans),
        "pandalm_agreement_ceiling": aa.agreement_ceiling(humans),
        "pandalm_alpha": pd.concat(
            aa.krippendorff_alpha(humans, level=level) for level in ("nominal", "ordinal", "interval")
        ),
        "pandalm_alternative_test": aa.alternative_test(judges, humans, epsilon=0.15),
        **from_few_labels(judges, humans),
    }
    return {name: rounded(frame) for name, frame in results.items()}


def rounded(frame):
    out = frame.round({c: DIGITS for c in frame if not c.startswith("pvalue")})
    out[[c for c in out if c.startswith("pvalue")]] = out.filter(like="pvalue").map("{:.4g}".format)
    return out


def groups(judges, humans):
    parts = [
        aa.agreement_by(judges, humans, by=by).rename(columns={by: "group"}).assign(by=by)
        for by in ("unanimity", "length_difference")
    ]
    every = pd.concat([part.astype({"group": str}) for part in parts], ignore_index=True)
    return every[["by", *every.columns.drop("by")]]


def from_few_labels(judges, humans):
    cheap = judges[judges["annotator"] == "gpt-3.5-turbo"].assign(model="first", reference="second")
    labels = humans.assign(model="first", reference="second")
    pilot = labels[labels["repeat"] % 3 == 0]
    return {
        "pandalm_label_budget": aa.label_budget(cheap, pilot),
        "pandalm_calibrated": aa.calibrated_win_rate(cheap, pilot),
    }


if __name__ == "__main__":
    main(build)
