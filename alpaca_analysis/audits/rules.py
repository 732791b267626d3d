"""What an audit finds, in plain words: each rule reads the results of one section.

A finding has a severity: "high" where a number would mislead as it stands, "medium" where it needs a
caveat, "low" where it should be known, "info" where it only says what could not be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from alpaca_analysis.audits import biases
from alpaca_analysis.foundations import ties
from alpaca_analysis.inference.results import has_reason

SEVERITIES = ("high", "medium", "low", "info")
COLUMNS = ("severity", "check", "model", "finding", "evidence")
SAME_LENGTH = 0.5  # share of outputs of one and the same length from which they cannot be answers
FEW_NEAR_EQUAL = 0.10  # share of instructions with near-equal lengths below which length control extrapolates
STRONG_PREFERENCE = 0.65  # share of decisions for the longer output from which it needs a caveat
STRONG_POSITION = 0.55  # share of judgements for one place from which order alone decides many
LARGE_SHIFT = 0.05  # between raw and length-controlled win rate
NAMED = 3  # how many models of one finding are named one by one
OTHER_REFERENCE = 0.10  # share of reference outputs of other lengths from which it is not the same reference
SMALL_GROUP = 20  # judgements below which a model's outputs are too few to look at


def collect(results: dict[str, pd.DataFrame], settings: dict) -> pd.DataFrame:
    """Return the findings of all rules, the strongest first.

    Parameters
    ----------
    results : dict of str to DataFrame
        Sections of an audit; rules whose section is absent find nothing.
    settings : dict
        ``disagreements`` (what files say against their folders), ``probabilities`` (what log probabilities
        say against preferences), ``stopped`` (what was decided when judging of a model stopped early; None
        where the order of asking is unknown) and ``skipped`` (why a section is absent).

    Returns
    -------
    DataFrame
        ``severity``, ``check``, ``model``, ``finding``, ``evidence``.
    """
    rules = (
        ("beyond_people", biases.beyond_people),
        ("more_beyond_people", biases.more_beyond_people),
        ("own_family", biases.own_family),
        ("health", _outputs),
        ("health", _draws),
        ("health", _references),
        ("health", _missing),
        ("win_rates", _win_rates),
        ("win_rates", _no_win),
        ("first_place", _first_place),
        ("length_preference", _length_preference),
        ("length_control", _length_control),
        ("first_position", _first_position),
        ("order", biases.order),
        ("noise", biases.noise),
        ("lists", _lists),
        ("style", biases.style),
        ("agreement", _agreement),
        ("agreement_difference", _agreement_difference),
        ("claims", _claims),
    )
    found = [f for name, rule in rules if name in results for f in rule(results[name])]
    found += [_folders(d) for d in settings.get("disagreements", [])]
    found += [_probabilities(told) for told in settings.get("probabilities", []) if told["contradicted"]]
    found += [_stopped(model, why) for model, why in (settings.get("stopped") or {}).items()]
    skipped = settings.get("skipped", {})
    for why in dict.fromkeys(skipped.values()):
        names = ", ".join(name.replace("_", " ") for name in skipped if skipped[name] == why)
        found.append(("info", names, "", f"not looked at: {why}", ""))
    frame = pd.DataFrame(found, columns=list(COLUMNS))
    order = frame["severity"].map(SEVERITIES.index)
    return frame.iloc[order.argsort(kind="stable")].reset_index(drop=True)


def _percent(value, places=1):
    return f"{100 * value:.{places}f} %"


def _span(row, places=1):
    return f"95 % interval {100 * row['ci_low']:.{places}f} to {100 * row['ci_high']:.{places}f} %"


def _leaning(row):
    """Return whether the judge leans to what is asked about, how often it decides so, and the evidence."""
    toward = row["probability"] > 0.5
    low, high = (row["ci_low"], row["ci_high"]) if toward else (1 - row["ci_high"], 1 - row["ci_low"])
    share = row["probability"] if toward else 1 - row["probability"]
    return toward, share, f"{_span({'ci_low': low, 'ci_high': high})}, n = {row['n']}"


def _clear(frame):
    """Return the rows whose interval excludes no preference."""
    above, below = (ties.difference(frame[c], 0.5) for c in ("ci_low", "ci_high"))
    return frame[(above > 0) | (below < 0)].to_dict("records")


def _folders(disagreement) -> tuple:
    d = disagreement
    text = (
        f"the file's own {d['column']} is {d['in_file']!r}, its folder says {d['folder']!r}, "
        "which was taken: whose judgements are these?"
    )
    return ("high", "folder and file", d["folder"] if d["column"] == "model" else "", text, d["file"])


def _probabilities(told) -> tuple:
    wrong, first = told["contradicted"], told["contradicted"][0]
    verb = "preferences are" if len(wrong) != 1 else "preference is"
    text = f"{len(wrong)} of {told['n']} stored {verb} not what their own log probabilities say"
    evidence = (
        f"{told['file']}, row {first['row']}: {first['stored']:g} stored, {first['told']:g} by probabilities"
    )
    return "high", "log probabilities", "", text, evidence


def _stopped(model, why) -> tuple:
    text = (
        f"judging stopped when it had decided ({why}): its win rate and every interval here ignore that, and "
        "are biased toward the verdict. Report it by confidence_sequence"
    )
    return "medium", "stopped early", model, text, ""


def _outputs(health: pd.DataFrame) -> Iterator[tuple]:
    for row in health.to_dict("records"):
        asked, same = row["n_judged"] + row["n_missing"], row["same_length"]
        if asked >= SMALL_GROUP and same >= SAME_LENGTH and not row["same_length_reference"] >= SAME_LENGTH:
            kind = "as if one text answered every instruction" if same == 1 else "as if cut off"
            text = (
                f"{_percent(same)} of the outputs have exactly {row['usual_length']:.0f} characters, {kind}: "
                "they are not answers. An adversarial or broken entry, whose win rate speaks of the judge "
                "and not of a model"
            )
            yield "high", "outputs", row["model"], text, f"{asked} outputs"
        if row["n_not_text"]:
            text = f"{row['n_not_text']} outputs are not text; their length is unknown"
            yield "low", "outputs", row["model"], text, ""


def _draws(health: pd.DataFrame) -> Iterator[tuple]:
    n = health["n_judged"]
    only = health[(n > 0) & (n + health["n_missing"] >= SMALL_GROUP) & (health["n_draws"] == n)]
    for row in only.to_dict("records"):
        text = "every judgement is a draw: the reference against itself, or a judge that does not decide"
        yield "medium", "draws", row["model"], text, f"{row['n_draws']} draws"


def _no_win(rates: pd.DataFrame) -> Iterator[tuple]:
    few = np.maximum(5, 0.1 * rates["n_total"])
    none = (rates["n_wins"] == 0) & (rates[["n_draws", "n_losses"]].min(axis=1) >= few)
    for row in rates[none].to_dict("records"):
        text = (
            "draws and losses, and not one win: was 0 the reference and 1 the model? Then "
            'read the file with values={"reference": 0, "model": 1}'
        )
        yield "high", "verdicts", row["model"], text, f"{row['n_draws']} draws, {row['n_losses']} losses"


def _references(health: pd.DataFrame) -> Iterator[tuple]:
    for row in health[health["other_reference"] > OTHER_REFERENCE].to_dict("records"):
        text = (
            f"{_percent(row['other_reference'])} of the reference's outputs are not those the other models "
            "were judged against: its win rate does not compare with theirs"
        )
        evidence = f"mean {row['mean_length_reference']:.0f} characters"
        yield "high", "reference", row["model"], text, evidence


def _missing(health: pd.DataFrame) -> Iterator[tuple]:
    some = health.assign(asked=health["n_judged"] + health["n_missing"])[health["n_missing"] > 0]
    some = some.sort_values("n_missing", ascending=False, kind="stable")
    for row in some[some["n_missing"] > 0.01 * some["asked"]].to_dict("records"):
        yield "medium", *_missing_of(row)
    few = some[some["n_missing"] <= 0.01 * some["asked"]]
    if len(few) == 1:
        yield "low", *_missing_of(few.to_dict("records")[0])
    elif len(few):
        text = f"{len(few)} of {len(health)} models have missing judgements, 1 % or fewer each, not averaged"
        yield "low", "missing judgements", "", text, _names(few["model"])


def _missing_of(row):
    are = "is" if row["n_missing"] == 1 else "are"
    text = f"{row['n_missing']} of {row['asked']} judgements {are} missing and not averaged"
    return "missing judgements", row["model"], text, _percent(row["n_missing"] / row["asked"], 2)


def _win_rates(rates: pd.DataFrame) -> Iterator[tuple]:
    for row in rates[rates["note"] != ""].to_dict("records"):
        yield "low", "win rate", row["model"], row["note"], f"{row['n_total']} judged"


def _first_place(frame: pd.DataFrame) -> Iterator[tuple]:
    for row in frame[has_reason(frame, "few_decide")].to_dict("records"):
        few, evidence = row["n_to_reverse"], f"difference {100 * row['difference']:.1f} points"
        if not pd.isna(row["ci_low"]):
            evidence += f", 95 % interval {100 * row['ci_low']:.1f} to {100 * row['ci_high']:.1f}"
        decide = "judgements decide" if few > 1 else "judgement decides"
        text = f"first by win rate, but {few} {decide} its place above {row['rival']}"
        yield "medium", "first place", row["model"], text, evidence


def _length_preference(frame: pd.DataFrame) -> Iterator[tuple]:
    for row in _clear(frame):
        longer, share, evidence = _leaning(row)
        text = (
            f"{row['annotator']} prefers the {'longer' if longer else 'shorter'} output in {_percent(share)} "
            "of its decisions between outputs whose lengths differ by more than 30 characters. That alone is "
            "no bias: longer outputs may be better, or come mostly from one side"
        )
        yield "medium" if share > STRONG_PREFERENCE else "low", "length preference", "", text, evidence


def _length_control(frame: pd.DataFrame) -> Iterator[tuple]:
    shift = (frame["lc_win_rate"] - frame["win_rate"]).abs()
    outside = (frame["win_rate"] < frame["ci_low"]) | (frame["win_rate"] > frame["ci_high"])
    moved = frame.assign(shift=shift)[outside & (shift > LARGE_SHIFT)]
    for row in moved.sort_values("shift", ascending=False, kind="stable")[:NAMED].to_dict("records"):
        text = (
            f"at equal length the win rate is {_percent(row['lc_win_rate'])} instead of "
            f"{_percent(row['win_rate'])}: {100 * row['shift']:.1f} points follow output length"
        )
        yield "medium", "length control", row["model"], text, _span(row)
    if len(moved) > NAMED:
        points = f"{100 * LARGE_SHIFT:.0f} points"
        text = f"{len(moved)} of {len(frame)} models move by more than {points} at equal length"
        yield "medium", "length control", "", text, "the largest moves are named above"
    yield from _extrapolated(frame)
    unsound = has_reason(frame, "separated") | frame[["lc_win_rate", "ci_low"]].isna().any(axis=1)
    for row in frame[unsound].to_dict("records"):
        evidence = "" if pd.isna(row["ci_low"]) else _span(row)
        yield "low", "length control", row["model"], row["note"], evidence


def _extrapolated(frame: pd.DataFrame) -> Iterator[tuple]:
    few = frame[frame["near_equal"] < FEW_NEAR_EQUAL].sort_values("near_equal", kind="stable")
    text = (
        f"fewer than {_percent(FEW_NEAR_EQUAL, 0)} of the outputs are about as long as the reference's: "
        "a win rate at equal length is extrapolated"
    )
    if len(few) == 1:
        yield "low", "length control", few["model"].iloc[0], text, _percent(few["near_equal"].iloc[0])
    elif len(few):
        yield "low", "length control", "", text, f"{len(few)} of {len(frame)} models: {_names(few['model'])}"


def _names(models, limit=5):
    more = f" and {len(models) - limit} more" if len(models) > limit else ""
    return ", ".join(map(str, models[:limit])) + more


def _first_position(frame: pd.DataFrame) -> Iterator[tuple]:
    for row in _clear(frame):
        first, share, evidence = _leaning(row)
        which = "first" if first else "second"
        text = f"{row['annotator']} prefers the output shown {which} in {_percent(share)} of its judgements"
        yield "high" if share > STRONG_POSITION else "medium", "position", "", text, evidence


def _lists(frame: pd.DataFrame) -> Iterator[tuple]:
    for row in _clear(frame):
        lists, share, evidence = _leaning(row)
        which = "with" if lists else "without"
        text = f"{row['annotator']} prefers the output {which} a list in {_percent(share)} of its decisions"
        yield "low", "lists", "", text, evidence


def _agreement(frame: pd.DataFrame) -> Iterator[tuple]:
    people = frame[frame["annotator"] == "humans"]
    for row in frame[frame["annotator"] != "humans"].to_dict("records"):
        share = _percent(row["agreement"])
        text = f"{row['annotator']} agrees with the majority of people in {share} of the pairs"
        if len(people) and not pd.isna(people["agreement"].iloc[0]):
            text += f", one person with that of the others in {_percent(people['agreement'].iloc[0])}"
        yield "info", "agreement", "", text, f"{_span(row)}, n = {row['n']}"


def _agreement_difference(frame: pd.DataFrame) -> Iterator[tuple]:
    for row in frame.to_dict("records"):
        less, points = row["ci_high"] < 0, 100 * abs(row["difference"])
        evidence = f"difference {100 * row['difference']:.1f} points"
        if not pd.isna(row["ci_low"]):
            evidence += f", 95 % interval {100 * row['ci_low']:.1f} to {100 * row['ci_high']:.1f}"
        judge = row["annotator_a"]
        if less:
            text = f"{judge} agrees with people less often than one person does, by {points:.1f} points"
        elif row["ci_low"] > 0:
            text = f"{judge} agrees with people more often than one person does, by {points:.1f} points"
        else:
            text = f"{judge} is not shown to agree with people more or less often than one person does"
        yield "high" if less else "info", "agreement", "", text, f"{evidence}, n = {row['n']}"


def _claims(frame: pd.DataFrame) -> Iterator[tuple]:
    severity = {"differs": "high", "impossible as printed": "high", "reproduced": "info"}
    for row in frame.to_dict("records"):
        text = f"the printed {row['printed']} % against {row['reference']}: {row['verdict']}"
        yield severity.get(row["verdict"], "low"), "claims", row["model"], text, row["note"]
