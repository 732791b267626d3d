"""`human_agreement(by=)`: each slice alone, all at once, and the test that all are equal."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from judgements import people, said

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import AnnotationError


def judged(n=180, seed=0, agree=(0.9, 0.6, 0.75)):
    """Return a judge who agrees more in some topics, and three people."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(2, size=n).astype(float)
    votes = [np.where(rng.random(n) < 0.85, truth, 1 - truth) for _ in range(3)]
    topic = np.array(["art", "code", "law"])[np.arange(n) % 3]
    right = rng.random(n) < np.array(agree)[np.arange(n) % 3]
    return said(np.where(right, truth, 1 - truth), topic=topic), people(*votes)


@pytest.mark.slow
def test_each_slice_has_the_agreement_of_its_pairs_alone():
    judge, humans = judged()
    found = aa.human_agreement(judge, humans, by="topic", n_resamples=499)
    assert found.columns[:2].tolist() == ["topic", "annotator"]
    assert found["topic"].tolist() == ["art", "art", "code", "code", "law", "law"]
    same = ["annotator", "agreement", "standard_error", "bias", "variance", "n", "n_missing", "n_unmatched"]
    for topic, part in found.groupby("topic"):
        rows = judge[judge["topic"] == topic]
        alone = aa.human_agreement(
            rows, humans[humans["instruction_id"].isin(rows["instruction_id"])], method="t"
        )
        pd.testing.assert_frame_equal(part[same].reset_index(drop=True), alone[same], check_like=True)
        assert (part["ci_low"].to_numpy() < alone["ci_low"]).all()
        assert (part["ci_high"].to_numpy() > alone["ci_high"]).all()
    assert found.attrs["interval"] == "max-t"
    assert found.attrs["slices"]["n_intervals"] == 6
    pd.testing.assert_frame_equal(found, aa.human_agreement(judge, humans, by=["topic"], n_resamples=499))


def test_equality_is_tested_as_by_a_clustered_regression():
    judge, humans = judged()
    turned = np.random.default_rng(1).random(len(judge)) < 0.3
    other = np.where(turned, 1 - judge["outcome"], judge["outcome"])
    second = judge.assign(model="other", outcome=other)  # two pairs on each instruction
    table, votes = pd.concat([judge, second]), pd.concat([humans, humans.assign(model="other")])
    judged_twice = aa.human_agreement(table, votes, by="topic", n_resamples=99).attrs["slices"]
    majority = votes.groupby(["instruction_id", "model"])["outcome"].median().rename("majority")
    rows = table.merge(majority, on=["instruction_id", "model"])
    right = (rows["outcome"] == rows["majority"]).astype(float)
    design = pd.get_dummies(rows["topic"]).to_numpy(float)
    cluster = {"groups": pd.factorize(rows["instruction_id"])[0], "use_correction": False}
    fit = sm.OLS(right.to_numpy(), design).fit(cov_type="cluster", cov_kwds=cluster)
    slope = np.diag(1 / (fit.params * (1 - fit.params)))  # delta method to log odds
    odds, contrast = np.log(fit.params / (1 - fit.params)), np.array([[-1, 1, 0], [-1, 0, 1]])
    d, v = contrast @ odds, contrast @ slope @ fit.cov_params() @ slope @ contrast.T
    expected = d @ np.linalg.solve(v, d)
    q, left = judged_twice["df"]
    squared = judged_twice["statistic"] * q * (left + q - 1) / left
    np.testing.assert_allclose(squared, expected * 59 / 60)  # 60 instructions in each topic
    assert q == 2


def test_pairs_of_people_alone_and_of_the_judge_alone_are_counted_in_their_slice():
    judge, humans = judged(n=60)
    humans = humans.merge(judge[["instruction_id", "topic"]], on="instruction_id")
    fewer, others = judge.iloc[6:], humans[~humans["instruction_id"].isin(judge["instruction_id"].tail(3))]
    found = aa.human_agreement(fewer, others, by="topic", n_resamples=99)
    mine = found[found["annotator"] == "judge"]
    assert mine[["n", "n_missing", "n_unmatched"]].to_numpy().tolist() == [[17, 2, 1]] * 3
    without = aa.human_agreement(fewer, others.drop(columns="topic"), by="topic", n_resamples=99)
    assert (without["n_missing"] == 0).all()


def test_a_slice_without_a_pair_is_undefined_with_its_reason():
    judge, humans = judged(n=60)
    people_of_two = humans[
        humans["instruction_id"].isin(judge.loc[judge["topic"] != "law", "instruction_id"])
    ]
    with pytest.warns(aa.UndefinedWarning, match="law/"):
        found = aa.human_agreement(judge, people_of_two, by="topic", n_resamples=99)
    lost = found[found["topic"] == "law"]
    assert len(lost) == 2
    assert lost[["agreement", "ci_low", "ci_high"]].isna().all(axis=None)
    assert lost["note"].str.startswith("undefined").all()
    assert found.attrs["slices"]["n_compared"] == 2


def test_a_column_must_be_one_on_all_judgements_of_a_pair():
    judge, humans = judged(n=30)
    twice = pd.concat([judge.assign(repeat=0), judge.assign(repeat=1, topic="none")])
    with pytest.raises(
        AnnotationError, match=r"column 'topic': found .*one value on all judgements of a pair"
    ):
        aa.human_agreement(twice, humans, by="topic")
    with pytest.raises(AnnotationError, match="expected a column 'subject'"):
        aa.human_agreement(judge, humans, by="subject")
