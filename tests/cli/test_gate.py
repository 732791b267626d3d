"""The gate: one exit code for each outcome, in every form, and one line for broken input."""

import json
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from alpaca_analysis.cli import main


def judgements(path, rate, n, model="new", seed=0, shift=0):
    u = np.random.default_rng(0).random(n)
    noise = np.random.default_rng(seed + 100).random(n) < 0.1
    rows = pd.DataFrame(
        {
            "instruction_id": [f"i{k + shift}" for k in range(n)],
            "model": model,
            "reference": "r",
            "outcome": np.where(noise, 1.0 - (u < rate), (u < rate) * 1.0),
        }
    )
    rows.to_csv(path, index=False)
    return path


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main(["gate", *map(str, arguments)])
    said = capsys.readouterr()
    return left.value.code, said.out, said.err


@pytest.mark.parametrize(
    ("rate", "n", "margin", "code", "verdict"),
    [
        (0.8, 400, 0.05, 0, "better"),
        (0.5, 1000, 0.08, 0, "equivalent"),
        (0.3, 400, 0.05, 4, "worse"),
        (0.5, 100, 0.01, 5, "undecided"),
        (0.9, 30, 0.05, 5, "undecided"),
    ],
)
def test_each_outcome_has_its_code(capsys, tmp_path, rate, n, margin, code, verdict):
    base = judgements(tmp_path / "base.csv", 0.5, n, model="old")
    new = judgements(tmp_path / "new.csv", rate, n, seed=1)
    found, out, _ = run(capsys, base, new, "--margin", margin)
    assert found == code
    assert out.startswith(
        f"{'FAIL' if code else 'pass'}: {verdict}: the win rate of the new version differs by"
    )
    if n == 30:
        assert "30 shared prompts, fewer than the 50 asked for" in out


def test_worse_by_less_than_matters_passes(capsys, tmp_path):
    base = judgements(tmp_path / "base.csv", 0.53, 4000, model="old", seed=1)
    new = judgements(tmp_path / "new.csv", 0.5, 4000, seed=1)
    code, out, _ = run(capsys, base, new, "--margin", 0.05, "-f", "json")
    found = json.loads(out)
    assert (code, found["verdict"], found["exit_code"]) == (0, "not worse", 0)
    assert found["ci_high"] < 0


def test_every_form_says_the_same(capsys, tmp_path):
    base = judgements(tmp_path / "base.csv", 0.5, 400, model="old")
    new = judgements(tmp_path / "new.csv", 0.3, 400, seed=1)
    _, _, err = run(capsys, base, new, "--margin", 0.05, "-f", "junit", "--output", tmp_path / "gate.xml")
    suite = ElementTree.fromstring((tmp_path / "gate.xml").read_text(encoding="utf-8"))
    assert "written: " in err
    assert (suite.get("failures"), suite.find("testcase/failure").get("type")) == ("1", "worse")
    assert run(capsys, base, new, "--margin", 0.05, "-f", "markdown")[1].startswith("❌ **worse: ")
    assert json.loads(run(capsys, base, new, "--margin", 0.05, "-f", "json")[1])["n"] == 400


def test_broken_input_is_one_line_and_code_1(capsys, tmp_path):
    base = judgements(tmp_path / "base.csv", 0.5, 100, model="old")
    new = judgements(tmp_path / "new.csv", 0.5, 100)
    (tmp_path / "bad.csv").write_text("model,outcome\nnew,7\n")
    two = tmp_path / "two.csv"
    pd.concat([pd.read_csv(base), pd.read_csv(new)]).to_csv(two, index=False)
    for arguments, says in (
        ([base, tmp_path / "none.csv", "--margin", 0.05], "none.csv: no such file"),
        ([base, tmp_path / "bad.csv", "--margin", 0.05], "found 7, expected a number in [0, 1]"),
        ([base, two, "--margin", 0.05], "judgements of one model; say which by --new-model"),
        ([base, new, "--margin", 5], "did you mean 0.05?"),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (1, "")
        assert err.count("\n") == 1
        assert says in err
    code, out, _ = run(capsys, base, judgements(tmp_path / "far.csv", 0.9, 100, shift=500), "--margin", 0.05)
    assert (code, "the two files share no prompts" in out) == (5, True)
    assert run(capsys, two, two, "--margin", 0.05, "--base-model", "old", "--new-model", "new")[0] in (0, 5)
