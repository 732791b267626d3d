"""`fit_length_control(by=)`: each slice alone, contributions against the pair's error, all at once."""

import numpy as np
import pandas as pd
import pytest
from judgements import made_up
from scipy import special, stats

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import AnnotationError


def judged(n=450, **options):
    rows, difficulty = made_up(n, **options)
    number = rows["instruction_id"].astype(int)
    return rows.assign(topic=np.array(["art", "code", "law"])[number % 3]), difficulty


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sandwich", "bca"])
def test_each_slice_is_fitted_alone_and_intervals_hold_for_all(method):
    rows, difficulty = judged()
    options = {"difficulty": difficulty, "method": method, "n_resamples": 199}
    found = aa.fit_length_control(rows, by="topic", **options)
    assert list(found) == ["art", "code", "law"]
    frame = found.to_frame()
    for topic, part in frame.groupby("topic"):
        alone = aa.fit_length_control(rows[rows["topic"] == topic], **options).to_frame()
        same = ["model", "win_rate", "lc_win_rate", "standard_error", "phi", "psi", "theta", "near_equal"]
        pd.testing.assert_frame_equal(part[same].reset_index(drop=True), alone[same])
        pd.testing.assert_frame_equal(found[topic].to_frame(), alone)
        assert (part["ci_low"].to_numpy() < alone["ci_low"]).all()
        assert (part["ci_high"].to_numpy() > alone["ci_high"]).all()
    assert frame.attrs["interval"] == "max-t"
    assert str(aa.show(found)).endswith(found.equality["note"])


def test_two_topics_give_welchs_test_of_log_odds():
    rows, _ = judged()
    rows = rows[(rows["model"] == "a") & (rows["topic"] != "law")]
    found = aa.fit_length_control(rows, by="topic", difficulty=None)
    frame, said = found.to_frame(), found.equality
    rate = frame["lc_win_rate"]
    odds, error = special.logit(rate), frame["standard_error"] / (rate * (1 - rate))
    np.testing.assert_allclose(said["statistic"], (odds[0] - odds[1]) ** 2 / (error**2).sum())
    welch = (error**2).sum() ** 2 / (error**4 / 149).sum()
    np.testing.assert_allclose(said["df"], (1, welch))
    np.testing.assert_allclose(said["pvalue"], stats.f.sf(said["statistic"], 1, welch))
    z, middle = said["critical_value"], stats.norm.isf((1 - np.sqrt(0.95)) / 2)
    assert z == pytest.approx(middle, abs=0.12)
    half = stats.t.isf(stats.norm.sf(z), 149) * error
    np.testing.assert_allclose(frame["ci_low"], special.expit(odds - half))


@pytest.mark.slow
def test_instructions_in_several_slices_are_paired():
    rows, _ = judged(n=300)
    rows = rows[rows["model"] == "a"]
    turned = np.random.default_rng(3).random(len(rows)) < 0.05
    again = rows.assign(annotator="k", outcome=np.where(turned, 1 - rows["outcome"], rows["outcome"]))
    judges = pd.concat([rows, again])
    paired = aa.fit_length_control(judges, by="annotator", difficulty=None).equality
    apart = judges.assign(instruction_id=judges["instruction_id"] + judges["annotator"])
    unpaired = aa.fit_length_control(apart, by="annotator", difficulty=None).equality
    assert paired["statistic"] > 3 * unpaired["statistic"]
    np.testing.assert_allclose(paired["df"], (1, 299))


@pytest.mark.slow
def test_joint_difficulties_have_slices_too():
    rows, _ = judged(n=240, models=[f"m{k}" for k in range(4)])
    with pytest.warns(UserWarning, match="from only 4 models"):
        found = aa.fit_length_control(rows, by="topic", difficulty="joint")
    assert found.equality["n_intervals"] == 12
    assert found.to_frame()["ci_low"].notna().all()


def test_models_and_slices_without_lengths_are_undefined_with_their_reason():
    rows, _ = judged(n=150)
    rows.loc[(rows["topic"] == "code") & (rows["model"] == "b"), "length_model"] = np.nan
    rows.loc[rows["topic"] == "law", "length_reference"] = np.nan
    with pytest.warns(aa.UndefinedWarning, match="code/b, law/a, law/b: undefined: no judgement"):
        found = aa.fit_length_control(rows, by="topic", difficulty=None)
    frame = found.to_frame().set_index(["topic", "model"])
    assert frame["lc_win_rate"].isna().to_numpy().tolist() == [False, False, False, True, True, True]
    assert frame.loc["law", "reason"].tolist() == ["undefined_slice"] * 2
    with pytest.raises(KeyError, match=r"law.* is undefined: column"):
        found["law"]
    with pytest.raises(AnnotationError, match="expected a column 'subject'"):
        aa.fit_length_control(rows, by="subject")
    with pytest.raises(ValueError, match="by: found 'theta', which is a column of the result"):
        aa.fit_length_control(rows, by="theta")
