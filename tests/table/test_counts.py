"""The table from counts: what they keep, and what is refused."""

import pandas as pd
import pytest

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import AnnotationError

COUNTS = pd.DataFrame(
    {"model": ["a", "b"], "n_wins": [7, 3], "n_losses": [2, 6], "n_draws": [1, 0], "n_asked": [12, 9]}
)


def test_from_counts():
    table = aa.from_counts(COUNTS, reference="r")
    assert table.groupby("model", observed=True)["n"].sum().to_dict() == {"a": 12, "b": 9}
    assert table["reference"].unique().tolist() == ["r"]
    result = aa.win_rate(table, method="t").set_index("model")
    assert result.loc["a", ["n_wins", "n_draws", "n_losses", "n_total", "n_missing"]].tolist() == [
        7,
        1,
        2,
        10,
        2,
    ]


@pytest.mark.parametrize("index", ["model", None, "Unnamed: 0"])
def test_from_counts_finds_the_models(index):
    frame = COUNTS.rename(columns={"n_losses": "n_wins_base"}).set_index("model")
    frame.index.name = index
    frame = frame.reset_index() if index == "Unnamed: 0" else frame
    assert aa.from_counts(frame)["model"].unique().tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_wins": [7, -3]}, r"counts, row 1, column 'n_wins': found .*-3"),
        ({"n_wins": [7, 2.5]}, r"row 1, column 'n_wins': found .*2\.5"),
        ({"n_asked": [12, 8]}, r"row 1, column 'n_asked': found 8, expected at least the 9 judged"),
        ({"model": ["a", "a"]}, r"row 1, column 'model': found 'a', expected each model once"),
        ({"n_wins": [7, 0], "n_losses": [2, 0]}, r"row 1, column 'n_wins': found none for model 'b'"),
    ],
)
def test_from_counts_refuses(change, message):
    with pytest.raises(AnnotationError, match=message):
        aa.from_counts(COUNTS.assign(**change))


def test_from_counts_needs_its_columns():
    with pytest.raises(AnnotationError, match="expected a column 'n_draws'"):
        aa.from_counts(COUNTS.drop(columns="n_draws"))
    with pytest.raises(AnnotationError, match="models as index"):
        aa.from_counts(COUNTS.drop(columns="model"))
