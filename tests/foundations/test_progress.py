"""The bar of slow calculations: seen on a terminal, and nowhere else."""

import io

import pytest
from judgements import made_up

from alpaca_analysis import fit_length_control, specification_curve
from alpaca_analysis.foundations import progress


class Screen(io.StringIO):
    """What standard error is where a person sits in front of it."""

    def isatty(self):
        return True


CALLS = {
    "Refits": lambda t, d: fit_length_control(t, difficulty=d, method="percentile", n_resamples=9),
    "Specifications": lambda t, d: specification_curve(t, difficulty=d, models=["a"]),
}


@pytest.mark.parametrize("label", CALLS)
@pytest.mark.parametrize("watched", [True, False])
def test_a_bar_is_for_people(label, watched, monkeypatch):
    stream = Screen() if watched else io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    table, difficulty = made_up(40)
    CALLS[label](table, difficulty)
    assert (label in stream.getvalue()) == watched
    assert watched or stream.getvalue() == ""


def test_what_is_quick_shows_none(monkeypatch):
    monkeypatch.setattr("sys.stderr", Screen())
    with progress.bar(2, "Quick") as steps:
        steps.update(2)
        shown = steps.fp.getvalue()
    assert shown == ""
