"""Win rates against published leaderboards, scipy and plain pandas."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judgements import said
from scipy import special, stats

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning

XWIN = aa.from_counts(
    pd.DataFrame(
        {
            "model": ["xwinlm-70b-v0.1", "gpt4", "xwinlm-13b-v0.1", "xwinlm-7b-v0.1"],
            "n_wins": [765, 761, 734, 703],
            "n_losses": [35, 32, 65, 97],
            "n_draws": [1, 12, 2, 1],
            "n_asked": 805,
        }
    )
)

# win rate and standard error in percent, BCa interval, bounds over all 805 (derived on paper and published)
SECTION_1 = [
    ("xwinlm-70b-v0.1", 95.56803995, 0.724941926, 93.95, 96.82, 95.09, 95.59),
    ("gpt4", 95.27950311, 0.716281440, 93.66, 96.52, 95.28, 95.28),
    ("xwinlm-13b-v0.1", 91.76029963, 0.968139439, 89.64, 93.51, 91.30, 91.80),
    ("xwinlm-7b-v0.1", 87.82771536, 1.154308696, 85.33, 89.95, 87.39, 87.89),
]


@pytest.mark.parametrize(("model", "rate", "error", "low", "high", "all_low", "all_high"), SECTION_1)
@pytest.mark.slow
def test_headline_values(model, rate, error, low, high, all_low, all_high):
    row = aa.win_rate(XWIN).set_index("model").loc[model]
    assert round(100 * row["win_rate"], 8) == rate
    assert round(100 * row["standard_error"], 9) == error
    np.testing.assert_allclose([100 * row["ci_low"], 100 * row["ci_high"]], [low, high], atol=0.13)
    bounds = aa.win_rate_bounds(XWIN).set_index("model").loc[model]
    np.testing.assert_allclose(100 * bounds[["low", "high"]].astype(float), [all_low, all_high], atol=0.005)


def test_order_and_attributes():
    result = aa.win_rate(XWIN)
    assert result["win_rate"].is_monotonic_decreasing
    assert list(result.columns) == [
        "model", "win_rate", "standard_error", "ci_low", "ci_high", "n_wins", "n_draws", "n_losses",
        "n_total", "n_missing", "reason", "note",
    ]  # fmt: skip
    assert (result.attrs["method"], result.attrs["interval"]) == ("mean outcome", "bca")
    assert result.attrs["estimate"] == "win_rate"
    assert result.attrs["unit"].startswith("judgement")
    assert result.attrs["n_resamples"] is None  # the law of counts is exact
    assert result.attrs["rng"] is None
    for frame in (result, aa.win_rate_bounds(XWIN)):  # by name gpt4 would be the first
        assert frame["model"].tolist() == ["xwinlm-70b-v0.1", "gpt4", "xwinlm-13b-v0.1", "xwinlm-7b-v0.1"]
        assert frame.index.equals(pd.RangeIndex(4))


SAMPLE = np.random.default_rng(5).choice([0, 0.5, 1], size=60, p=[0.3, 0.1, 0.6])


def logit_end(mean, half):
    """Return the upper end of an interval of half this width, made on the logit scale."""
    return special.expit(special.logit(mean) + half / (mean * (1 - mean)))


def test_t_interval_is_scipys_on_the_logit_scale():
    row = aa.win_rate(said(SAMPLE), method="t", confidence_level=0.9).iloc[0]
    mean, error = SAMPLE.mean(), stats.sem(SAMPLE)
    ends = special.logit(mean) + np.array(stats.t.interval(0.9, len(SAMPLE) - 1)) * error / (
        mean * (1 - mean)
    )
    expected = special.expit(ends)
    np.testing.assert_allclose([row["ci_low"], row["ci_high"]], expected, rtol=1e-12)
    np.testing.assert_allclose(row["standard_error"], stats.sem(SAMPLE), rtol=1e-12)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_bootstrap_interval_is_scipys(method):
    row = aa.win_rate(said(SAMPLE), method=method).iloc[0]
    peer = stats.bootstrap(
        (SAMPLE,), np.mean, n_resamples=99_999, method=method, rng=np.random.default_rng(1), batch=5000
    ).confidence_interval
    np.testing.assert_allclose([row["ci_low"], row["ci_high"]], peer, atol=0.009)


def test_wilson_is_scipys():
    outcomes = (SAMPLE > 0.4).astype(float)
    row = aa.win_rate(said([*outcomes, np.nan]), method="wilson").iloc[0]
    expected = stats.binomtest(int(outcomes.sum()), len(outcomes)).proportion_ci(method="wilson")
    np.testing.assert_allclose([row["ci_low"], row["ci_high"]], expected, rtol=1e-12)


def test_wilson_refuses_draws_and_repeats():
    verdicts = said(SAMPLE > 0.4, model="k").astype({"outcome": float})
    for outcomes in (SAMPLE, [0.3, 1, 0]):
        with pytest.raises(AnnotationError, match=r"weighted outcomes of \['m'\].*0 and 1 only"):
            aa.win_rate(pd.concat([verdicts, said(outcomes)]), method="wilson")
    twice = pd.concat([said([1, 0, 1], repeat=k) for k in (1, 2)])
    won_once = pd.concat([said([1, 0, 1], repeat=1), said([0, 1, 0], repeat=2)])
    for table in (twice, won_once):
        with pytest.raises(AnnotationError, match="one judgement per instruction"):
            aa.win_rate(table, method="wilson")


def test_wilson_of_only_wins_is_defined():
    row = aa.win_rate(said([1.0] * 20), method="wilson").iloc[0]
    assert 0.8 < row["ci_low"] < 0.9
    assert row["ci_high"] == 1


def test_clustered_error_is_that_of_the_cluster_robust_mean():
    import statsmodels.api as sm

    rng = np.random.default_rng(2)
    parts = [said(rng.choice([0, 1.0], 40), repeat=k) for k in range(3)]
    table = pd.concat([*parts, said([1.0] * 7, repeat=9)], ignore_index=True)
    codes = pd.factorize(table["instruction_id"])[0]
    fit = sm.OLS(table["outcome"], np.ones(len(table))).fit(
        cov_type="cluster", cov_kwds={"groups": codes, "use_correction": False}
    )
    groups = len(np.unique(codes))
    expected = fit.bse.iloc[0] * np.sqrt(groups / (groups - 1))
    np.testing.assert_allclose(aa.win_rate(table, method="t").loc[0, "standard_error"], expected, rtol=1e-12)


def test_stratified_error():
    table = said(SAMPLE, dataset=np.where(np.arange(60) < 20, "x", "y"))
    row = aa.win_rate(table, method="t", stratify="dataset").iloc[0]
    parts = table.groupby("dataset")["outcome"]
    expected = np.sqrt((parts.var() * parts.size()).sum()) / 60
    np.testing.assert_allclose(row["standard_error"], expected, rtol=1e-12)
    # an average is lost in each of the two strata
    np.testing.assert_allclose(row["ci_high"], logit_end(row["win_rate"], stats.t.ppf(0.975, 58) * expected))
    boot = aa.win_rate(table, method="percentile", stratify="dataset").iloc[0]
    np.testing.assert_allclose(boot["ci_high"] - boot["ci_low"], 2 * 1.96 * expected, rtol=0.06)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [((765, 35, 1), 93.777, 96.840), ((734, 65, 2), 89.553, 93.506), ((703, 97, 1), 85.298, 89.946)],
)
def test_the_interval_of_imbens_and_manski(counts, low, high):
    won, lost, drawn = ([n] for n in counts)
    asked = aa.from_counts(
        {"model": ["xwin"], "n_wins": won, "n_losses": lost, "n_draws": drawn, "n_asked": [805]}
    )
    row = aa.win_rate_bounds(asked).iloc[0]
    np.testing.assert_allclose([100 * row["ci_low"], 100 * row["ci_high"]], [low, high], atol=6e-4)
    judged = aa.from_counts({"model": ["xwin"], "n_wins": won, "n_losses": lost, "n_draws": drawn})
    row = aa.win_rate_bounds(judged).iloc[0]  # nothing is missing: the normal interval
    error = aa.win_rate(judged).loc[0, "standard_error"]
    ends = row["win_rate"] + stats.norm.ppf([0.025, 0.975]) * error
    np.testing.assert_allclose([row["ci_low"], row["ci_high"]], ends, rtol=1e-9)


def test_bounds_are_those_of_every_answer():
    """By setting the missing outcomes to 0 and to 1, in groups that are not crossed."""
    parts = [
        said([1, 0, np.nan, 0.5], model="b", dataset=["x", "x", "x", None]),
        said([1, np.nan], model="c", reference="q", dataset="y"),
        said([0.5, 0.5], model="a", dataset="y"),
    ]
    table = pd.concat(parts, ignore_index=True)
    for by in (["model", "reference"], ["dataset", "reference"], ["model"]):
        ours = aa.win_rate_bounds(table, by=by)
        assert ours["win_rate"].is_monotonic_decreasing
        ours = ours.set_index(by).sort_index()
        grouped = [table.assign(outcome=table["outcome"].fillna(v)).groupby(by, dropna=False) for v in (0, 1)]
        peer = table.groupby(by, dropna=False)["outcome"].agg(["mean", "count", "size"])
        np.testing.assert_allclose(ours["win_rate"], peer["mean"])
        np.testing.assert_allclose(ours["low"], grouped[0]["outcome"].mean())
        np.testing.assert_allclose(ours["high"], grouped[1]["outcome"].mean())
        assert ours["n_total"].tolist() == peer["count"].tolist()
        assert ours["n_missing"].tolist() == (peer["size"] - peer["count"]).tolist()
    assert aa.win_rate_bounds(table)["model"].tolist() == ["c", "a", "b"]  # of equals the first by name


def test_missing_judgements_are_counted_not_averaged():
    row = aa.win_rate(said([1, 0, np.nan, 1]), method="t").iloc[0]
    assert row[["win_rate", "n_total", "n_missing"]].tolist() == [2 / 3, 3, 1]
    np.testing.assert_allclose(row["standard_error"], stats.sem([1, 0, 1]))


WILSON = "'wilson' (verdicts without draws) covers better"


# the skewness of w wins and l losses makes w l n / (w - l)^2 units "unlike the rest"
@pytest.mark.parametrize(
    ("method", "wins", "losses", "note"),
    [
        ("bca", 798, 4, ""),  # widened where little contrary was seen: covers 94 % or more, however few the losses
        ("bca", 798, 5, ""),
        ("t", 1100, 23, f"interval approximate: driven by about 24 units (such as the few losses); {WILSON}, as does 'bca'"),
        ("percentile", 1100, 23, f"interval approximate: driven by about 24 units (such as the few losses); {WILSON}, as does 'bca'"),
        ("percentile", 798, 23, ""),
        ("t", 798, 23, ""),
        ("wilson", 798, 4, ""),
        ("wilson", 3, 2, ""),
        ("t", 5, 4, "interval approximate: 9 units"),
        ("t", 5, 5, ""),
        ("bca", 4, 5, "interval approximate: 9 units"),
    ],
)  # fmt: skip
def test_intervals_that_rest_on_few_units_say_so(method, wins, losses, note):
    table = aa.from_counts({"model": ["m"], "n_wins": [wins], "n_losses": [losses], "n_draws": [0]})
    assert aa.win_rate(table, method=method, n_resamples=500).loc[0, "note"] == note


def test_discrete():
    row = aa.win_rate(said([0.9, 0.2, 0.5, np.nan]), method="t", discrete=True).iloc[0]
    assert row["win_rate"] == 0.5
    assert row[["n_wins", "n_draws", "n_losses"]].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("outcomes", "note"),
    [
        ([0.5, 0.5, 0.5], "all outcomes are equal"),
        ([1.0], "fewer than two units"),
        ([np.nan, 0.9, 0.9], "all outcomes"),
    ],
)
@pytest.mark.parametrize("method", ["t", "bca", "percentile"])
def test_undefined_is_nan_with_a_reason(outcomes, note, method):
    with pytest.warns(UndefinedWarning, match=note):
        row = aa.win_rate(said(outcomes), method=method).iloc[0]
    assert np.isnan([row["ci_low"], row["ci_high"]]).all()
    assert note in row["note"]


@pytest.mark.parametrize("method", ["t", "bca", "percentile"])
def test_twenty_wins_of_twenty_have_the_exact_interval(method):
    row = aa.win_rate(said([1.0] * 20), method=method).iloc[0]
    exact = stats.binomtest(20, 20).proportion_ci(0.95, "exact")
    np.testing.assert_allclose([row["ci_low"], row["ci_high"]], [exact.low, exact.high], rtol=1e-12)
    assert row["ci_low"] == pytest.approx(0.025 ** (1 / 20))
    assert "exact interval (Clopper-Pearson)" in row["note"]
    lost = aa.win_rate(said([0.0] * 20), method=method).iloc[0]
    np.testing.assert_allclose([lost["ci_low"], lost["ci_high"]], [0, 1 - exact.low], rtol=1e-12)
    twice = said([1.0] * 20, ids=[f"i{k // 2}" for k in range(20)], repeat=[0, 1] * 10)
    assert aa.win_rate(twice, method=method).loc[0, "ci_low"] == pytest.approx(0.025 ** (1 / 10))
    draw = aa.win_rate(said([1.0] * 19 + [0.5]), method=method).iloc[0]
    assert draw["ci_low"] <= exact.low + 1e-12  # 19 wins and a draw say no more than 20 wins
    assert draw["ci_high"] <= 1


def test_unequal_instructions_use_the_jackknife_error_and_few_degrees_of_freedom():
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 30, 40)
    ids = np.repeat([f"i{k:02}" for k in range(40)], sizes)
    y = (rng.random(len(ids)) < np.repeat(rng.beta(4, 2, 40), sizes)).astype(float)
    row = aa.win_rate(said(y, ids=ids, repeat=np.arange(len(ids))), method="t").iloc[0]
    wins, m = pd.Series(y).groupby(ids).sum().to_numpy(), sizes
    without = np.array([(wins.sum() - w) / (m.sum() - s) for w, s in zip(wins, m, strict=True)])
    mean = y.mean()
    error = np.sqrt(39 / 40 * ((without - mean) ** 2).sum())
    effective = m.sum() ** 2 / (m**2).sum()
    half = stats.t.ppf(0.975, effective - 1) * error / (mean * (1 - mean))
    expected = special.expit(special.logit(mean) + np.array([-half, half]))
    np.testing.assert_allclose([row["ci_low"], row["ci_high"]], expected, rtol=1e-12)
    assert row["note"].startswith("interval approximate: 40 units of unequal size, worth about") == (
        effective < 30
    )
    boot = aa.win_rate(said(y, ids=ids, repeat=np.arange(len(ids)))).iloc[0]
    assert ("method='t' covers better" in boot["note"]) == (effective < 30)


def test_nothing_judged_beside_something():
    table = pd.concat([said([1, 0, 1]), said([np.nan] * 3, model="silent")])
    with pytest.warns(UndefinedWarning, match="silent: undefined: nothing was judged"):
        result = aa.win_rate(table).set_index("model")
    assert np.isnan(result.loc["silent", "win_rate"])
    assert result.loc["silent", ["n_total", "n_missing"]].tolist() == [0, 3]


@pytest.mark.parametrize("column", ["reference", "annotator"])
def test_refuses_to_mix(column):
    table = said(SAMPLE, annotator="j")
    table[column] = np.where(np.arange(60) < 9, "x", "y")
    with pytest.raises(
        AnnotationError, match=f"column '{column}': found 2 in m: x, y, expected one {column}"
    ):
        aa.win_rate(table)
    assert len(aa.win_rate(table, by=["model", column], method="t")) == 2


@pytest.mark.parametrize(
    ("by", "annotators", "found"),
    [
        (["model"], "sst", "2 in m: s, t"),
        (["model", "reference"], "sst", "2 in m/r: s, t"),  # also where references are told apart
        (["reference", "dataset"], "sst", "2 in r/y: s, t"),
        (["dataset"], "ssssst", "5 in nan: s, t, u, v, w"),
        (["model"], ["s", "s", None], "2 in m: s, (missing)"),
    ],
)
def test_the_first_group_that_mixes_annotators_is_named(by, annotators, found):
    """With what is in that group, not in others."""
    names = [*annotators, *"uvw"]
    table = said([1.0] * len(names), model=["k", *"m" * (len(names) - 4), *"zzz"], annotator=names)
    table["dataset"] = ["x", *"yy", *[None] * (len(names) - 3)]
    with pytest.raises(AnnotationError, match=re.escape(f"found {found},")):
        aa.win_rate(table, by=by)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "magic"}, "method: found 'magic'"),
        ({"confidence_level": 95}, "confidence_level"),
        ({"confidence_level": 1}, "confidence_level"),
        ({"confidence_level": 0}, "confidence_level"),
        ({"confidence_level": -0.5}, "confidence_level"),
        ({"n_resamples": 0}, "n_resamples"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        aa.win_rate(said(SAMPLE), **options)
    assert len(aa.win_rate(said(SAMPLE), confidence_level=1e-9, n_resamples=1, method="percentile")) == 1


def test_unknown_column():
    with pytest.raises(AnnotationError, match="expected a column 'flavour'"):
        aa.win_rate(said(SAMPLE), by="flavour")


outcomes_strategy = st.lists(st.sampled_from([0.0, 0.5, 1.0, 0.25]), min_size=3, max_size=30).filter(
    lambda values: len(set(values)) > 1
)


@settings(deadline=None, max_examples=30)
@given(outcomes_strategy, st.integers(0, 100))
@pytest.mark.slow
def test_properties(outcomes, seed):
    table = said(outcomes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedWarning)
        one = aa.win_rate(table, n_resamples=200, rng=seed)
        again = aa.win_rate(table.sample(frac=1, random_state=seed), n_resamples=200, rng=seed)
        swapped = aa.win_rate(said([1 - y for y in outcomes]), n_resamples=200, rng=seed)
    pd.testing.assert_frame_equal(one, again, check_exact=True)  # row order is irrelevant, a seed is a result
    np.testing.assert_allclose(swapped["win_rate"], 1 - one["win_rate"], atol=1e-15)
    np.testing.assert_allclose(swapped["standard_error"], one["standard_error"], atol=1e-15)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 50), st.integers(2, 5))
@pytest.mark.slow
def test_doubling_counts_keeps_the_estimate_and_shrinks_the_error(wins, losses, draws, k):
    counts = pd.DataFrame({"model": ["m"], "n_wins": [wins], "n_losses": [losses], "n_draws": [draws]})
    one = aa.win_rate(aa.from_counts(counts), method="t").iloc[0]
    more = aa.win_rate(
        aa.from_counts(counts.assign(**{c: counts[c] * k for c in counts.columns[1:]})), method="t"
    ).iloc[0]
    n = wins + losses + draws
    np.testing.assert_allclose(more["win_rate"], one["win_rate"], rtol=1e-12)
    np.testing.assert_allclose(
        more["standard_error"], one["standard_error"] * np.sqrt((n - 1) / (k * n - 1)), rtol=1e-9
    )


@pytest.mark.slow
def test_counts_equal_expanded_rows():
    expanded = pd.DataFrame({"model": "gpt4", "outcome": np.repeat([1, 0, 0.5], [761, 32, 12])})
    rows, counts = aa.win_rate(expanded).iloc[0], aa.win_rate(XWIN).set_index("model").loc["gpt4"]
    np.testing.assert_allclose(rows[["win_rate", "standard_error"]].astype(float),
                               counts[["win_rate", "standard_error"]].astype(float), rtol=1e-12)  # fmt: skip
    np.testing.assert_allclose(rows[["ci_low", "ci_high"]].astype(float),
                               counts[["ci_low", "ci_high"]].astype(float), atol=0.0015)  # fmt: skip


def test_a_models_interval_does_not_depend_on_its_company():
    table = pd.concat([said(SAMPLE, model="a"), said(SAMPLE[::-1], model="b")])
    together = aa.win_rate(table).set_index("model").loc["a"]
    alone = aa.win_rate(table[table["model"] == "a"]).set_index("model").loc["a"]
    assert together.to_dict() == alone.to_dict()


def test_nor_does_that_of_counts():
    together = aa.win_rate(XWIN, n_resamples=99).set_index("model")
    for model, rows in XWIN.groupby("model", observed=True):
        alone = aa.win_rate(rows, n_resamples=99).set_index("model")
        assert together.loc[model].to_dict() == alone.loc[model].to_dict()


def test_unjudged_counts_are_no_units():
    judged = aa.win_rate(XWIN.dropna(subset="outcome"), n_resamples=99)
    asked = aa.win_rate(XWIN, n_resamples=99)
    assert asked["n_missing"].tolist() == [4, 0, 4, 4]
    pd.testing.assert_frame_equal(asked.assign(n_missing=0), judged)
    nothing = pd.DataFrame({"model": "m", "outcome": [np.nan], "n": 5})
    with pytest.warns(UndefinedWarning, match="m: undefined: nothing was judged"):
        row = aa.win_rate(nothing).iloc[0]
    assert row[["n_total", "n_missing"]].tolist() == [0, 5]


def test_groups_of_several_columns_and_partly_shared_instructions():
    """Against plain pandas: groups that are not crossed, names that are missing, ids of one model alone."""
    parts = [
        said([1, 0, 1, 0.5, 0], model="a", dataset=["x", "x", None, None, "y"]),
        said([1, 0, 0.5], model="b", reference="q", dataset="x"),
        said([0.25, 0, 1, 1], model="c", dataset="y").assign(instruction_id=list("stuv")),
    ]
    table = pd.concat(parts, ignore_index=True)
    for by in (["model", "reference"], ["dataset", "reference"], ["reference"]):
        ours = aa.win_rate(table, by=by, method="t").set_index(by).sort_index()
        peer = table.groupby(by, dropna=False)["outcome"]
        assert ours.index.map(str).tolist() == peer.mean().index.map(str).tolist()
        np.testing.assert_allclose(ours["win_rate"], peer.mean())
        assert ours["n_total"].tolist() == peer.count().tolist()
        np.testing.assert_allclose(ours["standard_error"], peer.sem())
        half = stats.t.ppf(0.975, peer.count() - 1) * peer.sem()
        np.testing.assert_allclose(ours["ci_high"], logit_end(peer.mean(), half))
        assert ours["note"].tolist() == [f"interval approximate: {n} units" for n in peer.count()]


@pytest.mark.parametrize("more", [0, 1, 2, 3])
def test_blocks_are_groups_linked_by_instructions(more):
    """Directly or through others; however many instructions there are."""
    from alpaca_analysis.inference.blocks import blocks_of
    from alpaca_analysis.table.checks import check

    ids = {"a": "st", "e": "tu", "c": "uv", "b": "wx", "f": "xy", "d": "zABC"[: 1 + more]}
    table = pd.concat([said([1.0] * len(v), model=m, instruction_id=list(v)) for m, v in ids.items()])
    found = [block.groups["model"].tolist() for block in blocks_of(check(table), ["model"])]
    assert found == [["a", "c", "e"], ["b", "f"], ["d"]]


@pytest.mark.parametrize("options", [{}, {"stratify": "dataset"}])
def test_row_order_is_irrelevant(options):
    parts = [
        said(SAMPLE, model=m).assign(instruction_id=lambda t, m=m: m + t["instruction_id"]) for m in "ba"
    ]
    table = pd.concat(parts, ignore_index=True)
    table["dataset"] = np.where(np.arange(120) % 60 < 20, "y", "x")
    one = aa.win_rate(table, n_resamples=99, **options)
    pd.testing.assert_frame_equal(one, aa.win_rate(table[::-1], n_resamples=99, **options), check_exact=True)
    assert one["model"].tolist() == ["a", "b"]  # of equals the first by name
    assert one.index.equals(pd.RangeIndex(2))


def test_outcomes_between_verdicts_are_averaged_as_they_are():
    result = aa.win_rate(said([0.9, 0.2, 0.7]), n_resamples=99)
    np.testing.assert_allclose(result["win_rate"], 0.6)
    assert result.attrs == {
        "method": "mean outcome", "interval": "bca", "estimate": "win_rate", "unit": "instruction",
        "confidence_level": 0.95, "n_resamples": 99, "rng": 0, "fractions": ["win_rate"], "differences": [],
            "higher_is_better": ["win_rate"], "pvalue": None,
        "discrete": False, "stratify": None,
    }  # fmt: skip


def test_a_generator_as_seed():
    for table in (XWIN, said(SAMPLE)):
        one, two = (aa.win_rate(table, n_resamples=99, rng=np.random.default_rng(3)) for _ in range(2))
        pd.testing.assert_frame_equal(one, two)
        assert one.attrs["rng"] == (None if table is XWIN else "generator")
    assert aa.win_rate(XWIN, method="t", rng=3).attrs["rng"] is None


@pytest.mark.parametrize(
    ("models", "message"),
    [("a", "a, z"), ("ab", "a, b, z"), ("abcd", "a, b, c and 2 more")],
)
def test_a_warning_names_three_and_counts_the_rest(models, message):
    table = pd.concat([said([1.0], model=m) for m in models] + [said([0.5, 0.5], model="z")])
    with pytest.warns(UndefinedWarning) as caught:
        aa.win_rate(table, method="t")
    assert str(caught[0].message) == f"{message}: error undefined: fewer than two units"
    assert caught[0].filename == __file__


def test_ids_on_some_rows_only_are_refused():
    table = pd.concat([said([1, 0], model="k"), said([1, 0, 1]).assign(instruction_id=["i0", None, "i2"])])
    with pytest.raises(AnnotationError, match=r"row 3, column 'instruction_id': found \"none, in \['m'\]\""):
        aa.win_rate(table)


# --- against what was published ---------------------------------------------------------------

# rows whose standard error does not follow from their own counts
DEFECTIVE_ERRORS = {"humpback-llama2-70b", "humpback-llama-65b", "baize-v2-7b"}


@pytest.mark.parametrize("name", ["alpaca_eval_v1_leaderboard", "alpaca_eval_v1_leaderboard_2023_09_19"])
@pytest.mark.filterwarnings("ignore:text_davinci_003")  # against itself: only draws
@pytest.mark.slow
def test_every_published_row_follows_from_its_counts(name):
    board = aa.load(name).set_index("model")
    ours = aa.win_rate(aa.from_counts(board), method="t").set_index("model")
    board = board.loc[ours.index]
    np.testing.assert_allclose(ours["win_rate"], board["win_rate"] / 100, atol=1e-9)
    off = (ours["standard_error"] - board["standard_error"] / 100).abs() > 1e-9
    assert set(off.index[off]) <= DEFECTIVE_ERRORS
    if name == "alpaca_eval_v1_leaderboard":
        assert len(ours) == 102
        assert set(off.index[off]) == DEFECTIVE_ERRORS
        known = board["discrete_win_rate"].notna()
        assert known.sum() == 60  # the column came later than the older rows
        np.testing.assert_allclose(
            ours["win_rate"][known], board["discrete_win_rate"][known] / 100, atol=1e-9
        )


def _against_board(table, board):
    plain = aa.win_rate(table, method="t").set_index("model")
    discrete = aa.win_rate(table, method="t", discrete=True).set_index("model")
    shared = plain.index.intersection(board.index)
    plain, discrete, board = plain.loc[shared], discrete.loc[shared], board.loc[shared]
    np.testing.assert_allclose(plain["win_rate"], board["win_rate"] / 100, atol=1e-9)
    np.testing.assert_allclose(plain["standard_error"], board["standard_error"] / 100, atol=1e-9)
    np.testing.assert_allclose(discrete["win_rate"], board["discrete_win_rate"] / 100, atol=1e-9)
    for column in ("n_wins", "n_draws", "n_total"):
        assert (plain[column] == board[column]).all()
    return shared


@pytest.mark.rows
def test_alpaca_eval_1_files(alpaca_eval_v1):
    board = aa.load("alpaca_eval_v1_leaderboard").set_index("model")
    shared = _against_board(alpaca_eval_v1, board)
    assert len(shared) == 39
    assert set(alpaca_eval_v1["model"].unique()) - set(shared) == {"mistral-orpo-beta"}


@pytest.mark.rows
@pytest.mark.filterwarnings("ignore::alpaca_analysis.foundations.errors.UndefinedWarning")
@pytest.mark.slow
def test_alpaca_eval_2_files(alpaca_eval_v2):
    board = aa.load("alpaca_eval_v2_leaderboard").set_index("model")
    assert len(_against_board(alpaca_eval_v2, board)) == 20


@pytest.mark.rows
def test_by_source_is_a_plain_groupby(alpaca_eval_v1):
    some = alpaca_eval_v1[alpaca_eval_v1["model"].isin(["phi-2", "claude-2"])]
    ours = aa.win_rate(some, by=["model", "dataset"], method="t").set_index(["model", "dataset"])["win_rate"]
    peer = some.groupby(["model", "dataset"], observed=True)["outcome"].mean()
    np.testing.assert_allclose(ours, peer.loc[ours.index], rtol=1e-12)


@pytest.mark.parametrize("method", ["bca", "t"])
def test_a_stratum_of_one_instruction_is_named_as_the_reason(method):
    ids = [f"i{k}" for k in range(100)]
    table = pd.DataFrame({"instruction_id": ids, "model": "m", "outcome": [0.0, 1.0] * 50})
    table["dataset"] = ["lonely"] + ["rest"] * 99
    with pytest.warns(
        UndefinedWarning, match="m: error undefined: a stratum of one unit has no variance within"
    ):
        row = aa.win_rate(table, stratify="dataset", method=method, n_resamples=99).iloc[0]
    assert row["note"] == "error undefined: a stratum of one unit has no variance within"
    assert np.isnan(row["standard_error"])
    assert row["win_rate"] == 0.5


def test_bounds_say_where_few_losses_drive_them():
    counts = {
        "model": ["few", "many"],
        "n_wins": [95, 400],
        "n_losses": [3, 390],
        "n_draws": [0, 0],
        "n_asked": [100, 805],
    }
    notes = aa.win_rate_bounds(aa.from_counts(counts)).set_index("model")["note"]
    assert notes["few"].startswith("interval approximate: driven by about 3 units")
    assert notes["many"] == ""
