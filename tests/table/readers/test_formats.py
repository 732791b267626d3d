"""Formats of one kind of file each: on tables of our own making, and on real files where they are at hand."""

import json

import numpy as np
import pandas as pd
import pytest
from malformed import FORMATS, MESSAGES
from numpy.testing import assert_array_equal

import alpaca_analysis as aa


def read(tmp_path, records, **options):
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(records))
    return aa.read_annotations(path, **options)


def test_both_games_of_mt_bench_are_rows(tmp_path):
    record = FORMATS["mt_bench"] | {"question_id": 81, "turn": 1}
    verdicts = [("model_1", "model_2"), ("tie", "model_1"), ("error", None), ("model_2", "model_2")]
    records = [
        record | {"question_id": 80 + k, "g1_winner": g1, "g2_winner": g2}
        for k, (g1, g2) in enumerate(verdicts)
    ]
    table = read(tmp_path, records)
    assert_array_equal(table["outcome"], [1, 0, 0.5, 1, np.nan, np.nan, 0, 0])
    assert table["position"].tolist() == [1, 2] * 4
    assert table["annotator"].unique().tolist() == ["j p"]
    assert table["instruction_id"].tolist()[:3] == ["80/1", "80/1", "81/1"]
    with pytest.raises(aa.AnnotationError, match="row 1, column 'g2_winner': found 'alpha'"):
        read(tmp_path, [record, record | {"g2_winner": "alpha"}])


def test_arena_hard_turns_the_game_in_which_the_baseline_is_a(tmp_path):
    scores = [("A>B", "B>A"), ("A<<B", "A>>B"), ("A=B", None), ("B>>A", "A>B")]
    records = [
        FORMATS["arena_hard"] | {"uid": f"u{k}", "games": [{"score": a}, {"score": b}]}
        for k, (a, b) in enumerate(scores)
    ]
    table = read(tmp_path, records)
    assert_array_equal(table["outcome"], [0, 0, 1, 1, 0.5, np.nan, 1, 1])
    assert table["position"].tolist() == [2, 1] * 4
    assert table["strong"].tolist() == [False, False, True, True, False, False, True, False]
    assert table["reference"].unique().tolist() == ["b"]
    with pytest.raises(aa.AnnotationError, match="row 0, column 'games'"):
        read(tmp_path, [FORMATS["arena_hard"] | {"games": [{"score": "A>B"}]}])


def test_strong_verdicts_weigh_what_is_said_and_the_result_says_which(tmp_path):
    scores = [("A>B", "B>A"), ("A<<B", "A>>B"), ("A=B", None), ("B>>A", "A>B"), ("[[B>A]]", "[[B<<A]]")]
    records = [
        FORMATS["arena_hard"] | {"uid": f"u{k}", "games": [{"score": a}, {"score": b}]}
        for k, (a, b) in enumerate(scores)
    ]
    table = read(tmp_path, records, strong_weight=3)
    # Arena-Hard's own program lists a strong verdict three times, and drops records without a verdict
    times = {
        "A>B": [1],
        "A>>B": [1] * 3,
        "A=B": [0.5],
        "A<<B": [0] * 3,
        "B>A": [0],
        "B>>A": [0] * 3,
        "B<<A": [1] * 3,
    }
    listed = []
    for first, second in scores:
        if first is not None and second is not None:
            listed += [1 - s for s in times[first.strip("[]")]] + times[second.strip("[]")]
    rates = aa.win_rate(table, method="t")
    assert rates["win_rate"].iloc[0] == pytest.approx(np.mean(listed))
    assert rates[["n_total", "n_missing"]].iloc[0].tolist() == [len(listed), 2]
    assert rates["note"].str.contains("strong verdicts weigh 3").all()
    assert rates.attrs["strong_weight"] == table.attrs["strong_weight"] == 3
    once = aa.win_rate(read(tmp_path, records), method="t")
    assert once[["win_rate", "n_total", "n_missing"]].iloc[0].tolist() == pytest.approx([6.5 / 9, 9, 1])
    assert once["reason"].iloc[0].endswith("strong_verdicts")
    assert once["note"].str.contains("strong verdicts weigh 1").all()
    others = [FORMATS["mt_bench"] | {"question_id": k, "g2_winner": f"model_{k}"} for k in (1, 2)]
    assert "strong" not in aa.win_rate(read(tmp_path, others))["note"].iloc[0]


def test_signed_preferences_and_chosen_responses_are_between_unnamed_sides(tmp_path):
    records = [FORMATS["helpsteer"] | {"overall_preference": p} for p in (-3, 0, 1, None)]
    table = read(tmp_path, records)
    assert_array_equal(table["outcome"], [1, 0.5, 0, np.nan])
    assert table.loc[0, ["model", "reference", "length_model", "length_reference"]].tolist() == [
        *("response1", "response2", 1, 2)
    ]
    assert table["overall_preference"].tolist()[:3] == [-3, 0, 1]
    with pytest.warns(UserWarning, match="'chosen' wins by construction"):
        table = read(tmp_path, [FORMATS["chosen"]], texts=True)
    assert table.loc[0, ["model", "outcome", "output_model", "score_chosen"]].tolist() == [
        *("chosen", 1.0, "Hello!", 0.5)
    ]
    named = FORMATS["chosen"] | {"chosen_model": "a", "rejected_model": "b"}
    assert read(tmp_path, [named])["model"].tolist() == ["a"]


