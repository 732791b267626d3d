"""Models on both sides, judged turns, rows without ids, verdicts in many words: nothing is read otherwise in silence."""

import json

import numpy as np
import pandas as pd
import pytest
from judgements import said
from numpy.testing import assert_allclose

import alpaca_analysis as aa
from alpaca_analysis.table.sides import from_every_side


def battles(*rows, **columns):
    frame = pd.DataFrame(rows, columns=["question_id", "model_a", "model_b", "winner"])
    return frame.assign(judge="j", **columns)


def both_orders(n=10, first=0.8):
    """Return a judge who takes what stands first in a share of the pairs, every pair in both orders."""
    rows = []
    for k in range(n):
        winner = "model_a" if k < first * n else "model_b"
        rows += [(k, "alpha", "beta", winner), (k, "beta", "alpha", winner)]
    return aa.read_annotations(battles(*rows))


# Both orders -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::alpaca_analysis.UndefinedWarning")
def test_win_rates_of_both_orders_are_over_all_battles():
    table = both_orders()
    rates = aa.win_rate(table, method="t").set_index("model")
    assert rates["win_rate"].tolist() == [0.5, 0.5]
    assert rates["n_total"].tolist() == [20, 20]
    by_pair = aa.win_rate(table, by=["model", "reference"], method="t")
    assert by_pair["win_rate"].tolist() == [0.5, 0.5]
    bounds = aa.win_rate_bounds(table)
    assert bounds["n_total"].tolist() == [20, 20]
    claims = pd.DataFrame({"model": ["alpha"], "reference": ["beta"], "printed": ["50.0"]})
    assert aa.check_claims(claims, table, method="t").loc[0, ["n", "verdict"]].tolist() == [20, "reproduced"]


def test_random_sides_count_as_pandas_counts_them():
    rng = np.random.default_rng(0)
    sides = np.where(rng.random(200)[:, None] < 0.5, ["a", "b"], ["b", "a"])
    won = rng.random(200) < np.where(sides[:, 0] == "a", 0.7, 0.3)
    rows = [
        (k, *pair, "model_a" if w else "model_b") for k, (pair, w) in enumerate(zip(sides, won, strict=True))
    ]
    rates = aa.win_rate(aa.read_annotations(battles(*rows)), method="t").set_index("model")
    wins = pd.Series(np.where(won, sides[:, 0], sides[:, 1])).value_counts()
    for name in "ab":
        assert_allclose(rates.loc[name, "win_rate"], wins[name] / 200)
        assert_allclose(
            rates.loc[name, "standard_error"], np.std(won == (sides[:, 0] == name), ddof=1) / 200**0.5
        )


@pytest.mark.parametrize(
    "statistic",
    [
        lambda t: aa.compare(t, "alpha", "beta"),
        lambda t: aa.rank_sets(t, n_resamples=9),
        lambda t: aa.pairwise_differences(t, n_resamples=9),
        lambda t: aa.fit_length_control(t, difficulty=None),
    ],
)
def test_what_takes_one_reference_says_what_to_call(statistic):
    table = both_orders().assign(length_model=5.0, length_reference=6.0)
    with pytest.raises(aa.AnnotationError, match=r"found 2: alpha, beta, .*bradley_terry rates"):
        statistic(table)


def test_an_audit_says_what_to_call_instead_of_length_control():
    table = both_orders().assign(length_model=5.0, length_reference=6.0)
    assert "bradley_terry" in aa.audit(table, n_resamples=9).settings["skipped"]["length_control"]


def test_whose_outcome_it_is_has_to_be_said():
    with pytest.raises(aa.AnnotationError, match="found 'alpha' on both sides, expected 'model' in `by`"):
        aa.win_rate(both_orders(), by="annotator")


@pytest.mark.filterwarnings("ignore::alpaca_analysis.UndefinedWarning")
def test_a_reference_against_itself_stands_on_one_side():
    table = pd.concat([said([1, 0, 1]), said([0.5] * 3, model="r")])
    rates = aa.win_rate(table, method="t")
    assert rates["n_total"].tolist() == [3, 3]
    assert rates.set_index("model")["win_rate"].to_dict() == {"m": pytest.approx(2 / 3), "r": 0.5}


def test_turned_rows_swap_what_belongs_to_a_side():
    table = both_orders(n=1).assign(length_model=[3.0, 4.0], length_reference=[5.0, 6.0], position=1)
    turned = from_every_side(table, ["model"]).iloc[2:]
    assert turned["model"].tolist() == ["beta", "alpha"]
    assert turned["length_model"].tolist() == [5.0, 6.0]
    assert turned["position"].tolist() == [2, 2]
    assert turned["outcome"].tolist() == [0.0, 0.0]


