"""What every result says of itself."""

import warnings

import pandas as pd
import pytest

import alpaca_analysis as aa
from alpaca_analysis.inference.results import Reason, best_first, finish, has_reason

FRAME = pd.DataFrame(
    {"model": ["b", "a"], "x": [0.2, 0.3], "ci_low": [float("nan"), 0.1], "ci_high": [float("nan"), 0.4]}
)


def test_reasons_are_codes_and_notes_are_sentences():
    notes = [[Reason("few_units", "8 units"), "", Reason("unpaired", "taken apart")], "a remark"]
    done = finish(FRAME, estimate="x", method="m", notes=notes)
    assert done.columns[-2:].tolist() == ["reason", "note"]
    assert done["reason"].tolist() == ["few_units unpaired", ""]
    assert done["note"].tolist() == ["8 units; taken apart", "a remark"]
    assert has_reason(done, "unpaired").tolist() == [True, False]
    assert "note" not in FRAME


def test_settings_name_the_estimate_and_leave_out_columns_that_are_not_there():
    done = finish(FRAME, estimate="x", method="m", fractions=["x", "y"], n_resamples=None, rng=3)
    assert (done.attrs["estimate"], done.attrs["fractions"], done.attrs["rng"]) == ("x", ["x"], None)


def test_the_warning_blames_the_line_that_called_the_package():
    table = aa.from_counts({"model": ["m"], "n_wins": [0], "n_losses": [0], "n_draws": [9]})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        aa.win_rate(table)
    assert [w.filename for w in caught] == [__file__]
    assert issubclass(caught[0].category, aa.UndefinedWarning)


def test_ties_are_in_the_order_of_names():
    frame = pd.DataFrame({"model": ["b", "a"], "rate": [0.1 + 0.2, 0.3]})
    assert best_first(frame, "rate", ["model"])["model"].tolist() == ["a", "b"]
    assert best_first(frame[::-1], "rate", ["model"])["model"].tolist() == ["a", "b"]


@pytest.mark.parametrize("bad", [{"annotator": ["j", None]}, {"reference": ["r", None]}])
def test_half_missing_names_are_not_one_name(bad):
    table = pd.DataFrame(
        {"instruction_id": ["1", "2"], "model": "m", "reference": "r", "annotator": "j", "outcome": [1.0, 0]}
    )
    (column,) = bad
    table[column] = bad[column]
    with pytest.raises(aa.AnnotationError, match=rf"column '{column}': found 2 in m: ., \(missing\)"):
        aa.win_rate(table)
