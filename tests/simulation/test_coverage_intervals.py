"""Coverage of the package's intervals: the bundled table, its script against the package, and the simulation."""

import importlib
import sys

import numpy as np
import pandas as pd
import pytest

import alpaca_analysis as aa
from alpaca_analysis.sources import catalogue as sources

NOISE = 3  # Monte-Carlo errors


@pytest.fixture(scope="module")
def bundled():
    return aa.load("coverage_intervals")


@pytest.fixture(scope="module")
def script():
    folder = str(sources.data_folder() / "build")
    sys.path.insert(0, folder)
    yield importlib.import_module("coverage_intervals")
    sys.path.remove(folder)


def defaults(table):
    """Return the rows of the intervals that are given unless another is asked for."""
    chosen = {"win_rate": "bca", "compare": "t", "human_agreement": "bca", "prefer_longer": "bca"}
    return table[table["method"] == table["statistic"].map(chosen)]


def test_table_is_complete(bundled):
    assert (bundled["repetitions"] >= 2000).all()
    rates = bundled[bundled["statistic"] == "win_rate"]
    assert set(rates["n"]) == {20, 80, 300, 805}
    assert rates["win_rate"].agg(["min", "max"]).tolist() == [0.02, 0.99]
    assert set(rates["draws"]) == {0, 0.02, 0.1, 0.3}
    assert set(rates["design"]) == {"independent", "clustered"}
    total = bundled[["coverage", "missed_low", "missed_high", "undefined"]].sum(axis=1)
    np.testing.assert_allclose(total, 1, atol=1e-4)


def test_defaults_cover_from_300_on(bundled):
    large = defaults(bundled).query("n >= 300")
    assert len(large) > 70
    assert (large["coverage"] > 0.935 - NOISE * large["monte_carlo_error"]).all()
    assert large["coverage"].min() > 0.93


def test_without_a_note_every_method_covers_whatever_the_size(bundled):
    table = (
        bundled[bundled["method"] != "wilson"].dropna(subset="coverage_unless_noted").set_index("statistic")
    )
    kept = table["coverage_unless_noted"]
    assert kept.groupby(level=0).size().min() > 20
    assert kept.min() > 0.92
    error = np.sqrt(0.935 * 0.065 / (table["repetitions"] * (1 - table["noted"])))
    assert (kept["win_rate"] > 0.935 - NOISE * error["win_rate"]).all()


def test_win_rates_cover_by_default_without_any_note(bundled):
    rates = defaults(bundled).query("statistic == 'win_rate'")
    assert len(rates) == 160
    assert rates["coverage"].min() > 0.94
    assert (rates["noted"] == 0).all()


def test_without_a_note_defaults_cover_whatever_the_size(bundled):
    """One and a half points less than 95 % at the least, but for Monte-Carlo error."""
    kept = defaults(bundled).dropna(subset="coverage_unless_noted")
    assert set(kept["n"]) == {20, 80, 300, 805}
    error = np.sqrt(0.935 * 0.065 / (kept["repetitions"] * (1 - kept["noted"])))
    assert (kept["coverage_unless_noted"] > 0.935 - NOISE * error).all()


def test_notes_are_where_coverage_fails(bundled):
    means = bundled[bundled["method"].isin(["t", "percentile", "bca"])]
    lost = 0.92 - means["coverage"]
    assert (lost > 0.1).sum() > 50  # comparisons and agreement: win rates no longer fail so
    assert (means["noted"] > lost).all()
    default = defaults(bundled)
    assert default.loc[default["coverage"] < 0.93, "noted"].mean() > 0.8


@pytest.mark.parametrize("statistic", ["win_rate", "compare", "human_agreement", "prefer_longer"])
def test_notes_are_rare_where_intervals_cover(bundled, statistic):
    default = defaults(bundled).query("statistic == @statistic")
    good = default[default["coverage"] >= 0.935]
    assert good["noted"].mean() < 0.1
    assert good.loc[good["n"] >= 300, "noted"].mean() < 0.05


def test_fisher_s_note_is_where_win_rates_crowd(bundled):
    fisher = bundled[bundled["method"] == "fisher, pearson"].set_index("design")
    assert (fisher.loc["normal", "noted"] == 0).all()
    assert (fisher.loc["win rates 12 to 88 %", "noted"] < 0.15).all()
    assert (fisher.loc["win rates 27 to 99 %", "noted"] > 0.95).all()
    assert fisher.loc["win rates 27 to 99 %", "coverage"].min() < 0.85
    assert fisher["coverage_unless_noted"].min() > 0.935
    spearman = bundled[bundled["method"] == "fisher, spearman"]
    assert (spearman["coverage"] > 0.94).all()


