"""Coverage of what people would say: the bundled table, its script against the package, and a sample of it."""

import importlib
import sys

import numpy as np
import pandas as pd
import pytest
from judgements import data_sets, said

import alpaca_analysis as aa
from alpaca_analysis.sources import catalogue as sources


@pytest.fixture(scope="module")
def bundled():
    return aa.load("coverage_people")


@pytest.fixture(scope="module")
def script():
    folder = str(sources.data_folder() / "build")
    sys.path.insert(0, folder)
    yield importlib.import_module("coverage_people")
    sys.path.remove(folder)


def cells(bundled, statistic, design=None):
    table = bundled[bundled["statistic"] == statistic]
    return table if design is None else table[table["design"] == design]


def test_table_is_complete(bundled):
    assert (bundled["repetitions"] == 2000).all()
    unequal = cells(bundled, "calibrated_win_rate", "unequal")
    assert set(unequal["sigma"]) == {0, 0.5, 1, 1.5}
    assert set(unequal["win_rate"]) == {0.5, 0.8, 0.95}
    for statistic in ("calibrated_win_rate", "rogan_gladen_win_rate", "people alone"):
        assert len(cells(bundled, statistic, "side by side")) == 30
    total = bundled[["coverage", "missed_low", "missed_high", "undefined"]].sum(axis=1)
    np.testing.assert_allclose(total, 1, atol=1e-4)


@pytest.mark.parametrize(
    "statistic", ["calibrated_win_rate", "human_agreement", "compare_agreement", "compare_calibrated"]
)
def test_unequal_instructions_cover_or_say_so(bundled, statistic):
    """93.5 to 96.5 % but for Monte-Carlo error, or results carry a note where they fall short."""
    table = cells(bundled, statistic)
    table = table[table["design"].isin(["unequal", "one pair", "weighted draw"])]
    short = table["coverage"] < 0.935 - 2 * table["monte_carlo_error"]
    assert (table.loc[short, "noted"] > 0.3).all()
    kept = table.dropna(subset="coverage_unless_noted")
    assert (kept["coverage_unless_noted"] > (0.91 if statistic.startswith("compare") else 0.93)).all()
    assert table["coverage"].min() > 0.88


def test_calibration_and_weights_are_unbiased(bundled):
    table = bundled[bundled["statistic"].isin(["calibrated_win_rate", "compare_calibrated"])]
    simple = table["design"] == "weighted draw, taken as simple"
    assert (table.loc[~simple, "bias"].abs() < 0.01).all()
    assert (table.loc[simple, "bias"] < -0.05).all()
    assert (table.loc[simple, "coverage"] < 0.8).all()


def test_correction_is_wider_than_calibration_wherever_labels_are_of_the_same_pairs(bundled):
    ours, theirs = (
        cells(bundled, name, "side by side").set_index(
            ["n_labelled", "sensitivity", "specificity", "win_rate"]
        )
        for name in ("calibrated_win_rate", "rogan_gladen_win_rate")
    )
    assert (theirs["width"] > ours["width"]).all()
    weak = theirs.xs(0.65, level="sensitivity")
    assert (weak["width"] > 2 * ours.xs(0.65, level="sensitivity")["width"]).all()
    assert (ours["coverage"] > 0.915).all()
    assert (ours.xs(150, level="n_labelled")["coverage"] > 0.94).all()


def test_correction_from_counts_covers_unless_the_judge_errs_differently_there(bundled):
    there = cells(bundled, "rogan_gladen", "checked elsewhere")
    defined = there["coverage"] / (1 - there["undefined"])
    assert (defined > 0.94).all()
    other = cells(bundled, "rogan_gladen", "errs differently")
    assert (other["coverage"] < 0.9).all()
    assert (other["bias"].abs() > 0.03).all()


def test_equal_models_are_rarely_ordered(bundled):
    ranks = cells(bundled, "calibrated_rank_sets")
    assert (ranks["coverage"] > 0.92).all()
    assert (ranks.loc[ranks["n_labelled"] == 200, "coverage"] > 0.94).all()


