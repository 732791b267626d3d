"""JudgeBench, Auto-J, HelpSteer 2, RewardBench 2, UltraFeedback and LLM Comparator, on tables of our own making."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from malformed import FORMATS
from numpy.testing import assert_array_equal

import alpaca_analysis as aa


def read(tmp_path, content, name="annotations.json", **options):
    path = tmp_path / name
    lines = name.endswith("jsonl")
    path.write_text("\n".join(map(json.dumps, content)) if lines else json.dumps(content))
    return aa.read_annotations(path, **options)


def test_judgebench_labels_and_both_games_of_a_judge_meet(tmp_path):
    pair = FORMATS["judgebench"]
    pairs = [
        pair | {"pair_id": f"p{k}", "question": f"q{k // 2}", "response_A": f"x{k}", "label": label}
        for k, label in enumerate(["A>B", "B>A", "A>B", "B>A"])
    ]
    gold = read(tmp_path, pairs, "pairs.jsonl", texts=True)
    assert_array_equal(gold["outcome"], [1, 0, 1, 0])
    assert gold["annotator"].unique().tolist() == ["gold"]
    assert gold.loc[0, ["dataset", "model", "reference"]].tolist() == ["s", "m A", "m B"]
    assert gold["repeat"].tolist() == [0, 1, 0, 1]
    games = [("A>B", "B>A"), ("A>B", "A>B"), ("A>B", None), ("B>A", "A>B")]
    judged = [
        {
            **one,
            "judge_name": "vanilla",
            "judgments": [d and {"judgment": {"judge_model": "gpt"}, "decision": d} for d in said],
        }
        for one, said in zip(pairs, games, strict=True)
    ][::-1]  # judges' files are in the order in which they finished
    table = read(tmp_path, judged, "judged.jsonl", texts=True)
    assert_array_equal(table["outcome"], [0, 0, 1, np.nan, 1, 0, 1, 1])
    assert table["position"].tolist() == [1, 2] * 4
    assert table["annotator"].unique().tolist() == ["vanilla gpt"]
    assert table["label"].tolist() == [one["label"] for one in judged for _ in range(2)]
    key = ["instruction_id", "repeat"]
    met = table.merge(gold, on=key, suffixes=("", "_gold"), validate="many_to_one")
    assert (met["output_model"] == met["output_model_gold"]).all()
    both = aa.read_annotations([tmp_path / "pairs.jsonl", tmp_path / "judged.jsonl"])
    with pytest.warns(aa.UndefinedWarning, match="humans"):  # there is one label for each pair
        agreed = aa.human_agreement(both[both["annotator"] != "gold"], both[both["annotator"] == "gold"])
    assert agreed.set_index("annotator").loc["vanilla gpt", ["agreement", "n"]].tolist() == [
        0.875,
        4,
    ]  # 1, 1/2, 1 and 1 right


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "A"}, "row 1, column 'label': found 'A', expected one of A>>B, A>B"),
        ({"judgments": [{"decision": "first"}]}, "row 1, column 'judgments'"),
        ({"judgments": []}, "row 1, column 'judgments'"),
    ],
)
def test_other_verdicts_on_judgebench_are_refused(tmp_path, change, message):
    good = FORMATS["judgebench judged" if "judgments" in change else "judgebench"]
    with pytest.raises(aa.AnnotationError, match=message):
        read(tmp_path, [good, good | change])


def test_auto_j_labels_count_from_zero(tmp_path):
    records = [
        FORMATS["auto_j"] | {"label": label, "prompt": f"p{k}"} for k, label in enumerate([0, 1, 2, "0"])
    ]
    table = read(tmp_path, records)
    assert_array_equal(table["outcome"], [1, 0, 0.5, 1])
    assert table.loc[0, ["model", "reference", "annotator", "scenario"]].tolist() == [
        *("response 1", "response 2", "human", "s")
    ]
    pd.DataFrame(records).to_csv(tmp_path / "pairs.csv", index=False)
    again = aa.read_annotations(tmp_path / "pairs.csv")
    assert_array_equal(again["outcome"], [1, 0, 0.5, 1])
    with pytest.raises(aa.AnnotationError, match="row 0, column 'label': found 3"):
        read(tmp_path, [FORMATS["auto_j"] | {"label": 3}])


def test_signed_scale_of_helpsteer_2(tmp_path):
    records = [FORMATS["helpsteer 2"] | {"preference_strength": s} for s in (-3, -1, 0, 2, None)]
    table = read(tmp_path, records)
    assert_array_equal(table["outcome"], [1, 1, 0.5, 0, np.nan])
    assert table["model"].unique().tolist() == ["response_1"]
    assert_array_equal(table["preference_strength"], [-3, -1, 0, 2, np.nan])


def test_lists_of_chosen_and_rejected_texts_make_every_pair(tmp_path):
    records = [
        {
            "prompt": "p",
            "chosen": ["c", "cc"],
            "rejected": ["r", "rr", "rrr"],
            "models": list("abcde"),
            "subset": "s",
        },
        {"prompt": "q", "chosen": ["c"], "rejected": ["rrrr"], "models": ["a", "c"], "subset": "t"},
    ]
    table = read(tmp_path, records, texts=True)
    rows = [
        (
            models[a],
            models[b],
            (record["chosen"] + record["rejected"])[a],
            (record["chosen"] + record["rejected"])[b],
        )
        for record in records
        for models in [record["models"]]
        for a, b in itertools.product(range(len(record["chosen"])), range(len(record["chosen"]), len(models)))
    ]
    found = table[["model", "reference", "output_model", "output_reference"]].astype(str)
    assert list(found.itertuples(index=False, name=None)) == rows
    assert (table["outcome"] == 1).all()
    assert table["subset"].tolist() == ["s"] * 6 + ["t"]
    with pytest.warns(UserWarning, match="by construction"):
        unnamed = read(tmp_path, [record | {"models": ["a"]} for record in records])
    assert unnamed["model"].unique().tolist() == ["chosen"]
    assert unnamed["repeat"].tolist() == [*range(6), 0]
    with pytest.raises(aa.AnnotationError, match="row 1, column 'rejected'"):
        read(tmp_path, [records[0], records[1] | {"rejected": "r"}])


def completion(model, score, **ratings):
    return {
        "model": model,
        "response": model * 3,
        "overall_score": score,
        "annotations": {aspect: {"Rating": rating} for aspect, rating in ratings.items()},
    }


def test_completions_of_ultrafeedback_are_compared_two_by_two(tmp_path):
    records = [
        {
            "source": "flan",
            "instruction": f"p{k}",
            "models": list("abcd"),
            "completions": [
                completion(model, score, helpfulness=str(rating), honesty="N/A")
                for model, score, rating in zip("abcd", scores, (1, 2, 3, 4), strict=True)
            ],
        }
        for k, scores in enumerate([(8, 5, 5, None), (1, 9, 3.5, 7)])
    ]
    table = read(tmp_path, records)
    flat = pd.DataFrame(
        [{"id": r["instruction"], "source": r["source"], **c} for r in records for c in r["completions"]]
    )
    pairs = flat.merge(flat, on="id", suffixes=("", "_b"))
    pairs = pairs[pairs["model"] < pairs["model_b"]]
    better = pairs["overall_score"] - pairs["overall_score_b"]
    assert len(table) == len(pairs) == 12
    assert_array_equal(table["outcome"], np.where(better.isna(), np.nan, (np.sign(better) + 1) / 2))
    assert table["model"].tolist() == pairs["model"].tolist()
    assert table["reference"].tolist() == pairs["model_b"].tolist()
    assert table["dataset"].unique().tolist() == ["flan"]
    assert_array_equal(table["helpfulness_model"], [1, 1, 1, 2, 2, 3] * 2)
    assert_array_equal(table["helpfulness_reference"], [2, 3, 4, 3, 4, 4] * 2)
    assert "honesty_model" not in table


def test_without_overall_scores_the_mean_rating_decides(tmp_path):
    record = {
        "instruction": "p",
        "completions": [
            completion("a", None, helpfulness="3", honesty="N/A"),
            completion("b", None, helpfulness="4", honesty="1"),
        ],
    }
    table = read(tmp_path, [record])
    assert_array_equal(table["outcome"], [1])
    assert table.loc[0, ["fine-grained_score_model", "fine-grained_score_reference"]].tolist() == [3, 2.5]


@pytest.mark.parametrize(
    ("completions", "message"),
    [
        ("text", "row 0, column 'completions': found 'text', expected a list of at most 64 completions"),
        ([{"model": 3}], "row 0, column 'completions'"),
        ([completion("a", 1)] * 65, "at most 64 completions"),
        ([completion("a", 1)] * 2, "at least two completions, by two models"),
        (
            [completion("a", 1, **{f"x{k}": "1" for k in range(30)}), completion("b", 2)],
            "at most 20 different scores",
        ),
        ([completion("a", None), completion("b", None)], "at least one usable judgement"),
    ],
)
def test_completions_that_cannot_be_compared(tmp_path, completions, message):
    with pytest.raises(aa.AnnotationError, match=message):
        read(tmp_path, [{"instruction": "p", "completions": completions}])


COMPARED = {  # as the tool's README describes it
    "metadata": {"source_path": "run", "custom_fields_schema": []},
    "models": [{"name": "new"}, {"name": "old"}],
    "examples": [
        {
            "input_text": "p", "tags": ["Math", "Code"], "output_text_a": "aaa", "output_text_b": "bb", "score": 0.5,
            "individual_rater_scores": [
                {"score": 1.5, "is_flipped": False, "rationale": "r"},
                {"score": -0.5, "is_flipped": True, "rationale": "r"},
                {"score": 0.0, "is_flipped": True, "rationale": "r"},
            ],
            "custom_fields": {"language": "de", "words": [1, 2], "note": "x" * 300, "n": 4, "length": [7, 8]},
        },
        {
            "input_text": [{"type": "text", "data": "q"}, {"type": "image_byte", "data": "00"}], "tags": [],
            "output_text_a": "a", "output_text_b": "b", "score": -1.25, "individual_rater_scores": [],
            "custom_fields": {},
        },
    ],
}  # fmt: skip


def test_ratings_of_llm_comparator_are_rows_and_a_score_alone_is_one(tmp_path):
    table = read(tmp_path, COMPARED, texts=True)
    assert_array_equal(table["outcome"], [1, 0, 0.5, 0])
    assert_array_equal(table["position"], [1, 2, 2, np.nan])
    assert table["repeat"].tolist() == [0, 0, 1, 0]
    assert table["dataset"].astype(object).where(table["dataset"].notna(), None).tolist() == [
        *["Math; Code"] * 3,
        None,
    ]
    assert table["instruction"].tolist() == ["p", "p", "p", "q"]
    assert table["length_model"].tolist() == [7, 7, 7, 1]
    assert table["language"].tolist()[:3] == ["de"] * 3
    assert_array_equal(table["words_reference"], [2, 2, 2, np.nan])
    assert "note" not in table
    assert (table["n"] == 1).all()
    assert aa.win_rate(table, method="t")[["model", "n_total"]].iloc[0].tolist() == ["new", 4]


def test_what_to_comparator_writes_reads_back(tmp_path):
    n = 12
    table = pd.DataFrame(
        {
            "instruction": [f"p{k % 6}" for k in range(n)],
            "dataset": ["koala", "vicuna"] * 6,
            "model": "mine",
            "reference": "theirs",
            "annotator": ["judge"] * 6 + ["other"] * 6,
            "outcome": [1, 0, 0.5, 0.7, 0.25, np.nan] * 2,
            "position": [1.0, 2.0, np.nan] * 4,
            "output_model": [f"mine {k % 6}" for k in range(n)],
            "output_reference": [f"theirs {k % 6}" for k in range(n)],
            "language": ["en", "de"] * 6,
        }
    )
    again = aa.read_annotations(aa.to_comparator(table, tmp_path / "pairs.json"), texts=True)
    columns = ["annotator", "instruction", *table.columns.drop(["annotator", "instruction"])]
    found, wrote = (
        frame[columns].astype(dict.fromkeys(("dataset", "model", "reference", "annotator"), object))
        .sort_values(columns[:2]).reset_index(drop=True)
        for frame in (again, table)
    )  # fmt: skip
    pd.testing.assert_frame_equal(found, wrote, check_dtype=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": [{"name": "a"}]}, "two models with different names"),
        ({"models": [{"name": "a"}, {"name": "a"}]}, "two models with different names"),
        ({"examples": [COMPARED["examples"][1] | {"score": "good"}]}, "row 0, column 'score': found 'good'"),
        ({"examples": [COMPARED["examples"][1] | {"output_text_a": 3}]}, "row 0, column 'output_text_a'"),
        ({"examples": [3]}, "row 0: found 'int', expected a record"),
    ],
)
def test_files_of_llm_comparator_that_cannot_be_read(tmp_path, change, message):
    with pytest.raises(aa.AnnotationError, match=message):
        read(tmp_path, COMPARED | change)


@pytest.mark.parametrize("value", [7, 7.0, "7"])
def test_names_that_are_numbers_are_names(tmp_path, value):
    record = {"model_a": value, "model_b": 8, "question_id": 1}
    table = read(tmp_path, [record | {"winner": value}, record | {"winner": 8, "question_id": 2}])
    assert table["model"].tolist() == ["7", "7"]
    assert table["reference"].tolist() == ["8", "8"]
    assert_array_equal(table["outcome"], [1, 0])
    with pytest.raises(aa.AnnotationError, match="column 'model_a': found True, expected a name"):
        read(tmp_path, [record | {"model_a": True, "winner": "a"}])
