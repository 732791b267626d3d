"""Every option of every public function refuses what it cannot mean, by its name, before any work is done."""

import inspect
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

import alpaca_analysis as aa

NAN = float("nan")
COUNTS = (0, 99.5, "99", None, True)
LEVELS = (95, 0, 1, -0.5, NAN, "0.95", None, True)
FRACTIONS = (-0.1, 60, NAN, "0.5", True)
COLUMNS = ([], ["model", "model"], "outcome", "n", 3)
CHOICES = ("neither", 3, None)
WRONG = {
    "allocation": CHOICES,
    "alpha": LEVELS,
    "baseline": (3, ["gpt4"]),
    "baselines": ("neither", 3),
    "best": ("underlined", 3),
    "between": ("ab", ["a"], ["a", "a"], 3),
    "C": (0, -1, NAN, "1"),
    "adjust": CHOICES,
    "annotators": CHOICES,
    "ask_again": ("length", [1], ["cut"]),
    "by": COLUMNS,
    "columns": (
        {},
        {"model": "left"},
        {"model": "left", "outcome": "label", "who": "x"},
        {"model": 1, "outcome": "y"},
        3,
    ),
    "concurrency": COUNTS,
    "confidence_level": LEVELS,
    "controls": (["model", "model"], ["outcome"], 3),
    "covariates": (["style", "style"], 3),
    "decimals": (-1, 1.5, "1", True),
    "df": (1, 4.5, "4"),
    "digits": (-1, 1.5, "1", True),
    "difference": (3, -7, NAN, "0.03"),
    "draw_rate": FRACTIONS,
    "edges": ([], [30, 20], [1, "x"], 5),
    "epsilon": (-0.1, 1.5, 15, NAN, "0.15"),
    "families": ("openai", 3),
    "feature": CHOICES,
    "features": ("bould", [], ["length", "length"], 3),
    "format": CHOICES,
    "instruction_cost": (-1, NAN, "1"),
    "interval": CHOICES,
    "kind": CHOICES,
    "level": CHOICES,
    "looks": CHOICES,
    "margin": (0, 1, 2, -0.1, NAN, "0.02"),
    "max_iterations": COUNTS,
    "max_cost": (-1, NAN, "1"),
    "max_tokens": COUNTS,
    "method": CHOICES,
    "min_difference": (-1, NAN, "30"),
    "minimum": (1, 5.5, "5"),
    "mode": CHOICES,
    "n": COUNTS,
    "n_bins": (0, 2.5, "10"),
    "n_donors": COUNTS,
    "n_draws": COUNTS,
    "n_judged": (0, 1.5, "10"),
    "n_labels": ([], [0], [1.5], 10),
    "n_points": (1, 2.5, "61"),
    "n_range": ((805, 780), (0, 5), (1.5, 3), 805, "ab"),
    "n_repeats": COUNTS,
    "n_splits": (-1, 1, 1.5, "5"),
    "n_resamples": COUNTS,
    "on": (["instruction_id", "instruction_id"], 3),
    "on_missing": CHOICES,
    "order": CHOICES,
    "penalty": (-1, NAN, "1"),
    "place": CHOICES,
    "population": COUNTS,
    "power": LEVELS,
    "q": LEVELS,
    "reading_error": (-1, NAN, "0"),
    "scale": CHOICES,
    "scoring": CHOICES,
    "strong_weight": COUNTS,
    "sensitivity": ((41, 40), (0.9,), 0.9, "78/80", (78, 0), (-1, 5), None),
    "specificity": ((41, 40), (0.9,), 0.9, "78/80", (78, 0), (-1, 5), None),
    "seed": (1.7, "1", None),
    "repeats": ([], [0], [1.5], 2),
    "sizes": ([], [0], [1.5], 100),
    "rule": CHOICES,
    "sort": CHOICES,
    "standard_deviation": (-0.1, 3, NAN, "0.5"),
    "stars": ("yes", [], [0, 0.05], [1.5], 3),
    "statistic": CHOICES,
    "stop": ("END", [1]),
    "stop_when": ("decided", 3, True),
    "temperature": (-1, NAN, "0", 3),
    "tol": (0, -1, NAN, "1"),
    "top_k": (0, 1.5, "50", True),
    "top_p": (0, 1.5, NAN, "1"),
    "unit": (0, -1, NAN, "100"),
    "values": ({}, {"model": 1}, {"model": 1, "reference": 1}, {"model": 1, "reference": 0, "loss": 2}, 3),
    "weight": (-0.1, 1.5, NAN, "1"),
    "where": (3, True),
    "win_rate": FRACTIONS,
}
ELSEWHERE = {"collapse_files": {"columns"}}  # names of our columns for theirs: any mapping
ACCEPTED = {  # what an option of that name means elsewhere
    ("check_correlation", "power"): (1, 95),
    ("agreement_by", "by"): ("n",),
    ("restrict_range", "by"): COLUMNS,
    ("fit_length_control", "baselines"): (),
    **{
        (f, "features"): ("bould", [], ["length", "length"], 3)
        for f in ("read_annotations", "load", "load_result")
    },
    ("bias_beyond_humans", "covariates"): (["style", "style"],),
}
UNCHECKED = {
    "data, checked as tables are": {
        *(
            "annotations",
            "annotator",
            "avg_length",
            "bundled",
            "claims",
            "coefficients",
            "difficulty",
            "humans",
            "instructions",
            "length_control",
        ),
        *(
            "model",
            "models",
            "given",
            "names",
            "among",
            "reference",
            "means",
            "measures",
            "variants",
            "x_se",
            "y_se",
            "judge",
        ),
        "stratify",
    },
    "flags": {
        "add_generation_prompt",
        "discrete",
        "dropped",
        "pooled",
        "download",
        "dry_run",
        "keep_texts",
        "note",
        "progress",
        "remaining",
        "siunitx",
        "texts",
    },
    "words to be shown": {
        "caption",
        "differences",
        "eos_token",
        "estimate",
        "fractions",
        "label",
        "licence",
        "source",
        "split",
    },
    "passed to NumPy or the system": {"batch", "cache", "rng"},
}
VALID = {
    "sensitivity": (78, 80),
    "specificity": (30, 40),
    "by": "dataset",
    "difference": 0.1,
    "n": 100,
    "win_rate": 0.5,
    "decimals": 2,
    "printed": "0.94",
}
FUNCTIONS = [f for f in (getattr(aa, name) for name in aa.__all__) if inspect.isfunction(f)]
OPTIONS = [
    (f, p.name)
    for f in FUNCTIONS
    for p in inspect.signature(f).parameters.values()
    if p.kind is p.KEYWORD_ONLY
]
DEFAULTS = {(f, o): inspect.signature(f).parameters[o].default for f, o in OPTIONS}
CASES = [
    pytest.param(f, option, value, id=f"{f.__name__}-{option}-{value!r}")
    for f, option in OPTIONS
    for value in (() if option in ELSEWHERE.get(f.__name__, ()) else WRONG.get(option, ()))
    if not (value is None and DEFAULTS[f, option] is None)
    and not any(value is other or value == other for other in ACCEPTED.get((f.__name__, option), ()))
]


