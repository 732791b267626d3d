"""Malformed files and values for the tests and the fuzzing of readers."""

import gzip
import io
import json
import warnings

import pandas as pd
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import alpaca_analysis as aa
from alpaca_analysis import AnnotationError

RECORD = {
    "instruction": "Name three primes.",
    "output_1": "2, 3 and 5",
    "output_2": "2, 3, 5",
    "generator_1": "text_davinci_003",
    "generator_2": "m",
    "dataset": "koala",
    "annotator": "alpaca_eval_gpt4",
    "preference": 2,
}
GOOD = json.dumps([RECORD, RECORD | {"instruction": "Hello?", "preference": 1.5}]).encode()
MESSAGES = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello!"}]
FORMATS = {  # one record of every other format that one file holds
    "arena": {
        "model_a": "a",
        "model_b": "b",
        "winner": "tie",
        "conversation_a": MESSAGES,
        "turn": 1,
        "judge": "j",
    },
    "one hot": {"model_a": "a", "model_b": "b", "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0},
    "left and right": {"left": "a", "right": "b", "winner": "left", "question_id": 1},
    "mt_bench": {
        "model_1": "a",
        "model_2": "b",
        "g1_winner": "tie",
        "g2_winner": "model_1",
        "judge": ["j", "p"],
    },
    "arena_hard": {"model": "a", "baseline": "b", "uid": "u", "games": [{"score": "A>>B"}, {"score": "A=B"}]},
    "helpsteer": {"response1": "x", "response2": "yy", "overall_preference": -2, "context": MESSAGES},
    "chosen": {"prompt": "p", "chosen": MESSAGES, "rejected": "no", "score_chosen": 0.5},
    "annotated_pairs": {
        "id": "c",
        "prompt": "p",
        "response_a": {"text": "x", "model": "a"},
        "response_b": "y",
        "annotations": {"h": {"pref": "a"}, "p": {"pref": None}},
    },
    "helpsteer 2": {"prompt": "p", "response_1": "x", "response_2": "yy", "preference_strength": 1},
    "rewardbench 2": {"prompt": "p", "chosen": ["x"], "rejected": ["y", "z"], "models": ["a", "b", "c"]},
    "judgebench": {
        "pair_id": "1",
        "question": "p",
        "response_model": "m",
        "source": "s",
        "response_A": "x",
        "response_B": "yy",
        "label": "A>B",
    },
    "judgebench judged": {
        "question": "p",
        "response_A": "x",
        "response_B": "yy",
        "judge_name": "j",
        "judgments": [{"judgment": {"judge_model": "m"}, "decision": "A>B"}, None],
    },
    "auto_j": {"scenario": "s", "label": 2, "prompt": "p", "response 1": "x", "response 2": "yy"},
    "ultrafeedback": {
        "instruction": "p",
        "source": "s",
        "completions": [
            {"model": "a", "response": "x", "overall_score": 7, "annotations": {"honesty": {"Rating": "3"}}},
            {
                "model": "b",
                "response": "yy",
                "overall_score": 5,
                "annotations": {"honesty": {"Rating": "N/A"}},
            },
        ],
    },
    "llm_comparator": {
        "models": [{"name": "a"}, {"name": "b"}],
        "input_text": "p",
        "tags": ["t"],
        "output_text_a": "x",
        "output_text_b": "yy",
        "score": 0.5,
        "individual_rater_scores": [
            {"score": 1.5, "is_flipped": True, "custom_fields": {"judge": "j"}},
            {"score": -0.5, "is_flipped": False},
        ],
        "custom_fields": {"language": "de", "words": [1, 2]},
    },
}
SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".json.gz", ".csv.gz")
QUICK = settings(
    max_examples=60,
    deadline=5000,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def parquet(records):
    buffer = io.BytesIO()
    pd.DataFrame(records).to_parquet(buffer)
    return buffer.getvalue()


SEEDS = [
    GOOD,
    b"\n".join(json.dumps(r).encode() for r in json.loads(GOOD)),
    pd.DataFrame(json.loads(GOOD)).to_csv(index=False).encode(),
    gzip.compress(GOOD, mtime=0),
    parquet(json.loads(GOOD)),
    *(json.dumps([record, record]).encode() for record in FORMATS.values()),
    json.dumps(
        {
            "metadata": {},
            "models": [{"name": "a"}, {"name": "b"}],
            "examples": [FORMATS["llm_comparator"]] * 2,
        }
    ).encode(),
]


def read_or_refuse(path, data):
    """Return the table, or None where one AnnotationError names the file; anything else fails."""
    path.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what a reader doubts and takes as it is
            table = aa.read_annotations(path)
    except AnnotationError as error:
        assert path.name in str(error)  # noqa: PT017
        return None
    assert isinstance(table, pd.DataFrame)
    assert len(table)
    return table


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


DEFECTS = {
    "byte order mark alone": (".csv", b"\xef\xbb\xbf"),
    "byte order mark and blank lines": (".csv", b"\xef\xbb\xbf\n\n"),
    "blank lines and nothing": (".csv", b"\n \n"),
    "first line empty": (".csv", b"\ninstruction,preference\na,1\n"),
    "NUL bytes": (".json", b"\0" * 64),
    "NUL in CSV": (".csv", b"a,b\n\0,1\n"),
    "a number": (".json", b"1"),
    "nested 100,000 deep": (".json", b"[" * 100_000),
    "objects 100,000 deep": (".json", b'[{"a":' * 100_000),
    "an integer of 10,000 digits": (
        ".json",
        GOOD.replace(b'"preference": 2', b'"preference": ' + b"9" * 10_000),
    ),
    "a fraction of 10,000 digits": (
        ".json",
        GOOD.replace(b'"preference": 2', b'"preference": 1.' + b"9" * 10_000),
    ),
    "an exponent without end": (".json", GOOD.replace(b'"preference": 2', b'"preference": 1e999999')),
    "10,000 digits in CSV": (".csv", SEEDS[2].replace(b",2.0\n", b"," + b"9" * 10_000 + b"\n")),
    "a Parquet head alone": (".parquet", b"PAR1"),
    "a Parquet file cut off": (".parquet", SEEDS[4][:-20]),
    "a gzip head alone": (".json.gz", b"\x1f\x8b"),
    "gzip in gzip": (".json.gz", gzip.compress(gzip.compress(GOOD))),
    "UTF-16": (".json", GOOD.decode().encode("utf-16")),
}