def test_pairs_of_many_annotators_make_a_row_for_each(tmp_path):
    first = FORMATS["annotated_pairs"]
    second = first | {"id": "d", "prompt": None, "annotations": {"h": {"pref": "b"}, "p": {"pref": "tie"}}}
    table = read(tmp_path, {"metadata": {}, "annotators": {}, "comparisons": [first, second]})
    assert table["annotator"].tolist() == ["h", "p", "h", "p"]
    assert_array_equal(table["outcome"], [1, np.nan, 0, 0.5])
    assert table["model"].unique().tolist() == ["a"]
    assert table["reference"].unique().tolist() == ["response_b"]
    assert table["instruction_id"].nunique() == 2


def test_alpaca_eval_files_without_generators_name_their_columns(tmp_path):
    record = {"instruction": "x", "output_1": "a", "output_2": "bb", "annotator": "j", "preference": 2}
    assert read(tmp_path, [record]).loc[0, ["model", "reference"]].tolist() == ["output_2", "output_1"]


def test_short_columns_survive_and_texts_do_not(tmp_path):
    record = FORMATS["arena"] | {
        "language": "de",
        "is_code": True,
        "stars": 4,
        "note": "x" * 500,
        "tags": ["a"],
    }
    table = read(
        tmp_path, [record, record | {"winner": "model_a", "turn": 2, "conversation_a": MESSAGES * 2}]
    )
    assert {"language", "is_code", "stars"} <= set(table)
    assert not {"note", "tags"} & set(table)


def test_many_voters_are_one_crowd(tmp_path):
    records = [
        FORMATS["arena"] | {"judge": f"user {k % 12}", "winner": "model_a" if k % 3 else "tie"}
        for k in range(18)
    ]
    with pytest.warns(UserWarning, match="12 annotators, with a vote or two each, are read as one, 'crowd'"):
        table = read(tmp_path, records)
    assert table["annotator"].unique().tolist() == ["crowd"]
    assert table["voter"].tolist() == [f"user {k % 12}" for k in range(18)]
    assert table["repeat"].tolist() == list(range(18))
    assert read(tmp_path, records, annotators="separate")["annotator"].nunique() == 12
    experts = [record | {"judge": f"expert {k % 3}"} for k, record in enumerate(records)]
    assert read(tmp_path, experts)["annotator"].nunique() == 3


# Real files --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def formats(mirror):
    folder = mirror / "formats"
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    return folder


@pytest.mark.rows
def test_real_mt_bench_pairs(formats):
    table = aa.read_annotations(formats / "mt_pair.jsonl")
    raw = pd.read_json(formats / "mt_pair.jsonl", lines=True)
    said = pd.concat([raw["g1_winner"], raw["g2_winner"]])
    assert len(table) == 2 * len(raw)
    counts = {"model_1": (table["outcome"] == 1).sum(), "model_2": (table["outcome"] == 0).sum()}
    counts |= {"tie": (table["outcome"] == 0.5).sum(), "error": table["outcome"].isna().sum()}
    assert counts == said.value_counts().to_dict()


@pytest.mark.rows
def test_real_arena_hard_battles(formats):
    table = aa.read_annotations(formats / "ah_battles1.jsonl")
    raw = pd.read_json(formats / "ah_battles1.jsonl", lines=True)
    won = raw["winner"].map({"model_a": 1.0, "model_b": 0.0, "tie": 0.5, "tie (bothbad)": 0.5})
    assert_array_equal(table["outcome"], won)
    assert table["repeat"].max() >= 2  # strong verdicts are written three times
    first = raw["model_a"].iloc[0]
    by_hand = pd.concat([won[raw["model_a"] == first], 1 - won[raw["model_b"] == first]])
    wins = aa.win_rate(
        table[(table["model"] == first) | (table["reference"] == first)], by=["model", "reference"]
    )
    own = wins[wins["model"] == first]
    turned = wins[wins["reference"] == first]
    total = (own["win_rate"] * own["n_total"]).sum() + ((1 - turned["win_rate"]) * turned["n_total"]).sum()
    assert total == pytest.approx(by_hand.sum())


@pytest.mark.rows
@pytest.mark.parametrize("name", ["ev_food.csv", "ev_simple.csv"])
def test_real_left_and_right(formats, name):
    table, raw = aa.read_annotations(formats / name), pd.read_csv(formats / name)
    assert_array_equal(table["outcome"], raw["winner"].map({"left": 1.0, "right": 0.0, "tie": 0.5}))
    assert table["model"].astype(str).tolist() == raw["left"].astype(str).tolist()


@pytest.mark.rows
def test_real_annotated_pairs(formats):
    table = aa.read_annotations(formats / "ff_annotated_pairs.json")
    raw = json.loads((formats / "ff_annotated_pairs.json").read_text())
    said = [each["pref"] for pair in raw["comparisons"] for each in pair["annotations"].values()]
    assert len(table) == len(said)
    assert (table["outcome"] == 1).sum() == said.count("a")
    assert table["outcome"].isna().sum() == said.count(None)
