"""Ratings against evalica, statsmodels, closed forms, and simulated coverage."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import special

from alpaca_analysis import AnnotationError, bradley_terry, collapse, win_rate
from alpaca_analysis.foundations.errors import UndefinedWarning
from alpaca_analysis.win_rates.bradley_terry_ratings import ELO


def battles(n=3000, p=6, seed=0, position=0.0, length=0.0, ids=True):
    """Draw battles from known ratings (a spread of 2 logits), position and length effects, 10 % draws."""
    rng = np.random.default_rng(seed)
    truth = np.linspace(1, -1, p)
    first = rng.integers(p, size=n)
    second = (first + rng.integers(1, p, size=n)) % p
    shown = rng.integers(1, 3, size=n)
    ours, theirs = rng.lognormal(6, 0.6, size=(2, n))
    x = (ours - theirs) / (ours + theirs)
    eta = truth[first] - truth[second] + position * np.where(shown == 1, 1, -1) + length * x
    outcome = (rng.random(n) < special.expit(eta)).astype(float)
    outcome[rng.random(n) < 0.1] = 0.5
    table = pd.DataFrame(
        {
            "model": [f"m{k}" for k in first],
            "reference": [f"m{k}" for k in second],
            "outcome": outcome,
            "position": shown,
            "length_model": ours,
            "length_reference": theirs,
        }
    )
    return table.assign(instruction_id=[f"i{k}" for k in range(n)]) if ids else table


@pytest.fixture(scope="module")
def table():
    return battles()


def test_ratings_agree_with_evalica(table):
    evalica = pytest.importorskip("evalica")

    winners = table["outcome"].map({1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw})
    scores = evalica.bradley_terry(
        table["model"].tolist(), table["reference"].tolist(), winners.tolist(), tolerance=1e-12, limit=10_000
    ).scores
    found = bradley_terry(table, n_resamples=49).to_frame().set_index("model")["rating"]
    expected = np.log(scores) - np.log(scores).mean()
    assert_allclose(found, expected.loc[found.index], atol=1e-7)
    assert found.index.tolist() == [f"m{k}" for k in range(6)]


def test_ratings_and_covariates_agree_with_statsmodels(table):
    """A formula fit of the same regression, with the cluster sandwich as oracle of the errors."""
    import statsmodels.api as sm

    table = battles(position=0.3, length=1.2)
    found = bradley_terry(table, covariates=["position", "length"], n_resamples=1500)
    names = [f"m{k}" for k in range(6)]
    design = pd.DataFrame(
        {m: (table["model"] == m).astype(float) - (table["reference"] == m) for m in names[1:]}
    )
    design["position"] = 3 - 2 * table["position"]
    total = table["length_model"] + table["length_reference"]
    design["length"] = (table["length_model"] - table["length_reference"]) / total
    oracle = sm.GLM(table["outcome"], design, family=sm.families.Binomial()).fit(cov_type="HC0")
    effects = found.coefficients.set_index("covariate")
    assert_allclose(effects["coefficient"], oracle.params[["position", "length"]], rtol=1e-6)
    assert_allclose(effects["standard_error"], oracle.bse[["position", "length"]], rtol=0.08)
    ratings = found.to_frame().set_index("model")["rating"]
    assert_allclose(ratings[names[1:]] - ratings["m0"], oracle.params[names[1:]], rtol=1e-6)
    assert_allclose(ratings.sum(), 0, atol=1e-12)
    covered = effects.loc[["position", "length"], "ci_low"] < [0.3, 1.2]
    assert covered.all()


@pytest.mark.slow
def test_against_one_reference_the_win_rate_comes_back(alpaca_eval_v1_like):
    rates = win_rate(alpaca_eval_v1_like, method="percentile").set_index("model")
    ratings = bradley_terry(alpaca_eval_v1_like, n_resamples=999)
    for model, row in rates.iterrows():
        found = ratings.win_rate(model, "davinci").iloc[0]
        assert_allclose(found["win_rate"], row["win_rate"], atol=1e-7)
        assert_allclose(
            found[["ci_low", "ci_high"]].astype(float), row[["ci_low", "ci_high"]].astype(float), atol=0.01
        )


@pytest.fixture
def alpaca_eval_v1_like():
    rng = np.random.default_rng(4)
    outcome = (rng.random((400, 3)) < [0.8, 0.6, 0.3]).astype(float)
    return pd.DataFrame(
        {
            "instruction_id": np.repeat([f"i{u}" for u in range(400)], 3),
            "model": np.tile(["a", "b", "c"], 400),
            "reference": "davinci",
            "outcome": outcome.ravel(),
        }
    )


@pytest.mark.parametrize("covariates", [[], ["length"]])
def test_row_order_is_irrelevant(covariates):
    """Several battles an instruction, so that the draw is of instructions."""
    table = battles(n=300, p=3).assign(instruction_id=np.repeat([f"i{k}" for k in range(100)], 3))
    table["repeat"] = np.tile([1, 2, 3], 100)
    shuffled = table.sample(frac=1, random_state=5).reset_index(drop=True)
    found = [bradley_terry(t, covariates=covariates, n_resamples=39).to_frame() for t in (table, shuffled)]
    pd.testing.assert_frame_equal(*found, rtol=1e-9)


def test_an_id_missing_on_one_row_is_refused():
    """It used to turn all clustering off, and halve the errors of judgements made four times."""
    once = battles(n=100, p=3)
    four = pd.concat([once.assign(repeat=k) for k in range(4)], ignore_index=True)
    four.loc[250, "instruction_id"] = None
    with pytest.raises(AnnotationError, match="row 250, column 'instruction_id'"):
        bradley_terry(four, n_resamples=9)


def test_the_settings_name_the_seed():
    found = bradley_terry(battles(n=100, p=3), n_resamples=9, rng=np.int64(3))
    assert found.settings["rng"] == found.to_frame().attrs["rng"] == 3
    assert {"method", "unit", "confidence_level", "n_resamples"} <= set(found.settings)


@pytest.mark.slow
def test_counts_give_the_same_ratings_and_errors(table):
    """One battle an instruction: a multinomial over distinct battles is the same bootstrap."""
    rows = bradley_terry(table, n_resamples=250).to_frame()
    counted = bradley_terry(collapse(table, by=["model", "reference"]), n_resamples=250).to_frame()
    assert_allclose(rows["rating"], counted["rating"], atol=1e-9)
    assert_allclose(rows["standard_error"], counted["standard_error"], rtol=0.25)


@pytest.mark.slow
def test_clustered_judgements_widen_the_errors(table):
    """Each battle judged four times alike is no more than each judged once."""
    four = pd.concat([table.assign(repeat=k) for k in range(4)], ignore_index=True)
    once, repeated = (bradley_terry(t, n_resamples=150).to_frame() for t in (table, four))
    assert_allclose(once["rating"], repeated["rating"], atol=1e-9)
    assert_allclose(once["standard_error"], repeated["standard_error"], rtol=0.3)


@given(st.integers(0, 2**20))
@settings(max_examples=8, deadline=None)
@pytest.mark.slow
def test_swapping_sides_of_any_battles_changes_nothing(seed):
    table = battles(400, 4, ids=False).drop(columns="position")
    swap = np.random.default_rng(seed).random(len(table)) < 0.5
    swapped = table.assign(
        model=np.where(swap, table["reference"], table["model"]),
        reference=np.where(swap, table["model"], table["reference"]),
        outcome=np.where(swap, 1 - table["outcome"], table["outcome"]),
    )
    one, two = (bradley_terry(t, n_resamples=9).to_frame() for t in (table, swapped))
    assert_allclose(one["rating"], two["rating"], atol=1e-8)


def test_an_elo_scale_only_stretches(table):
    ratings = bradley_terry(table, n_resamples=99)
    plain, elo = ratings.to_frame(), ratings.to_frame(scale=ELO, offset=1000)
    assert_allclose(elo["rating"], 1000 + 400 / np.log(10) * plain["rating"])
    assert_allclose(elo["ci_high"] - elo["ci_low"], ELO * (plain["ci_high"] - plain["ci_low"]))
    assert elo["rank_high"].tolist() == plain["rank_high"].tolist()


def test_halves_that_never_met_have_no_common_scale():
    one, two = battles(200, 3), battles(200, 3)
    two = two.assign(model="x" + two["model"], reference="x" + two["reference"], instruction_id=None)
    with pytest.raises(AnnotationError, match=r"2 groups never met.*m0, m1, m2 \| xm0"):
        bradley_terry(pd.concat([one.assign(instruction_id=None), two]))


@pytest.mark.slow
def test_models_that_always_win_or_lose_are_flagged_and_leave_the_rest_alone(table):
    extra = pd.DataFrame(
        {"model": ["best"] * 9 + ["m3"] * 5, "reference": ["m1"] * 9 + ["worst"] * 5, "outcome": 1.0}
    ).assign(instruction_id=[f"x{k}" for k in range(14)])
    with pytest.warns(UndefinedWarning, match="best \\(and 1 more"):
        found = bradley_terry(pd.concat([table, extra]), n_resamples=199).to_frame()
    alone = bradley_terry(table, n_resamples=199).to_frame()
    assert found["model"].tolist()[-2:] == ["best", "worst"]
    assert found["rating"].isna().tolist() == [False] * 6 + [True] * 2
    assert found["note"].tolist()[-2].startswith("rating undefined: never lost")
    assert found["note"].tolist()[-1].startswith("rating undefined: never won")
    assert_allclose(found["rating"].dropna(), alone["rating"], atol=1e-9)
    assert found["rank"].isna().sum() == 2


def test_everything_separated_is_refused():
    table = pd.DataFrame({"model": ["a", "b"], "reference": ["b", "c"], "outcome": [1.0, 1.0]})
    with pytest.raises(AnnotationError, match="every battle is separated"):
        bradley_terry(table)


@pytest.mark.parametrize(
    ("change", "covariates", "message"),
    [
        (lambda t: t.assign(annotator=np.where(np.arange(len(t)) % 2, "x", "y")), [], "one annotator"),
        (lambda t: t.assign(reference=None), [], "a name on both sides"),
        (lambda t: t.drop(columns="reference"), [], "'reference'"),
        (lambda t: t.drop(columns="position"), ["position"], "'position'"),
        (lambda t: t.assign(position=1), ["position", "style"], "'headers_model'"),
        (lambda t: t.assign(style=0.0), ["style"], "vary apart"),
        (lambda t: t.assign(length_model=np.nan), ["length"], "battles with values of length"),
    ],
)
def test_malformed_questions_are_refused(table, change, covariates, message):
    with pytest.raises(AnnotationError, match=message):
        bradley_terry(change(table), covariates=covariates, n_resamples=9)


def test_what_is_left_out_is_counted(table):
    holes = table.assign(
        outcome=table["outcome"].where(table.index >= 7),
        length_model=table["length_model"].where(table.index % 10 > 0),
    )
    found = bradley_terry(holes, covariates=["length"], n_resamples=9)
    assert found.settings["n_missing"] == 7
    assert found.settings["n_left_out"] == (holes.index[7:] % 10 == 0).sum()


@pytest.mark.rows
def test_alpaca_eval_1_is_a_star_around_its_reference(alpaca_eval_v1):
    few = alpaca_eval_v1[alpaca_eval_v1["model"].isin(["gpt4", "claude-2", "vicuna-13b"])]
    found = bradley_terry(few, n_resamples=99).win_rate("gpt4", "text_davinci_003")
    assert_allclose(found.loc[0, "win_rate"], 0.9527950311, atol=1e-6)


@pytest.mark.simulation
@pytest.mark.parametrize("covariates", [[], ["position", "length"]])
def test_intervals_cover_in_simulation(covariates):
    truth, hits = np.linspace(1, -1, 6), []
    for seed in range(100):
        table = battles(600, seed=seed, position=0.2 * len(covariates), length=0.5 * len(covariates))
        decided = table[table["outcome"] != 0.5]  # draws are drawn at random and would shrink the odds
        found = bradley_terry(decided, covariates=covariates, n_resamples=199).to_frame()
        found = found.sort_values("model")
        hits.append((found["ci_low"].to_numpy() <= truth) & (found["ci_high"].to_numpy() >= truth))
    assert np.mean(hits) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 100)


@pytest.mark.parametrize("covariates", [(), ("length",)])
def test_a_single_instruction_has_no_error_and_orders_nothing(covariates):
    first, second = list("aabbccaabbcc"), list("bbccaabbccaa")
    one = pd.DataFrame({"instruction_id": "i", "model": first, "reference": second, "repeat": range(12)})
    one["outcome"] = [1, 1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0.0]
    one = one.assign(length_model=100 + 17 * (one["repeat"] * 5 % 12), length_reference=150)
    with pytest.warns(UndefinedWarning, match="a single instruction"):
        ratings = bradley_terry(one, covariates=covariates, n_resamples=20)
    frame = ratings.to_frame()
    assert frame[["standard_error", "ci_low", "ci_high"]].isna().all(axis=None)
    assert frame["note"].str.contains("a single instruction").all()
    assert (frame["rank_low"] == 1).all()
    assert (frame["rank_high"] == 3).all()
    assert ratings.win_rate("a", "b")[["ci_low", "ci_high"]].isna().all(axis=None)
    assert ratings.coefficients[["standard_error", "ci_low", "ci_high"]].isna().all(axis=None)


def test_draws_alone_have_no_interval():
    draws = battles(200).assign(outcome=0.5)
    with pytest.warns(UndefinedWarning, match="all outcomes are draws"):
        frame = bradley_terry(draws, n_resamples=20).to_frame()
    assert_allclose(frame["rating"], 0, atol=1e-9)
    assert frame[["ci_low", "ci_high"]].isna().all(axis=None)
    assert frame["note"].str.contains("all outcomes are draws").all()
