"""The Vicuna template, character by character, in plain text and as a tokenizer's chat template."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_analysis.generating import VICUNA_SYSTEM, VICUNA_TEMPLATE, ConversationError, vicuna_prompt

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions."
)


def turns(*texts):
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def by_hand(messages, system=SYSTEM, go_on=True):
    """Write the conversation down without any template engine."""
    text = system + " "
    for message in messages:
        if message["role"] == "user":
            text += "USER: " + message["content"] + " "
        else:
            text += "ASSISTANT: " + message["content"] + "</s>"
    return text + "ASSISTANT:" * go_on


def test_one_turn_to_the_character():
    assert VICUNA_SYSTEM == SYSTEM
    assert vicuna_prompt("Hello!") == SYSTEM + " USER: Hello! ASSISTANT:"


def test_three_turns_to_the_character():
    expected = (
        SYSTEM + " USER: Hi ASSISTANT: Hello.</s>USER: Who are you? ASSISTANT: Me.</s>USER: Bye ASSISTANT:"
    )
    assert vicuna_prompt(turns("Hi", "Hello.", "Who are you?", "Me.", "Bye")) == expected


def test_a_finished_conversation_ends_with_the_end_of_sequence():
    text = vicuna_prompt(turns("Hi", "Hello."), add_generation_prompt=False)
    assert text == SYSTEM + " USER: Hi ASSISTANT: Hello.</s>"


def test_another_system_message_replaces_the_sentence():
    messages = [{"role": "system", "content": "Be brief."}, *turns("Hi")]
    assert vicuna_prompt(messages) == "Be brief. USER: Hi ASSISTANT:"


def test_alpaca_evals_prompt_of_xwin_differs_in_nothing():
    from importlib.util import find_spec  # importing it takes seconds

    found = find_spec("alpaca_eval")
    if found is None:
        pytest.skip("alpaca-eval is not installed")
    path = Path(found.submodule_search_locations[0]) / "models_configs" / "xwinlm-7b-v0.1" / "prompt.txt"
    template = path.read_text()
    assert template.format(instruction="Count to 3.") == vicuna_prompt("Count to 3.")


@given(st.lists(st.text(min_size=1), min_size=1, max_size=7).filter(lambda texts: len(texts) % 2))
@pytest.mark.slow
def test_any_text_goes_in_unchanged(texts):
    """White space, braces, quotation marks, template syntax: nothing is stripped or interpreted."""
    assert vicuna_prompt(turns(*texts)) == by_hand(turns(*texts))


@pytest.mark.parametrize("text", ["  spaced  ", "\nline\n", "{{ messages }}", "{% if %}", "</s>", "USER: x"])
def test_special_texts_go_in_unchanged(text):
    assert vicuna_prompt(text) == by_hand(turns(text))


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "at least one message"),
        ([{"role": "system", "content": "S"}], "needs a message of the user"),
        ([{"role": "assistant", "content": "Hi"}], "found role assistant, expected user"),
        ([*turns("a"), *turns("b")], "message 2 .*found role user, expected assistant"),
        ([*turns("a"), {"role": "system", "content": "S"}], "found role system, expected assistant"),
        (turns("a", "b"), "the last message has to be the user's"),
        (turns(""), "message 1 .*expected text"),
        (turns("a", "", "b"), "message 2 .*expected text"),
        ([{"role": "user"}], "expected role and content"),
        ([{"role": "user", "content": None}], "found content None, expected text"),
        ([{"role": "user", "content": [{"type": "text", "text": "x"}]}], "expected text"),
        ([{"role": "tool", "content": "x"}], "found role tool, expected user"),
        (["Hi"], "expected role and content"),
    ],
)
def test_malformed_conversations_are_refused(messages, message):
    with pytest.raises(ConversationError, match=message):
        vicuna_prompt(messages)


def test_the_template_is_one_line_without_imports_or_macros():
    assert "\n" not in VICUNA_TEMPLATE
    assert "import" not in VICUNA_TEMPLATE
