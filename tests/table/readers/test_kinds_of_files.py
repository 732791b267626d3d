"""What users bring, from file to number: each kind on a small table of our own making, with the right value."""

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

import alpaca_analysis as aa


def read(tmp_path, records, name="annotations.json", **options):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".csv"):
        pd.DataFrame(records).to_csv(path, index=False)
    elif name.endswith(".jsonl"):
        path.write_text("\n".join(map(json.dumps, records)))
    else:
        path.write_text(json.dumps(records))
    return aa.read_annotations(path, **options)


def rate(table, model=None, **options):
    """Return the win rate of a model, and how many judgements it rests on."""
    rates = aa.win_rate(table, method="t", **options).set_index("model")
    row = rates.loc[model] if model else rates.iloc[0]
    return row["win_rate"], row["n_total"]


def turns(*texts):
    roles = ("user", "assistant") * len(texts)
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


def test_lengths_of_a_judged_turn_are_those_of_its_answer(tmp_path):
    records = [
        {
            "question_id": k, "model_a": "a", "model_b": "b", "judge": "expert", "turn": turn,
            "winner": "model_a" if turn == 1 else "model_b",
            "conversation_a": turns(f"q{k}", "x" * (200 + k), "more?", "y" * 30),
            "conversation_b": turns(f"q{k}", "x" * 100, "more?", "y" * 600),
        }
        for k in range(8) for turn in (1, 2)
    ]  # fmt: skip
    table = read(tmp_path, records)
    first = table[table["turn"] == 1]
    assert first["length_model"].tolist() == [200 + k for k in range(8)]
    assert (first["length_reference"] == 100).all()
    longer = aa.prefer_longer(table, by="turn").set_index("turn")
    assert longer["probability"].tolist() == [1.0, 1.0]
    assert longer["n"].tolist() == [8, 8]


def test_both_orders_are_counted_whichever_side_a_model_stood_on(tmp_path):
    records = []
    for k in range(10):  # the judge prefers what it sees first, but for one pair each
        for a, b in (("alpha", "beta"), ("beta", "alpha")):
            winner = {8: "alpha", 9: "beta"}.get(k, a)
            records.append({"question_id": k, "model_a": a, "model_b": b, "judge": "j", "winner": winner})
    table = read(tmp_path, records, "battles.jsonl")
    assert rate(table, "alpha") == rate(table, "beta") == (0.5, 20)


def test_rows_without_an_id_are_units_of_their_own(tmp_path):
    rng = np.random.default_rng(1)
    won = rng.integers(2, size=40)
    records = [
        {
            "question_id": k if k % 2 else None,
            "model_a": "a",
            "model_b": "b",
            "winner": "model_a" if w else "model_b",
        }
        for k, w in enumerate(won)
    ]
    rates = aa.win_rate(read(tmp_path, records), method="t")
    assert rates["win_rate"].iloc[0] == won.mean()
    assert rates["standard_error"].iloc[0] == pytest.approx(won.std(ddof=1) / np.sqrt(len(won)), rel=0.02)
    assert "20 rows without an id" in rates["note"].iloc[0]


PAIR = {"output_1": "x", "output_2": "yy", "generator_1": "base", "generator_2": "mine", "annotator": "j"}


def test_zeros_and_ones_under_alpaca_evals_columns_are_doubted(tmp_path):
    records = [PAIR | {"instruction": f"p{k}", "preference": int(k % 4 > 0)} for k in range(20)]
    with pytest.warns(UserWarning, match='values={"reference": 0, "model": 1}'):
        table = read(tmp_path, records)
    findings = aa.audit(table).to_frame()
    assert findings["finding"].str.contains("draws and losses, and not one win").any()
    assert rate(read(tmp_path, records, values={"reference": 0, "model": 1})) == (0.75, 20)


