"""The specification curve: each row against a fit of its own."""

import pytest
from judgements import made_up

from alpaca_analysis import AnnotationError, fit_length_control, load, specification_curve
from alpaca_analysis.length.control.specification import COLUMNS


@pytest.fixture(scope="module")
def curve():
    table, difficulty = made_up(300)
    texts = table.assign(
        output_model=["word " * int(n // 5) for n in table["length_model"]],
        output_reference=["word " * int(n // 5) for n in table["length_reference"]],
    )
    return specification_curve(texts, difficulty=difficulty)


@pytest.mark.slow
def test_every_specification_once(curve):
    assert [c for c in curve if c != "reason"] == list(COLUMNS)
    assert set(curve["feature"]) == {
        f + unit for f in ("tanh", "clip", "log_ratio") for unit in ("", " words")
    }
    assert not curve.duplicated(["model", "specification"]).any()
    assert len(curve) == 2 * 24  # two models; six features, with and without difficulty and penalty
    assert not curve["baselines"].any()


@pytest.mark.parametrize("feature", ["tanh", "clip", "log_ratio"])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.slow
def test_rows_are_fits(curve, feature, penalty):
    table, difficulty = made_up(300)
    for used in (difficulty, None):
        fits = fit_length_control(table, difficulty=used, feature=feature, penalty=penalty).to_frame()
        rows = curve[(curve["feature"] == feature) & (curve["penalty"] == penalty)]
        rows = rows[rows["difficulty"] == (used is not None)].set_index("model")
        for fit in fits.itertuples():
            assert rows.loc[fit.model, "lc_win_rate"] == pytest.approx(fit.lc_win_rate, abs=1e-12)
            assert rows.loc[fit.model, "ci_high"] == pytest.approx(fit.ci_high, abs=1e-12)


def test_words_tell_the_same_where_they_are_proportional(curve):
    rows = curve[curve["model"] == "a"].set_index("specification")["lc_win_rate"]
    assert rows["tanh, difficulty"] == pytest.approx(rows["tanh words, difficulty"], abs=0.002)


def test_cells_with_the_published_specification_first():
    found = specification_curve(load("alpaca_eval_v1_cells"), models=["gpt4", "cohere"])
    first = found.groupby("model").first()
    assert (first["specification"] == "tanh, difficulty, baselines").all()
    assert found.groupby("model").size().tolist() == [8, 8]
    assert first.loc["gpt4", "near_equal"] == pytest.approx(0.194, abs=0.03)  # cells know it roughly
    spread = found.groupby("model")["lc_win_rate"].agg(lambda v: v.max() - v.min())
    assert (spread > 0.03).all()  # the choice of specification is no detail


def test_bad_input_is_named():
    with pytest.raises(AnnotationError, match="gpt4"):
        specification_curve(load("alpaca_eval_v1_cells"), models=["gpt-4"])
    with pytest.raises(ValueError, match="difficulty: found 'joint'"):
        specification_curve(load("alpaca_eval_v1_cells"), difficulty="joint")


@pytest.mark.parametrize("missing", ["output_model", "output_reference"])
def test_texts_of_one_side_alone_are_named(missing):
    table, difficulty = made_up(30)
    table = table.assign(output_model="a b", output_reference="a b c").drop(columns=missing)
    with pytest.raises(AnnotationError, match=f"expected a column '{missing}'"):
        specification_curve(table, difficulty=difficulty)


def test_settings_are_stated():
    found = specification_curve(load("alpaca_eval_v1_cells"), models=["gpt4"], confidence_level=0.9)
    assert {k: found.attrs[k] for k in ("interval", "confidence_level", "n_resamples", "rng")} == {
        "interval": "logit wald",
        "confidence_level": 0.9,
        "n_resamples": None,
        "rng": None,
    }
    assert found.attrs["unit"].startswith("judgement")
