"""Weighted preferences against the log probabilities that the same file holds."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

import alpaca_analysis as aa
from alpaca_analysis.table.readers.probabilities import share_of_first


def records(rng, n=30):
    """Return records in AlpacaEval's format, the outputs shown in random order."""
    found = []
    for k in range(n):
        logprobs = np.log(rng.dirichlet([1, 1, 0.1]))
        share = softmax(logprobs[:2])[0]
        top = [{"token": t, "logprob": v} for t, v in zip(("m", "M", "The"), logprobs.tolist(), strict=True)]
        shown_first = rng.random() < 0.5
        found.append(
            {
                "instruction": f"i{k}",
                "output_1": "a",
                "output_2": "b",
                "generator_1": "ref",
                "generator_2": "m",
                "annotator": "weighted",
                "preference": 1 + (share if shown_first else 1 - share),
                "raw_completion": {"logprobs": {"content": [{"top_logprobs": top}]}},
            }
        )
    return found


def written(content, folder):
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def test_preferences_that_agree_are_counted_and_others_named(tmp_path):
    content = records(np.random.default_rng(1))
    (told,) = aa.read_annotations(written(content, tmp_path)).attrs["probabilities"]
    assert (told["n"], told["contradicted"]) == (30, [])
    content[7]["preference"] = 1.5001
    content[9]["preference"] = None
    content[11]["raw_completion"] = None
    (told,) = aa.read_annotations(written(content, tmp_path)).attrs["probabilities"]
    assert told["n"] == 28
    (wrong,) = told["contradicted"]
    top = content[7]["raw_completion"]["logprobs"]["content"][0]["top_logprobs"]
    share = softmax([entry["logprob"] for entry in top[:2]]).max()
    assert (wrong["row"], wrong["stored"]) == (7, 0.5001)
    assert wrong["told"] == pytest.approx(share, abs=1e-4)


def test_the_audit_finds_them(tmp_path):
    content = records(np.random.default_rng(2))
    sound = aa.audit(aa.read_annotations(written(content, tmp_path)), n_resamples=99)
    assert sound.checks().set_index("check").loc["log probabilities", "status"] == "fine"
    for k in (3, 4):
        content[k]["preference"] = 1.5001
    found = aa.audit(aa.read_annotations(written(content, tmp_path)), n_resamples=99)
    row = found.to_frame().set_index("check").loc["log probabilities"]
    assert row["severity"] == "high"
    assert row["finding"] == "2 of 30 stored preferences are not what their own log probabilities say"
    assert "annotations.json, row 3" in row["evidence"]


@pytest.mark.parametrize(
    "completion",
    [None, "m", 7, [], {}, {"logprobs": None}, {"logprobs": {"content": []}},
     {"logprobs": {"content": [{"top_logprobs": [{"token": "m", "logprob": "high"}]}]}},
     {"logprobs": {"content": [{"top_logprobs": [{"token": ["m"]}]}]}}],
)  # fmt: skip
def test_odd_completions_say_nothing(completion, tmp_path):
    content = records(np.random.default_rng(3), 3)
    content[1]["raw_completion"] = completion
    (told,) = aa.read_annotations(written(content, tmp_path)).attrs["probabilities"]
    assert (told["n"], told["contradicted"]) == (2, [])


def test_verdicts_are_not_compared(tmp_path):
    content = records(np.random.default_rng(4))
    for record in content:
        record["preference"] = float(np.rint(record["preference"]))
    table = aa.read_annotations(written(content, tmp_path))
    assert "probabilities" not in table.attrs
    check = aa.audit(table, n_resamples=99).checks().set_index("check").loc["log probabilities"]
    assert check["status"] == "not looked at"


def test_shares_are_those_of_softmax():
    rng = np.random.default_rng(5)
    for first, second in rng.normal(-800, 3, (20, 2)):
        assert share_of_first({"m": first, "M": second}) == pytest.approx(softmax([first, second])[0])
    assert share_of_first({"m": -1.0}) == 1
    assert np.isnan(share_of_first({}))


@pytest.mark.rows
def test_no_published_preference_contradicts_its_log_probabilities(alpaca_eval_v2):
    told = pd.DataFrame(alpaca_eval_v2.attrs["probabilities"])
    assert told["n"].sum() == 14_444
    assert told["contradicted"].map(len).sum() == 0
