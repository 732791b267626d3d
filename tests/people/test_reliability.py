"""Alpha against two packages, the ceiling against simulated truth, the alternative annotator test."""

import warnings

import numpy as np
import pandas as pd
import pytest
from judgements import people, said
from numpy.testing import assert_allclose
from scipy import stats

from alpaca_analysis import (
    AnnotationError,
    agreement_ceiling,
    alternative_test,
    confusion,
    from_patterns,
    krippendorff_alpha,
    load,
    read_annotations,
)
from alpaca_analysis.foundations.errors import UndefinedWarning
from alpaca_analysis.people.reliability import coincidences, resampled_alpha
from alpaca_analysis.people.votes import VERDICTS, tally


@pytest.fixture(scope="module")
def ragged():
    rng = np.random.default_rng(7)
    truth = rng.choice(VERDICTS, p=[0.45, 0.1, 0.45], size=90)
    votes = np.where(rng.random((90, 4)) < 0.7, truth[:, None], rng.choice(VERDICTS, size=(90, 4)))
    votes[rng.random((90, 4)) < 0.25] = np.nan
    return votes


@pytest.fixture(scope="module")
def pandalm(mirror):
    table = read_annotations(mirror / "pandalm")
    human = table["annotator"].astype(str).str.startswith("human")
    return table[~human], table[human]


# Krippendorff's alpha ----------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_equals_a_second_package(ragged, level):
    evalica = pytest.importorskip("evalica")
    expected = evalica.alpha(pd.DataFrame(ragged.T), distance=level, solver="naive").alpha
    found = krippendorff_alpha(people(*ragged.T), level=level, n_resamples=99)
    assert_allclose(found.loc[0, "alpha"], expected)
    voted = (~np.isnan(ragged)).sum(axis=1)
    assert found.loc[0, ["n", "n_verdicts"]].tolist() == [(voted > 1).sum(), voted[voted > 1].sum()]


@pytest.mark.rows
@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
@pytest.mark.slow
def test_alpha_of_pandalm_equals_a_second_package(pandalm, level):
    evalica = pytest.importorskip("evalica")
    wide = pandalm[1].pivot(index="annotator", columns="repeat", values="outcome")
    found = krippendorff_alpha(pandalm[1], level=level, n_resamples=99)
    assert_allclose(found.loc[0, "alpha"], evalica.alpha(wide, distance=level).alpha)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_resampled_alpha_equals_the_package(ragged, level):
    """The vectorised formula of the bootstrap, on resamples of pairs."""
    krippendorff = pytest.importorskip("krippendorff")
    counts = tally(ragged)
    counts = counts[counts.sum(axis=1) > 1]
    rng = np.random.default_rng(0)
    for _ in range(5):
        chosen = counts[rng.integers(len(counts), size=len(counts))]
        expected = krippendorff.alpha(value_counts=chosen, value_domain=VERDICTS, level_of_measurement=level)
        sums = coincidences(chosen).sum(axis=0, keepdims=True)
        assert_allclose(resampled_alpha(sums, level), expected)


def test_alpha_of_krippendorffs_data_c():
    """Published: 0.7434 nominal, 0.8154 ordinal, 0.8491 interval, on values 1 to 5 by four observers."""
    krippendorff = pytest.importorskip("krippendorff")
    blank = np.nan
    data = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, blank, blank, blank],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, blank, 3],
        [blank, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, blank],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, blank],
    ]
    for level, expected in {"nominal": 0.7434, "ordinal": 0.8154, "interval": 0.8491}.items():
        assert_allclose(krippendorff.alpha(data, level_of_measurement=level), expected, atol=5e-5)


def test_alpha_is_undefined_without_variation():
    with pytest.warns(UndefinedWarning, match="all verdicts are the same"):
        found = krippendorff_alpha(people([1, 1, 1], [1, 1, 1]), n_resamples=99)
    assert np.isnan(found.loc[0, "alpha"])
    with pytest.raises(AnnotationError, match="two verdicts"):
        krippendorff_alpha(people([1, 0]))


def test_interval_of_alpha_says_that_it_rests_on_few():
    def note(ones, zeros):
        sides = np.repeat([1, 0], [ones, zeros])
        dissent = np.where(np.arange(ones + zeros) % 5, sides, 1 - sides)  # every fifth, of one of three
        return krippendorff_alpha(people(sides, sides, dissent), n_resamples=99).loc[0, "note"]

    assert note(21, 8) == "interval approximate: 29 instructions"
    assert note(22, 8) == note(8, 22) == ""
    few = "interval approximate: driven by 7 instructions whose verdict is not the commonest"
    assert note(80, 7) == note(7, 80) == few


def test_alpha_counts_instructions_not_pairs():
    """Eight pairs on the rarer side, of four instructions."""
    sides = np.repeat([1, 0], [40, 8])
    rows = people(sides, sides, np.where(np.arange(48) % 5, sides, 1 - sides))
    rows["repeat"] = rows.groupby("annotator").cumcount()
    rows["instruction_id"] = 3 * ([f"i{k}" for k in range(40)] + [f"j{k // 2}" for k in range(8)])
    found = krippendorff_alpha(rows, n_resamples=99, on=["repeat"])
    assert "driven by 4 instructions" in found.loc[0, "note"]


