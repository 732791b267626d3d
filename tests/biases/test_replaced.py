"""One judge for another: pandas, statsmodels and scipy as oracles; orders planted and reversed."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import special, stats

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import AnnotationError

QUICK = {"n_resamples": 199}


def two_judges(rng, skills, n=150, *, new=None):
    """Return verdicts of an old judge and a new one, which may see other skills."""
    parts = []
    for name, seen in (("old", skills), ("new", new or skills)):
        for model, skill in seen.items():
            noise = np.random.default_rng(sum(map(ord, model))).normal(0, 1, n)  # the pairs', for both judges
            won = skill + noise + rng.normal(0, 0.7, n) > 0
            ids = [f"i{k}" for k in range(n)]
            columns = {"instruction_id": ids, "model": model, "reference": "r", "annotator": name}
            parts.append(pd.DataFrame(columns | {"outcome": won * 1.0}))
    return pd.concat(parts, ignore_index=True)


SKILLS = dict(zip("abcdef", [-1.2, -0.6, -0.1, 0.3, 0.8, 1.5], strict=True))


def test_against_pandas_and_scipy():
    table = two_judges(np.random.default_rng(1), SKILLS)
    result = aa.equate(table, "old", "new", **QUICK)
    frame = result.to_frame().set_index("model").sort_index()
    wide = table.pivot(index=["model", "instruction_id"], columns="annotator", values="outcome")
    for model, rows in wide.groupby("model"):
        test = stats.ttest_rel(rows["new"], rows["old"])
        interval = test.confidence_interval()
        expected = [rows["old"].mean(), rows["new"].mean(), interval.low, interval.high, test.pvalue]
        columns = ["win_rate_old", "win_rate_new", "ci_low", "ci_high", "pvalue"]
        assert_allclose(frame.loc[model, columns].astype(float), expected, atol=1e-14)
    rates = wide.groupby("model").mean()
    assert_allclose(result.kendall, stats.kendalltau(rates["old"], rates["new"]).statistic)
    assert frame["rank_old"].tolist() == rates["old"].rank(ascending=False, method="min").tolist()
    assert frame["rank_new"].tolist() == rates["new"].rank(ascending=False, method="min").tolist()


def test_predictions_against_statsmodels():
    table = two_judges(np.random.default_rng(2), SKILLS | {"g": 0.5})
    table = table[~((table["annotator"] == "new") & (table["model"] == "g"))]
    result = aa.equate(table, "old", "new", **QUICK)
    frame = result.to_frame().set_index("model")
    x, y = (special.logit((frame[c] * 150 + 0.5) / 151) for c in ("win_rate_old", "win_rate_new"))
    shared = frame.index[frame["n"] > 0]
    columns = ["predicted", "predicted_low", "predicted_high"]
    for model in frame.index:
        others = shared.drop(model, errors="ignore")
        fit = sm.OLS(y[others], sm.add_constant(x[others])).fit()
        band = fit.get_prediction(np.array([[1, x[model]]])).summary_frame()
        expected = special.expit(band[["mean", "obs_ci_lower", "obs_ci_upper"]].iloc[0].astype(float))
        assert_allclose(frame.loc[model, columns].astype(float), expected)
    fit = sm.OLS(y[shared], sm.add_constant(x[shared])).fit()
    assert_allclose([result.intercept, result.slope], fit.params)
    assert_allclose(result.predict(0.4), special.expit(fit.params @ [1, special.logit(0.4)]))
    assert frame.loc["g", "n"] == 0
    assert frame.loc["g", "reason"] == "not_shared"
    assert pd.isna(frame.loc["g", "win_rate_new"])
    error = (frame["predicted"] - frame["win_rate_new"]).loc[shared].abs().mean()
    assert_allclose(result.mean_absolute_error, error)


def test_orders_are_those_of_the_win_rates():
    table = two_judges(np.random.default_rng(3), SKILLS)
    orders = aa.equate(table, "old", "new", **QUICK).orders
    rates = table.pivot_table(index="model", columns="annotator", values="outcome")
    assert len(orders) == 15
    for row in orders.itertuples():
        gaps = rates.loc[row.model_a] - rates.loc[row.model_b]
        assert_allclose([row.difference_old, row.difference_new], gaps[["old", "new"]])
        assert row.survives == (np.sign(gaps["old"]) == np.sign(gaps["new"]))


def test_a_reversal_is_shown_and_an_order_that_holds():
    new = SKILLS | {"a": 1.5, "f": -1.2}
    table = two_judges(np.random.default_rng(4), SKILLS, new=new)
    result = aa.equate(table, "old", "new", **QUICK)
    shown = {frozenset((r.model_a, r.model_b)): r.shown for r in result.orders.itertuples()}
    assert shown[frozenset("af")] == "reversed"
    assert shown[frozenset("be")] == "same"
    assert "1 shown reversed" not in repr(
        aa.equate(two_judges(np.random.default_rng(4), SKILLS), "old", "new")
    )
    assert result.counts().sum() == 15


def test_few_models_have_no_line_and_say_so():
    table = two_judges(np.random.default_rng(5), {"a": 0.1, "b": 0.9})
    result = aa.equate(table, "old", "new", **QUICK)
    assert np.isnan(result.slope)
    assert np.isnan(result.predict(0.5))
    assert result.to_frame()["reason"].tolist() == ["few_models"] * 2
    assert len(result.orders) == 1
    alone = aa.equate(table[table["model"] == "a"], "old", "new", **QUICK)
    assert len(alone.orders) == 0
    assert "0 of 0 orders" in repr(alone)


def test_rows_of_one_judge_alone_do_not_count():
    table = two_judges(np.random.default_rng(6), SKILLS)
    lost = (table["annotator"] == "new") & (table["instruction_id"].str.len() == 2)
    partly = aa.equate(table[~lost], "old", "new", **QUICK).to_frame()
    shared = aa.equate(table[table["instruction_id"].str.len() > 2], "old", "new", **QUICK).to_frame()
    pd.testing.assert_frame_equal(partly, shared)
    assert (partly["n"] == 140).all()


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("older", "new", AnnotationError, "found 'older', expected one of new, old"),
        ("old", "old", ValueError, "expected another judge"),
    ],
)
def test_judges_must_be_two_of_the_table(old, new, error, message):
    table = two_judges(np.random.default_rng(7), {"a": 0.0, "b": 1.0}, n=20)
    with pytest.raises(error, match=message):
        aa.equate(table, old, new)
    with pytest.raises(AnnotationError, match="pairs judged by both"):
        aa.equate(table[(table["annotator"] == "old") == (table["model"] == "a")], "old", "new")


@pytest.mark.simulation
def test_prediction_intervals_cover_and_reversals_are_rare_where_there_is_none():
    """500 data sets of a judge that is stricter by the same step: 93.9 % of values covered, no reversal."""
    rng = np.random.default_rng(2026)
    covered, reversed_, n = 0, 0, 0
    for _ in range(500):
        skills = dict(zip("abcdefgh", rng.normal(0, 0.7, 8), strict=True))
        table = two_judges(rng, skills, n=80, new={m: s - 0.4 for m, s in skills.items()})
        result = aa.equate(table, "old", "new", n_resamples=49)
        frame = result.to_frame()
        covered += (frame["predicted_low"] < frame["win_rate_new"]).sum()
        covered -= (frame["predicted_high"] <= frame["win_rate_new"]).sum()
        reversed_ += result.counts()["reversed"] > 0
        n += len(frame)
    print(covered / n, reversed_ / 500)
    assert 0.92 < covered / n < 0.98
    assert reversed_ / 500 < 0.05