COUNTS = [(765, 1, 35), (400, 12, 393), (18, 0, 2), (60, 15, 5), (70, 6, 4)]


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.slow
def test_intervals_of_the_script_are_the_package_s(script, counts):
    wins, draws, losses = counts
    table = aa.from_counts({"model": ["m"], "n_wins": [wins], "n_draws": [draws], "n_losses": [losses]})
    found = script.as_win_rates(script.of_means(np.array([[losses, draws, wins]]), [0, 0.5, 1]))
    row = aa.win_rate(table, method="t").iloc[0]
    np.testing.assert_allclose([x[0] for x in found["t"]], [row["ci_low"], row["ci_high"]], rtol=1e-12)
    assert bool(row["note"]) == bool(script.noted_as_few(found, "t")[0])
    for method in ("percentile", "bca"):
        row = aa.win_rate(table, method=method, n_resamples=50_000).iloc[0]
        assert bool(row["note"]) == bool(script.noted_as_few(found, method)[0])
        np.testing.assert_allclose(
            [x[0] for x in found[method]],
            [row["ci_low"], row["ci_high"]],
            atol=0.03 * row["standard_error"] + 1 / sum(counts),
        )
    if not draws:
        row = aa.win_rate(table, method="wilson").iloc[0]
        np.testing.assert_allclose(
            script.wilson(wins, sum(counts)), [row["ci_low"], row["ci_high"]], rtol=1e-9
        )


def test_comparison_of_the_script_is_the_package_s(script):
    one, two = (765, 1, 35), (740, 20, 41)
    table = aa.from_counts(
        {"model": ["a", "b"], "n_wins": [765, 740], "n_draws": [1, 20], "n_losses": [35, 41]}
    )
    found = script.independent(*(np.array([c[::-1]]) for c in (one, two)))
    row = aa.compare(table, "a", "b").iloc[0]
    np.testing.assert_allclose([x[0] for x in found["t"]], [row["ci_low"], row["ci_high"]], rtol=1e-10)
    assert "approximate" not in row["note"]
    assert not script.noted_as_few(found, "t")[0]
    for method in ("percentile", "bca"):
        row = aa.compare(table, "a", "b", method=method, n_resamples=50_000).iloc[0]
        np.testing.assert_allclose([x[0] for x in found[method]], [row["ci_low"], row["ci_high"]], atol=1e-3)


def test_note_of_a_comparison_is_the_script_s(script):
    few = aa.from_counts({"model": ["a", "b"], "n_wins": [80, 77], "n_losses": [0, 3], "n_draws": [0, 0]})
    found = script.independent(np.array([[0, 0, 80]]), np.array([[3, 0, 77]]))
    assert script.noted_as_few(found, "t")[0]
    assert "driven by about 3 units" in aa.compare(few, "a", "b").loc[0, "note"]


def test_agreement_of_the_script_is_the_package_s(script):
    """80 pairs: four people agree on 66, one dissents on 14."""
    judge = pd.DataFrame({"instruction_id": [f"i{k}" for k in range(80)], "model": "m", "reference": "r"})
    people = pd.concat(
        [
            judge.assign(annotator=f"p{k}", outcome=[float(i >= 14 or k < 3) for i in range(80)])
            for k in range(4)
        ]
    )
    row = aa.human_agreement(
        judge.assign(annotator="judge", outcome=(np.arange(80) % 5 > 0) * 1.0), people, n_resamples=50_000
    )
    row = row.set_index("annotator").loc["humans"]
    found = script.of_means(np.array([[14, 66]]), [0.75, 1])
    assert script.noted_as_few(found, "bca")[0]
    assert "far end of the scale" in row["note"]
    np.testing.assert_allclose([x[0] for x in found["bca"]], [row["ci_low"], row["ci_high"]], atol=1e-3)


def test_a_note_says_that_few_losses_carry_the_interval():
    counts = {"model": ["few", "many"], "n_wins": [97, 80], "n_losses": [3, 20], "n_draws": [0, 0]}
    assert (aa.win_rate(aa.from_counts(counts))["note"] == "").all()
    notes = aa.win_rate(aa.from_counts(counts), method="percentile").set_index("model")["note"]
    assert "driven by about 3 units" in notes["few"]
    assert notes["many"] == ""
    assert (aa.win_rate(aa.from_counts(counts), method="wilson")["note"] == "").all()
    small = pd.DataFrame({"model": "m", "outcome": [1, 1, 0, 0, 1.0]})
    assert aa.win_rate(small).loc[0, "note"] == "interval approximate: 5 units"


@pytest.mark.simulation
@pytest.mark.timeout(1800)
def test_simulation_gives_the_bundled_table(script, bundled):
    made = script.build()["coverage_intervals"]
    np.testing.assert_allclose(made["coverage"], bundled["coverage"], atol=0.02)
    np.testing.assert_allclose(made["width"], bundled["width"], rtol=0.02)
