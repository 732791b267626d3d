"""Order of presentation: published counts, pandas and statsmodels as oracles, planted effects."""

import numpy as np
import pandas as pd
import pytest
from judgements import said
from numpy.testing import assert_allclose

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning

QUICK = {"method": "t"}


def both_orders(rng, n, *, first=0.0, repeats=1, noise=1.0):
    """Return n pairs judged `repeats` times in each order by a judge that adds `first` to the first output."""
    quality = np.repeat(rng.normal(0, 1, n), 2 * repeats)
    position = np.tile([1, 2], n * repeats)
    shown_first = np.where(position == 1, 1, -1)
    score = quality + first * shown_first + rng.normal(0, noise, len(quality))
    ids = np.repeat([f"i{k}" for k in range(n)], 2 * repeats)
    number = np.tile(np.repeat(np.arange(repeats), 2), n)
    return said(score > 0, ids=ids, position=position, repeat=number)


@pytest.mark.rows
@pytest.mark.parametrize(
    ("judge", "same", "first", "second", "pvalue"),
    [("ChatGPT/Vanilla", 71, 25, 4, 0.0001), ("GPT-4/Vanilla", 95, 3, 2, 1)],
)
def test_llmbar(mirror, judge, same, first, second, pvalue):
    table = aa.load("llmbar")
    (row,) = aa.order_consistency(table[table["annotator"] == judge]).to_dict("records")
    assert row["consistent"] == same / 100
    assert (row["n_pairs"], row["n_same"], row["n_first"], row["n_second"]) == (100, same, first, second)
    assert round(row["pvalue"], 4) == pvalue
    assert row["reason"] == "no_repeats"


@pytest.mark.rows
def test_llmbar_against_pandas(mirror):
    table = aa.load("llmbar")
    table = table[table["position"].notna() & (table["annotator"] != "GPT-4/Swap_CoT")]  # it never flips
    result = aa.order_consistency(table, **QUICK).set_index("annotator")
    wide = table.pivot_table(
        index=["annotator", "instruction_id"], columns="position", values="outcome", observed=True
    ).dropna()
    consistent = (wide[1] == wide[2]).groupby("annotator", observed=True)
    assert_allclose(result["consistent"], consistent.mean().reindex(result.index))
    assert_allclose(result["standard_error"], consistent.sem().reindex(result.index), rtol=1e-12)
    rules = aa.order_rules(table, by=["annotator", "model"], **QUICK).set_index(["rule", "annotator"])
    mean, same = wide.mean(axis=1), wide[wide[1] == wide[2]][1]
    for rule, outcome in {"mean of both": mean, "conflict is a draw": mean, "conflict dropped": same}.items():
        expected = outcome.groupby("annotator", observed=True).mean()
        assert_allclose(rules.loc[rule, "win_rate"].sort_index(), expected)


def test_every_kind_of_pair_is_counted_once():
    verdicts = {(1, 1): 3, (0, 0): 2, (1, 0): 4, (0, 1): 1, (0.5, 0.5): 2, (1, 0.5): 2, (1, np.nan): 3}
    pairs = [pair for pair, times in verdicts.items() for _ in range(times)]
    table = said(np.ravel(pairs), ids=np.repeat(np.arange(len(pairs)).astype(str), 2), position=[1, 2] * 17)
    (row,) = aa.order_consistency(table, **QUICK).to_dict("records")
    counted = {"n_pairs": 14, "n_same": 5, "n_first": 4, "n_second": 1, "n_draws": 4, "n_missing": 3}
    assert {name: row[name] for name in counted} == counted
    assert row["consistent"] == 5 / 14
    assert row["flips"] == 7 / 14
    rules = aa.order_rules(table, **QUICK).set_index("rule")
    assert_allclose(rules["win_rate"], [(3 + 5 * 0.5 + 1 + 2 * 0.75) / 14, (3 + 9 * 0.5) / 14, 4 / 7])
    assert rules["n_missing"].tolist() == [3, 3, 10]


