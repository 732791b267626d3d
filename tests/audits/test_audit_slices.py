"""`audit(by=)`: each slice alone, their numbers and tests taken together."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import AnnotationError

QUICK = {"n_resamples": 99}
pytestmark = pytest.mark.slow


def judged(n=400, *, lean=(0.5, 0.85), seed=0):
    """Return judgements whose judge prefers the longer output more often in one topic than in the other."""
    rng = np.random.default_rng(seed)
    topic = np.arange(n) % 2
    ours, theirs = rng.integers(100, 2000, (2, n))
    longer = rng.random(n) < np.array(lean)[topic]
    ids = {"instruction_id": [f"i{k}" for k in range(n)], "topic": np.array(["art", "code"])[topic]}
    sides = {
        "model": "m",
        "reference": "r",
        "annotator": "j",
        "length_model": ours,
        "length_reference": theirs,
    }
    return pd.DataFrame(
        ids | sides | {"outcome": np.where(longer, ours > theirs, ours < theirs).astype(float)}
    )


def test_each_slice_is_audited_alone_and_its_numbers_hold_with_the_others():
    rows = judged()
    found = aa.audit(rows, by="topic", **QUICK)
    assert list(found) == ["art", "code"]
    alone = {name: aa.audit(part, **QUICK) for name, part in rows.groupby("topic")}
    for name, one in alone.items():
        pd.testing.assert_frame_equal(found[name].to_frame(), one.to_frame())
    frame = found.to_frame()
    assert frame.columns[:2].tolist() == ["topic", "severity"]
    assert len(frame) == sum(len(one.to_frame()) for one in alone.values())
    numbers = found.checks().set_index("topic")
    assert numbers["check"].tolist() == ["length preference"] * 2
    for name, one in alone.items():
        row = one.results["length_preference"].iloc[0]
        share, error = row["probability"], row["standard_error"]
        half = stats.norm.isf(0.0125) * error / (share * (1 - share))
        ends = special.expit(special.logit(share) + np.array([-half, half]))
        np.testing.assert_allclose(numbers.loc[name, ["ci_low", "ci_high"]].astype(float), ends)
    holm = multipletests(numbers["pvalue"], method="holm")[1]
    np.testing.assert_allclose(numbers["pvalue_holm"], holm)


def test_a_number_is_tested_for_equality():
    found = aa.audit(judged(), by="topic", **QUICK)
    told, test = found.checks(), found.equality.iloc[0]
    odds = special.logit(told["estimate"])
    error = told["standard_error"] / (told["estimate"] * (1 - told["estimate"]))
    np.testing.assert_allclose(test["statistic"], (odds[0] - odds[1]) ** 2 / (error**2).sum())
    np.testing.assert_allclose(test["df_within"], (error**2).sum() ** 2 / (error**4 / 199).sum())
    assert test["pvalue"] < 1e-4
    assert repr(found).startswith("Audit in 2 slices by topic. Slices differ in length preference.")
    equal = aa.audit(judged(lean=(0.7, 0.7), seed=1), by="topic", **QUICK)
    assert equal.equality["pvalue"].iloc[0] > 0.05
    assert "No difference between slices is shown (1 test)." in repr(equal)


def test_slices_that_share_instructions_are_not_tested():
    rows = judged()
    turns = pd.concat([rows.assign(turn=1), rows.assign(turn=2, repeat=1)])
    found = aa.audit(turns, by="turn", **QUICK)
    assert found.equality["pvalue"].isna().all()
    assert found.equality["note"].iloc[0].startswith("not tested: slices share instructions")
    assert "Whether slices differ could not be tested." in repr(found)


def test_people_of_a_slice_are_those_of_its_instructions():
    rows = judged(n=120)
    humans = pd.concat(
        [rows.assign(annotator=who, outcome=np.roll(rows["outcome"], k)) for k, who in enumerate("pqr")]
    )
    found = aa.audit(rows, by="topic", humans=humans, **QUICK)
    half = found["art"].results["agreement"].set_index("annotator")
    assert half.loc["j", ["n", "n_missing"]].tolist() == [60, 0]
    assert "agreement" in set(found.checks()["check"])


def test_files_and_errors(tmp_path):
    found = aa.audit(judged(n=60), by="topic", **QUICK)
    content = json.loads(found.to_json(tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert content["by"] == ["topic"]
    assert {row["topic"] for row in content["checks"]} == {"art", "code"}
    page = found.to_html(tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert "Checks in every slice" in page
    with pytest.raises(ValueError, match="claims: printed numbers are about all judgements"):
        aa.audit(judged(n=60), by="topic", claims=pd.DataFrame())
    with pytest.raises(ValueError, match="by: found 'check', which is a column of the result"):
        aa.audit(judged(n=60), by="check")
    with pytest.raises(AnnotationError, match="expected a column 'subject'"):
        aa.audit(judged(n=60), by="subject")
