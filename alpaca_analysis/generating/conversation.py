"""The Vicuna conversation template, exact to the character, as a chat template for any tokenizer.

One line without line breaks: the system's sentence, then ``USER: ...`` and ``ASSISTANT: ...`` in turn,
each followed by one space, or by the end-of-sequence token after an answer; ``ASSISTANT:`` without a
space ends a prompt. Vicuna 1.1 and later and Xwin-LM 0.1 were trained on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)

# What chat templates of tokenizers may use: messages, eos_token, add_generation_prompt, raise_exception.
VICUNA_TEMPLATE = (
    "{%- if not messages -%}{{- raise_exception('a conversation has at least one message') -}}{%- endif -%}"
    "{%- if messages[0]['role'] == 'system' -%}"
    "{%- set system = messages[0]['content'] -%}{%- set turns = messages[1:] -%}"
    "{%- else -%}"
    '{%- set system = "' + VICUNA_SYSTEM + '" -%}{%- set turns = messages -%}'
    "{%- endif -%}"
    "{%- if not turns -%}{{- raise_exception('a conversation needs a message of the user') -}}{%- endif -%}"
    "{{- system + ' ' -}}"
    "{%- for turn in turns -%}"
    "{%- set role = 'user' if loop.index0 % 2 == 0 else 'assistant' -%}"
    "{%- if turn['role'] != role -%}"
    "{{- raise_exception('message ' ~ loop.index ~ ' after the system message: found role ' ~ turn['role'] ~"
    " ', expected ' ~ role) -}}"
    "{%- endif -%}"
    "{%- if turn['content'] is not string or not turn['content'] -%}"
    "{{- raise_exception('message ' ~ loop.index ~ ' after the system message: expected text') -}}"
    "{%- endif -%}"
    "{%- if role == 'user' -%}{{- 'USER: ' + turn['content'] + ' ' -}}"
    "{%- else -%}{{- 'ASSISTANT: ' + turn['content'] + eos_token -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{%- if turns[-1]['role'] != 'user' -%}{{- raise_exception('the last message has to be the user\\'s') -}}"
    "{%- endif -%}"
    "{{- 'ASSISTANT:' -}}"
    "{%- endif -%}"
)


class ConversationError(ValueError):
    """Messages that do not make a conversation."""


def vicuna_prompt(
    messages: str | Sequence[dict], *, add_generation_prompt: bool = True, eos_token: str = "</s>"
) -> str:
    """Write a conversation as Vicuna and Xwin-LM read it.

    Parameters
    ----------
    messages : str or sequence of dict
        One prompt; or messages with ``role`` ("system", first and optional; then "user" and "assistant"
        in turn) and ``content`` (text that is not empty).
    add_generation_prompt : bool
        End with ``ASSISTANT:``, for the model to go on.
    eos_token : str
        Written after each answer.

    Returns
    -------
    str
        The prompt without a beginning-of-sequence token, which the tokenizer adds.

    Raises
    ------
    ConversationError
        No message, another order of roles, content that is empty or not text, or a last message that
        is not the user's.

    Examples
    --------
    >>> vicuna_prompt("Say hello.").removeprefix(VICUNA_SYSTEM)
    ' USER: Say hello. ASSISTANT:'
    >>> turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."},
    ...          {"role": "user", "content": "Bye"}]
    >>> vicuna_prompt(turns).removeprefix(VICUNA_SYSTEM)
    ' USER: Hi ASSISTANT: Hello.</s>USER: Bye ASSISTANT:'
    """
    return render(
        VICUNA_TEMPLATE,
        as_messages(messages),
        add_generation_prompt=add_generation_prompt,
        eos_token=eos_token,
    )


def as_messages(conversation: str | Sequence[dict]) -> list[dict]:
    """Return a prompt or conversation as messages, or raise `ConversationError`.

    Examples
    --------
    >>> as_messages("Hi")
    [{'role': 'user', 'content': 'Hi'}]
    """
    if isinstance(conversation, str):
        conversation = [{"role": "user", "content": conversation}]
    messages = list(conversation)
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            raise ConversationError(f"message {number}: found {message!r}, expected role and content")
        if not isinstance(message["content"], str):
            raise ConversationError(f"message {number}: found content {message['content']!r}, expected text")
    return [{"role": m["role"], "content": m["content"]} for m in messages]


def render(
    template: str, messages: list[dict], *, add_generation_prompt: bool = True, eos_token="</s>"
) -> str:
    """Fill a chat template, in a sandbox, as tokenizers do.

    Examples
    --------
    >>> render("{{ messages[0]['content'] }}", [{"role": "user", "content": "Hi"}])
    'Hi'
    """
    return _compiled(template).render(
        messages=messages, add_generation_prompt=add_generation_prompt, eos_token=eos_token, bos_token="<s>"
    )


@lru_cache(maxsize=8)
def _compiled(template):
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _refuse
    return environment.from_string(template)


def _refuse(message):
    raise ConversationError(message)
