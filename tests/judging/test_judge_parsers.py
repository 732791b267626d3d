"""Readers of completions beside alpaca-eval's own parsers, on the same completions."""

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_analysis.judging.parsers import read_choices, read_label_logprobs, read_ranking


@pytest.fixture(scope="module")
def theirs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("alpaca_eval.completion_parsers")


def as_outcome(preference):
    """AlpacaEval's preference (1 first, 2 second) as the outcome of the first."""
    return float("nan") if preference != preference else 2.0 - preference


RANKINGS = [
    "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]",
    "[{'model': 'model_1', 'rank': 2}, {'model': 'model_2', 'rank': 1}]",
    "[{'model': 'model_2', 'rank': 1}, {'model': 'model_1', 'rank': 2}]",
    '[{"model": "model_2", "rank": 2}, {"model": "model_1", "rank": 1}]',
    "\n[\n    {'model': 'model_1', 'rank': 2},\n    {'model': 'model_2', 'rank': 1},\n]\n".strip(),
    "({'model': 'model_1', 'rank': 1.0}, {'model': 'model_2', 'rank': 2.0})",
    "[{'model': 'model_1', 'rank': 3}, {'model': 'model_2', 'rank': 1}]",
    "[{'model': 'model_1', 'rank': '1'}, {'model': 'model_2', 'rank': '2'}]",
    "[{'model': 'model_1', 'rank': None}, {'model': 'model_2', 'rank': 2}]",
    "[{'name': 'model_1', 'rank': 1}, {'name': 'model_2', 'rank': 2}]",
    "[{'model': 'a', 'rank': 1}, {'model': 'b', 'rank': 2}]",
    "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}",
    "```python\n[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]\n```",
    "Here you are: [{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]",
    "I cannot rank these.",
    "{'model_1': 1, 'model_2': 2}",
    "[]",
    "[1, 2]",
    "model_1",
    "__import__('os')",
    "(" * 300,
]


@pytest.mark.parametrize("completion", RANKINGS)
@pytest.mark.slow
def test_rankings_are_read_as_alpaca_eval_reads_them(theirs, completion):
    outcome, reason = read_ranking(completion)
    np.testing.assert_equal(outcome, as_outcome(theirs.ranking_parser(completion)[0]))
    assert bool(reason) == math.isnan(outcome)


@given(
    names=st.permutations(["model_1", "model_2"]),
    ranks=st.permutations([1, 2]),
    double=st.booleans(),
    space=st.sampled_from(["", " ", "\n", "\n\n"]),
)
def test_every_proper_ranking_agrees(theirs, names, ranks, double, space):
    records = [{"model": m, "rank": r} for m, r in zip(names, ranks, strict=True)]
    completion = (json.dumps(records) if double else repr(records)).replace(", ", f",{space}")
    assert read_ranking(completion) == (as_outcome(theirs.ranking_parser(completion)[0]), "")


DEPARTURES = {
    # completion: (alpaca-eval's preference, outcome here)
    "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 1}]": (1, 0.5),
    "[{'model': 'model_1', 'rank': 2}, {'model': 'model_2', 'rank': 2}]": (2, 0.5),
    "[{'model': 'model_1', 'rank': 1}]": (1, math.nan),
    "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 7}]": (1, math.nan),
    "[{'model': 'model_1', 'rank': 1}, {'model': 'model_1', 'rank': 2}]": (1, math.nan),
    "[{'model': 'model_1', 'rank': True}, {'model': 'model_2', 'rank': 2}]": (1, math.nan),
}


@pytest.mark.parametrize("completion", DEPARTURES)
def test_where_alpaca_eval_looks_at_one_rank_only_the_departure_is_named(theirs, completion):
    preference, outcome = DEPARTURES[completion]
    assert theirs.ranking_parser(completion)[0] == preference
    np.testing.assert_equal(read_ranking(completion)[0], outcome)


LOGPROB = {"numerator_token": "m", "denominator_tokens": ["m", "M"], "is_binarize": False}


