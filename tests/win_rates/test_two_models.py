"""Two models: paired where instructions are shared, independent where they are not."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning

RNG = np.random.default_rng(11)
A = RNG.choice([0, 0.5, 1], 80, p=[0.2, 0.1, 0.7])
B = np.where(RNG.random(80) < 0.6, A, RNG.choice([0, 1.0], 80))


def side(outcomes, model, start=0):
    ids = [f"i{k}" for k in range(start, start + len(outcomes))]
    return pd.DataFrame(
        {"instruction_id": ids, "model": model, "reference": "r", "annotator": "j", "outcome": outcomes}
    )


BOTH = pd.concat([side(A, "a"), side(B, "b")])


def test_paired_is_scipys_ttest_rel():
    row = aa.compare(BOTH, "a", "b").iloc[0]
    peer = stats.ttest_rel(A, B)
    assert bool(row["paired"])
    np.testing.assert_allclose(row["pvalue"], peer.pvalue, rtol=1e-9)
    np.testing.assert_allclose([row["ci_low"], row["ci_high"]], peer.confidence_interval(), rtol=1e-9)
    np.testing.assert_allclose(row["difference"], A.mean() - B.mean(), rtol=1e-12)


def test_independent_is_welch():
    apart = pd.concat([side(A, "a"), side(B[:50], "b", start=1000)])
    row = aa.compare(apart, "a", "b").iloc[0]
    peer = stats.ttest_ind(A, B[:50], equal_var=False)
    assert not row["paired"]
    assert "independent" in row["note"]
    np.testing.assert_allclose(row["pvalue"], peer.pvalue, rtol=1e-9)
    np.testing.assert_allclose([row["ci_low"], row["ci_high"]], peer.confidence_interval(), rtol=1e-9)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_bootstrap_is_scipys(method):
    row = aa.compare(BOTH, "a", "b", method=method).iloc[0]
    peer = stats.bootstrap(
        (A - B,), np.mean, n_resamples=50_000, method=method, rng=3, batch=5000
    ).confidence_interval
    np.testing.assert_allclose([row["ci_low"], row["ci_high"]], peer, atol=0.009)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_independent_bootstrap_is_scipys(method):
    apart = pd.concat([side(A, "a"), side(B[:50], "b", start=1000)])
    row = aa.compare(apart, "a", "b", method=method).iloc[0]
    peer = stats.bootstrap(
        (A, B[:50]),
        lambda x, y, axis: x.mean(axis) - y.mean(axis),
        n_resamples=50_000,
        method=method,
        rng=3,
        batch=5000,
    ).confidence_interval
    np.testing.assert_allclose([row["ci_low"], row["ci_high"]], peer, atol=0.015)


def test_headline_difference():
    table = aa.from_counts(
        {"model": ["x", "gpt4"], "n_wins": [765, 761], "n_losses": [35, 32], "n_draws": [1, 12]}
    )
    row = aa.compare(table, "x", "gpt4").iloc[0]
    assert round(100 * row["difference"], 3) == 0.289
    assert round(100 * row["standard_error"], 3) == 1.019
    assert round(row["difference"] / row["standard_error"], 3) == 0.283
    assert round(row["pvalue"], 3) == 0.777


def test_swapping_sides():
    one, other = aa.compare(BOTH, "a", "b").iloc[0], aa.compare(BOTH, "b", "a").iloc[0]
    assert one["difference"] == -other["difference"]
    assert one["pvalue"] == other["pvalue"]
    np.testing.assert_allclose(one["ci_low"], -other["ci_high"])


def test_only_shared_and_judged_instructions_count():
    b = B.copy()
    b[:5] = np.nan
    row = aa.compare(pd.concat([side(A, "a"), side(b, "b")]), "a", "b").iloc[0]
    assert (row["n"], row["n_unshared"]) == (75, 5)
    assert "5 instructions of only one model left out" in row["note"]
    np.testing.assert_allclose(row["difference"], (A[5:] - B[5:]).mean())


def test_a_model_against_itself_is_undefined():
    with pytest.warns(UndefinedWarning, match="no variation"):
        row = aa.compare(BOTH, "a", "a").iloc[0]
    assert row["difference"] == 0
    assert np.isnan(row["ci_low"])
    assert np.isnan(row["pvalue"])


def test_a_model_of_counts_against_itself_is_undefined():
    table = aa.from_counts({"model": ["a", "b"], "n_wins": [9, 5], "n_losses": [1, 5], "n_draws": [0, 0]})
    with pytest.warns(UndefinedWarning, match="no variation"):
        row = aa.compare(table, "a", "a").iloc[0]
    assert row["difference"] == 0
    assert np.isnan(row["ci_low"])


@pytest.mark.parametrize("start", [0, 1000])
def test_an_id_missing_on_some_rows_is_refused(start):
    """Such rows used to vanish, and without shared instructions the message was pandas' own."""
    table = pd.concat([side(A, "a"), side(B, "b", start=start)], ignore_index=True)
    table.loc[[90, 95], "instruction_id"] = None
    with pytest.raises(AnnotationError, match=r"row 90, column 'instruction_id': found \"none, in \['b'\]\""):
        aa.compare(table, "a", "b")


