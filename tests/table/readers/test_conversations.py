"""Conversations in Arrow arrays are read as those in lists are, whatever they hold."""

import hashlib
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from malformed import QUICK
from numpy.testing import assert_array_equal

import alpaca_analysis as aa
from alpaca_analysis.table.readers import conversations, files

TEXTS = st.none() | st.sampled_from(["", "hi", "Grüße", "𝔘 long " * 9]) | st.text("ab é", max_size=4)
MESSAGES = st.builds(dict, role=st.sampled_from(["user", "assistant", "system"]) | st.none(), content=TEXTS)
BATTLES = st.fixed_dictionaries(
    {
        "winner": st.sampled_from(["model_a", "model_b", "tie"]),
        "turn": st.none() | st.integers(1, 3),
        "conversation_a": st.lists(MESSAGES, max_size=6),
        "conversation_b": st.lists(MESSAGES, max_size=6),
    }
)


def schema(text):
    """Return the types of battles: texts plain, large or in dictionaries."""
    message = pa.struct([("content", text), ("role", text), ("num_tokens", pa.int64())])
    fields = {"model_a": pa.string(), "model_b": pa.string(), "winner": pa.string(), "turn": pa.int64()}
    return pa.schema({**fields, **{f"conversation_{side}": pa.list_(message) for side in "ab"}})


KINDS = [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]


@QUICK
@given(text=st.sampled_from(KINDS), turned=st.booleans(), battles=st.lists(BATTLES, min_size=1, max_size=8))
@pytest.mark.slow
def test_arrow_and_lists_give_one_table(text, turned, battles):
    records = [{"model_a": "a", "model_b": "b", **battle} for battle in battles]
    table = pa.Table.from_pylist(records, schema(text))
    if not turned:
        records, table = [{k: v for k, v in r.items() if k != "turn"} for r in records], table.drop(["turn"])
    table = pa.concat_tables([table.slice(0, 1), table.slice(1)])  # a slice and several chunks
    columns = files.Columns("arrow", columns=files.from_arrow(table, "arrow"))
    turns = [r["turn"] for r in records] if turned else None
    assert conversations.count(columns, ("conversation_a", "conversation_b"), turns) is not None
    found, expected = aa.read_annotations(table), aa.read_annotations(records)
    for frame in (found, expected):
        frame.attrs = {}
    pd.testing.assert_frame_equal(found, expected)


def test_prompts_and_lengths_of_two_turns():
    said = [("user", "one"), ("assistant", "x" * 7), ("user", "two"), ("assistant", "yy")]
    talk = [{"role": role, "content": text} for role, text in said]
    record = {
        "model_a": "a",
        "model_b": "b",
        "winner": "tie",
        "conversation_a": talk,
        "conversation_b": talk[:2],
    }
    table = aa.read_annotations(pa.Table.from_pylist([record | {"turn": turn} for turn in (1, 2, None)]))
    ids = [hashlib.sha256(text).hexdigest()[:16] for text in (b"one", b"one\n\ntwo", b"one\n\ntwo")]
    assert table["instruction_id"].tolist() == ids
    assert_array_equal(table["length_model"], [7, 2, 7 + 2 + 2])
    assert_array_equal(table["length_reference"], [7, np.nan, 7])


@pytest.mark.parametrize("talk", [None, [None], [{"role": "user", "content": ["x"]}], "Hello?", 3], ids=str)
def test_other_conversations_take_the_way_of_lists(talk):
    good = [{"role": "user", "content": "q"}]
    record = {"model_a": "a", "model_b": "b", "winner": "tie", "conversation_a": good, "conversation_b": good}
    records = [record, record | {"conversation_a": talk}]
    said = []
    for source in (records, _table(records)):
        try:
            said.append(aa.read_annotations(source)["length_model"].tolist())
        except aa.AnnotationError as error:
            said.append(str(error).split(", row")[-1].split(": found")[0])
    assert said[0] == said[1]


def _table(records):
    """Return an Arrow table, whose conversations are texts of JSON where Arrow cannot hold them."""
    try:
        return pa.Table.from_pylist(records)
    except pa.ArrowInvalid:
        return pa.Table.from_pylist(
            [r | {c: json.dumps(r[c]) for c in ("conversation_a", "conversation_b")} for r in records]
        )


def test_battles_in_many_row_groups_and_beyond_one_array(tmp_path, monkeypatch):
    from alpaca_analysis.table.readers import parquet

    talk = [{"role": "user", "content": f"q{k}"} for k in range(50)]
    record = {"model_a": "a", "model_b": "b", "winner": "tie"}
    records = [record | {"conversation_a": [t], "conversation_b": [t, talk[0]]} for t in talk]
    table = pa.Table.from_pylist(records)
    path = tmp_path / "battles.parquet"
    pq.write_table(table, path, row_group_size=7)
    expected = aa.read_annotations(records)
    monkeypatch.setattr(parquet, "GROUPS_AT_A_TIME", 500)
    whole = pq.ParquetFile.read_row_groups

    def too_large(self, groups, **options):
        if 3 in groups:
            raise pa.ArrowException("chunked array outputs")
        return whole(self, groups, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", too_large)
    found = aa.read_annotations(path)
    for frame in (found, expected):
        frame.attrs = {}
    pd.testing.assert_frame_equal(found, expected)


def test_many_small_row_groups_are_bounded_together(tmp_path):
    rows = {"model_a": ["a"] * 2000, "model_b": ["b"] * 2000, "winner": ["tie"] * 2000}
    path = tmp_path / "battles.parquet"
    with pq.ParquetWriter(
        path, pa.schema({c: pa.string() for c in (*rows, "judge")}), compression="zstd"
    ) as file:
        for k in range(20):  # each comes to 40 MB, all of them to 800
            file.write_table(pa.table(rows | {"judge": [f"{k}" + "y" * 20_000] * 2000}))
    with pytest.raises(aa.AnnotationError, match="expected Parquet data that take at most"):
        aa.read_annotations(path)
