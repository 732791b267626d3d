"""Printed numbers of any kind against recomputed ones."""

from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_analysis import AnnotationError, check_values, show


def claims(**columns):
    return pd.DataFrame({"claim": "c", **columns})


@given(st.decimals(min_value=-1000, max_value=1000, places=4, allow_nan=False), st.integers(0, 3))
def test_a_number_reproduces_what_it_rounds_to_and_nothing_else(value, places):
    unit = Decimal(1).scaleb(-places)
    printed = [value.quantize(unit, rule) for rule in (ROUND_HALF_UP, ROUND_HALF_EVEN)]
    texts = [*map(str, printed), str(printed[0] + 2 * unit)]
    found = check_values(claims(printed=texts, recomputed=float(value)))
    assert found["verdict"].tolist() == ["reproduced", "reproduced", "differs"]


def test_without_a_number_it_cannot_be_tested():
    found = check_values(claims(printed=["805", "13.6"], recomputed=[805, None], ci_low=[1.0, None]))
    assert found["verdict"].tolist() == ["reproduced", "cannot be tested with open data"]
    assert found["reason"].tolist() == ["", "not_recomputed"]
    assert found.columns.tolist()[:4] == ["claim", "printed", "recomputed", "ci_low"]


def test_recomputed_numbers_are_shown_with_the_printed_decimals():
    found = check_values(claims(printed=["0.94", "805", "87.5"], recomputed=[0.9412, 805, 87.44]))
    assert show(found).cells["recomputed"].tolist() == ["0.94", "805", "87.4"]
    assert found["verdict"].tolist() == ["reproduced", "reproduced", "differs"]


@pytest.mark.parametrize("printed", [0.94, "about 0.9", "", "nan", "Infinity", None])
def test_printed_values_are_numbers_as_text(printed):
    with pytest.raises(AnnotationError, match="a number as printed, as text"):
        check_values(pd.DataFrame({"printed": [printed], "recomputed": [0.94]}))
    with pytest.raises(AnnotationError, match="a column 'recomputed'"):
        check_values(pd.DataFrame({"printed": ["1"]}))