def test_two_games_of_mt_bench_count_each(tmp_path):
    games = [
        ("model_1", "model_1"),
        ("model_1", "model_2"),
        ("tie", "model_1"),
        ("error", "model_2"),
        ("tie", "tie"),
    ]
    records = [
        {"question_id": k, "turn": 1, "model_1": "a", "model_2": "b", "judge": ["j", "pair"],
         "g1_winner": g1, "g2_winner": g2}
        for k, (g1, g2) in enumerate(games)
    ]  # fmt: skip
    table = read(tmp_path, records, "gpt-4_pair.jsonl")
    assert rate(table) == ((4 + 1.5) / 9, 9)
    order = aa.order_consistency(table)  # pairs with both verdicts: 0, 1, 2, 4
    assert order["n_pairs"].iloc[0] == 4


@pytest.mark.parametrize(("weight", "expected"), [(1, (2.5 / 5, 5)), (3, (4.5 / 8, 8))])
def test_games_of_arena_hard(tmp_path, weight, expected):
    games = [("A>B", "B>A"), ("A<<B", "A=B"), ("A>B", None)]
    records = [
        {"uid": f"u{k}", "category": "hard", "judge": "j", "model": "m", "baseline": "base",
         "games": [{"score": a}, {"score": b}]}
        for k, (a, b) in enumerate(games)
    ]  # fmt: skip
    won = {1: [0, 0, 1, 0.5, 0], 3: [0, 0, 1, 1, 1, 0.5]}[weight]
    assert rate(read(tmp_path, records, "m.jsonl", strong_weight=weight)) == (np.mean(won), len(won))


def in_parts(*texts):
    parts = [{"type": "image", "image": "…"}]
    return [
        {"role": m["role"], "content": [*parts, {"type": "text", "text": m["content"]}]}
        for m in turns(*texts)
    ]


def test_contents_in_parts_and_draws_of_two_bad_answers(tmp_path):
    winners = ["model_a", "model_b", "tie", "both_bad"]
    records = [
        {"id": f"i{k}", "model_a": "a", "model_b": "b", "winner": winner, "language": "de",
         "conversation_a": in_parts(f"q{k}", "x" * (50 + k)), "conversation_b": in_parts(f"q{k}", "y" * 150)}
        for k, winner in enumerate(winners)
    ]  # fmt: skip
    table = read(tmp_path, records)
    assert rate(table) == (0.5, 4)
    assert table["length_model"].tolist() == [50, 51, 52, 53]
    assert table["both_bad"].tolist() == [False, False, False, True]
    assert aa.prefer_longer(table)[["probability", "n"]].iloc[0].tolist() == [0.5, 2]


def test_one_voter_per_vote_is_a_crowd(tmp_path):
    records = [
        {
            "question_id": f"q{k}",
            "model_a": a,
            "model_b": b,
            "winner": "model_a" if k % 4 else "model_b",
            "judge": f"u{k}",
        }
        for k, (a, b) in enumerate([("a", "b"), ("b", "c"), ("c", "a")] * 6)
    ]
    with pytest.warns(UserWarning, match="read as one, 'crowd'"):
        table = read(tmp_path, records)
    together = aa.bradley_terry(table, n_resamples=199).to_frame().set_index("model")["rating"]
    unnamed = [{k: v for k, v in record.items() if k != "judge"} for record in records]
    pd.testing.assert_series_equal(
        aa.bradley_terry(read(tmp_path, unnamed), n_resamples=199).to_frame().set_index("model")["rating"],
        together,
    )


def test_the_winner_is_a_name(tmp_path):
    winners = ["alpha"] * 5 + ["beta"] * 2 + ["tie", "Draw", None]
    records = [
        {"question_id": k, "model_a": "alpha", "model_b": "beta", "winner": w} for k, w in enumerate(winners)
    ]
    assert rate(read(tmp_path, records)) == (6 / 9, 9)


def test_one_hot_winners_and_answers_as_lists_in_json(tmp_path):
    records = [
        {"id": k, "model_a": "a", "model_b": "b", "prompt": json.dumps([f"q{k}"]),
         "response_a": json.dumps(["x" * 20, "x" * 5]), "response_b": json.dumps(["y" * 80]),
         "winner_model_a": int(k < 4), "winner_model_b": int(k == 4), "winner_tie": int(k > 4)}
        for k in range(8)
    ]  # fmt: skip
    table = read(tmp_path, records, "train.csv")
    assert rate(table) == ((4 + 1.5) / 8, 8)
    assert (table["length_model"] == 20 + len("\n\n") + 5).all()
    assert (table["length_reference"] == 80).all()


