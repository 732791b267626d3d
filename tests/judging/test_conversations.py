"""Conversations of several turns are judged as a whole, and filed as readers of conversations file them."""

import json

import pytest

import alpaca_analysis as aa
from alpaca_analysis.judging import ChatJudge, FunctionJudge, judge
from alpaca_analysis.judging.designs import CONVERSATION, ROLE

ASKED = ["Name a fruit.", "Why that one?"]
MINE, THEIRS = ["An apple.", "It keeps well."], ["A pear.", "It is sweet."]


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def whole(answers):
    return [user(ASKED[0]), assistant(answers[0]), user(ASKED[1]), assistant(answers[1])]


SHOWN = {
    "turns": (
        {"instruction": ASKED, "output": MINE},
        {"instruction": ASKED, "output": THEIRS},
        (
            "[user]\nName a fruit.\n\n[user]\nWhy that one?",
            "[assistant]\nAn apple.\n\n[assistant]\nIt keeps well.",
            "[assistant]\nA pear.\n\n[assistant]\nIt is sweet.",
        ),
    ),
    "whole": (
        {"instruction": "Name a fruit.", "output": whole(MINE)},
        {"instruction": ASKED, "output": whole(THEIRS)},
        (
            "[user]\nName a fruit.\n\n[user]\nWhy that one?",
            "[user]\nName a fruit.\n\n[assistant]\nAn apple.\n\n[user]\nWhy that one?\n\n[assistant]\nIt keeps well.",
            "[user]\nName a fruit.\n\n[assistant]\nA pear.\n\n[user]\nWhy that one?\n\n[assistant]\nIt is sweet.",
        ),
    ),
    "same beginning": (
        {"instruction": [user(ASKED[0]), assistant("A fig."), user(ASKED[1])], "output": MINE[1]},
        {"instruction": [user(ASKED[0]), assistant("A fig."), user(ASKED[1])], "output": THEIRS[1]},
        (
            "[user]\nName a fruit.\n\n[assistant]\nA fig.\n\n[user]\nWhy that one?",
            "It keeps well.",
            "It is sweet.",
        ),
    ),
}


def seen_by_a_function(mine, theirs):
    seen = []

    def first(*texts):
        seen.append(texts)
        return 1.0

    judged = judge([mine], [theirs], judge=first, order="model_first", model="m", reference="r")
    return seen[0], judged


@pytest.mark.parametrize(("mine", "theirs", "shown"), SHOWN.values(), ids=SHOWN)
def test_a_judge_sees_every_turn(mine, theirs, shown):
    seen, judged = seen_by_a_function(mine, theirs)
    assert seen == shown
    record = judged.records[0]
    assert record["instruction"] == "Name a fruit.\n\nWhy that one?"  # what the user said
    if isinstance(mine["output"], list):
        assert record["output_2"] == "An apple.\n\nIt keeps well."  # what the assistant said


def test_the_table_is_what_readers_make_of_the_same_battle(tmp_path):
    _, judged = seen_by_a_function(*SHOWN["whole"][:2])
    battle = {"model_a": "m", "model_b": "r", "winner": "model_a", "judge": "first"}
    battle |= {"conversation_a": whole(MINE), "conversation_b": whole(THEIRS)}
    (tmp_path / "battles.json").write_text(json.dumps([battle]))
    read = aa.read_annotations(tmp_path / "battles.json").iloc[0]
    ours = judged.to_frame().iloc[0]
    for column in ("instruction_id", "model", "reference", "outcome", "length_model", "length_reference"):
        assert ours[column] == read[column]


def test_a_language_model_is_told_and_plain_pairs_are_asked_as_before(server, tmp_path):
    asked = ChatJudge("tiny", design="one_token", base_url=server.url)
    options = {"cache": tmp_path / "answers.sqlite", "model": "m", "reference": "r", "order": "model_first"}
    mine, theirs, shown = SHOWN["turns"]
    judge([mine], [theirs], judge=asked, **options)
    judge(
        [{"instruction": "Q", "output": "a"}], [{"instruction": "Q", "output": "b"}], judge=asked, **options
    )
    talk, plain = server.bodies
    assert talk["messages"][0]["content"] == ROLE + CONVERSATION
    assert all(json.dumps(text) in talk["messages"][1]["content"] for text in shown)
    assert plain["messages"][0]["content"] == ROLE


def test_what_was_generated_in_a_conversation_is_judged_in_it(tmp_path):
    prompt = [user(ASKED[0]), assistant("A fig."), user(ASKED[1])]
    paths = [
        aa.generate([prompt], aa.FunctionBackend(lambda m, text=text: text, name=name)).save(tmp_path)
        for name, text in (("m", "It keeps well."), ("r", "It is sweet."))
    ]
    seen = []
    judged = judge(*paths, judge=FunctionJudge(lambda *texts: seen.append(texts) or 1.0, name="first"))
    assert set(seen[0]) == set(SHOWN["same beginning"][2])
    assert judged.records[0]["instruction"] == "Name a fruit.\n\nWhy that one?"


def test_equal_conversations_are_a_draw_and_missing_ones_missing():
    talk = {"instruction": ASKED, "output": MINE}
    seen = judge([talk], [dict(talk)], judge="length", model="m", reference="r").records[0]
    assert (seen["preference"], seen["reason"]) == (1.5, "equal outputs")
    with pytest.warns(aa.JudgeWarning, match="1 x no output of the model"):
        judge([talk | {"output": []}], [talk], judge="length", model="m", reference="r")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"instruction": 3, "output": "x"}, "column 'instruction': found 3, expected text, a list of"),
        ({"instruction": ["a", 3], "output": "x"}, "column 'instruction': .*expected text, a list of"),
        (
            {"instruction": "a", "output": [{"role": "tool", "content": "x"}]},
            "column 'output': .*system, user",
        ),
        ({"instruction": "a", "output": [{"role": "assistant", "content": 3}]}, "'role' and a text as"),
        ({"instruction": [assistant("Hi")], "output": "x"}, "column 'instruction': .*expected text"),
    ],
)
def test_what_is_no_conversation_is_refused_with_its_place(record, message):
    with pytest.raises(aa.AnnotationError, match=f"row 0, {message}|row 0.*{message}"):
        judge([record], [{"instruction": "a", "output": "b"}], judge="length", model="m", reference="r")