# Turns -------------------------------------------------------------------------------------------


def conversation(*answers):
    pairs = [({"role": "user", "content": "ask"}, {"role": "assistant", "content": text}) for text in answers]
    return [message for pair in pairs for message in pair]


def test_lengths_are_those_of_the_judged_turn():
    table = aa.read_annotations(
        battles(
            (81, "a", "b", "model_a"),
            (81, "a", "b", "model_a"),
            (82, "a", "b", "tie"),
            turn=[1, 2, None],
            conversation_a=[conversation("x" * 26, "x" * 3)] * 3,
            conversation_b=[conversation("y" * 12, "y" * 60)] * 3,
        )
    )
    assert table["length_model"].tolist() == [26, 3, 26 + 2 + 3]
    assert table["length_reference"].tolist() == [12, 60, 12 + 2 + 60]
    short = battles((1, "a", "b", "model_a"), turn=[2])
    short = short.assign(conversation_a=[conversation("only one")], conversation_b=[conversation("", "two")])
    table = aa.read_annotations(short)
    assert np.isnan(table.loc[0, "length_model"])
    assert table.loc[0, "length_reference"] == 3


def test_messages_as_json_text_and_in_parts():
    parts = [
        {"type": "text", "text": "abc"},
        {"type": "image", "image": "..."},
        {"type": "text", "text": "de"},
    ]
    said_in_parts = [{"role": "user", "content": "ask"}, {"role": "assistant", "content": parts}]
    rows = battles((1, "a", "b", "model_a")).assign(
        conversation_a=[json.dumps(conversation("abcd"))], conversation_b=[said_in_parts]
    )
    assert aa.read_annotations(rows).loc[0, ["length_model", "length_reference"]].tolist() == [4, 6]


# Ids ---------------------------------------------------------------------------------------------


def test_rows_without_an_id_are_units_of_their_own_and_counted():
    ids = [*range(10), *[None, float("nan"), " ", "", *[None] * 6]]
    winners = ["model_a"] * 13 + ["model_b"] * 7
    table = aa.read_annotations(battles(*[(q, "a", "b", w) for q, w in zip(ids, winners, strict=True)]))
    rate = aa.win_rate(table, method="t").iloc[0]
    assert_allclose(rate["standard_error"], np.std([1] * 13 + [0] * 7, ddof=1) / 20**0.5)
    assert rate["note"] == "10 rows without an id, each a unit of its own"
    assert "no_id" in rate["reason"]


def test_ids_are_one_whatever_their_type():
    table = pd.concat([said([1, 0], ids=[81, "82"], model="a"), said([0, 1], ids=[81.0, 82.0], model="b")])
    assert aa.compare(table, "a", "b").loc[0, "paired"]
    unidentified = aa.read_annotations(battles((None, "a", "b", "model_a"), (None, "a", "b", "tie")))
    assert unidentified["instruction_id"].isna().all()


def test_names_that_look_the_same_are_the_same():
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    table = pd.concat([said([1, 0], model=composed), said([1, 1], model=decomposed, ids=["x", "y"])])
    assert aa.win_rate(table, method="t")["model"].tolist() == [composed]
    read = aa.read_annotations(battles((1, composed, "b", "model_a"), (2, decomposed, "b", "tie")))
    assert read["model"].unique().tolist() == [composed]


def test_a_truth_value_is_no_length():
    with pytest.raises(aa.AnnotationError, match="column 'length_model': found True"):
        aa.win_rate(said([1, 0]).assign(length_model=[True, False]))


# Verdicts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "outcomes"),
    [
        (["A", "b", "Tie"], [1, 0, 0.5]),
        (["left", "RIGHT", "draw"], [1, 0, 0.5]),
        (["alpha", "beta", "tie"], [1, 0, 0.5]),
        (["model_a", "both_bad", "tie (bothbad)"], [1, 0.5, 0.5]),
    ],
)
def test_winners_in_the_words_that_are_in_use(words, outcomes):
    table = aa.read_annotations(battles(*[(k, "alpha", "beta", w) for k, w in enumerate(words)]))
    assert table["outcome"].tolist() == outcomes
    bad = [w in ("both_bad", "tie (bothbad)") for w in words]
    assert table.get("both_bad", pd.Series([False] * 3)).tolist() == bad


