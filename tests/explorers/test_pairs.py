"""Pairs to read: what they are sorted by, which are kept, their texts, and the page."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from alpaca_analysis import AnnotationError, browse, from_counts
from alpaca_analysis.explorers import pairs, texts
from alpaca_analysis.explorers.window import parts


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(1)
    n = 60
    ids = [f"i{k:02}" for k in range(n)]
    skill, hard = {"strong": 1.2, "weak": -1.0, "middle": 0.1}, rng.normal(0, 1.5, n)
    rows = []
    for model, level in skill.items():
        y = (rng.random(n) < 1 / (1 + np.exp(-level + hard))).astype(float)
        y[3] = 0.5
        y[4] = np.nan
        rows.append(
            pd.DataFrame(
                {
                    "instruction_id": ids,
                    "dataset": np.where(np.arange(n) % 2, "koala", "vicuna"),
                    "model": model,
                    "reference": "ref",
                    "annotator": "judge",
                    "outcome": y,
                    "instruction": [f"prompt {i}" for i in ids],
                    "output_model": [f"{model} says **{i}** " + "w" * int(rng.integers(0, 300)) for i in ids],
                    "output_reference": [f"reference says {i} " + "w" * 40 for i in ids],
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def test_the_verdict_against_the_model_and_the_others_surprises_most(table):
    odd = table.copy()
    easy = odd.groupby("instruction_id")["outcome"].transform("mean")
    row = odd.index[(odd["model"] == "weak") & (easy == 0)][0]
    odd.loc[row, "outcome"] = 1.0
    measured = pairs.measure(odd)
    wins = measured[(measured["model"] == "weak") & (measured["outcome"] == 1)]
    assert wins["surprise"].idxmax() == row
    assert wins["surprise"].max() > wins["surprise"].median() + 0.3
    np.testing.assert_allclose(
        2 ** -measured["surprise"].dropna(),
        np.prod(
            [
                measured["expected"] ** measured["outcome"],
                (1 - measured["expected"]) ** (1 - measured["outcome"]),
            ],
            axis=0,
        )[measured["outcome"].notna()],
    )
    assert measured["surprise"].isna().sum() == 3


def test_the_expected_outcome_does_not_know_the_verdict(table):
    row = 10
    flipped = table.copy()
    flipped.loc[row, "outcome"] = 1 - table.loc[row, "outcome"]
    one, two = pairs.measure(table)["expected"], pairs.measure(flipped)["expected"]
    # Only half a judgement for either side, and the doubt about the instruction, remain of it.
    assert abs(one[row] - two[row]) < 1e-3
    assert abs(one[row] - two[row]) < np.abs(one.drop(row) - two.drop(row)).max()


def test_influence_is_what_leaving_a_judgement_out_does(table):
    measured = pairs.measure(table)
    part = measured[(measured["model"] == "weak") & measured["outcome"].notna()]
    d = part["length_model"] - part["length_reference"]
    spread = (table["output_model"].str.len() - table["output_reference"].str.len()).std()
    design = sm.add_constant(np.tanh(d / spread))
    fit = sm.OLS(part["outcome"], design).fit()
    oracle = np.array(
        [
            fit.params["const"] - sm.OLS(part["outcome"].drop(i), design.drop(i)).fit().params["const"]
            for i in part.index
        ]
    )
    np.testing.assert_allclose(part["influence"], oracle, atol=1e-12)


def test_influence_without_lengths_is_that_on_the_win_rate(table):
    bare = table.drop(columns=["output_model", "output_reference"])
    measured = pairs.measure(bare)
    y = bare.loc[bare["model"] == "weak", "outcome"].dropna()
    oracle = [y.mean() - y.drop(i).mean() for i in y.index]
    np.testing.assert_allclose(measured.loc[y.index, "influence"], oracle, atol=1e-12)


def test_people_are_counted_for_the_side_of_the_row_though_theirs_is_flipped(table):
    people = table[table["model"] == "weak"].iloc[:2].assign(annotator="p1", outcome=[1.0, 0.0])
    flipped = people.rename(columns={"model": "reference", "reference": "model"}).assign(
        annotator="p2", outcome=[1.0, 0.5]
    )
    columns = ["instruction_id", "model", "reference", "annotator", "outcome"]
    humans = pd.concat([people[columns], flipped[columns]], ignore_index=True)
    measured = pairs.measure(table, humans=humans)
    rows = measured[measured["model"] == "weak"].iloc[:2]
    assert rows[["votes_model", "votes_draw", "votes_reference"]].to_numpy().tolist() == [
        [1, 0, 1],
        [0, 1, 1],
    ]
    mean = np.array([0.5, 0.25])
    np.testing.assert_allclose(rows["disagreement"], np.abs(rows["outcome"] - mean))
    assert measured["disagreement"].notna().sum() == 2


def test_several_judges_of_a_pair_disagree_by_their_range(table):
    other = table.assign(annotator="other", outcome=1.0)
    measured = pairs.measure(pd.concat([table, other], ignore_index=True))
    oracle = (1 - table["outcome"]).abs()
    np.testing.assert_allclose(measured["disagreement"].iloc[: len(table)], oracle)


@pytest.mark.parametrize("sort", ["surprise", "length_difference", "influence"])
def test_the_order_is_that_of_the_column(table, sort):
    shown = browse(table, sort=sort).pairs[sort].dropna().abs()
    assert shown.is_monotonic_decreasing
    assert len(shown) >= len(table) - 3


def test_a_random_sample_is_the_same_for_the_same_seed_only(table):
    def sample(rng):
        return browse(table, sort="random", n=20, rng=rng).pairs.index.tolist()

    assert sample(7) == sample(7) != sample(8)
    assert len(set(sample(7))) == 20


def test_where_takes_a_condition_values_and_truth(table):
    wanted = table.index[(table["model"] == "weak") & (table["outcome"] == 0)].tolist()
    for where in (
        "model == 'weak' and outcome == 0",
        {"model": "weak", "outcome": [0.0]},
        (table["model"] == "weak") & (table["outcome"] == 0),
    ):
        assert browse(table, where=where, sort="table").pairs.index.tolist() == wanted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "nonsense > 1"}, "where: found 'nonsense > 1', expected a condition on columns"),
        ({"where": "length_model + 1"}, "expected one truth value for each of 180 rows"),
        ({"where": {"colour": "red"}}, "where: found column 'colour', expected one of instruction_id"),
        ({"where": [True, False]}, "expected one truth value for each of 180 rows"),
        ({"where": {"model": "nobody"}}, "keeps none of 180 judgements"),
        (
            {"sort": "disagreement"},
            "'disagreement' is not known of any pair: it takes humans=, or several judges",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused(table, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        browse(table, **options)


def test_counts_name_no_pairs():
    counts = from_counts({"model": ["a"], "n_wins": [7], "n_losses": [2], "n_draws": [1]})
    with pytest.raises(AnnotationError, match="one row per judgement: counts name no pairs"):
        browse(counts)


def test_input_is_not_changed(table):
    before = table.copy()
    assert len(browse(table).pairs) == len(before)
    pd.testing.assert_frame_equal(table, before)


def held(path):
    text = path.read_text(encoding="utf-8")
    return text, json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])


def test_the_page_holds_the_first_pairs_and_says_how_many_it_left_out(table, tmp_path):
    browser = browse(table)
    text, data = held(browser.to_html(tmp_path / "p.html", n=15))
    assert data["numbers"]["left"] == 165
    assert data["numbers"]["rows"] == browser.pairs.index[:15].tolist()
    assert [t["prompt"] for t in data["texts"]] == browser.pairs["instruction"].iloc[:15].tolist()
    assert "https://" not in text
    assert "http://" not in text
    assert browser.to_html(tmp_path / "again.html", n=15).read_bytes() == (tmp_path / "p.html").read_bytes()


@pytest.mark.slow
def test_the_page_stays_under_10_megabytes(table, tmp_path):
    long = table.assign(output_model="ä" * 70_000)
    path = browse(long).to_html(tmp_path / "p.html")
    assert 5_000_000 < path.stat().st_size < 10_000_000
    _, data = held(path)
    assert data["numbers"]["left"] == 180 - len(data["texts"]) > 0


def test_a_text_that_ends_the_script_ends_nothing(table, tmp_path):
    evil = '</script><script>alert(1)</script> \u2028 <!-- "'
    text, data = held(browse(table.assign(output_model=evil)).to_html(tmp_path / "p.html"))
    assert data["texts"][0]["a"].startswith("</script><script>alert(1)</script>")
    assert "<script>alert(1)" not in data["texts"][0]["a_html"]
    assert text.count("<script") == 2


def test_markdown_makes_no_tag_of_texts_and_no_image():
    html = texts.rendered("**b** <img src=x onerror=alert(1)> ![i](http://a/b.png) [l](javascript:alert(1))")
    assert "<strong>b</strong>" in html
    assert "<img" not in html
    assert 'href="javascript' not in html


def test_the_view_is_told_columns_to_cut_by_and_features_of_both_sides(table):
    more = table.assign(language="en", words_model=3, words_reference=4, explanation="because")
    more.loc[0, "language"] = "de"
    browser = browse(more, sort="table")
    told = parts.numbers(browser.pairs, "table")
    assert set(told["facets"]) >= {"model", "dataset", "language"}
    assert told["single"] == {"reference": "ref", "annotator": "judge"}
    shown = parts.texts(browser.pairs, texts.Texts(browser.pairs), [0])[0]
    assert shown["features"] == [["words", "3", "4"]]
    assert shown["explanation"] == "because"


def test_without_texts_the_view_says_how_to_have_them(table):
    bare = browse(table.drop(columns=["instruction", "output_model", "output_reference"]))
    shown = parts.texts(bare.pairs, texts.Texts(bare.pairs), [0])[0]
    assert "read_annotations(..., texts=True)" in shown["prompt"]


def test_search_finds_words_in_any_text_in_upper_or_lower_case(table):
    browser = browse(table, sort="table")
    found = browser._answer({"search": "STRONG SAYS"})["found"]
    assert found == np.flatnonzero(table["model"] == "strong").tolist()
    assert browser._answer({"search": "prompt i07"})["found"] == [7, 67, 127]


@pytest.mark.rows
def test_texts_of_published_rows_are_read_when_looked_at():
    from alpaca_analysis import load, read_annotations
    from alpaca_analysis.sources.catalogue import fetch

    browser = browse(load("alpaca_eval_v1", download=False), where={"model": "gpt4"}, n=5)
    path = next(p for p in fetch("alpaca_eval_v1") if "gpt4" in p.parts)
    own = read_annotations(path, texts=True).set_index("instruction_id")
    shown = browser._answer({"want": [0, 3]})["texts"]
    for row, entry in shown.items():
        expected = own.loc[browser.pairs["instruction_id"].iloc[row]]
        assert entry["a"] == expected["output_model"]
        assert entry["b"] == expected["output_reference"]
        assert entry["prompt"] == expected["instruction"]


def test_jupyter_is_given_a_widget_and_words_for_where_there_is_none(table):
    pytest.importorskip("anywidget")
    browser = browse(table)
    bundle = browser._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"] == "<Browser of 180 judged pairs, by surprise>"
    assert browser.selection.empty
    browser.widget.selected = [2, 5]
    pd.testing.assert_frame_equal(
        browser.selection[["model", "outcome", "instruction"]].astype({"model": str}),
        table.loc[browser.pairs.index[[2, 5]], ["model", "outcome", "instruction"]],
    )
