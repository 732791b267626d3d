"""Printed numbers: possible at all, reproduced, or not."""

import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judgements import said
from scipy import special, stats

import alpaca_analysis as aa
from alpaca_analysis.claims.win_rates import rounds_to
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("60.61", [782, 787, 792, 801]),
        ("87.35", []),
        ("87.82", [780, 784, 788, 792]),
        ("100", list(range(780, 806))),
    ],
)
def test_possible_n(printed, expected):
    assert aa.possible_n(printed, n_range=(780, 805)) == expected


def _by_enumeration(printed, n):
    decimals = len(printed.partition(".")[2])
    for half_wins in range(2 * n + 1):
        scaled = Fraction(100 * 10**decimals * half_wins, 2 * n)
        if abs(scaled - Fraction(printed) * 10**decimals) <= Fraction(1, 2):
            return True
    return False


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10000), st.integers(0, 3), st.integers(1, 120))
@pytest.mark.slow
def test_possible_n_is_enumeration(units, decimals, n):
    printed = f"{min(units / 10**decimals, 100):.{decimals}f}"
    assert (aa.possible_n(printed, n_range=(n, n)) == [n]) == _by_enumeration(printed, n)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 12), st.integers(0, 4))
def test_chance_is_the_share_that_passes(n, more):
    printable = [f"{k / 10:.1f}" for k in range(1001)]
    share = np.mean([bool(aa.possible_n(p, n_range=(n, n + more))) for p in printable])
    np.testing.assert_allclose(aa.chance_possible(1, n_range=(n, n + more)), share)


def test_chance_values():
    assert round(aa.chance_possible(2, n_range=(805, 805)), 2) == 0.16
    assert round(aa.chance_possible(2, n_range=(780, 805)), 2) == 0.95
    assert aa.chance_possible(2, n_range=(800, 805)) == pytest.approx(
        0.69, abs=0.02
    )  # halves either way: 0.703


@pytest.mark.parametrize("printed", [60.61, "60,61", "", "101", "100.5", "-3", "6e1", "٦٠.٦١", None])
def test_printed_values_are_text(printed):
    with pytest.raises(
        AnnotationError, match=r"column 'printed': found .*, expected a printed percentage as text"
    ):
        aa.possible_n(printed)


@pytest.mark.parametrize("n_range", [(5, 3), (0, 3), (-1, 3)])
def test_bad_range(n_range):
    with pytest.raises(ValueError, match="n_range: found"):
        aa.possible_n("50.0", n_range=n_range)
    with pytest.raises(ValueError, match="n_range: found"):
        aa.chance_possible(1, n_range=n_range)


def test_range_by_default():
    assert aa.possible_n("50.00") == list(range(780, 806))
    assert aa.chance_possible(2) == aa.chance_possible(2, n_range=(780, 805))
    assert aa.possible_n(" 50 % ", n_range=(1, 1)) == [1]


def test_chance_of_whole_percentages():
    """With one judgement 0, 50 and 100 can be printed; with no more than 3, also 17, 25, 33, 67, 75, 83."""
    assert aa.chance_possible(0, n_range=(1, 1)) == 3 / 101
    assert aa.chance_possible(0, n_range=(1, 3)) == 9 / 101
    # of 4, 12.5 may be printed as 12 and as 13
    assert aa.chance_possible(0, n_range=(4, 4)) == 13 / 101


TABLE = aa.from_counts(
    {"model": ["x7", "x70", "ref"], "n_wins": [703, 765, 0], "n_losses": [97, 35, 0], "n_draws": [1, 1, 805]},
    reference="ref",
    annotator="judge",
)


@pytest.mark.parametrize(
    ("model", "reference", "printed", "verdict"),
    [
        ("x70", "ref", "95.57", "reproduced"),
        ("x70", "ref", "95.6", "reproduced"),
        ("x70", "ref", "95.56", "differs"),
        ("x7", "ref", "87.82", "differs"),
        ("x7", "ref", "87.35", "impossible as printed"),
        ("x70", "gpt4", "60.61", "cannot be tested with open data"),
        ("x70", "gpt4", "87.35", "impossible as printed"),
        ("gpt4", "gpt4", "50.00", "cannot be tested with open data"),
    ],
)
@pytest.mark.slow
def test_verdicts(model, reference, printed, verdict):
    claims = pd.DataFrame({"model": [model], "reference": [reference], "printed": [printed], "source": "s"})
    row = aa.check_claims(claims, TABLE).iloc[0]
    assert row["verdict"] == verdict
    assert row["source"] == "s"
    assert np.isnan(row["recomputed"]) == (reference == "gpt4")