def call(function, **options):
    """Call with nothing else: the options have to be refused before that shows."""
    given = inspect.signature(function).parameters.values()
    needed = [p for p in given if p.default is p.empty and p.name not in options]
    positional = [VALID.get(p.name) for p in needed if p.kind is not p.KEYWORD_ONLY]
    named = {p.name: VALID.get(p.name) for p in needed if p.kind is p.KEYWORD_ONLY}
    return function(*positional, **named, **options)


@pytest.mark.parametrize(("function", "option", "value"), CASES)
def test_what_an_option_cannot_mean_is_refused_by_its_name(function, option, value):
    with pytest.raises(ValueError, match=rf"{option}.*: found .*expected|{option}: found .*, which is"):
        call(function, **{option: value})


def test_every_option_is_tried_or_said_not_to_be():
    unchecked = set().union(*UNCHECKED.values())
    assert {option for _, option in OPTIONS} <= WRONG.keys() | unchecked
    assert not WRONG.keys() & unchecked


CHOICE_LISTS = {
    "method",
    "kind",
    "scale",
    "scoring",
    "feature",
    "level",
    "interval",
    "order",
    "on_missing",
    "mode",
}


@pytest.mark.parametrize(
    ("function", "option"),
    [pair for pair in OPTIONS if pair[1] in CHOICE_LISTS],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_choices_are_literal_types_that_editors_can_offer(function, option):
    hint = get_type_hints(function)[option]
    choices = [part for part in (hint, *get_args(hint)) if get_origin(part) is Literal]
    assert choices, f"{function.__name__}({option}: {hint})"
    assert DEFAULTS[function, option] in get_args(choices[0])
