"""Audits find planted biases of order, noise, length and family, and nothing where none was planted."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import statsmodels.stats.multitest as multitest
from numpy.testing import assert_allclose

import alpaca_analysis as aa

QUICK = {"n_resamples": 199}
FAMILIES = {"judge": "x", "mine": "x", "theirs": "y"}


def judged(rng, n=300, *, first=0.0, longer=0.0, own=0.0, noise=0.1, repeats=1):
    """Return a judge's verdicts in both orders, and those of three people, on the same pairs."""
    quality, gap = rng.normal(0, 0.5, n), rng.normal(0, 300, n).round()
    pairs = pd.DataFrame(
        {"instruction_id": [f"i{k}" for k in range(n)], "model": "mine", "reference": "theirs"}
    )
    pairs = pairs.assign(length_model=2000 + gap, length_reference=2000.0)
    liked = quality + longer * np.tanh(gap / 300) + own
    says = lambda who, score, **more: pairs.assign(annotator=who, outcome=(score > 0) * 1.0, **more)  # noqa: E731
    judge = [
        says("judge", liked + place * first + rng.normal(0, noise, n), position=1 + (place < 0), repeat=k)
        for k in range(repeats)
        for place in (1, -1)
    ]
    people = [says(f"p{k}", quality + rng.normal(0, 0.5, n)) for k in range(3)]
    return pd.concat(judge, ignore_index=True), pd.concat(people, ignore_index=True)


def flagged(audit):
    frame = audit.checks()
    return set(frame.loc[frame["status"] == "flagged", "check"])


def test_a_judge_like_people_is_flagged_for_nothing_that_moves_judges():
    judge, people = judged(np.random.default_rng(5))
    result = aa.audit(judge, humans=people, families=FAMILIES, **QUICK)
    assert not flagged(result) & {"beyond people", "own family", "order", "position", "length preference"}
    first = repr(result).splitlines()[1]
    assert first.startswith("judge is not shown to prefer longer or shorter outputs more than people do.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "check", "says"),
    [
        ({"first": 0.4}, "order", "prefers the output shown first, whichever it is"),
        ({"longer": 0.8}, "beyond people", "biased beyond people: it prefers longer outputs"),
        ({"longer": -0.8}, "beyond people", "biased beyond people: it prefers shorter outputs"),
        ({"own": 0.4}, "own family", "prefers outputs of its own family (x) more often than people do"),
    ],
)
def test_what_was_planted_is_found(planted, check, says):
    judge, people = judged(np.random.default_rng(6), **planted)
    result = aa.audit(judge, humans=people, families=FAMILIES, **QUICK)
    assert check in flagged(result)
    findings = result.to_frame().set_index("check").loc[[check]]
    assert findings["finding"].str.contains(says, regex=False).any()
    assert "high" in findings["severity"].tolist()
    others = {"order", "beyond people", "own family"} - {check}
    assert not flagged(result) & others


def test_noise_is_named_where_pairs_were_judged_twice():
    judge, _ = judged(np.random.default_rng(7), noise=1.0, repeats=3)
    result = aa.audit(judge, **QUICK)
    assert "noise" in flagged(result)
    (row,) = aa.judge_noise(judge[judge["position"] == 1]).to_dict("records")
    noise = result.results["noise"]
    assert_allclose(noise.loc[noise["position"] == 1, "flip_rate"], row["flip_rate"])
    assert "order" not in flagged(result)  # flips between orders are no more than between repeats
    quiet, _ = judged(np.random.default_rng(7), noise=0.01, repeats=3)
    assert "noise" not in flagged(aa.audit(quiet, **QUICK))


def test_checks_have_effects_and_p_values_for_all_tests_at_once():
    judge, people = judged(np.random.default_rng(8), first=0.2)
    result = aa.audit(judge, humans=people, families=FAMILIES, **QUICK)
    frame = result.checks().set_index("check")
    tested = frame["pvalue"].notna()
    assert tested.sum() == 6
    expected = multitest.multipletests(frame.loc[tested, "pvalue"], method="holm")[1]
    assert_allclose(frame.loc[tested, "pvalue_holm"], expected)
    order = aa.order_consistency(judge, **QUICK)
    assert_allclose(
        frame.loc["order", ["estimate", "pvalue"]].astype(float), order[["consistent", "pvalue"]].iloc[0]
    )
    slope = aa.bias_beyond_humans(judge, people).query(
        "kind == 'judge' and quantity == 'at_equal_preference'"
    )
    assert frame.loc["beyond people", "estimate"] == slope["estimate"].iloc[0]
    assert set(frame["status"]) == {"flagged", "fine", "not looked at"}