# The script against the package ---------------------------------------------------------------------


def tables(counts):
    """Return a judge and people with counts of (people, judge): 11, 10, 01, 00, and the judge's 1 and 0 alone."""
    people = np.repeat([1.0, 1, 0, 0, np.nan, np.nan], counts)
    judge = np.repeat([1.0, 0, 1, 0, 1, 0], counts)
    labels = said(people, "p")
    return said(judge), labels[labels["outcome"].notna()]


def test_the_script_calibrates_as_the_package(script):
    counts = np.array([48, 9, 6, 30, 120, 70])
    seen = [script.KINDS[name] for name in ("won", "said", "labelled")]
    one = script.pilot(np.ones(6, dtype=int), *seen, counts=counts)
    found = script.calibration.calibrated(one, None, 0.95)
    package = aa.calibrated_win_rate(*tables(counts)).loc[0]
    for column in ("win_rate", "standard_error", "ci_low", "ci_high", "weight", "n_labelled", "n_judged"):
        np.testing.assert_allclose(found[column], package[column])


def test_the_script_corrects_as_the_package(script):
    counts = np.array([48, 9, 6, 30, 120, 70])
    package = aa.rogan_gladen_win_rate(*tables(counts)).loc[0]
    draws = [script.corrected_by_counts(counts, np.random.default_rng(k)) for k in range(20)]
    np.testing.assert_allclose(draws[0]["win_rate"], package["win_rate"])
    for end in ("ci_low", "ci_high"):
        np.testing.assert_allclose(np.mean([d[end] for d in draws]), package[end], atol=0.01)
    assert bool(package["note"]) == bool(draws[0]["note"])


def test_the_script_compares_and_weighs_as_the_package(script):
    rng = np.random.default_rng(0)
    joint = script.several(rng, 90, 40, (0.8, 0.6), None)
    rows, labels = [], []
    for model, one in zip(joint.models, joint.pilots, strict=True):
        ids, inside = one.ids.astype(str), one.labelled
        judge = np.where(inside, one.units.y[:, 1], one.units.y[:, 2])
        rows.append(said(judge, ids=ids, model=model))
        labels.append(said(one.units.y[inside, 0], "p", ids=ids[inside], model=model))
    package = aa.compare_calibrated(pd.concat(rows), pd.concat(labels), "m0", "m1").loc[0]
    found, _ = script.models.compared(joint, 0, 1, None, None, 0.95)
    for column in ("difference", "standard_error", "ci_low", "ci_high", "weight"):
        np.testing.assert_allclose(found[column], package[column])
    one, chance = joint.pilots[0], np.where(np.arange(90) % 3, 0.3, 0.7)
    weighted = script.by_probability(
        one,
        one.units.y[:, 0],
        np.where(one.labelled, one.units.y[:, 1], one.units.y[:, 2]),
        one.labelled,
        chance,
    )
    found = script.calibration.calibrated(weighted, None, 0.95)
    drawn = labels[0].assign(probability=chance[one.labelled])
    package = aa.calibrated_win_rate(rows[0], drawn).loc[0]
    for column in ("win_rate", "standard_error", "ci_low", "ci_high", "weight"):
        np.testing.assert_allclose(found[column], package[column])


@pytest.mark.simulation
@pytest.mark.timeout(1800)
def test_a_sample_gives_the_bundled_table(script, bundled):
    """Every cell again, from fewer data sets: none is further off than chance allows in so many cells."""
    n = data_sets(200)
    quick = [s for s in script.SCENARIOS if n > 100 or s is not script.ranked]
    made = script.build(n, quick)["coverage_people"]
    keys = [*script.FIRST, "truth"]
    both = made.merge(bundled, on=keys, suffixes=("_made", ""))
    assert len(both) == len(made)
    off = (both["coverage_made"] - both["coverage"]) / np.sqrt(
        (both["coverage"] * (1 - both["coverage"])).clip(lower=0.01) * (1 / n + 1 / 2000)
    )
    assert off.abs().max() < 5
    assert abs(off.mean()) < 0.35
