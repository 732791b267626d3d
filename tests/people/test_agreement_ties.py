"""Equal is equal: agreements that tie, whatever the order of rows, names and numbers of rows."""

import numpy as np
import pandas as pd
import pytest
from judgements import said

from alpaca_analysis import (
    UndefinedWarning,
    agreement_by,
    agreement_by_majority,
    alternative_test,
    calibrated_win_rate,
    compare_agreement,
    human_agreement,
    krippendorff_alpha,
    label_budget,
)

N = 60


@pytest.fixture
def judges():
    """Return two judges with the same outcomes .1, .2, .3 in other orders, and one nearer to people."""
    y = np.tile([0.1, 0.2, 0.3], N // 3)
    return pd.concat([said(y, "b"), said(np.sort(y), "a"), said(0.5 * y, "c")], ignore_index=True)


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    return pd.concat([said(rng.random(N) < 0.1, f"p{k}") for k in range(3)], ignore_index=True)


def unanimous():
    return pd.concat([said(np.zeros(N), "p"), said(np.zeros(N), "q")], ignore_index=True)


@pytest.mark.parametrize("seed", range(6))
def test_judges_that_agree_equally_are_in_the_order_of_their_names(judges, seed):
    rows = judges.sample(frac=1, random_state=seed)
    with pytest.warns(UndefinedWarning, match="humans"):
        found = human_agreement(rows, unanimous(), scoring="absolute", method="t")
    assert found["annotator"].tolist() == ["humans", "c", "a", "b"]
    compared = compare_agreement(rows, unanimous(), "a", "b", scoring="absolute", method="t").iloc[0]
    assert (compared["difference"], compared["pvalue"]) == (0, 1)
    renamed = rows.assign(annotator=rows["annotator"].map({"a": "z", "b": "y", "c": "x"}))
    with pytest.warns(UndefinedWarning, match="humans"):
        again = human_agreement(renamed, unanimous(), scoring="absolute", method="t")
    assert again["annotator"].tolist() == ["humans", "x", "y", "z"]
    np.testing.assert_array_equal(found["agreement"].round(12), again["agreement"].round(12))


def test_an_advantage_is_a_score_that_is_at_least_as_high():
    """The judge says 0.7 of what one person says is 1 and one is 0; 0.5 (0.7 + 0.3) is a draw's score."""
    votes = [np.ones(N), np.zeros(N), np.full(N, 0.5)]
    people = pd.concat([said(v, f"p{k}") for k, v in enumerate(votes)])
    found = alternative_test(said(np.full(N, 0.7), "judge"), people, scoring="absolute").set_index("human")
    # Against p0 and p1: (0.7 + 0.3) / 2, as p2's (0.5 + 0.5) / 2, but for the last binary digit.
    assert found.loc["p2", ["advantage", "human_advantage"]].tolist() == [1, 1]
    assert found.loc["p2", "difference"] == 0


STATISTICS = {
    "human_agreement": lambda j, h: human_agreement(j, h, scoring="absolute", n_resamples=99),
    "compare_agreement": lambda j, h: compare_agreement(
        j, h, "c", "humans", scoring="absolute", n_resamples=99
    ),
    "agreement_by_majority": lambda j, h: agreement_by_majority(j, h, scoring="absolute", n_resamples=99),
    "alternative_test": lambda j, h: alternative_test(j, h, scoring="absolute"),
    "krippendorff_alpha": lambda j, h: krippendorff_alpha(h, n_resamples=99),
    "calibrated_win_rate": lambda j, h: calibrated_win_rate(j[j["annotator"] == "c"], h[:40]),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_the_order_of_rows_moves_nothing(judges, people, name):
    one = STATISTICS[name](judges, people)
    two = STATISTICS[name](judges[::-1], people.iloc[:40].sample(frac=1, random_state=1)
                           if name == "calibrated_win_rate" else people.sample(frac=1, random_state=1))  # fmt: skip
    pd.testing.assert_frame_equal(one, two, rtol=1e-12)


def test_turned_sides_give_the_same_agreement(judges, people):
    turned = judges.assign(model="r", reference="m", outcome=1 - judges["outcome"])
    one, two = (STATISTICS["human_agreement"](j, people) for j in (judges, turned))
    pd.testing.assert_frame_equal(one, two, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda j, h: human_agreement(j, h, scoring="exact"),
            "scoring: found 'exact', expected one of zero_one",
        ),
        (lambda j, h: human_agreement(j, h, method="wilson"), "method: found 'wilson', expected one of bca"),
        (lambda j, h: human_agreement(j, h, on=["idx", "idx"]), "on: found 'idx' twice"),
        (lambda j, h: human_agreement(j, h, on=["n"]), "on: found 'n', which is what is measured"),
        (lambda j, h: agreement_by(j, h, by="n"), "by: found 'n', which is a column of the result"),
        (lambda j, h: agreement_by(j, h, by=["dataset"]), r"by: found \[\['dataset'\]\], expected the name"),
        (
            lambda j, h: agreement_by(j, h, by="dataset", edges=[30, 20]),
            "edges: .* expected increasing numbers",
        ),
        (lambda j, h: alternative_test(j, h, q=5), "q: found 5, expected a number in"),
        (lambda j, h: alternative_test(j, h, epsilon=1), "epsilon: found 1, expected a number in"),
        (lambda j, h: calibrated_win_rate(j, h, weight=2), "weight: found 2, expected a number in"),
        (lambda j, h: calibrated_win_rate(j, h, by=["model", "win_rate"]), "by: found 'win_rate'"),
        (lambda j, h: calibrated_win_rate(j, h, by=[]), "by: found"),
        (lambda j, h: label_budget(j, h, n_labels=[0]), "n_labels: found 0, expected a whole number"),
        (lambda j, h: label_budget(j, h, n_judged=1.5), "n_judged: found 1.5, expected a whole number"),
        (lambda j, h: krippendorff_alpha(h, level="ratio"), "level: found 'ratio', expected one of nominal"),
    ],
)
def test_wrong_options_are_named(judges, people, call, message):
    with pytest.raises(ValueError, match=message):
        call(judges, people)
