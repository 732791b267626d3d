"""Published coefficients: against the published leaderboard and values worked out beforehand."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from alpaca_analysis import AnnotationError, load, published_length_control
from alpaca_analysis.length.control.fitting import COLUMNS
from alpaca_analysis.length.control.result import LengthControl


@pytest.fixture(scope="module")
def published():
    return published_length_control()


@pytest.fixture(scope="module")
def board():
    return load("alpaca_eval_v2_leaderboard").set_index("model")["length_controlled_winrate"]


def test_held_out_models_are_predicted(published, board):
    check = load("difficulty_quadrature_check").set_index("model")
    assert (check["role"] == "fitted").sum() == 100
    held_out = check.index[check["role"] == "held out"]
    assert len(held_out) == 98
    ours = published.to_frame().set_index("model")["lc_win_rate"]
    error = (100 * ours[held_out] - board[held_out]).abs()
    assert error.median() < 0.001
    assert error.quantile(0.95) < 0.002
    assert error.max() < 0.2
    assert published.settings["n_held_out"] == 98
    points = 100 * (check["predicted"] - check["published"])[held_out].abs()
    for name, value in {"median": points.median(), "p95": points.quantile(0.95), "max": points.max()}.items():
        assert published.settings[f"held_out_{name}_points"] == float(f"{value:.2g}")
    np.testing.assert_allclose(points, error, atol=1e-4)


@pytest.mark.parametrize(
    ("a", "b", "percent"),
    [
        ("xwinlm-70b-v0.1", "gpt4", 27.26),
        ("xwinlm-70b-v0.1", "gpt4_0314", 30.68),
        ("xwinlm-70b-v0.1", "gpt4_0613", 37.09),
        ("xwinlm-70b-v0.1", "gpt-3.5-turbo-0301", 63.95),
        ("xwinlm-70b-v0.1", "llama-2-13b-chat-hf", 86.18),
        ("xwinlm-70b-v0.1", "gpt4_1106_preview", 24.65),
        ("xwinlm-13b-v0.1", "gpt-3.5-turbo-0301", 51.17),
        ("xwinlm-7b-v0.1", "llama-2-13b-chat-hf", 63.22),
    ],
)
def test_any_against_any(published, a, b, percent):
    found = published.win_rate(a, b).iloc[0]
    assert 100 * found["win_rate"] == pytest.approx(percent, abs=0.02)
    assert np.isnan(found[["standard_error", "ci_low", "ci_high"]].astype(float)).all()
    assert "coefficients_only" in found["reason"]
    assert "transitive" in found["note"]


def test_antisymmetry(published):
    names = published.to_frame()["model"].iloc[::23]
    for a in names:
        assert published.win_rate(a, a).loc[0, "win_rate"] == 0.5
        for b in names:
            both = [published.win_rate(*pair).loc[0, "win_rate"] for pair in ((a, b), (b, a))]
            assert sum(both) == pytest.approx(1, abs=1e-15)


def test_against_the_reference_is_the_lc_win_rate(published):
    frame = published.to_frame()
    for row in frame.iloc[::40].itertuples():
        direct = expit(row.theta + row.psi * published.difficulty) @ published.weight
        assert row.lc_win_rate == pytest.approx(direct, abs=1e-14)
        against = published.win_rate(row.model, "gpt4_1106_preview").loc[0, "win_rate"]
        assert against == pytest.approx(direct, abs=1e-14)


def test_frame(published):
    frame = published.to_frame()
    assert tuple(frame.columns) == (*COLUMNS[:-1], "reason", "note")
    assert len(frame) == 199
    assert "example" not in set(frame["model"])
    assert frame["lc_win_rate"].is_monotonic_decreasing
    assert frame.index.equals(pd.RangeIndex(199))
    raw = load("alpaca_eval_v2_leaderboard").set_index("model")["win_rate"]
    np.testing.assert_allclose(100 * frame.set_index("model")["win_rate"], raw[frame["model"]])
    reference = frame.set_index("model").loc["gpt4_1106_preview"]
    assert (reference["lc_win_rate"], reference["standard_error"]) == (0.5, 0)
    assert frame.loc[frame["standard_error"].isna(), "note"].str.contains("without errors").all()
    frame.loc[0, "lc_win_rate"] = 7
    assert published.to_frame()["lc_win_rate"].max() < 1


def test_prints_what_it_is(published):
    assert "held_out_median_points" in repr(published)
    assert published._repr_html_() == published_length_control()._repr_html_()
    with pytest.raises(AttributeError):
        published.weight = 1


def test_prints_percent_of_the_first_models():
    names = [
        "model",
        "win_rate",
        "lc_win_rate",
        "standard_error",
        "ci_low",
        "ci_high",
        "phi",
        "psi",
        "theta",
        "note",
    ]
    row = [0.5, 0.123456, 0.01, np.nan, 0.2, -1.23456, 0.5, np.nan, "fine"]
    models = pd.DataFrame([[f"m<{k}", *row] for k in range(30)], columns=names)
    result = LengthControl(models, np.zeros(1), np.ones(1), {"reference": "r & s", "rng": None})
    lines = repr(result).split("\n")
    assert lines[:2] == ["Length-controlled win rates of 30 models", "  reference: r & s"]
    assert lines[2].split() == " ".join(names).replace("win_rate", "win_rate (%)").split()
    assert [line.split() for line in lines[3:]] == [
        [f"m<{k}", "50.00", "12.35", "1.00", "20.00", "-1.235", "0.500", "fine"] for k in range(8)
    ]
    page = result._repr_html_()
    assert page.startswith("<p>reference: r &amp; s</p><table")
    cells = re.findall("<t[dh]>(.*?)</t[dh]>", page)
    assert " ".join(cells[:10]) == " ".join(names).replace("win_rate", "win_rate (%)")
    assert cells[10:20] == ["m&lt;0", "50.00", "12.35", "1.00", "", "20.00", "-1.235", "0.500", "", "fine"]
    assert cells[10::10] == [f"m&lt;{k}" for k in range(20)]


def test_pairs_with_shifted_entries_say_so(published):
    """13 entries have fewer than 805 judgements; 11 of them have coefficients, and 3 files were seen."""
    frame = published.to_frame().set_index("model")
    assert frame["reason"].str.contains("shifted_rows").sum() == 11
    seen = frame.index[frame["reason"].str.split().map(lambda codes: "shifted_rows" in codes)]
    assert set(seen) == {"text_davinci_001", "alpaca-7b_verbose", "alpaca-7b_concise"}
    pair = published.win_rate("text_davinci_001", "alpaca-7b").iloc[0]
    assert (
        "text_davinci_001: its coefficients come from shifted rows (its file lacks 2 of 805)" in pair["note"]
    )
    both = published.win_rate("phi-2", "alpaca-7b_verbose").iloc[0]
    assert both["reason"].split() == ["coefficients_only", "possibly_shifted_rows", "shifted_rows"]
    assert "shifted" not in published.win_rate("gpt4", "alpaca-7b").iloc[0]["note"]


def test_unknown_model_is_named(published):
    with pytest.raises(AnnotationError, match="xwinlm-70b-v0"):
        published.win_rate("xwinlm-70b", "gpt4")


@pytest.mark.slow
def test_bundled_atoms_are_what_the_script_makes(published):
    _, check = _script("difficulty_quadrature").build()
    shipped = load("difficulty_quadrature_check")
    pd.testing.assert_series_equal(check["role"], shipped["role"])
    # the atoms themselves are ill-determined; what they predict is not
    np.testing.assert_allclose(check["predicted"], shipped["predicted"], atol=2e-6)


def _script(name):
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[3] / "data" / "build" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
