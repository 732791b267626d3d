"""Counts of style: what a reader would see rendered, each distinct text once."""

import time

import numpy as np
import pandas as pd
import pytest

from alpaca_analysis import AnnotationError, add_features, prefer_lists, read_annotations, style_features
from alpaca_analysis.table import style
from alpaca_analysis.table.style_pairs import feature_names, scaled_differences, style_difference

RICH = """# Title

Some **bold** and __bold too__, *not this*. See [a link](https://example.org).

- one
  - nested
- two

1. first
2. second
3) another list

```python
# no header
- no item
**not bold**
```

| a | b |
|---|---|
| 1 | 2 |

## Second title
"""


def one(text):
    return style_features([text]).iloc[0]


def test_what_is_rendered_is_counted():
    found = one(RICH)
    expected = {
        "headers": 2,
        "bold": 2,
        "bulleted": 3,
        "numbered": 3,
        "code_blocks": 1,
        "tables": 1,
        "links": 1,
    }
    assert found[list(expected)].to_dict() == expected
    assert found["characters"] == len(RICH)
    assert found["words"] == len(RICH.split())
    assert found["script"] == "latin"


@pytest.mark.parametrize(
    "text", ["2 * 3 * 4 = 24", "a_b_c and snake_case", "#hashtag", "5 - 3", "**not closed", "1.5 apples"]
)
def test_characters_of_markdown_alone_are_no_markdown(text):
    assert one(text)[["headers", "bold", "bulleted", "numbered", "code_blocks", "tables", "links"]].sum() == 0


@pytest.mark.parametrize(
    ("text", "opening", "refusal"),
    [
        ("Sure! Here you are.", 1, 0),
        ("Certainly, I can help.", 1, 0),
        ("Surely not.", 0, 0),
        ("I'm sorry, but I can't help with that.", 0, 1),
        ("I cannot assist with this request.", 0, 1),
        ("As an AI language model, I do not have opinions.", 0, 1),
        ("The answer is 5. I'm sorry for the delay.", 0, 0),
        ("I can see the sea.", 0, 0),
    ],
)
def test_opening_phrases_and_refusals(text, opening, refusal):
    assert one(text)[["opening", "refusal"]].tolist() == [opening, refusal]


def test_scripts_sentences_and_missing_texts():
    found = style_features(
        pd.Series(["Привет, мир!", "你好。再见！", "12 + 3", "", None, "Yes. No? Yes!"], list("abcdef"))
    )
    assert found["script"].fillna("missing").tolist() == ["cyrillic", "cjk", "", "", "missing", "latin"]
    assert found.loc[["b", "f"], "sentences"].tolist() == [2, 3]
    assert found.loc["e"].isna().all()
    assert found.loc["d", ["characters", "words", "bold"]].tolist() == [0, 0, 0]


def test_each_distinct_text_is_read_once(monkeypatch):
    read = []
    monkeypatch.setattr(style, "_numbers", lambda text: read.append(text) or [0.0] * 12)
    assert len(style_features(["a", "b", "a", "a"])) == 4
    assert sorted(read) == ["a", "b"]


def test_texts_that_are_none_are_refused_by_row():
    with pytest.raises(AnnotationError, match="texts, row 1: found 3, expected text, or nothing"):
        style_features(["a", 3])
    with pytest.raises(AnnotationError, match=r"output_model.*texts of both outputs"):
        add_features(pd.DataFrame({"model": ["m"], "outcome": [1.0]}))


@pytest.mark.slow
def test_features_take_less_than_the_time_they_may():
    """64,000 texts in 40 s are 0.6 ms a text; a tenth of them, with markdown in each."""
    texts = [f"{k}\n{RICH}{'More words follow here. ' * 25}" for k in range(6400)]
    started = time.process_time()
    style_features(texts)
    assert time.process_time() - started < 8


def test_features_are_read_and_stay_without_texts():
    rows = [
        {"instruction": "a", "output_1": "No list.", "output_2": "- one\n- two", "generator_1": "r",
         "generator_2": "m", "preference": 2, "annotator": "j"},
        {"instruction": "b", "output_1": "1. one", "output_2": "**Sure**", "generator_1": "r",
         "generator_2": "m", "preference": 1, "annotator": "j"},
    ]  # fmt: skip
    table = read_annotations(rows, features=True)
    assert "output_model" not in table
    assert table[["bulleted_model", "numbered_reference", "bold_model"]].to_numpy().tolist() == [
        [2, 0, 0],
        [0, 1, 1],
    ]
    assert table["list_model"].tolist() == [1, 0]
    texts = read_annotations(rows, texts=True)
    assert prefer_lists(texts, method="t")[["probability", "n"]].iloc[0].tolist() == [1.0, 2]
    again = read_annotations(table)
    assert again["bulleted_model"].tolist() == [2, 0]


def test_differences_are_relative_and_scaled_by_group():
    table = pd.DataFrame(
        {
            "g": ["a", "a", "a", "b", "b", "b"],
            "bold_model": [3, 0, 1, 5, 5, 5],
            "bold_reference": [1, 0, 3, 5, 5, np.nan],
            "refusal_model": [1, 0, 0, 1, 1, 0],
            "refusal_reference": [0, 0, 1, 1, 1, 0],
            "script_model": ["latin", "latin", "cjk", None, "latin", "latin"],
            "script_reference": "latin",
        }
    )
    np.testing.assert_array_equal(style_difference(table, "bold"), [0.5, 0, -0.5, 0, 0, np.nan])
    np.testing.assert_array_equal(style_difference(table, "refusal"), [1, 0, -1, 0, 0, 0])
    np.testing.assert_array_equal(style_difference(table, "script"), [0, 0, 1, np.nan, 0, 0])
    scaled = scaled_differences(table, ["bold"], by="g")["bold"]
    assert scaled[:3].tolist() == (np.array([0.5, 0, -0.5]) / np.std([0.5, 0, -0.5], ddof=1)).tolist()
    assert scaled[3:5].tolist() == [0, 0]  # nothing differs there
    with pytest.raises(AnnotationError, match=r"row 1.*bold_model.*found -1, expected a count"):
        style_difference(table.assign(bold_model=[0, -1, 0, 0, 0, 0]), "bold")


@pytest.mark.parametrize("features", ["bould", ["length", "length"], [], ["style", "bold"], 3, ["length", 1]])
def test_unknown_features_are_refused(features):
    with pytest.raises(ValueError, match=r"features: found .*expected names out of length, words"):
        feature_names(features)