def test_what_was_not_looked_at_says_what_it_needs():
    judge, _ = judged(np.random.default_rng(9))
    one = judge[judge["position"] == 1].drop(columns=["position", "repeat"])
    why = aa.audit(one, **QUICK).checks().set_index("check")["why"]
    assert "both orders" in why["order"]
    assert "judged twice" in why["noise"]
    assert "humans" in why["beyond people"]
    assert "humans" in why["own family"]


def test_a_judge_of_unknown_family_is_said_not_to_be_looked_at():
    judge, people = judged(np.random.default_rng(10), 60)
    result = aa.audit(judge, humans=people, **QUICK)
    check = result.checks().set_index("check").loc["own family"]
    assert check["status"] == "not looked at"
    assert "known family" in check["why"]


@pytest.mark.slow
def test_page_and_json_answer_first_and_hold_the_checks(tmp_path):
    judge, people = judged(np.random.default_rng(11), longer=0.8)
    result = aa.audit(judge, humans=people, families=FAMILIES, **QUICK)
    page = result.to_html(tmp_path / "a.html").read_text(encoding="utf-8")
    summary = page.split('<p id="summary"><strong>')[1]
    assert summary.startswith("judge is biased beyond people")
    assert re.search(r"among \d+ tests p (=|&lt;) [\d.e-]+ \(Holm\)", page)
    content = json.loads(result.to_json(tmp_path / "a.json").read_text(encoding="utf-8"))
    assert {check["check"] for check in content["checks"]} >= {
        "order",
        "noise",
        "beyond people",
        "own family",
    }
    assert content["findings"][0]["severity"] == "high"


@pytest.mark.slow
@pytest.mark.parametrize(("first", "severity", "code"), [(0.5, "high", 3), (0.5, None, 0), (0.0, "high", 0)])
def test_exit_code_goes_by_the_severity_asked_for(tmp_path, first, severity, code):
    judge, _ = judged(np.random.default_rng(12), 80, first=first)
    path = tmp_path / "judge.csv"
    judge.to_csv(path, index=False)
    asked = [] if severity is None else ["--fail-on", severity]
    command = [sys.executable, "-m", "alpaca_analysis.cli", "audit", str(path), "--n-resamples", "99", *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout.startswith("Audit of judge: 160 judgements")


@pytest.mark.parametrize("planted", [0.0, 0.5])
def test_style_is_found_where_it_moves_the_judge_and_not_people(planted, tmp_path):
    rng = np.random.default_rng(3)
    judge, people = judged(rng, 400)
    judge = judge[judge["position"] == 1].drop(columns="position").reset_index(drop=True)
    bold = rng.integers(0, 4, (400, 2))
    quality = (people.groupby("instruction_id")["outcome"].mean()[judge["instruction_id"]] - 0.5).to_numpy()
    lean = quality + planted * np.sign(bold[:, 0] - bold[:, 1]) + rng.normal(0, 0.3, 400)
    judge = judge.assign(outcome=(lean > 0) * 1.0, bold_model=bold[:, 0], bold_reference=bold[:, 1])
    result = aa.audit(judge, humans=people, families=FAMILIES, **QUICK)
    assert {"style", "style beyond people"} & flagged(result) == (
        {"style", "style beyond people"} if planted else set()
    )
    if planted:
        text = " ".join(result.findings["finding"])
        assert "the output with more bold text (" in text
        assert (
            "judge is biased beyond people: it prefers outputs with more bold text more than people do"
            in text
        )
    page = result.to_html(tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "Style and order beyond people" in page


def test_an_audit_counts_style_where_it_has_texts():
    rows = pd.DataFrame(
        {
            "instruction_id": [f"i{k}" for k in range(60)],
            "model": "m",
            "reference": "r",
            "outcome": [1.0] * 50 + [0.0] * 10,
            "output_model": ["**yes**"] * 55 + ["no"] * 5,
            "output_reference": "no",
        }
    )
    checks = aa.audit(rows, **QUICK).checks().set_index("check")
    assert checks.loc["style", "status"] == "flagged"
    assert checks.loc["style", "estimate"] == pytest.approx(50 / 55)
    assert checks.loc["lists", "status"] == "fine"