def test_truncation_is_noticed():
    claims = pd.DataFrame({"model": ["x7"], "reference": ["ref"], "printed": ["87.82"]})
    assert "cut off instead of rounded" in aa.check_claims(claims, TABLE).loc[0, "note"]


def test_reference_of_a_leaderboard_is_inferred():
    claims = pd.DataFrame({"model": ["x70"], "reference": ["ref"], "printed": ["95.57"]})
    board = TABLE.drop(columns=["reference", "annotator"])
    for table in (board, board[board["model"] != "x7"], TABLE[TABLE["model"] != "ref"]):
        assert aa.check_claims(claims, table).loc[0, "verdict"] == "reproduced"


def test_reference_is_not_guessed_from_two_or_none():
    claims = pd.DataFrame({"model": ["x70"], "reference": ["ref"], "printed": ["95.57"]})
    board = TABLE.drop(columns=["reference", "annotator"])
    twice = pd.concat([board, board[board["model"] == "ref"].assign(model="other")], ignore_index=True)
    for table in (twice, board[board["model"] == "ref"], board[board["model"] != "ref"]):
        assert aa.check_claims(claims, table).loc[0, "verdict"] == "cannot be tested with open data"


def test_recomputed_values_are_those_of_the_counts():
    claims = pd.DataFrame(
        {
            "model": ["x70", "gone", "x70", "ref"],
            "reference": ["ref", "ref", "gpt4", "ref"],
            "printed": "95.57",
        },
        index=[7, 8, 9, 9],
    )
    checked = aa.check_claims(claims, TABLE, n_range=(799, 801), method="t", confidence_level=0.9, rng=4)
    assert checked.index.equals(pd.RangeIndex(4))
    assert list(checked.columns) == [
        "model", "reference", "printed", "recomputed", "standard_error", "ci_low", "ci_high", "n", "possible_n",
        "chance", "verdict", "reason", "note",
    ]  # fmt: skip
    outcomes = np.repeat([1, 0, 0.5], [765, 35, 1])
    mean, error = outcomes.mean(), stats.sem(outcomes)
    expected = [
        mean,
        error,
        *special.expit(
            special.logit(mean) + np.array(stats.t.interval(0.9, 800)) * error / (mean * (1 - mean))
        ),
    ]
    columns = ["recomputed", "standard_error", "ci_low", "ci_high"]
    np.testing.assert_allclose(checked.loc[0, columns].astype(float), expected)
    assert checked.loc[1:, columns].isna().all(axis=None)
    assert checked["n"].tolist() == [801, pd.NA, pd.NA, pd.NA]
    assert checked["possible_n"].tolist() == [[n for n in (799, 800, 801) if _by_enumeration("95.57", n)]] * 4
    np.testing.assert_allclose(checked["chance"], aa.chance_possible(2, n_range=(799, 801)))
    assert checked.attrs["n_range"] == (799, 801)
    assert checked.attrs["interval"] == "t"
    attrs = aa.check_claims(claims, TABLE).attrs
    assert (attrs["rng"], attrs["n_resamples"], attrs["confidence_level"]) == (None, None, 0.95)


@pytest.mark.parametrize(
    ("model", "printed", "note"),
    [
        ("x7", "87.83", ""),
        ("x7", "87.82", "the judgements give 87.8277 from 703.5 of 801, cut off instead of rounded"),
        ("x7", "87.9", "the judgements give 87.8277 from 703.5 of 801"),
        ("x7", "87.35", "no number of wins and draws gives 87.35 at any n from 780 to 805; the judgements give 87.8277 from 703.5 of 801"),
        ("gone", "87.35", "no number of wins and draws gives 87.35 at any n from 780 to 805"),
        ("gone", "60.61", "no open judgements; possible for 4 of n = 780 to 805 (782, 787, 792, 801)"),
        ("gone", "29.94", "no open judgements; possible for 6 of n = 780 to 805 (780, 785, 790, 795, 800, 805)"),
        ("gone", "50.00", "no open judgements; possible for 26 of n = 780 to 805 (780, 781, 782, 783, 784, 785, ...)"),
        ("ref", "50.00", "a model against itself is 50 by definition; there is nothing to judge"),
    ],
)  # fmt: skip
def test_notes(model, printed, note):
    claims = pd.DataFrame({"model": [model], "reference": ["ref"], "printed": [printed]})
    assert aa.check_claims(claims, TABLE, method="t").loc[0, "note"] == note


