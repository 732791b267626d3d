"""Options that many functions share are checked alike, and before anything else."""

import inspect

import pytest

import alpaca_analysis as aa


def taking(option):
    """Return the public functions that take `option`."""
    public = [getattr(aa, name) for name in aa.__all__]
    functions = [f for f in public if callable(f) and not inspect.isclass(f)]
    return [f for f in functions if option in inspect.signature(f).parameters]


def call(function, **options):
    """Call with nothing else: the options have to be refused before that shows."""
    given = inspect.signature(function).parameters.values()
    needed = [p for p in given if p.default is p.empty]
    positional = [None for p in needed if p.kind is not p.KEYWORD_ONLY]
    named = {p.name: None for p in needed if p.kind is p.KEYWORD_ONLY}
    return function(*positional, **named, **options)


@pytest.mark.parametrize("level", [95, 0, 1, -0.5, float("nan")])
@pytest.mark.parametrize("function", taking("confidence_level"), ids=lambda f: f.__name__)
def test_coverage_is_a_probability(function, level):
    with pytest.raises(ValueError, match=r"confidence_level: found .*, expected a number in \(0, 1\)"):
        call(function, confidence_level=level)


@pytest.mark.parametrize("function", taking("n_resamples"), ids=lambda f: f.__name__)
def test_at_least_one_resample(function):
    with pytest.raises(ValueError, match="n_resamples: found 0, expected a whole number of at least 1"):
        call(function, n_resamples=0)
