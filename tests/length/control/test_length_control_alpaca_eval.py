"""Length control against alpaca-eval's own code, fed the same difficulties and baselines."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from alpaca_analysis import AnnotationError, fit_as_alpaca_eval, fit_length_control, load, read_annotations
from alpaca_analysis.table.checks import instruction_id

MODEL = "gpt4"


@pytest.fixture(scope="module")
def glm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("alpaca_eval.metrics.glm_winrate")


@pytest.fixture(scope="module")
def records(mirror):
    path = mirror / "alpaca_eval" / "results" / MODEL / "alpaca_eval_gpt4" / "annotations.json"
    return pd.DataFrame(json.loads(path.read_bytes()))


@pytest.fixture
def theirs(glm, records, tmp_path, monkeypatch):
    """Return alpaca-eval's length-controlled win rate (percent) for given settings of its regression."""
    ids = records["instruction"].map(instruction_id)
    difficulty = load("instruction_difficulty").set_index("instruction_id")["difficulty"]
    pairs = load("length_control_baselines")
    gap = pairs["length_reference"] - pairs["length_model"]
    gap = gap / gap.groupby(pairs["model"]).transform("std")
    b = load("length_control_coefficients").set_index("model").loc[pairs["model"]].to_numpy()
    d = pairs["instruction_id"].map(difficulty).to_numpy()
    gamed = pd.DataFrame(
        {
            "model": pairs["model"],
            "preference": expit(b[:, 2] + b[:, 0] * np.tanh(gap) + b[:, 1] * d),
            "index": pairs["instruction_id"].map(pd.Series(range(len(ids)), ids)),
            "std_delta_len": gap,
            "instruction_difficulty": d,
            "not_gamed_baseline": False,
        }
    )
    path = tmp_path / "df_gamed.csv"
    gamed.sort_values(["model", "index"]).to_csv(path, index=False)
    monkeypatch.setattr(glm, "hf_hub_download", lambda **_: str(path))

    def run(name="length_controlled_v1", rows=records, **settings):
        info = {**glm.GLM_INFO[name], "kwargs": settings or {"n_splits": 5}}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return glm.get_length_controlled_winrate(
                rows.copy(), save_weights_dir=None, is_add_glm_preference_inplace=False, glm_info=info
            )

    return run


@pytest.fixture(scope="module")
def table(records):
    return read_annotations(records)


def ours(table, **options):
    return fit_length_control(table, **options).to_frame().iloc[0]


@pytest.mark.rows
def test_without_penalty(theirs, table):
    found = theirs(n_splits=0, C=1e5)
    assert 100 * ours(table)["lc_win_rate"] == pytest.approx(found["length_controlled_winrate"], abs=0.01)
    assert 100 * ours(table)["win_rate"] == pytest.approx(found["win_rate"], abs=1e-9)


@pytest.mark.rows
def test_with_its_penalty(theirs, table):
    found = theirs(n_splits=0, C=1.0)["length_controlled_winrate"]
    assert 100 * ours(table, penalty=1.0)["lc_win_rate"] == pytest.approx(found, abs=0.02)


@pytest.mark.rows
def test_without_baselines(theirs, table):
    found = theirs("length_controlled_noreg", n_splits=0, C=1e5)["length_controlled_winrate"]
    assert 100 * ours(table, baselines=None)["lc_win_rate"] == pytest.approx(found, abs=0.01)


@pytest.mark.rows
def test_without_difficulty(theirs, table):
    found = theirs("length_controlled_minimal", n_splits=0, C=1e5)["length_controlled_winrate"]
    assert 100 * ours(table, difficulty=None)["lc_win_rate"] == pytest.approx(found, abs=0.01)


@pytest.mark.rows
def test_its_defaults_differ_by_the_penalty_it_chooses(theirs, table):
    found = theirs()
    assert 100 * ours(table)["lc_win_rate"] == pytest.approx(found["length_controlled_winrate"], abs=0.5)
    # its error is that of the mean prediction, and leaves out the fit
    assert 100 * ours(table)["standard_error"] > 10 * found["lc_standard_error"]


# --- its own fit, to the digit --------------------------------------------------------------------


@pytest.fixture
def gamed(theirs, tmp_path):
    return tmp_path / "df_gamed.csv"


@pytest.mark.rows
@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"n_splits": 5}, {"n_splits": 0, "C": 0.359}, {"n_splits": 0, "C": 100}]
)
def test_its_own_fit(theirs, records, gamed, settings):
    found = theirs(**settings)
    mine = fit_as_alpaca_eval(read_annotations(records), gamed, **settings).iloc[0]
    assert 100 * mine["lc_win_rate"] == pytest.approx(found["length_controlled_winrate"], abs=1e-6)
    assert 100 * mine["lc_standard_error"] == pytest.approx(found["lc_standard_error"], abs=1e-6)
    assert 100 * mine["win_rate"] == pytest.approx(found["win_rate"], abs=1e-9)


@pytest.mark.rows
@pytest.mark.slow
def test_its_own_fit_where_rows_or_verdicts_lack(theirs, records, gamed):
    """A missing row shifts all later difficulties, in alpaca-eval as here; a row without verdict does not."""
    without_verdict = records.copy()
    without_verdict.loc[100, "preference"] = np.nan
    lacking = records.drop(index=100).reset_index(drop=True)
    ids = records["instruction"].map(instruction_id)
    values = {}
    for name, part in {"all": records, "no verdict": without_verdict, "no row": lacking}.items():
        rows = read_annotations(part)
        values[name] = 100 * fit_as_alpaca_eval(rows, gamed, n_splits=0)["lc_win_rate"][0]
        assert values[name] == pytest.approx(
            theirs(rows=part, n_splits=0, C=100)["length_controlled_winrate"], abs=1e-6
        )
        values[f"{name}, by instruction"] = (
            100 * fit_as_alpaca_eval(rows, gamed, n_splits=0, instructions=ids)["lc_win_rate"][0]
        )
    assert values["all, by instruction"] == values["all"]
    assert values["no verdict, by instruction"] == values["no verdict"]
    assert values["no row"] != pytest.approx(values["all"], abs=0.2)
    assert values["no row, by instruction"] == pytest.approx(values["all"], abs=0.1)


def test_its_own_fit_refuses(tmp_path):
    table = pd.DataFrame(
        {"model": "m", "outcome": [1, 0, 1.0], "length_model": [3, 5, 7], "length_reference": 4}
    )
    gamed = pd.DataFrame(
        {"preference": 0.5, "index": [0, 1], "std_delta_len": 0.1, "instruction_difficulty": 1}
    )
    with pytest.raises(
        AnnotationError, match="row 2: found 2 of 'm', expected a row or instruction with a pub"
    ):
        fit_as_alpaca_eval(table, gamed)
    with pytest.raises(AnnotationError, match=r"found no \['index'\], expected the columns"):
        fit_as_alpaca_eval(table, gamed.drop(columns="index"))
    gamed.assign(preference=[0.5, np.nan]).to_csv(tmp_path / "gamed.csv")
    with pytest.raises(AnnotationError, match=r"gamed.csv, row 1: found a gap, expected numbers"):
        fit_as_alpaca_eval(table, tmp_path / "gamed.csv")