def test_claims_need_their_columns():
    with pytest.raises(AnnotationError, match="expected a column 'printed'"):
        aa.check_claims(pd.DataFrame({"model": ["x"], "reference": ["r"]}), TABLE)


@pytest.mark.slow
def test_the_articles_claims():
    board = aa.load("alpaca_eval_v1_leaderboard_2023_09_19")
    table = aa.from_counts(
        board.assign(n_asked=805), reference="text_davinci_003", annotator="alpaca_eval_gpt4"
    )
    checked = aa.check_claims(aa.load("xwin_claims"), table)
    assert checked["verdict"].value_counts().to_dict() == {
        "cannot be tested with open data": 26,
        "reproduced": 9,
        "differs": 1,
        "impossible as printed": 1,
    }
    first = aa.check_first(table, "xwinlm-70b-v0.1").iloc[0]
    assert (first["rank"], first["rival"], first["verdict"]) == (1, "gpt4", "reproduced")
    assert "not established" in first["note"]


def test_first_among_some():
    row = aa.check_first(TABLE, "x7", among=["x70"]).iloc[0]
    assert (row["rank"], row["verdict"]) == (2, "differs")
    with pytest.raises(AnnotationError, match="at least one model to compare with"):
        aa.check_first(TABLE, "x7", among=["x7"])


def test_a_first_place_says_how_few_judgements_decide_it():
    first, second = np.zeros(400), np.zeros(400)
    first[:9], second[-6:] = 1, 1
    table = pd.concat([said(first, model="a"), said(second, model="b")], ignore_index=True)
    row = aa.check_first(table, "a").iloc[0]
    assert (row["verdict"], row["n_to_reverse"]) == ("reproduced", 4)
    assert row["note"].startswith("first in the counts, but 4 judgements decide it; the interval")
    assert row["reason"] == "few_decide not_established"
    second = aa.check_first(table, "b").iloc[0]
    assert second["verdict"] == "differs"
    assert pd.isna(second["n_to_reverse"])
    first[:100] = 1
    firm = aa.check_first(pd.concat([said(first, model="a"), said(np.zeros(400), model="b")]), "a").iloc[0]
    assert (firm["note"], pd.isna(firm["n_to_reverse"])) == ("", True)  # no removal puts b above


@pytest.mark.rows
@pytest.mark.slow
def test_eight_judgements_decide_the_first_place_of_alpaca_eval(alpaca_eval_v1):
    row = aa.check_first(alpaca_eval_v1, "gpt4_1106_preview").iloc[0]
    assert (row["rival"], row["n_to_reverse"]) == ("mistral-medium", 8)
    assert "8 judgements decide it" in row["note"]


BOARD = aa.from_counts(
    {
        "model": ["a", "b", "c", "d"],
        "n_wins": [765, 765, 600, 2],
        "n_losses": [35, 35, 200, 798],
        "n_draws": 1,
    }
)


@pytest.mark.parametrize(
    ("model", "among", "rank", "n_models", "rival", "verdict"),
    [
        ("a", None, 1, 4, "b", "differs"),  # one of two
        ("a", ["c", "d"], 1, 3, "c", "reproduced"),
        ("c", None, 3, 4, "a", "differs"),
        ("d", ["a", "c", "d"], 3, 3, "a", "differs"),
        ("c", ["d"], 1, 2, "d", "reproduced"),
    ],
)
def test_first_of_four(model, among, rank, n_models, rival, verdict):
    row = aa.check_first(BOARD, model, among=among, confidence_level=0.9).iloc[0]
    assert row[["model", "rank", "n_models", "rival"]].tolist() == [model, rank, n_models, rival]
    assert row["verdict"] == verdict
    compared = aa.compare(BOARD, model, rival, confidence_level=0.9).iloc[0]
    columns = ["difference", "standard_error", "ci_low", "ci_high", "pvalue", "paired"]
    assert row[columns].tolist() == compared[columns].tolist()
    equal = f"the interval of the difference to {rival} contains 0: the order is not established"
    assert row["note"] == (equal if {model, rival} == {"a", "b"} else "")