def test_one_hot_winners_and_sides_called_left_and_right():
    rows = pd.DataFrame({"model_a": "a", "model_b": "b", "prompt": ["x", "y", "z"]})
    hot = rows.assign(winner_model_a=[1, 0, 0], winner_model_b=[0, 1, 0], winner_tie=[0, 0, 1])
    assert aa.read_annotations(hot)["outcome"].tolist() == [1, 0, 0.5]
    with pytest.raises(aa.AnnotationError, match=r"row 1, column 'winner_model_a'.*a single 1 among"):
        aa.read_annotations(hot.assign(winner_tie=[0, 1, 1]))
    fruit = pd.DataFrame({"left": ["Apple"], "right": ["Pear"], "winner": ["left"]})
    assert aa.read_annotations(fruit).loc[0, ["model", "reference", "outcome"]].tolist() == [
        "Apple",
        "Pear",
        1,
    ]


def alpaca_eval(preferences, **columns):
    n = len(preferences)
    names = {"generator_1": "base", "generator_2": "mine", "annotator": "judge"}
    texts = {"instruction": [f"prompt {k}" for k in range(n)], "output_1": "x", "output_2": "y"}
    return pd.DataFrame({**texts, **names, "preference": preferences} | columns)


def test_preferences_of_0_and_1_are_doubted_and_can_be_said():
    rows = alpaca_eval([1] * 15 + [0] * 5)
    with pytest.warns(UserWarning, match=r'values=\{"reference": 0, "model": 1\}'):
        aa.read_annotations(rows)
    table = aa.read_annotations(rows, values={"reference": 0, "model": 1})
    assert table["outcome"].mean() == 0.75
    assert aa.read_annotations(alpaca_eval([1, 0, 2]))["outcome"].tolist() == [0, 0.5, 1]


def test_an_input_belongs_to_the_prompt():
    table = aa.read_annotations(alpaca_eval([2, 1, 1.5], instruction="Translate.", input=["one", "two", ""]))
    assert table["instruction_id"].nunique() == 3


def test_folders_named_by_date_and_seed_are_no_names(tmp_path):
    folder = tmp_path / "results" / "2024-05-01" / "seed0"
    folder.mkdir(parents=True)
    (folder / "annotations.json").write_text(alpaca_eval([2, 1]).to_json(orient="records"))
    with pytest.warns(UserWarning, match="neither name in results/2024-05-01/seed0 is what the file says"):
        table = aa.read_annotations(folder / "annotations.json")
    assert table.loc[0, ["model", "annotator"]].tolist() == ["mine", "judge"]


# Any other table ---------------------------------------------------------------------------------


def test_columns_and_values_read_any_table(tmp_path):
    rows = pd.DataFrame(
        {
            "a": ["x", "y"],
            "b": "z",
            "label": ["win", "lose"],
            "id": [1, 2],
            "chars": [5, 6],
            "topic": ["s", "t"],
        }
    )
    columns = {
        "model": "a",
        "reference": "b",
        "outcome": "label",
        "instruction_id": "id",
        "length_model": "chars",
    }
    rows.to_csv(tmp_path / "mine.csv", index=False)
    for source in (rows, tmp_path / "mine.csv"):
        table = aa.read_annotations(
            source, columns=columns | {"annotator": "gpt"}, values={"model": "win", "reference": "lose"}
        )
        assert table["outcome"].tolist() == [1, 0]
        assert table["annotator"].unique().tolist() == ["gpt"]  # a name that is no column
        assert table["length_model"].tolist() == [5, 6]
        assert table["topic"].tolist() == ["s", "t"]
        assert table["instruction_id"].tolist() == ["1", "2"]


def test_any_table_is_refused_with_the_lines_that_read_it():
    rows = pd.DataFrame({"a": ["x"], "b": ["z"], "label": ["win"]})
    with pytest.raises(aa.AnnotationError, match=r"found the columns a, b, label.*columns=\{.*values=\{"):
        aa.read_annotations(rows)
    with pytest.raises(
        aa.AnnotationError, match="found the columns a, b, label, expected a column 'verdict'"
    ):
        aa.read_annotations(rows, columns={"model": "a", "outcome": "verdict"})
    with pytest.raises(aa.AnnotationError, match=r"row 0, column 'label': found 'win'.*values="):
        aa.read_annotations(rows, columns={"model": "a", "outcome": "label"})
    with pytest.raises(
        aa.AnnotationError, match="row 0, column 'label': found 'win', expected one of the verdicts"
    ):
        aa.read_annotations(
            rows, columns={"model": "a", "outcome": "label"}, values={"model": 1, "reference": 0}
        )