@given(
    st.dictionaries(
        st.sampled_from(["m", "M", " m", "The", "Both", "mM"]),
        st.floats(-60, 0) | st.sampled_from([-9999.0]),
        min_size=1,
    )
)
def test_weighted_preferences_equal_alpaca_evals(theirs, logprobs):
    top = [{"token": token, "logprob": value, "bytes": None} for token, value in logprobs.items()]
    with np.errstate(divide="ignore", invalid="ignore"):
        preference = theirs.logprob_parser({"logprobs": {"content": [{"top_logprobs": top}]}}, **LOGPROB)[0]
    outcome, reason = read_label_logprobs(top)
    np.testing.assert_allclose(outcome, as_outcome(preference), atol=1e-12)
    assert bool(reason) == math.isnan(outcome)


@pytest.mark.parametrize("name", ["Mixtral-8x7B-Instruct-v0.1_concise", "alpaca-7b", "NullModel"])
def test_published_completions_give_the_published_preferences(mirror, name):
    """Raw completions of AlpacaEval 2; the file says not which output was shown first, so either may match."""
    path = mirror / "alpaca_eval" / "results" / name / "weighted_alpaca_eval_gpt4_turbo" / "annotations.json"
    records = json.loads(path.read_text())
    raw = [
        (r["preference"], json.loads(c) if isinstance(c, str) else c)
        for r in records
        if (c := r.get("raw_completion")) and r["preference"] is not None
    ]
    assert len(raw) > 700
    swapped = 0
    for preference, completion in raw:
        outcome, _ = read_label_logprobs(completion["logprobs"]["content"][0]["top_logprobs"])
        kept = abs((2 - outcome) - preference) < 1e-5
        swapped += not kept
        assert kept or abs((1 + outcome) - preference) < 1e-5
    assert 0.4 < swapped / len(raw) < 0.6


def test_labels_that_are_unlikely_are_no_preference():
    top = [
        {"token": "The", "logprob": -0.01},
        {"token": "A", "logprob": -7.0},
        {"token": "B", "logprob": -9.0},
    ]
    assert read_label_logprobs(top, labels=("A", "B"), min_mass=0.0)[0] == pytest.approx(
        1 / (1 + math.exp(-2.0))
    )
    assert read_label_logprobs(top, labels=("A", "B"), min_mass=0.5)[1] == "labels too unlikely"
    assert read_label_logprobs(None)[1] == read_label_logprobs([])[1] == "no logprobs"
    assert math.isnan(read_label_logprobs([{"token": "m", "logprob": None}])[0])


@given(st.lists(st.sampled_from(["A", "B", "draw"]), min_size=1, max_size=9), st.randoms())
def test_choices_are_matched_by_number_in_any_order(choices, random):
    lines = [f"Pair {i}: {choice}" for i, choice in enumerate(choices, 1)]
    random.shuffle(lines)
    expected = [({"A": 1.0, "B": 0.0, "draw": 0.5}[choice], "") for choice in choices]
    assert read_choices("\n".join(["Here you are.", *lines, ""]), len(choices)) == expected


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("Pair 1: A\nPair 1: B\nPair 2: A", [None, 1.0]),
        ("Pair 1: A is better\nPair 2: B.", [None, 0.0]),
        ("pair 1: a\n  PAIR 2:DRAW", [1.0, 0.5]),
        ("Pair 0: A\nPair 1: B", [None, None]),
        ("Pair 1: A\nPair 2: B\nPair 3: A", [None, None]),
        ("1: A\n2: B", [None, None]),
        ("A\nB", [None, None]),
        ("", [None, None]),
    ],
)
def test_choices_that_are_not_clear_are_missing(completion, expected):
    readings = read_choices(completion, 2)
    assert [None if math.isnan(outcome) else outcome for outcome, _ in readings] == expected
    assert all(bool(reason) == math.isnan(outcome) for outcome, reason in readings)
