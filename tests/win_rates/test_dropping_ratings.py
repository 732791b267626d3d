"""How few battles carry an order of ratings: against trying all subsets, and against another solver."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components

from alpaca_analysis import AnnotationError, dropped_to_reverse, rank_sets

NAMES = ["a", "b", "c"]


def battles(seed, n=9):
    """Return battles among three models, one per instruction; one of six is a draw."""
    rng = np.random.default_rng(seed)
    i = rng.integers(0, 3, n)
    j = (i + rng.integers(1, 3, n)) % 3
    y = np.where(rng.random(n) < 1 / 6, 0.5, rng.random(n) < 1 / (1 + np.exp((i - j) * 0.5)))
    sides = {"model": [NAMES[k] for k in i], "reference": [NAMES[k] for k in j]}
    return pd.DataFrame(
        {"instruction_id": [f"i{k}" for k in range(n)], **sides, "annotator": "j", "outcome": y}
    )


def fitted(rows):
    """Return the maximum of the likelihood by scipy, None where it is at infinity."""
    names = sorted({*rows["model"], *rows["reference"]})
    i, j = (np.array([names.index(m) for m in rows[side]]) for side in ("model", "reference"))
    y = rows["outcome"].to_numpy()
    wins = np.zeros((len(names),) * 2)
    np.add.at(wins, (i, j), y)
    np.add.at(wins, (j, i), 1 - y)
    if connected_components(wins > 0, connection="strong")[0] > 1:
        return None

    def loss(r):
        d = r[i] - r[j]
        slope = 1 / (1 + np.exp(-d)) - y
        value = np.logaddexp(0, d) - y * d
        return value.sum(), np.bincount(i, slope, len(names)) - np.bincount(j, slope, len(names))

    return pd.Series(minimize(loss, np.zeros(len(names)), jac=True, options={"gtol": 1e-9}).x, names)


def fewest(rows, best, other):
    """Return the fewest battles whose removal puts the other above, by trying all subsets."""
    for k in range(1, 5):
        for kept in itertools.combinations(range(len(rows)), len(rows) - k):
            found = fitted(rows.iloc[list(kept)])
            if found is not None and {best, other} <= set(found.index) and found[best] - found[other] < -1e-6:
                return k
    return None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 6, 8, 14, 16, 19])
def test_so_many_battles_do_turn_the_order_and_hardly_fewer_could(seed):
    rows = battles(seed)
    found = dropped_to_reverse(rows, "a", "b", statistic="rating")
    best, other = found.attrs["model_a"], found.attrs["model_b"]
    ratings = fitted(rows)
    assert ratings[best] > ratings[other]
    k, least = found.attrs["n_to_reverse"], fewest(rows, best, other)
    if k is None:
        assert least is None or least > 2
    else:
        assert least <= k <= least + 1
        kept = fitted(rows[~rows["instruction_id"].isin(found["instruction_id"])])
        assert kept[best] < kept[other]
        assert found["difference"].iloc[-1] == pytest.approx(kept[best] - kept[other], abs=1e-5)
    assert not found.attrs["exact"]


def many(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    names = [f"m{k}" for k in range(8)]
    i = rng.integers(0, 8, n)
    j = (i + rng.integers(1, 8, n)) % 8
    skill = np.linspace(1, -1, 8)
    y = (rng.random(n) < 1 / (1 + np.exp(skill[j] - skill[i]))).astype(float)
    sides = {"model": [names[k] for k in i], "reference": [names[k] for k in j]}
    return pd.DataFrame(
        {"instruction_id": [f"i{k}" for k in range(n)], **sides, "annotator": "j", "outcome": y}
    )


def test_many_battles_are_left_out_in_few_fits_and_the_order_turns():
    rows = many()
    found = dropped_to_reverse(rows, "m0", "m4", statistic="rating")
    k = found.attrs["n_to_reverse"]
    assert 100 < k == len(found) < 1000
    assert found.attrs["n"] == 4000
    gone = rows["instruction_id"].isin(found["instruction_id"])
    assert fitted(rows[~gone])["m0"] < fitted(rows[~gone])["m4"]
    last = rows["instruction_id"].isin(found["instruction_id"].iloc[:-1])
    assert fitted(rows[~last])["m0"] > fitted(rows[~last])["m4"] - 1e-4
    won = ((found["model"] == "m0") & (found["outcome"] == 1)) | (
        (found["reference"] == "m0") & (found["outcome"] == 0)
    )
    lost = ((found["model"] == "m4") & (found["outcome"] == 0)) | (
        (found["reference"] == "m4") & (found["outcome"] == 1)
    )
    assert (won | lost).all()


def test_without_ids_single_judgements_go():
    rows = many()
    counts = (
        rows.drop(columns="instruction_id").groupby(["model", "reference", "annotator", "outcome"]).size()
    )
    found = dropped_to_reverse(rows, "m0", "m1", statistic="rating")
    alone = dropped_to_reverse(counts.rename("n").reset_index(), "m0", "m1", statistic="rating")
    assert alone.attrs["n"] == 4000
    assert alone.attrs["n_to_reverse"] == found.attrs["n_to_reverse"]
    assert alone["instruction_id"].isna().all()
    np.testing.assert_allclose(alone["difference"], found["difference"], atol=1e-6)


def test_an_instruction_goes_with_all_its_battles():
    rows = many(400)
    turned = rows.rename(columns={"model": "reference", "reference": "model"})
    both = pd.concat([rows, turned.assign(outcome=1 - rows["outcome"])], ignore_index=True)
    found = dropped_to_reverse(both, "m0", "m1", statistic="rating")
    once = dropped_to_reverse(rows, "m0", "m1", statistic="rating")
    assert found["instruction_id"].tolist() == once["instruction_id"].tolist()
    assert (found["n_battles"] == 2).all()
    assert found["outcome"].isna().all()


@pytest.mark.parametrize("seed", range(4))
def test_against_one_reference_ratings_are_ordered_as_win_rates(seed):
    rng = np.random.default_rng(seed)
    y = (rng.random((60, 2)) < [0.6, 0.5]).astype(float)
    rows = pd.DataFrame(
        {
            "instruction_id": [f"i{k}" for k in range(60)] * 2,
            "model": ["a"] * 60 + ["b"] * 60,
            "reference": "r",
            "annotator": "j",
            "outcome": y.T.ravel(),
        }
    )
    exact = dropped_to_reverse(rows, "a", "b").attrs
    found = dropped_to_reverse(rows, "a", "b", statistic="rating").attrs
    assert (found["model_a"], found["n_to_tie"], found["n_to_reverse"]) == (
        exact["model_a"],
        exact["n_to_tie"],
        exact["n_to_reverse"],
    )


def test_models_without_a_finite_rating_are_refused_with_the_reason():
    rows = pd.concat(
        [many(400), pd.DataFrame([{"instruction_id": "x", "model": "z", "reference": "m1", "outcome": 1}])]
    ).assign(annotator="j")
    with pytest.raises(AnnotationError, match="never lost to the rated models"):
        dropped_to_reverse(rows, "z", "m1", statistic="rating")
    with pytest.raises(AnnotationError, match="found 'm9'"):
        dropped_to_reverse(rows, "m9", "m1", statistic="rating")


def test_rank_sets_say_how_few_instructions_carry_each_order():
    rng = np.random.default_rng(0)
    y = (rng.random((90, 3)) < [0.7, 0.6, 0.3]).astype(float)
    rows = pd.DataFrame(
        {
            "instruction_id": np.repeat([f"i{k}" for k in range(90)], 3),
            "model": ["a", "b", "c"] * 90,
            "outcome": y.ravel(),
        }
    )
    found = rank_sets(rows, dropped=True, n_resamples=199)
    pairs = list(itertools.pairwise(found["model"]))
    expected = [dropped_to_reverse(rows, *pair).attrs["n_to_reverse"] for pair in pairs]
    assert found["n_to_reverse"].tolist()[:2] == expected
    assert found["n_to_reverse"].isna().tolist() == [False, False, True]
    assert "n_to_reverse" not in rank_sets(rows, n_resamples=199)
    beaten = rows.assign(outcome=np.where(rows["model"] == "c", 0.0, rows["outcome"]))
    beaten.loc[beaten["model"] == "b", "outcome"] = 1.0
    assert rank_sets(beaten, dropped=True, n_resamples=99)["n_to_reverse"].isna().all()
    halves = rows.assign(kind=np.where(rows["instruction_id"] < "i5", "x", "y"))
    sliced = rank_sets(halves, by="kind", dropped=True, n_resamples=199)
    for kind, part in sliced.groupby("kind"):
        own = halves[halves["kind"] == kind]
        first = dropped_to_reverse(own, *part["model"].iloc[:2]).attrs["n_to_reverse"]
        assert part["n_to_reverse"].iloc[0] == first
    assert (
        rank_sets(rows.drop(columns="instruction_id"), dropped=True, n_resamples=99)["n_to_reverse"]
        .isna()
        .all()
    )