@pytest.mark.parametrize(("n_shared", "doubt"), [(2, "contains 0"), (1, "has no interval")])
def test_first_says_what_the_difference_rests_on(n_shared, doubt):
    """The rank rests on 400 judgements of each model, the difference on the few that both share."""
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame(
            {
                "instruction_id": [f"i{u}" for u in range(start, start + 400)],
                "model": model,
                "outcome": (rng.random(400) < rate).astype(float),
            }
        )
        for model, rate, start in (("a", 0.8, 0), ("b", 0.5, 400 - n_shared))
    ]
    parts[0].loc[398:, "outcome"], parts[1].loc[:1, "outcome"] = [1.0, 0.0], [1.0, 1.0]
    table = pd.concat(parts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedWarning)
        row = aa.check_first(table, "a").iloc[0]
    assert (row["rank"], row["verdict"]) == (1, "reproduced")
    assert row["note"] == (
        "the difference to b has no interval: the order is not established; "
        if n_shared == 1
        else "the interval of the difference to b contains 0: the order is not established; "
    ) + (
        f"difference on {n_shared} shared instructions, rank on all: {800 - 2 * n_shared} of only one model "
        "left out"
    )
    assert doubt in row["note"]


def test_first_by_default_is_sure_of_95_percent():
    row = aa.check_first(BOARD, "a", among=["c"]).iloc[0]
    compared = aa.compare(BOARD, "a", "c", confidence_level=0.95).iloc[0]
    assert row[["ci_low", "ci_high"]].tolist() == compared[["ci_low", "ci_high"]].tolist()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.integers(-3, 3), st.integers(0, 3))
def test_averages_are_exact(values, more, decimals):
    """An average of printed values may be off by half a unit of theirs, and its own rounding by as much."""
    unit, mean = Fraction(1, 10**decimals), Fraction(sum(values), len(values))
    stated = round(mean) + more
    off = abs(mean - stated)
    expected = "reproduced" if off <= 0.5 else "differs" if off <= 1 else "impossible as printed"
    names = list("wxyz"[: len(values)])
    frame = pd.DataFrame([[v * float(unit) for v in values]], columns=names)
    frame = frame.assign(model="m", mean=stated * float(unit))
    row = aa.check_averages(frame, names, "mean", decimals=decimals).iloc[0]
    assert row[["model", "printed", "verdict"]].tolist() == ["m", stated * float(unit), expected]
    bounds = [float(v * unit) for v in (mean, mean - Fraction(1, 2), mean + Fraction(1, 2))]
    np.testing.assert_allclose(row[["recomputed", "low", "high"]].astype(float), bounds, atol=1e-12)


def test_averages():
    frame = pd.DataFrame(
        {"model": list("abc"), "x": [50.1, 50.1, 50.1], "y": [50.2, 50.2, 50.2], "mean": [50.1, 50.2, 51.0]}
    )
    checked = aa.check_averages(frame, ["x", "y"], "mean")
    assert checked["verdict"].tolist() == ["reproduced", "reproduced", "impossible as printed"]
    np.testing.assert_allclose(checked["recomputed"], 50.15)


def test_a_claim_about_a_misspelt_name_says_what_may_be_meant():
    table = aa.from_counts(
        {"model": ["gpt4"], "n_wins": [7], "n_losses": [2], "n_draws": [1]}, reference="davinci"
    )
    claims = pd.DataFrame(
        {"model": ["gpt-4", "gpt4", "other"], "reference": ["davinci", "davinchi", "davinci"]}
    )
    notes = aa.check_claims(claims.assign(printed="75.00"), table)["note"]
    assert notes[0].endswith("; the judgements name a model 'gpt4'")
    assert notes[1].endswith("; the judgements name a reference 'davinci'")
    assert "name a" not in notes[2]


def test_model_whose_outcomes_are_no_verdicts_is_named():
    verdicts = aa.from_counts({"model": ["plain"], "n_wins": [3], "n_losses": [1], "n_draws": [0]})
    verdicts = verdicts.assign(reference="r")
    weighted = pd.DataFrame({"model": "weighted", "outcome": [0.3, 0.91], "n": 1, "reference": "r"})
    claims = pd.DataFrame({"model": ["plain", "weighted"], "reference": "r", "printed": ["75.00", "60.50"]})
    with pytest.raises(aa.AnnotationError, match="outcomes of 'weighted'"):
        aa.check_claims(claims, pd.concat([verdicts, weighted], ignore_index=True))


