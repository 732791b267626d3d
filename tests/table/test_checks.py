"""The one table: what it accepts, what it refuses, and what counts keep."""

import numpy as np
import pandas as pd
import pytest

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.table.checks import check, instruction_id

ROWS = pd.DataFrame(
    {
        "instruction_id": ["i1", "i2", "i3"],
        "model": "m",
        "reference": "r",
        "annotator": "judge",
        "outcome": [1.0, 0.5, np.nan],
    }
)


def test_standard_columns_and_types():
    table = check(ROWS)
    assert list(table.columns) == [
        "instruction_id", "dataset", "model", "reference", "annotator",
        "outcome", "length_model", "length_reference", "n",
    ]  # fmt: skip
    assert table["n"].dtype == np.int64
    assert table["outcome"].dtype == float
    assert isinstance(table["model"].dtype, pd.CategoricalDtype)
    assert table["dataset"].isna().all()


def test_input_is_not_changed():
    before = ROWS.copy(deep=True)
    check(ROWS)
    aa.win_rate(ROWS, method="t")
    pd.testing.assert_frame_equal(ROWS, before)


def test_other_columns_pass_through():
    table = check(ROWS.assign(difficulty=[0.1, 0.2, 0.3], note="x"))
    assert table["difficulty"].tolist() == [0.1, 0.2, 0.3]
    assert table["note"].tolist() == ["x"] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outcome": [1.0, 1.2, 0.0]}, r"table, row 1, column 'outcome': found .*1\.2.*, expected a number in \[0, 1\]"),
        ({"outcome": [1.0, -0.1, 0.0]}, r"row 1, column 'outcome'"),
        ({"outcome": [True, False, True]}, r"row 0, column 'outcome': found True"),
        ({"outcome": ["1", 0.0, 1.0]}, r"row 0, column 'outcome': found '1'"),
        ({"outcome": [np.inf, 0.0, 1.0]}, r"row 0, column 'outcome'"),
        ({"n": [1, 0, 1]}, r"row 1, column 'n': found .*0.*, expected a positive integer"),
        ({"n": [1, 1.5, 1]}, r"row 1, column 'n': found .*1\.5"),
        ({"n": [1, np.nan, 1]}, r"row 1, column 'n'"),
        ({"n": ["3", 1, 1]}, r"row 0, column 'n': found '3'"),
        ({"model": ["m", 3, "m"]}, r"row 1, column 'model': found 3, expected a name"),
        ({"model": pd.Categorical([1, 2, 1])}, r"row 0, column 'model': found 1, expected a name"),
        ({"model": pd.Categorical(["m", None, "m"])}, r"row 1, column 'model': found nan, expected a name"),
        ({"model": ["m", "m", None]}, r"row 2, column 'model': found .*, expected a name"),
        ({"model": pd.array(["m", "m", pd.NA], dtype="string")}, r"row 2, column 'model': found <NA>, expected"),
        ({"reference": pd.Categorical([7, None, "r"])}, r"row 0, column 'reference': found 7, expected a name"),
        ({"length_model": [3, -1, 2]}, r"row 1, column 'length_model'"),
        ({"instruction_id": ["i1", "i2", "i1"]}, r"row 2: found the same instruction_id, model, .* as row 0 \('m'\)"),
    ],
)  # fmt: skip
def test_refused(change, message):
    with pytest.raises(AnnotationError, match=message):
        check(ROWS.assign(**change))


@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_names_other_than_the_models_may_be_unknown(dtype):
    table = check(ROWS.assign(reference=pd.Series(["r", None, "r"], dtype=dtype)))
    assert table["reference"].isna().tolist() == [False, True, False]
    assert table["reference"].cat.categories.tolist() == ["r"]


def test_categories_that_do_not_occur_are_left_out():
    named = pd.Categorical(["m", "k", "m"], categories=[1, "k", "m", "z"])
    assert check(ROWS.assign(model=named))["model"].cat.categories.tolist() == ["k", "m"]


@pytest.mark.parametrize("column", ["model", "outcome"])
def test_missing_column(column):
    with pytest.raises(AnnotationError, match=f"expected a column '{column}'"):
        check(ROWS.drop(columns=column))


def test_empty_and_not_a_frame():
    with pytest.raises(AnnotationError, match="at least one judgement"):
        check(ROWS.iloc[:0])
    with pytest.raises(AnnotationError, match="expected a DataFrame"):
        check([1, 2])


def test_texts_stand_in_for_ids_and_lengths():
    texts = {"instruction": ["x", "y", "x"], "output_model": ["abc", None, ""], "output_reference": "12345"}
    table = check(ROWS.drop(columns="instruction_id").assign(**texts, model=["m", "m", "k"]))
    assert table["instruction_id"].tolist() == [instruction_id(text) for text in texts["instruction"]]
    np.testing.assert_array_equal(table["length_model"], [3, np.nan, 0])
    assert table["length_reference"].tolist() == [5, 5, 5]
    given = check(ROWS.assign(**texts, length_model=7.0))
    assert given["instruction_id"].tolist() == ["i1", "i2", "i3"]
    assert given["length_model"].tolist() == [7, 7, 7]


def test_an_instruction_that_is_no_text_is_refused():
    rows = ROWS.drop(columns="instruction_id").assign(instruction=["x", None, "y"])
    with pytest.raises(
        AnnotationError, match=r"row 1, column 'instruction': found (None|nan), expected text"
    ):
        check(rows)


def test_models_that_share_prompts_are_paired_by_their_texts():
    one = pd.DataFrame({"instruction": [f"prompt {k}" for k in range(20)], "outcome": [1, 0, 1, 1] * 5})
    table = pd.concat([one.assign(model="a"), one.assign(model="b", outcome=[0, 0, 1, 0] * 5)])
    row = aa.compare(table, "a", "b").iloc[0]
    assert bool(row["paired"])
    assert row["n"] == 20


def test_repeat_and_position_keep_rows_apart():
    twice = pd.concat([ROWS.assign(repeat=1), ROWS.assign(repeat=2)])
    assert len(check(twice)) == 6
    with pytest.raises(AnnotationError, match="tell judgements of the same pair apart"):
        check(pd.concat([ROWS, ROWS]))


def test_rows_without_instruction_may_repeat():
    assert len(check(pd.DataFrame({"model": "m", "outcome": [1, 1, 0]}))) == 3


def test_message_is_short_for_long_values():
    with pytest.raises(AnnotationError) as error:
        check(ROWS.assign(outcome=["x" * 10_000, 1, 0]))
    assert len(str(error.value)) < 300


def test_instruction_id_is_stable():
    assert instruction_id("Say hello.") == "c8e2c1437abb87b6"
    assert instruction_id("") != instruction_id(" ")


def test_rows_twice_are_named_where_reference_and_annotator_are_unknown():
    rows = pd.DataFrame({"instruction_id": ["a", "b", "a"], "model": "m", "outcome": [1.0, 0.0, 1.0]})
    with pytest.raises(AnnotationError, match=r"row 2.*same .* as row 0") as caught:
        check(rows)
    assert "'m'" in str(caught.value)
