"""LLM Comparator's file: the fields and types its README names, one example per pair, scores for the model."""

import json

import numpy as np
import pandas as pd
import pytest

from alpaca_analysis import AnnotationError, to_comparator

# What the tool's README and client/lib/types.ts ask for, with the types of its fields.
REQUIRED = {
    "input_text": str, "tags": list, "output_text_a": str, "output_text_b": str, "score": float,
    "individual_rater_scores": list, "custom_fields": dict,
}  # fmt: skip
TYPES = {
    "number",
    "string",
    "category",
    "text",
    "per_model_boolean",
    "per_model_number",
    "per_model_category",
}


@pytest.fixture
def table():
    n = 6
    one = pd.DataFrame(
        {
            "instruction": [f"prompt {k}" for k in range(n)],
            "dataset": ["koala", "vicuna"] * 3,
            "model": "mine",
            "reference": "theirs",
            "annotator": "judge",
            "outcome": [1.0, 0.0, 0.5, 0.75, 1.0, np.nan],
            "position": 1,
            "output_model": [f"mine {k}" for k in range(n)],
            "output_reference": [f"theirs {k}" * 2 for k in range(n)],
            "words_model": 2,
            "words_reference": 3,
            "language": "en",
            "explanation": "because",
        }
    )
    return pd.concat([one, one.assign(position=2, outcome=0.0)], ignore_index=True)


def test_the_file_has_what_the_tool_requires(table, tmp_path):
    content = json.loads(to_comparator(table, tmp_path / "c.json").read_text(encoding="utf-8"))
    assert set(content) == {"metadata", "models", "examples"}
    assert content["models"] == [{"name": "mine"}, {"name": "theirs"}]
    schema = {field["name"]: field["type"] for field in content["metadata"]["custom_fields_schema"]}
    assert set(schema.values()) <= TYPES
    assert schema["length"] == schema["words"] == "per_model_number"
    assert schema["language"] == "category"
    assert len(content["examples"]) == 6
    for k, example in enumerate(content["examples"]):
        assert {name: type(example[name]) for name in REQUIRED} == REQUIRED
        assert set(example["custom_fields"]) == set(schema)
        assert example["input_text"] == f"prompt {k}"
        assert example["output_text_a"] == f"mine {k}"
        assert example["custom_fields"]["length"] == [6, 16]
        assert example["custom_fields"]["words"] == [2, 3]


def test_scores_are_positive_where_the_model_is_better(table, tmp_path):
    content = json.loads(to_comparator(table, tmp_path / "c.json").read_text(encoding="utf-8"))
    first = content["examples"][0]
    assert [r["score"] for r in first["individual_rater_scores"]] == [1.5, -1.5]
    assert [r["is_flipped"] for r in first["individual_rater_scores"]] == [False, True]
    assert {r["rationale"] for r in first["individual_rater_scores"]} == {"because"}
    outcome = table["outcome"].to_numpy().reshape(2, 6)
    np.testing.assert_allclose(
        [e["score"] for e in content["examples"]], 3 * np.nanmean(outcome, axis=0) - 1.5
    )
    assert content["examples"][5]["individual_rater_scores"][0]["score"] is None


def test_the_file_holds_two_models(table, tmp_path):
    other = pd.concat([table, table.assign(model="third")])
    with pytest.raises(AnnotationError, match="column 'model': found '2: mine, third', expected one model"):
        to_comparator(other, tmp_path / "c.json")
    with pytest.raises(AnnotationError, match="expected texts: read_annotations"):
        to_comparator(table.drop(columns=["output_model"]), tmp_path / "c.json")
    assert not (tmp_path / "c.json").exists()