def test_signed_preferences(tmp_path):
    records = [
        {
            "domain": "code",
            "context": turns(f"q{k}"),
            "response1": "x" * 50,
            "response2": "y" * 200,
            "overall_preference": p,
        }
        for k, p in enumerate([-3, -1, -2, 0, 1, 2])
    ]
    table = read(tmp_path, records)
    assert rate(table, "response1") == (3.5 / 6, 6)
    assert aa.prefer_longer(table)[["probability", "n"]].iloc[0].tolist() == [0.4, 5]


def test_chosen_responses_answer_how_often_the_longer_one_is_chosen(tmp_path):
    records = [
        {"prompt": f"q{k}", "chosen": turns(f"q{k}", "x" * (100 if k < 8 else 10)), "rejected": turns(f"q{k}", "y" * 50),
         "score_chosen": 8.0, "score_rejected": 5.0}
        for k in range(12)
    ]  # fmt: skip
    with pytest.warns(UserWarning, match="by construction"):
        table = read(tmp_path, records)
    assert aa.prefer_longer(table)[["probability", "n"]].iloc[0].tolist() == [8 / 12, 12]


def test_left_and_right(tmp_path):
    said = [
        ("plum", "pear", "left"),
        ("apple", "plum", "tie"),
        ("pear", "apple", "RIGHT"),
        ("pear", "plum", "Tie"),
    ]
    said += [("plum", "pear", "right"), ("plum", "apple", "left"), ("apple", "pear", "left")]
    records = [{"left": a, "right": b, "winner": w} for a, b, w in said * 8]
    table = read(tmp_path, records, "food.csv")
    points = dict.fromkeys(("plum", "apple", "pear"), 0.0)
    for a, b, w in said:
        won = {"left": 1, "right": 0, "tie": 0.5}[w.lower()]
        points[a] += won
        points[b] += 1 - won
    assert points == {"plum": 3, "apple": 2.5, "pear": 1.5}
    assert aa.bradley_terry(table, n_resamples=199).to_frame()["model"].tolist() == [
        "apple",
        "plum",
        "pear",
    ]  # .62, .60 and .30 of their points


def test_several_annotators_of_one_pair(tmp_path):
    said = [("a", "a"), ("a", None), ("b", "a"), ("tie", "a")]
    comparisons = [
        {"id": f"c{k}", "prompt": None, "response_a": {"text": "x", "model": "alpha"},
         "response_b": {"text": "y", "model": "beta"}, "annotations": {"h": {"pref": h}, "p": {"pref": p}}}
        for k, (h, p) in enumerate(said)
    ]  # fmt: skip
    table = read(tmp_path, {"metadata": {}, "comparisons": comparisons})
    people, judge = table[table["annotator"] == "h"], table[table["annotator"] == "p"]
    assert rate(people) == (2.5 / 4, 4)
    assert_array_equal(judge["outcome"], [1, np.nan, 1, 1])


def test_files_without_generators_and_prompts_with_inputs(tmp_path):
    records = [
        {
            "instruction": "Summarise.",
            "input": f"text {k}",
            "output_1": "x",
            "output_2": "yy",
            "annotator": "j",
            "preference": p,
        }
        for k, p in enumerate([2, 2, 1, 1.5])
    ]
    table = read(tmp_path, records)
    assert table["instruction_id"].nunique() == 4
    assert rate(table, "output_2") == (2.5 / 4, 4)


def test_folders_that_are_no_names_leave_the_files_own(tmp_path):
    records = [PAIR | {"instruction": f"p{k}", "preference": 1 + k % 2} for k in range(6)]
    with pytest.warns(UserWarning, match="the file's names are taken"):
        table = read(tmp_path, records, "results/2024-05-01/seed0/annotations.json")
    assert rate(table, "mine") == (0.5, 6)
    assert table["annotator"].unique().tolist() == ["j"]


def test_a_file_with_a_column_for_every_record_is_refused(tmp_path):
    with pytest.raises(aa.AnnotationError, match="found 2,100, expected at most 2,000 columns"):
        read(tmp_path, [{f"x{k}": 1} for k in range(2100)])
