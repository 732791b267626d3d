"""Notes on intervals that rest on few units: the two measures by hand, and where functions give the note."""

import numpy as np
import pandas as pd
import pytest
from judgements import people, said
from scipy import stats

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import UndefinedWarning
from alpaca_analysis.inference import coverage_notes as few_units
from alpaca_analysis.inference import ratios


def judged(model, losses, n):
    return said(np.where(np.isin(np.arange(n), losses), 0.0, 1.0), model=model)


def dissenting(dissent, n=80):
    """Return four people: all say 1, but for the last one on the first `dissent` pairs."""
    return people(*[np.arange(n) >= dissent * (k == 3) for k in range(4)])


def units_of(values, counts=None):
    values = np.asarray(values, dtype=float)[:, None]
    return ratios.Units(values, np.ones_like(values), None if counts is None else np.array(counts))


def rarity(units):
    return few_units.rarity(ratios.influence(units), units.counts)[0]


def test_rarity_is_the_number_of_losses_where_they_are_few():
    np.testing.assert_allclose(rarity(units_of([1, 0], [100_000, 5])), 5, rtol=1e-3)
    y = np.repeat([1.0, 0.5, 0.0], [30, 5, 3])
    np.testing.assert_allclose(rarity(units_of(y)), 38 / stats.skew(y) ** 2)


def test_far_end_is_the_number_of_losses_where_they_are_few():
    np.testing.assert_allclose(few_units.far_end(units_of([1, 0], [100_000, 5])), 5, rtol=1e-3)
    np.testing.assert_allclose(few_units.far_end(units_of([1, 0], [5, 100_000])), 5, rtol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_far_end_by_hand_and_never_above_rarity(seed):
    y = np.random.default_rng(seed).beta(5, 1, 40)
    found = few_units.far_end(units_of(y))[0]
    np.testing.assert_allclose(found, 40 * y.var() / max(y.mean(), 1 - y.mean()) ** 2)
    assert found <= rarity(units_of(y))


def test_far_end_counts_only_units_of_the_column():
    y, m = np.array([[1.0, 1], [0, 0], [1, 0], [1, 0]]), np.array([[1.0, 1], [1, 1], [1, 0], [1, 0]])
    np.testing.assert_allclose(few_units.far_end(ratios.Units(y, m)), [4 * 0.1875 / 0.75**2, 2])


@pytest.mark.parametrize(
    ("values", "counts", "method", "note"),
    [
        ([1, 0], [97, 3], "bca", "interval approximate: driven by about 3 units (such as the few losses)"),
        ([1, 0], [90, 10], "bca", ""),
        ([1, 0], [90, 10], "t", "interval approximate: driven by about 14 units (such as the few losses)"),
        ([1, 0], [5, 4], "t", "interval approximate: 9 units"),
        ([1, 0], [97, 3], "wilson", ""),
        (
            [1, 0.75],
            [66, 14],
            "bca",
            "interval approximate: two units at the far end of the scale would outweigh all others",
        ),
        ([1, 0.75, 0], [60, 14, 6], "bca", ""),
        ([1, 1], [60, 14], "bca", ""),
    ],
)
def test_notes_of_means(values, counts, method, note):
    assert [getattr(n, "text", n) for n in few_units.of_means(units_of(values, counts), method)] == [note]


def test_note_ends_with_what_covers_better():
    assert few_units.of_means(units_of([1, 0], [97, 3]), "bca", "more").item().text.endswith("losses); more")


@pytest.mark.parametrize("method", ["t", "bca", "percentile"])
def test_compare_says_that_few_instructions_tell_the_models_apart(method):
    few = pd.concat([judged("a", [], 80), judged("b", [1, 2, 3], 80)])
    many = pd.concat([judged("a", range(20), 80), judged("b", range(10, 50), 80)])
    note = aa.compare(few, "a", "b", method=method, n_resamples=99).loc[0, "note"]
    assert note == "interval approximate: driven by about 3 units (such as the few losses)"
    assert aa.compare(many, "a", "b", method=method, n_resamples=99).loc[0, "note"] == ""
    small = pd.concat([judged("a", [1, 2], 9), judged("b", [2, 3, 4, 5], 9)])
    note = aa.compare(small, "a", "b", method=method, n_resamples=99).loc[0, "note"]
    assert note == "interval approximate: 9 units"


def test_compare_of_independent_samples_says_so_too():
    counts = {"model": ["a", "b"], "n_wins": [80, 77], "n_losses": [0, 3], "n_draws": [0, 0]}
    note = aa.compare(aa.from_counts(counts), "a", "b").loc[0, "note"]
    assert note == (
        "taken as independent samples: no shared instruction ids; "
        "interval approximate: driven by about 3 units (such as the few losses)"
    )
    even = {"model": ["a", "b"], "n_wins": [60, 50], "n_losses": [20, 30], "n_draws": [0, 0]}
    note = aa.compare(aa.from_counts(even), "a", "b").loc[0, "note"]
    assert note == "taken as independent samples: no shared instruction ids"


def test_undefined_comparison_has_no_interval_to_be_approximate():
    same = pd.concat([judged("a", [1], 9), judged("b", [1], 9)])
    with pytest.warns(UndefinedWarning):
        assert aa.compare(same, "a", "b").loc[0, "note"] == "interval undefined: no variation"


def test_agreement_says_where_the_scores_that_matter_were_not_seen():
    judge = judged("m", range(10, 30), 80).assign(annotator="judge")
    found = aa.human_agreement(judge, dissenting(14), n_resamples=99).set_index("annotator")["note"]
    assert "two units at the far end" in found["humans"]
    assert found["judge"] == "one judgement per pair: bias includes variance"
    few = judged("m", [30, 31, 32], 80).assign(annotator="judge")
    for method, rest in (("bca", "losses)"), ("t", "losses); 'bca' covers better")):
        found = aa.human_agreement(few, dissenting(14), method=method, n_resamples=99).set_index("annotator")
        assert found.loc["judge", "note"].endswith(
            f"interval approximate: driven by about 3 units (such as the few {rest}"
        )


def test_groups_of_pairs_say_so_too():
    judge = judged("m", [1, 2, 30, 31, 32], 80).assign(annotator="judge")
    judge["dataset"] = np.where(np.arange(80) < 10, "few", "many")
    found = aa.agreement_by(judge, dissenting(0), by="dataset", n_resamples=99)
    notes = found[found["annotator"] == "judge"].set_index("dataset")["note"]
    assert notes["few"] == "only 10 instructions: interval unreliable"
    assert notes["many"] == "interval approximate: driven by about 3 units (such as the few losses)"


def test_comparison_of_judges_says_so_and_is_no_undefined_result(recwarn):
    one = judged("m", [30, 31, 32], 80).assign(annotator="one")
    two = judged("m", [], 80).assign(annotator="two")
    found = aa.compare_agreement(pd.concat([one, two]), dissenting(14), "one", "two", n_resamples=99)
    assert found.loc[0, "note"] == "interval approximate: driven by about 3 units (such as the few losses)"
    assert not recwarn.list
