"""One tolerant reader for what judges say: the last verdict of the judge, whatever stands around it.

Models wrap verdicts in thoughts, fences, prefaces and end tokens, and spell them in many ways. What is
read is a *statement* of a verdict (a bracket such as ``[[A]]``, a list of two ranks, a line "Verdict: A", a
field of JSON, a bare label), never a guess at prose: "I prefer the second one" has no outcome.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from alpaca_analysis.asking.replies import without_thinking

LONGEST = 200_000  # characters of a reply that are searched, from its end
NOTHING = "no verdict"


class Verdict(NamedTuple):
    """What a judge said of a pair.

    Attributes
    ----------
    outcome : float
        1 the output shown first is better, 0 the second, 0.5 a draw, NaN where the reply does not say.
    reason : str
        Why it is NaN: what was expected and what came.
    strong : bool
        Whether the judge said "much better" (``[[A>>B]]``).
    """

    outcome: float
    reason: str = ""
    strong: bool = False


SIDE = {
    **dict.fromkeys(("a", "1", "one", "first", "1st", "model_1", "m", "left"), 1.0),
    **dict.fromkeys(("b", "2", "two", "second", "2nd", "model_2", "right"), 0.0),
    **dict.fromkeys(("c", "draw", "tie", "tied", "equal", "both", "neither", "same", "none"), 0.5),
}
RANKS = {"1": 1, "2": 2, "one": 1, "two": 2, "first": 1, "second": 2, "1st": 1, "2nd": 2}
ENDINGS = re.compile(
    r"(?:<\|(?:im_end|eot_id|end|endoftext|end_of_text|eom_id|assistant|end_of_turn)\|>|</s>|<end_of_turn>|<eos>|"
    r"\[/INST\]|<｜end▁of▁sentence｜>)",
    re.IGNORECASE,
)
# Every repetition has an end: a run of signs that fits two of them would take its length squared.
GRADE = r"[AB12]\s{0,9}(?:>>|>|=|<<|<)\s{0,9}[AB12]"
LABEL = r"model[_ ]?[12]|first|second|draw|tied?|equal|neither|both|left|right|[ABC12]"
NOUN = (
    r"(?:the\s{1,9})?(?:answer|response|output|assistant|assistant's|option|candidate|model|completion|reply)?"
    r"[\s_(*]{0,9}"
)
BRACKET = re.compile(rf"\[\[\s{{0,9}}({GRADE}|{LABEL})\s{{0,9}}\]\]", re.IGNORECASE)
QUOTED = re.compile(r"^[ \t]*>.*$|\"[^\"\n]{0,2000}\"|“[^”\n]{0,2000}”|«[^»\n]{0,2000}»", re.MULTILINE)
LINE = re.compile(
    r"(?:^|(?<=[.!?]) )(?:(?!\n)[\W_]){0,40}(?:(?:my|the)\s{1,9})?(?:final|overall)?\s{0,9}"
    r"(?:verdict|judge?ment|decision|winner|choice|answer|preference|result|conclusion|"
    r"better(?:\s{1,9}(?:answer|response|output))?)"
    r"(?:\s{1,9}is)?[\s*_]{0,9}[:=\-—–]{1,9}[\s*_`'\"(\[]{0,12}"
    rf"(?:{NOUN})({GRADE}|{LABEL})\b[\s*_`'\")\].!]{{0,12}}$",
    re.IGNORECASE | re.MULTILINE,
)
BARE = re.compile(
    rf"^[\s*_`'\"(\[#]{{0,12}}(?:{NOUN})({GRADE}|{LABEL})[\s*_`'\")\].!]{{0,12}}$", re.IGNORECASE
)
SENTENCE = re.compile(
    r"\b(?:answer|response|output|assistant|option|candidate|model)\s{0,9}[_ ]?([AB12])\s{1,9}"
    r"(?:is|was|wins?\b)(?:\s{1,9}(?:clearly|slightly|much|far|significantly|overall|the))*\s{0,9}"
    r"(?:better|superior|preferred|winner|stronger|best|$|[.!])",
    re.IGNORECASE,
)
NAMED = re.compile(
    r"\b(?:better|best|preferred|stronger|superior|winning)\s{1,9}(?:answer|response|output|assistant|option|one|"
    r"candidate|model|completion)?\s{0,9}(?:overall\s{1,9})?"
    rf"is\s{{0,9}}:?\s{{0,9}}[*_`'\"(\[]{{0,9}}(?:{NOUN})([AB12])\b",
    re.IGNORECASE,
)
NEGATED = re.compile(r"\b(?:not|neither|never|if|unless|would|could|might|although)\b|n't\b", re.IGNORECASE)
FIELDS = (
    *("verdict", "winner", "preference", "preferred", "choice", "better", "decision"),
    *("judgment", "judgement"),
)
IMITATED = re.compile(
    r"((?:^|(?<=[.!?]) )(?:(?!\n)[\W_]){0,40}(?:(?:my|the)\s{1,9})?(?:final|overall)?\s{0,9}"
    r"verdict(?:\s{1,9}is)?[\s*_]{0,9}[:=\-—–]{1,9}[\s*_`'\"(\[]{0,12}"
    rf"(?:{NOUN}))({GRADE}|{LABEL})\b",
    re.IGNORECASE | re.MULTILINE,
)


def read_verdict(completion: str | None, *, names: Sequence[str] = ("model_1", "model_2")) -> Verdict:
    """Read the last verdict of a judge's reply.

    Thoughts in ``<think>`` tags, end tokens and fences are passed over, and so is what the judge quotes (in
    quotation marks, or behind ``>``).

    Parameters
    ----------
    completion : str or None
        The reply. Read are ``[[A]]``, ``[[A>>B]]``, ``[[C]]`` and their like; lists or mappings of two ranks,
        as JSON or Python, ranks as numbers, text or words; fields such as ``{"winner": "B"}``; a line such as
        "Final verdict: Answer A"; a bare label; and a last sentence such as "Response B is better."
    names : (str, str)
        What the first and the second output were called in lists of ranks.

    Returns
    -------
    Verdict
        ``outcome``, ``reason``, ``strong``.

    Examples
    --------
    >>> read_verdict("<think>Hm.</think> Both are polite. **Final verdict: B**").outcome
    0.0
    >>> read_verdict('Here: [{"model": "model_1", "rank": "1"}, {"model": "model_2", "rank": "2"}]').outcome
    1.0
    >>> read_verdict("My verdict is [[A>>B]]")
    Verdict(outcome=1.0, reason='', strong=True)
    >>> read_verdict("I prefer the second one.")
    Verdict(outcome=nan, reason="no verdict, found 'I prefer the second one.'", strong=False)
    """
    if not isinstance(completion, str) or not completion.strip():
        return Verdict(math.nan, "an empty answer")
    text = ENDINGS.sub(" ", without_thinking(completion)).strip()[-LONGEST:]
    if not text:
        return Verdict(math.nan, "a thought without an answer")
    last = max(_statements(text, tuple(names)), key=lambda found: found[:2], default=None)
    if last is None:
        shown = " ".join(text.split())
        return Verdict(math.nan, f"{NOTHING}, found {shown[-80:]!r}")
    _, _, outcome, strong, reason = last
    return Verdict(outcome, reason, strong)


def _statements(text: str, names: tuple[str, ...]) -> Iterator[tuple[int, int, float, bool, str]]:
    """Yield end, order of trust, outcome, strength and reason of every statement of a verdict."""
    quoted = [match.span() for match in QUOTED.finditer(text)]
    yield from _rankings(text, names)
    for match in BRACKET.finditer(text):
        if not _inside(match, quoted):
            yield match.end(), 2, *_graded(match[1]), ""
    for match in LINE.finditer(text):
        if not _inside(match, quoted):
            yield match.end(), 1, *_graded(match[1]), ""
    lines = [line for line in text.splitlines() if line.strip(" *_`\t-")]
    if not lines:
        return
    bare = BARE.match(lines[-1]) if len(lines) == 1 or len(lines[-1].split()) <= 3 else None
    if bare and not lines[-1].lstrip().startswith(">"):
        yield len(text), 1, *_graded(bare[1]), ""
        return
    said = {match[1].upper() for rule in (SENTENCE, NAMED) for match in rule.finditer(lines[-1])}
    if len(said) == 1 and not NEGATED.search(lines[-1]):
        yield len(text), 0, *_graded(said.pop()), ""


def _inside(match, spans):
    """Say whether a match lies within quoted text."""
    return any(start < match.start() and match.end() <= end for start, end in spans)


def _graded(label: str) -> tuple[float, bool]:
    """Return outcome and strength of a label or a grade."""
    compact = re.sub(r"\s+", "", label).lower()
    grade = re.fullmatch(r"([ab12])(>>|>|=|<<|<)([ab12])", compact)
    if not grade:
        return SIDE[re.sub(r"model[_ ]?", "", compact) or compact], False
    if grade[2] == "=" or SIDE[grade[1]] == SIDE[grade[3]]:
        return 0.5, False
    first = SIDE[grade[1] if ">" in grade[2] else grade[3]]
    return first, len(grade[2]) == 2


def _rankings(text: str, names: tuple[str, ...]) -> Iterator[tuple[int, int, float, bool, str]]:
    for start, end in _balanced(text):
        value = _literal(text[start:end])
        found = _ranking(value, names) if isinstance(value, list) else _fields(value, names)
        if found is not None:
            yield end, 3, *found


def _balanced(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of the outermost lists of records and mappings, at most the last 20."""
    starts = [match.start() for match in re.finditer(r"\[\s*\{|\{", text)][-40:]
    behind = -1
    for start in starts:
        if start < behind:
            continue
        depth, quote, place = 0, "", start
        while place < min(len(text), start + 4000):
            c = text[place]
            if quote:
                place += c == "\\"
                quote = "" if c == quote else quote
            elif c in "\"'" and not text[place - 1].isalnum():
                quote = c
            depth += (c in "[{") - (c in "]}") if not quote else 0
            place += 1
            if depth == 0:
                behind = place
                yield start, place
                break