def test_one_vote_per_instruction():
    """Many pairs of one instruction are one vote: statsmodels' sign test over instructions."""
    from statsmodels.stats.descriptivestats import sign_test

    places = {"a": [1, 1, 1, -1], "b": [1], "c": [-1], "d": [1, -1], "e": [1, 1]}
    rows = [
        {"instruction_id": i, "model": f"m{k}", "position": p, "outcome": float((v > 0) == (p == 1))}
        for i, votes in places.items()
        for k, v in enumerate(votes)
        for p in (1, 2)
    ]
    rows += [{"instruction_id": "f", "model": "m0", "position": p, "outcome": 1.0} for p in (1, 2)]
    result = aa.order_consistency(pd.DataFrame(rows), **QUICK)
    votes = np.array([sum(v) for v in places.values()])
    assert result["pvalue"][0] == pytest.approx(sign_test(votes[votes != 0])[1])
    assert result[["n_first", "n_second"]].iloc[0].tolist() == [7, 3]


def test_sides_and_order_of_rows_do_not_matter():
    table = both_orders(np.random.default_rng(0), 60, first=0.5, repeats=2)
    other = table.assign(
        model=table["reference"],
        reference=table["model"],
        outcome=1 - table["outcome"],
        position=3 - table["position"],
    )
    mixed = pd.concat([table[::2], other[1::2]]).sample(frac=1, random_state=1)
    expected = aa.order_consistency(table, **QUICK)
    pd.testing.assert_frame_equal(aa.order_consistency(mixed, **QUICK), expected)
    pd.testing.assert_frame_equal(aa.order_consistency(other, **QUICK), expected)


def test_flips_of_repeats_by_hand():
    table = both_orders(np.random.default_rng(3), 80, first=0.8, repeats=3)
    (row,) = aa.order_consistency(table, **QUICK).to_dict("records")
    cube = table.pivot_table(
        index="instruction_id", columns=["position", "repeat"], values="outcome"
    ).to_numpy()
    one, two = cube[:, :3], cube[:, 3:]
    between = (one != two).mean(axis=1)
    within = [
        np.mean([[side[:, a] != side[:, b]] for a, b in ((0, 1), (0, 2), (1, 2))], axis=(0, 1))
        for side in (one, two)
    ]
    gap = between - np.mean(within, axis=0)
    assert_allclose([row["flips"], row["flips_beyond_repeats"]], [between.mean(), gap.mean()])
    from statsmodels.stats.weightstats import DescrStatsW

    assert_allclose([row["beyond_low"], row["beyond_high"]], DescrStatsW(gap).tconfint_mean())


def test_consistency_by_difference_in_length():
    table = both_orders(np.random.default_rng(5), 50).assign(gap=np.repeat(["near", "far"], 50))
    result = aa.order_consistency(table, by=["annotator", "gap"], **QUICK).set_index("gap")
    for name, part in table.groupby("gap"):
        alone = aa.order_consistency(part, **QUICK)
        assert result.loc[name, "consistent"] == alone["consistent"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": 3}, "row 0, column 'position': found 3, expected 1"),
        ({"position": 1.0}, "found none, expected pairs judged in both orders"),
        ({"instruction_id": pd.NA}, "column 'instruction_id'"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, message):
    table = said([1, 0], ids=["a", "b"], position=[1, 1]).assign(**change)
    with pytest.raises(AnnotationError, match=message):
        aa.order_consistency(table)


def test_no_usable_verdict_is_undefined_with_a_reason():
    table = said([np.nan] * 4, ids=list("aabb"), position=[1, 2] * 2)
    with pytest.warns(UndefinedWarning):
        (row,) = aa.order_consistency(table, **QUICK).to_dict("records")
    assert (row["n_pairs"], row["n_missing"]) == (0, 2)
    assert np.isnan([row["consistent"], row["pvalue"], row["flips"]]).all()
    assert row["note"]


@pytest.mark.slow
def test_planted_order_effects_are_found_and_none_where_there_is_none():
    """Found in 500 data sets each: none planted 1.4 % (interval) and 3.8 % (sign test); 0.7 sd, all."""
    rng = np.random.default_rng(2026)
    found = {}
    for first in (0.0, 0.7):
        tables = (both_orders(rng, 200, first=first, repeats=2) for _ in range(500))
        results = pd.concat([aa.order_consistency(table, **QUICK) for table in tables])
        found[first] = (results["beyond_low"] > 0).mean(), (results["pvalue"] < 0.05).mean()
    print(found)
    beyond, sign = found[0.0]
    assert 0.005 <= beyond <= 0.05  # one-sided, 2.5 %
    assert sign <= 0.07
    assert min(found[0.7]) > 0.95
