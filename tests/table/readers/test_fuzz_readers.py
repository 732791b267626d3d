"""Any bytes give a table or one AnnotationError: random bytes, mutated real files, and hostile names."""

import json
import os
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from malformed import DEFECTS, FORMATS, GOOD, QUICK, RECORD, SEEDS, SUFFIXES, VALUES, read_or_refuse

import alpaca_analysis as aa
from alpaca_analysis import AnnotationError


@QUICK
@given(data=st.binary(max_size=300), suffix=st.sampled_from(SUFFIXES))
@pytest.mark.slow
def test_any_bytes_give_a_table_or_one_error(tmp_path, data, suffix):
    read_or_refuse(tmp_path / f"annotations{suffix}", data)


@QUICK
@given(
    seed=st.sampled_from(SEEDS),
    suffix=st.sampled_from(SUFFIXES),
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 4), st.binary(max_size=6)), min_size=1, max_size=4
    ),
)
def test_mutated_files_give_a_table_or_one_error(tmp_path, seed, suffix, edits):
    data = seed
    for where, cut, put in edits:
        at = int(where * len(data))
        data = data[:at] + put + data[at + cut :]
    read_or_refuse(tmp_path / f"annotations{suffix}", data)


@QUICK
@given(changes=st.dictionaries(st.sampled_from(sorted(RECORD)) | st.text(max_size=4), VALUES, max_size=3))
@pytest.mark.slow
def test_any_values_in_records_give_a_table_or_one_error(tmp_path, changes):
    data = json.dumps([RECORD | changes, RECORD | {"instruction": "Hello?"}]).encode()
    table = read_or_refuse(tmp_path / "annotations.json", data)
    if table is not None:
        assert table["outcome"].dropna().between(0, 1).all()


@pytest.mark.parametrize("name", FORMATS)
@QUICK
@given(data=st.data())
@pytest.mark.slow
def test_any_values_in_records_of_any_format(tmp_path, name, data):
    record = FORMATS[name]
    changes = data.draw(st.dictionaries(st.sampled_from(sorted(record)), VALUES, max_size=2))
    table = read_or_refuse(tmp_path / "annotations.json", json.dumps([record | changes, record]).encode())
    if table is not None:
        assert table["outcome"].dropna().between(0, 1).all()


@pytest.mark.parametrize("name", DEFECTS)
def test_corpus_of_defects(tmp_path, name):
    suffix, data = DEFECTS[name]
    table = read_or_refuse(tmp_path / f"annotations{suffix}", data)
    assert table is None or "fraction" in name


@pytest.mark.parametrize("text", ["\0", "a" * 5000, "[", "a\nb", "~nobody/x", "", "**/**/nothing"])
def test_odd_paths_are_not_found(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((FileNotFoundError, AnnotationError)):
        aa.read_annotations(text)


@pytest.mark.slow
def test_ten_megabytes_of_noise_are_refused_in_seconds_and_little_memory(tmp_path):
    import tracemalloc

    noise = np.random.default_rng(0).bytes(10_000_000)
    lines = b"[" + b'{"a": 1},' * 1_100_000
    for suffix, data in (
        (".json", noise),
        (".csv", noise),
        (".json", lines),
        (".jsonl", b"{}\n" * 3_000_000),
    ):
        path = tmp_path / f"annotations{suffix}"
        path.write_bytes(data)
        start = time.process_time()
        tracemalloc.start()
        with pytest.raises(AnnotationError):
            aa.read_annotations(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert time.process_time() - start < 30  # tracing slows it several times
        assert peak < 100_000_000 + 300 * data.count(b"{")


HOSTILE = [
    "a\nb", "a\r\n| b |", "\x1b[31mred\x07", "../../etc/passwd", "..\\..\\x", "/", "nul\0byte", "\u202egnp.exe",
    "<script>alert(1)</script>", "=HYPERLINK(1)", "count", "values", "size", "T", "index", "__class__", "groupby",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.slow
def test_hostile_model_names_go_through_whole(name, tmp_path):
    rows = [
        RECORD | {"generator_2": name},
        RECORD | {"generator_2": name, "instruction": "?", "preference": 1},
    ]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(rows))
    table = aa.read_annotations(path)
    result = aa.win_rate(table, method="t")
    assert result["model"].tolist() == [name]
    page = str(aa.show(result)._repr_html_())
    assert "<script>" not in page
    assert "\x1b" not in page
    assert "\0" not in page


@pytest.mark.parametrize("name", ["count", "values", "size", "T", "index", "columns", "outcome_", "mean"])
@pytest.mark.slow
def test_columns_named_like_methods_change_nothing(name):
    table = aa.from_counts({"model": ["a", "b"], "n_wins": [30, 20], "n_losses": [10, 20], "n_draws": [0, 0]})
    plain = aa.win_rate(table, method="t")
    extra = table.assign(**{name: "x"})
    pd.testing.assert_frame_equal(aa.win_rate(extra, method="t"), plain)
    grouped = aa.win_rate(extra, by=["model", name], method="t")
    np.testing.assert_array_equal(grouped["win_rate"], plain["win_rate"])
    aa.compare(extra, "a", "b")
    aa.show(grouped)._repr_html_()


@pytest.mark.parametrize("name", ["n_wins", "win_rate", "note"])
def test_groups_named_like_a_column_of_the_result_are_refused(name):
    table = aa.from_counts({"model": ["a"], "n_wins": [3], "n_losses": [1], "n_draws": [0]})
    with pytest.raises(ValueError, match=f"by: found '{name}'"):
        aa.win_rate(table.assign(**{name: "x"}), by=["model", name])


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_a_link_in_a_circle_ends(tmp_path):
    (tmp_path / "annotations.json").write_bytes(GOOD)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere.json")
    assert len(aa.read_annotations(tmp_path)) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "annotations.json")
    with pytest.raises((AnnotationError, FileNotFoundError)):
        aa.read_annotations(tmp_path)