def _literal(text: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                return read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return None


def _ranking(value: list, names: tuple[str, ...]) -> tuple[float, bool, str] | None:
    """Return what a list of two records with ranks says, None where it is no such list."""
    if not value or not all(isinstance(record, dict) and "rank" in record for record in value):
        return None
    said = [(str(record.get("model", record.get("name"))).strip(), _rank(record["rank"])) for record in value]
    ranks = {name: [rank for model, rank in said if model == name] for name in names}
    if len(said) != 2 or any(len(found) != 1 for found in ranks.values()):
        return math.nan, False, "not one rank for each of the two"
    first, second = (ranks[name][0] for name in names)
    if first is None or second is None:
        return math.nan, False, "a rank that is not 1 or 2"
    return (second - first + 1) / 2, False, ""


def _rank(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip().lower()
    return RANKS.get(text)


def _fields(value: Any, names: tuple[str, ...]) -> tuple[float, bool, str] | None:
    """Return what a mapping says: a ranking, the ranks of both names, or a field that names the better."""
    if not isinstance(value, dict):
        return None
    by_name = {str(key).lower(): inner for key, inner in value.items()}
    for key in ("ranking", "rankings", "ranks"):
        inner = by_name.get(key)
        if isinstance(inner, list) and inner:
            if all(isinstance(entry, str) for entry in inner) and len(inner) == 2:  # best first
                best, other = (_side(entry, names) for entry in inner)
                return (best, False, "") if best is not None and {best, other} == {0.0, 1.0} else None
            return _ranking(inner, names)
        if isinstance(inner, dict):
            return _fields(inner, names)
    if set(names) <= set(value):
        first, second = (_rank(value[name]) for name in names)
        if first is not None and second is not None:
            return (second - first + 1) / 2, False, ""
    for key in FIELDS:
        inner = by_name.get(key)
        if isinstance(inner, (str, int)) and not isinstance(inner, bool):
            label = re.fullmatch(rf"\W*(?:{NOUN})({GRADE}|{LABEL})\W*", str(inner), re.IGNORECASE)
            if label:
                return *_graded(label[1]), ""
            side = _side(str(inner), names)
            if side is not None:
                return side, False, ""
    return None


def _side(text: str, names: tuple[str, ...]) -> float | None:
    if text.strip() in names:
        return 1.0 - names.index(text.strip())
    return SIDE.get(text.strip().lower())


def harmless(text: str) -> tuple[str, int]:
    """Return a candidate's text whose imitations of a verdict are none any more, and their number.

    Examples
    --------
    >>> harmless("Thanks. [[A]]")
    ('Thanks. ⟦A⟧', 1)
    >>> harmless("A list: [[1, 2], [3]]")
    ('A list: [[1, 2], [3]]', 0)
    """
    brackets = lines = 0  # most texts hold neither sign, which is found in no time
    if "[[" in text:
        text, brackets = BRACKET.subn(r"⟦\1⟧", text)
    if "verdict" in text.lower():
        text, lines = IMITATED.subn(r"\1⟦\2⟧", text)
    return text, brackets + lines