def test_counts_of_one_model_beside_rows_of_the_other():
    table = pd.concat([side(A, "a"), side(B, "b").drop(columns="instruction_id")], ignore_index=True)
    row = aa.compare(table, "a", "b").iloc[0]
    assert not row["paired"]
    np.testing.assert_allclose(row["pvalue"], stats.ttest_ind(A, B, equal_var=False).pvalue, rtol=1e-9)


def test_repeats_without_shared_instructions_are_no_more_units():
    apart = pd.concat([side(A, "a"), side(B, "b", start=1000)])
    twice = pd.concat([apart.assign(repeat=k) for k in range(3)])
    one, many = aa.compare(apart, "a", "b"), aa.compare(twice, "a", "b")
    pd.testing.assert_frame_equal(one, many)
    assert many.attrs["unit"] == "instruction"


@pytest.mark.parametrize("column", ["reference", "annotator"])
def test_refuses_different_terms(column):
    mixed = pd.concat([side(A, "a"), side(B, "b").assign(**{column: "other"})])
    with pytest.raises(AnnotationError, match=f"expected one {column}; select one"):
        aa.compare(mixed, "a", "b")


def test_unknown_model_names_the_nearest():
    with pytest.raises(AnnotationError, match="found 'gpt', expected one of 2 models, such as 'gpt4'"):
        aa.compare(pd.concat([side(A, "gpt4"), side(B, "b")]), "gpt", "b")


def test_nothing_usable():
    with pytest.raises(
        AnnotationError, match="found \"none of 'b'\", expected at least one usable judgement"
    ):
        aa.compare(pd.concat([side(A, "a"), side(np.full(80, np.nan), "b")]), "a", "b")


@pytest.mark.rows
@pytest.mark.slow
def test_pairing_narrows_the_interval(alpaca_eval_v1):
    paired = aa.compare(alpaca_eval_v1, "gpt4", "claude-2").iloc[0]
    independent = aa.compare(
        aa.collapse(alpaca_eval_v1, by=["model", "reference", "annotator"]), "gpt4", "claude-2"
    ).iloc[0]
    assert paired["paired"]
    assert not independent["paired"]
    assert paired["standard_error"] < independent["standard_error"]


def test_instructions_of_unequal_size_have_the_jackknife_error_and_fewer_degrees_of_freedom():
    """By hand: leave out one instruction at a time; (sum m)^2 / sum m^2 less one degrees of freedom."""
    rng = np.random.default_rng(5)
    sizes = np.ceil(rng.lognormal(1, 1, 60)).astype(int)
    ids = np.repeat([f"i{k}" for k in range(60)], sizes)
    level = np.repeat(rng.random(60), sizes)
    repeat = np.concatenate([np.arange(size) for size in sizes])
    rows = [
        side((rng.random(len(ids)) < level) * 1.0, m).assign(instruction_id=ids, repeat=repeat) for m in "ab"
    ]
    found = aa.compare(pd.concat(rows), "a", "b").iloc[0]
    gap = (rows[0]["outcome"] - rows[1]["outcome"]).to_numpy()
    without = np.array([gap[ids != one].mean() for one in pd.unique(ids)])
    error = np.sqrt(59 / 60 * ((without - gap.mean()) ** 2).sum())
    df = sizes.sum() ** 2 / (sizes**2).sum() - 1
    half = stats.t.ppf(0.975, df) * error
    assert df < 40
    assert found["standard_error"] == pytest.approx(error)
    assert [found["ci_low"], found["ci_high"]] == pytest.approx([gap.mean() - half, gap.mean() + half])
    assert found["pvalue"] == pytest.approx(2 * stats.t.sf(abs(gap.mean()) / error, df))
    assert ("unequal size" in found["note"]) == (df + 1 < 30)