@pytest.mark.simulation
@pytest.mark.parametrize(("n", "rarer", "least"), [(40, 0.5, 0.93), (80, 0.1, 0.93), (80, 0.03, 0.8)])
def test_coverage_of_alpha_with_few_on_one_side(n, rarer, least):
    """From counts, 1,000 data sets; what has no note covers 93 %, all together less."""
    rng, agree = np.random.default_rng(6), 0.9
    law = [
        sum(p * stats.binom.pmf(k, 3, q) for p, q in ((rarer, 1 - agree), (1 - rarer, agree)))
        for k in range(4)
    ]
    chance = rarer * (1 - agree) + (1 - rarer) * agree
    true = 1 - 2 * agree * (1 - agree) / (2 * chance * (1 - chance))
    hits, noted = [], []
    for _ in range(1000):
        sides = np.repeat(range(4), rng.multinomial(n, law))
        rows = people(*[(sides > k) * 1 for k in range(3)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedWarning)
            row = krippendorff_alpha(rows, n_resamples=299, rng=rng).loc[0]
        hits.append(row["ci_low"] <= true <= row["ci_high"])
        noted.append(bool(row["note"]))
    hits, noted = np.array(hits), np.array(noted)
    assert hits.mean() > least - 3 * 0.008
    if noted.mean() < 0.5:
        assert hits[~noted].mean() > 0.93 - 3 * 0.01
    assert (noted.mean() > 0.5) == (rarer == 0.03)


@pytest.mark.simulation
def test_coverage_of_alpha():
    rng = np.random.default_rng(4)

    def draw(n):
        truth = rng.integers(0, 2, (n, 1))
        return people(*np.where(rng.random((n, 3)) < 0.85, truth, 1 - truth).T)

    true = 0.7**2  # two people agree by 0.85^2 + 0.15^2 = 0.745, by chance 0.5
    found = [krippendorff_alpha(draw(150), n_resamples=599, rng=0).loc[0] for _ in range(400)]
    assert 0.93 <= np.mean([r["ci_low"] <= true <= r["ci_high"] for r in found]) <= 0.97


# Ceiling -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scoring", ["zero_one", "absolute"])
@pytest.mark.slow
def test_ceiling_lies_around_the_truth(scoring):
    """A simulated judge that knows how all people would vote: its score is the ceiling."""
    rng = np.random.default_rng(2)
    p = rng.dirichlet([0.6, 0.1, 0.6], size=4000)
    votes = np.array([rng.choice(VERDICTS, p=row, size=4) for row in p])
    result = agreement_ceiling(people(*votes.T), scoring=scoring, n_resamples=199).set_index("n_humans")
    apart = np.abs(VERDICTS[:, None] - VERDICTS)
    points = (apart == 0) if scoring == "zero_one" else 1 - apart
    true = (p @ points).max(axis=1).mean()
    assert result.loc[1, "low"] < true < result.loc[1, "high"]
    assert_allclose(result.loc[1, "ceiling"], true, atol=0.02)
    assert result.loc[3, "high"] < result.loc[4, "high"] < 1  # ties of two to two remain
    assert np.isnan(result.loc[4, "low"])
    assert (result["ci_low"].dropna() < result["low"].dropna()).all()


def test_ceiling_without_noise_is_one():
    result = agreement_ceiling(people([1, 0, 1], [1, 0, 1]), n_resamples=99)
    assert_allclose(result["ceiling"], 1, atol=1e-6)
    assert result["high"].tolist() == [1, 1]


@pytest.mark.rows
def test_ceiling_of_pandalm(pandalm):
    result = agreement_ceiling(pandalm[1], n_resamples=199).set_index("n_humans")
    votes = pandalm[1].pivot(index="repeat", columns="annotator", values="outcome").to_numpy()
    assert_allclose(result.loc[1, "high"], (tally(votes).max(axis=1) / 3).mean())
    assert 0.9199 - 5e-5 <= result.loc[2, "low"] <= result.loc[2, "ceiling"] <= result.loc[2, "high"]


# Confusion ---------------------------------------------------------------------------------------


@pytest.mark.rows
@pytest.mark.slow
def test_confusion_equals_crosstab(pandalm):
    judges, humans = pandalm
    votes = humans.pivot(index="repeat", columns="annotator", values="outcome")
    unique = votes[votes.nunique(axis=1) < 3]
    middle = unique.median(axis=1)  # with three votes of which two are equal, the majority
    chosen = judges[judges["repeat"].isin(unique.index)]
    found = confusion(chosen, humans).set_index(["annotator", "majority", "verdict"])["count"]
    names = {0.0: "reference", 0.5: "draw", 1.0: "model"}
    for judge, rows in chosen.dropna(subset="outcome").groupby("annotator", observed=True):
        majority = rows["repeat"].map(middle)
        two_one = votes.loc[rows["repeat"]].mode(axis=1)[0].to_numpy()
        expected = pd.crosstab(two_one, rows["outcome"].to_numpy())
        assert len(majority) == expected.to_numpy().sum()
        for m in names:
            for v in names:
                assert found[judge, names[m], names[v]] == expected.loc[m, v]


def test_confusion_splits_ties_and_keeps_totals(ragged):
    table = said(ragged[:, 0])
    found = confusion(table, people(*ragged.T[1:]))
    judged = ~np.isnan(ragged[:, 0]) & ~np.isnan(ragged[:, 1:]).all(axis=1)
    assert_allclose(found["count"].sum(), judged.sum())
    assert_allclose(found.groupby("majority")["share"].sum(), 1)


# Alternative annotator test ----------------------------------------------------------------------


def by_hand(judge, votes, epsilon):
    """Follow the paper on full data: leave each person out, paired t-test, Benjamini-Yekutieli."""
    from scipy import stats

    pvalues, rhos = [], []
    for j in range(votes.shape[1]):
        others = np.delete(votes, j, axis=1)
        score_judge = (judge[:, None] == others).mean(axis=1)
        score_human = (votes[:, [j]] == others).mean(axis=1)
        wins, losses = (score_judge >= score_human).astype(float), (score_human >= score_judge).astype(float)
        rhos.append(wins.mean())
        pvalues.append(stats.ttest_1samp(losses - wins, epsilon, alternative="less").pvalue)
    m = len(pvalues)
    order, rejected = np.argsort(pvalues), 0
    for rank, k in enumerate(order, 1):
        if pvalues[k] <= rank * 0.05 / (m * sum(1 / i for i in range(1, m + 1))):
            rejected = rank
    return pvalues, rejected / m, np.mean(rhos)


@pytest.mark.parametrize(("skill", "epsilon"), [(0.9, 0.1), (0.75, 0.1), (0.75, 0.2), (0.5, 0.1)])
@pytest.mark.slow
def test_alternative_test_follows_the_paper(skill, epsilon):
    rng = np.random.default_rng(8)
    truth = rng.integers(0, 2, 120).astype(float)
    votes = np.where(rng.random((120, 5)) < [0.6, 0.7, 0.75, 0.8, 0.9], truth[:, None], 1 - truth[:, None])
    judge = np.where(rng.random(120) < skill, truth, 1 - truth)
    pvalues, omega, rho = by_hand(judge, votes, epsilon)
    found = alternative_test(said(judge), people(*votes.T), epsilon=epsilon)
    assert_allclose(found["pvalue"], pvalues)
    assert_allclose(found["winning_rate"], omega)
    assert_allclose(found["advantage_probability"], rho)
    assert (found["passes"] == (omega >= 0.5)).all()


@pytest.mark.rows
def test_pandalms_judges_do_not_replace_its_people(pandalm):
    found = alternative_test(*pandalm, epsilon=0.15)
    assert len(found) == 6
    assert not found["passes"].any()
    assert_allclose(found.query("annotator == 'pandalm-7b'")["advantage_probability"], 0.7147, atol=5e-5)


def test_alternative_test_on_little_data():
    found = alternative_test(said([1, 0, 1]), people([1, 0, 1], [1, 0, 0], [1, 0, np.nan]))
    assert (found["note"] != "").all()
    assert found["n"].tolist() == [3, 3, 2]
    with pytest.raises(AnnotationError, match="two people"):
        alternative_test(said([1, 0]), people([1, 0]))


def test_counts_are_pairs_and_settings_are_stated():
    """Without instructions every result says so; PandaLM's alpha is then too sure of itself."""
    table = from_patterns(load("pandalm_counts"))
    human = table["annotator"].astype(str).str.startswith("human")
    judges, humans = table[~human], table[human]
    options = {"n_resamples": 99, "rng": 5}
    results = {
        "alpha": (krippendorff_alpha(humans, **options), "percentile", 5),
        "ceiling": (agreement_ceiling(humans, **options), "bca", 5),
        "test": (alternative_test(judges, humans), None, None),
    }
    for result, method, seed in results.values():
        said = result.attrs
        assert said["unit"] == "pair (no instruction ids)"
        assert (said["interval"], said["rng"]) == (method, seed)
        assert said["on"] == ["idx"]
        assert {"confidence_level", "n_resamples"} <= set(said)
    assert confusion(judges, humans).attrs["unit"] == "pair (no instruction ids)"


def test_alpha_says_where_few_instructions_hold_most_verdicts():
    rng = np.random.default_rng(3)
    sizes = np.r_[np.full(38, 2), 300, 400]
    ids = np.repeat([f"i{k}" for k in range(40)], sizes)
    truth = rng.integers(0, 2, len(ids))
    voters = [
        said(
            np.where(rng.random(len(ids)) < 0.9, truth, 1 - truth),
            f"p{k}",
            ids=ids,
            repeat=np.arange(len(ids)),
        )
        for k in range(2)
    ]
    note = krippendorff_alpha(pd.concat(voters), on=["repeat"], n_resamples=199).loc[0, "note"]
    assert note == "interval approximate: 40 units of unequal size, worth about 2 equal ones"