def test_an_average_with_a_hole_cannot_be_tested():
    frame = pd.DataFrame({"model": ["m", "k"], "a": [56.9, None], "b": [85.2, 1], "mean": [71.1, 2]})
    checked = aa.check_averages(frame, ["a", "b"], "mean")
    assert checked["verdict"].tolist() == ["reproduced", "cannot be tested with open data"]
    assert checked.loc[1, ["recomputed", "low", "high"]].isna().all()
    with pytest.raises(aa.AnnotationError, match="a column 'b'"):
        aa.check_averages(frame.drop(columns="b"), ["a", "b"], "mean")


@pytest.mark.parametrize(
    ("value", "printed", "expected"),
    [
        ("0.35", "0.3", True),
        ("0.35", "0.4", True),
        ("0.351", "0.3", False),
        ("0.35", "0.36", False),
        ("2", "2", True),
    ],
)
def test_halves_round_either_way(value, printed, expected):
    assert rounds_to(Fraction(value), Decimal(printed)) == expected


def alike(order):
    """Make two models with the same outcomes .1, .2, .3, twenty times each, in other orders."""
    y = np.tile([0.1, 0.2, 0.3], 20)
    ids = np.arange(60).astype(str)
    rows = pd.concat(
        [
            pd.DataFrame({"instruction_id": ids, "model": "A", "outcome": y}),
            pd.DataFrame({"instruction_id": ids, "model": "B", "outcome": np.sort(y)}),
            pd.DataFrame({"instruction_id": ids, "model": "C", "outcome": 0.5 * y}),
        ],
        ignore_index=True,
    )
    return rows.iloc[order]


@pytest.mark.parametrize("seed", range(8))
def test_equal_models_are_first_alike_in_whatever_order_their_rows_stand(seed):
    table = alike(np.random.default_rng(seed).permutation(180))
    found = pd.concat([aa.check_first(table, model) for model in "AB"])
    assert found["rank"].tolist() == [1, 1]
    assert found["verdict"].tolist() == ["differs", "differs"]
    assert found["rival"].tolist() == ["B", "A"]
    assert found["difference"].tolist() == [0, 0]
    assert found["reason"].tolist() == ["not_established", "not_established"]
    beaten = aa.check_first(table, "C")
    assert beaten[["rank", "rival"]].to_numpy().tolist() == [[3, "A"]]


def test_check_first_says_how_it_was_computed():
    said = aa.check_first(alike(np.arange(180)), "A", confidence_level=0.9).attrs
    assert said["method"] == "rank by win rate; paired difference of win rates"
    assert (said["estimate"], said["interval"], said["unit"]) == ("difference", "t", "instruction")
    assert (said["confidence_level"], said["differences"], said["rng"]) == (0.9, ["difference"], None)
    assert (
        "printed average"
        in aa.check_averages(pd.DataFrame({"model": ["m"], "a": [1.0], "mean": [1.0]}), ["a"], "mean").attrs[
            "method"
        ]
    )


def test_check_first_refuses_references_that_are_half_missing():
    table = alike(np.arange(180)).assign(reference=np.where(np.arange(180) % 2, "r", None))
    with pytest.raises(aa.AnnotationError, match=r"r, \(missing\), expected one reference"):
        aa.check_first(table, "A")


def test_reasons_of_verdicts_are_codes():
    claims = pd.DataFrame({"model": ["x7", "x7", "nobody", "nobody"], "reference": "ref"})
    claims["printed"] = ["87.82", "87.35", "87.35", "60.61"]
    found = aa.check_claims(claims, TABLE)
    assert found["reason"].tolist() == ["cut_off", "impossible", "impossible", "no_judgements"]


def test_claims_do_not_depend_on_the_order_of_rows_or_on_how_they_are_counted():
    claims = pd.DataFrame({"model": ["x7", "x70"], "reference": "ref", "printed": ["87.83", "95.57"]})
    one = aa.check_claims(claims, TABLE)
    pd.testing.assert_frame_equal(one, aa.check_claims(claims, TABLE.iloc[::-1]))
    rows = TABLE.loc[TABLE.index.repeat(TABLE["n"])].assign(n=1).sample(frac=1, random_state=2)
    single = aa.check_claims(claims, rows)
    pd.testing.assert_frame_equal(one, single, rtol=1e-12)
