"""Every kind of bad input: one clear error that names file, row, column, value and expectation."""

import gc
import gzip
import json
import threading

import numpy as np
import pandas as pd
import pytest

from alpaca_analysis import AnnotationError, from_counts, read_annotations, read_outputs
from alpaca_analysis.table.readers import files

GOOD = {"instruction": "Say hello.", "output_1": "Hi", "generator_1": "ref", "output_2": "Hello!",
        "generator_2": "mine", "annotator": "judge", "preference": 2}  # fmt: skip


def records(*changes):
    """Return one good record, then one for each change."""
    return [GOOD] + [{**GOOD, "instruction": f"prompt {i}", **c} for i, c in enumerate(changes)]


def write(tmp_path, content, name="annotations.json"):
    path = tmp_path / name
    if isinstance(content, list):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


NESTED = "[" * 100_000 + "]" * 100_000
BAD = {
    "empty file": ("", "records, found an empty file"),
    "blank file": (" \n", "records, found an empty file"),
    "empty list": ("[]", "at least one record, found none"),
    "truncated": (json.dumps([GOOD])[:-20], r"valid JSON \(.*line 1 column"),
    "object": ('{"a": 1}', "found dict, expected a list of records"),
    "number": ("3", "found int, expected a list of records"),
    "list of lists": ("[[1]]", r"row 0: found 'list', expected a record \(object\)"),
    "late non-record": (json.dumps([GOOD, 3]), r"row 1: found 'int', expected a record"),
    "unknown columns": ('[{"a": 1}]', "found the columns a, expected judgements: 'preference'"),
    "outputs": ('[{"instruction": "i", "output": "o"}]', "read_outputs"),
    "missing column": (
        [{k: v for k, v in GOOD.items() if k != "preference"}],
        "found the columns instruction, .*, expected a column 'preference'",
    ),
    "missing model": (
        [{k: v for k, v in GOOD.items() if k != "generator_2"}],
        "expected a column 'generator_2'",
    ),
    "differing keys": (
        [GOOD, {k: v for k, v in GOOD.items() if k != "output_2"}],
        "row 1: found the fields .*, expected a field 'output_2'",
    ),
    "3": (records({"preference": 3}), "row 1, column 'preference': found 3, expected 0, 1, 1.5, 2 or null"),
    "0.5": (records({"preference": 0.5}), r"row 1, column 'preference': found 0.5, .*weighted .*\[1, 2\]"),
    "-1": (records({"preference": -1}), "row 1, column 'preference': found -1"),
    "infinite": (json.dumps(records({"preference": float("inf")})), "row 1, column 'preference': found inf"),
    "huge": (
        json.dumps(records({"preference": 10**400})),
        "row 1, column 'preference': found (inf|1000)",
    ),
    "digits": (
        json.dumps(records({"preference": 1})).replace('"preference": 1}', '"preference": ' + "9" * 9000 + "}"),
        r"(valid JSON \(|column 'preference': found)",
    ),
    "text": (records({"preference": "2"}), "row 1, column 'preference': found '2', expected a number"),
    "boolean": (records({"preference": True}), "row 1, column 'preference': found True, expected a number"),
    "list": (records({"preference": [2]}), r"row 1, column 'preference': found \[2\], expected a number"),
    "instruction": (records({"instruction": 3}), "row 1, column 'instruction': found 3, expected text"),
    "name": (records({"generator_2": [7]}), r"row 1, column 'generator_2': found \[7\], expected a name \(text\)"),
    "duplicate": (
        records({"preference": 1}, {"instruction": "Say hello."}),
        "row 2: found the same instruction_id, model, reference, annotator as row 0 .*'mine'",
    ),
    "two references": (
        records({"generator_1": "other"}),
        "row 1, column 'generator_1': found 'other', expected one reference in a file, 'ref'",
    ),
    "both codings": (
        records({"preference": 1.25}, {"preference": 0}),
        "row 2, column 'preference': found 0, expected one coding in a file: .*row 1 .*1.25",
    ),
    "all missing": (
        [{**GOOD, "preference": None}],
        "expected at least one usable judgement; all 1 are missing|at least one usable judgement; all 1",
    ),
    "not UTF-8": (json.dumps([{**GOOD, "output_2": "é"}], ensure_ascii=False).encode("latin-1"), "UTF-8, found byte 0xe9 at byte"),
    "UTF-16": (json.dumps([GOOD]).encode("utf-16"), "UTF-8, found byte 0xff at byte 0"),
    "nested": (NESTED, "nested too deeply"),
    "nested value": (json.dumps([GOOD])[:-2] + ', "x": ' + NESTED + "}]", "nested too deeply"),
    "binary": (bytes(range(256)), "UTF-8|valid JSON"),
    "winner": ('[{"model_a": "x", "model_b": "y", "winner": "z"}]', "row 0, column 'winner': found 'z'"),
    "winner boolean": ('[{"model_a": "x", "model_b": "y", "winner": true}]', "column 'winner': found True"),
    "label": ('[{"input": "i", "output_1": "a", "output_2": "b", "label": 3}]', "column 'label': found 3, expected 1 or 2"),
    "rounds": ('[{"input": "i", "output_1": "a", "output_2": "b", "results": []}]', "row 0, column 'results'"),
    "judge alone": ('[{"idx": 0, "x_result": 1}]', "the PandaLM test set beside this file"),
    "outcome": ('[{"model": "m", "outcome": 2}]', r"row 0, column 'outcome': found 2, expected a number in \[0, 1\]"),
    "n": ('[{"model": "m", "outcome": 1, "n": 0}]', "row 0, column 'n': found 0, expected a positive integer"),
    "half n": ('[{"model": "m", "outcome": 1, "n": 1.5}]', "row 0, column 'n': found 1.5, expected a positive"),
    "huge n": ('[{"model": "m", "outcome": 1, "n": 1e300}]', r"row 0, column 'n': found 1e\+300"),
    "text n": ('[{"model": "m", "outcome": 1, "n": "2"}]', "row 0, column 'n': found '2'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
@pytest.mark.slow
def test_bad_files_are_named(tmp_path, name):
    content, message = BAD[name]
    path = write(tmp_path, content)
    with pytest.raises(AnnotationError, match=message) as caught:
        read_annotations(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 700 + len(str(path))


def test_a_refused_file_leaves_no_thread_behind(tmp_path):
    # A suspended generator that holds a thread joins it when it is collected, in whatever thread that happens.
    paths = [write(tmp_path, [GOOD], "one.json"), write(tmp_path, records({"preference": 7}), "two.json")]
    gc.disable()
    try:
        before = threading.enumerate()
        with pytest.raises(AnnotationError, match=r"two.json, row 1"):
            read_annotations([*paths, paths[0]])
        assert threading.enumerate() == before
        suspended = files.read_all(paths)
        next(suspended)
        assert threading.enumerate() == before
    finally:
        gc.enable()


def test_duplicates_across_files_name_both(tmp_path):
    one, two = write(tmp_path, [GOOD], "one.json"), write(tmp_path, records({}), "two.json")
    with pytest.raises(AnnotationError, match=r"two.json, row 0: found the same .* as row 0 of .*one.json"):
        read_annotations([one, two])
    assert len(read_annotations([one, one, str(one)])) == 1  # the same path is read once


@pytest.mark.parametrize(
    "call",
    [lambda p: read_annotations(p), lambda p: read_annotations(str(p)), lambda p: read_annotations([p])],
)
def test_no_such_path(tmp_path, call):
    with pytest.raises(
        FileNotFoundError, match=f"nope.*json: no such file or folder.*exists up to {tmp_path}$"
    ):
        call(tmp_path / "nope" / "annotations.json")


def test_nothing_to_read(tmp_path):
    with pytest.raises(AnnotationError, match="a folder with annotations files"):
        read_annotations(tmp_path)
    with pytest.raises(AnnotationError, match="a folder with model_outputs files"):
        read_outputs(tmp_path)
    with pytest.raises(FileNotFoundError, match="an empty list"):
        read_annotations([])
    with pytest.raises(AnnotationError, match="found 'int', expected a path"):
        read_annotations(3)
    with pytest.raises(ValueError, match="format: found 'xml', expected one of auto, alpaca_eval"):
        read_annotations(tmp_path, format="xml")


@pytest.mark.parametrize("n", [0, -1, 1.5, "2", True, None, np.inf, 2**60])
def test_n_is_a_positive_integer(n):
    frame = pd.DataFrame({"model": ["m", "m"], "outcome": [1, 0], "n": pd.Series([1, n], dtype=object)})
    with pytest.raises(
        AnnotationError, match=r"DataFrame, row 1, column 'n': found .*, expected a positive integer"
    ):
        read_annotations(frame)


def test_one_error_names_a_missing_count_column():
    with pytest.raises(AnnotationError, match="expected a column 'n_draws'"):
        from_counts({"model": ["m"], "n_wins": [1], "n_losses": [1]})


# --- counted, not errors -------------------------------------------------------------------------


def test_null_preference_and_output_that_is_not_text_are_counted(tmp_path):
    path = write(
        tmp_path, records({"preference": None}, {"output_2": True}, {"output_1": None, "output_2": 3})
    )
    table = read_annotations(path)
    assert table.attrs["counts"] == {"n_files": 1, "n_rows": 4, "n_missing": 1, "n_not_text": 3}
    assert table["outcome"].isna().tolist() == [False, True, False, False]
    assert table["length_model"].isna().tolist() == [False, False, True, True]
    assert table["length_reference"].isna().tolist() == [False, False, False, True]


def test_contents_that_disagree_with_folder_names_are_kept(tmp_path):
    folder = tmp_path / "results" / "theirs" / "judge"
    folder.mkdir(parents=True)
    table = read_annotations(write(folder, records({})))
    assert table["model"].tolist() == ["theirs"] * 2
    assert table["model_in_file"].tolist() == ["mine"] * 2
    (found,) = table.attrs["disagreements"]
    assert (found["column"], found["folder"], found["in_file"]) == ("model", "theirs", "mine")


def test_nan_of_python_is_a_missing_judgement(tmp_path):
    table = read_annotations(write(tmp_path, json.dumps(records({"preference": float("nan")}))))
    assert table.attrs["counts"]["n_missing"] == 1


def test_lone_surrogates_are_read(tmp_path):
    path = write(tmp_path, json.dumps(records({"output_2": "a\ud800b", "instruction": "\udfff"})))
    table = read_annotations(path)
    assert table["length_model"].tolist() == [6, 3]
    assert table["instruction_id"].nunique() == 2


def test_byte_order_mark_is_dropped(tmp_path):
    plain = read_annotations(write(tmp_path, [GOOD]))
    marked = read_annotations(write(tmp_path, b"\xef\xbb\xbf" + json.dumps([GOOD]).encode(), "m.json"))
    pd.testing.assert_frame_equal(plain, marked)


def test_further_keys_in_some_records_are_no_fault(tmp_path):
    table = read_annotations(write(tmp_path, records({"dataset": "d", "raw": {"x": [1]}})))
    assert table["dataset"].isna().tolist() == [True, False]


# --- CSV, Parquet, JSON Lines and gzip -----------------------------------------------------------

HEADER = ",".join(GOOD)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "\n", "at least one record, found only a header"),
        (HEADER + "\na,b,c\n", "row 0: found 3 fields, expected 7 fields as in the header"),
        (HEADER + '\n"a,b,c,d,e,f,2\n', "valid CSV"),
        (HEADER + "\na,b,c,d,e,f,True\n", "row 0, column 'preference': found 'True', expected a number"),
        (HEADER + "\na,b,c,d,e,f,better\n", "row 0, column 'preference': found 'better'"),
        ("a,a\n1,2\n", "each column once"),
        ("é".encode("latin-1"), "UTF-8, found byte 0xe9"),
    ],
    ids=["header only", "short row", "open quote", "boolean", "text", "twice", "latin-1"],
)
def test_bad_csv(tmp_path, content, message):
    with pytest.raises(AnnotationError, match=message):
        read_annotations(write(tmp_path, content, "annotations.csv"))


def test_long_texts_in_csv(tmp_path):
    path = tmp_path / "annotations.csv"
    pd.DataFrame([{**GOOD, "output_2": "x" * 300_000}]).to_csv(path, index=False)
    assert read_annotations(path)["length_model"].tolist() == [300_000]


def test_bad_line(tmp_path):
    lines = json.dumps(GOOD) + "\n" + json.dumps(GOOD)[:-9]
    with pytest.raises(AnnotationError, match=r"annotations.jsonl, row 1: expected valid JSON"):
        read_annotations(write(tmp_path, lines, "annotations.jsonl"))


def test_json_lines_under_another_name(tmp_path):
    lines = "\n".join(json.dumps(r) for r in records({}, {}))
    assert len(read_annotations(write(tmp_path, lines))) == 3


def test_cut_off_files(tmp_path):
    packed = gzip.compress(json.dumps([GOOD]).encode())
    with pytest.raises(AnnotationError, match="a whole gzip file, found it cut off"):
        read_annotations(write(tmp_path, packed[:-12], "annotations.json.gz"))
    with pytest.raises(AnnotationError, match="a whole gzip file"):
        read_annotations(write(tmp_path, packed[:12] + b"\xff" * 20, "annotations.json.gz"))
    path = tmp_path / "annotations.parquet"
    pd.DataFrame([GOOD]).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(AnnotationError, match="a whole Parquet file"):
        read_annotations(path)


@pytest.mark.parametrize("members", [1, 16], ids=["one member", "1 GiB in 16 members"])
@pytest.mark.slow
def test_gzip_bomb_is_refused_without_unpacking_it(tmp_path, members):
    import tracemalloc

    bomb = gzip.compress(b" " * (files.ALWAYS_EXPANDED + 2**20), 6) * members
    path = write(tmp_path, bomb, "annotations.json.gz")
    message = r"found more than .* bytes in .*, expected gzip data of at most 100"
    tracemalloc.start()
    with pytest.raises(AnnotationError, match=message):
        read_annotations(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * max(files.ALWAYS_EXPANDED, files.MAX_EXPANSION * len(bomb))


def test_parquet_bomb_and_huge_files_are_refused(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "annotations.parquet"
    table = pa.table({"instruction": ["x" * 2**20] * 8})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    monkeypatch.setattr(files, "ALWAYS_EXPANDED", 2**20)
    with pytest.raises(
        AnnotationError, match=r"bytes in a file of .*, expected Parquet data that take at most"
    ):
        read_annotations(path)
    monkeypatch.setattr(files, "MAX_BYTES", 10)
    with pytest.raises(AnnotationError, match="expected at most 10 bytes in one file"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instruction": "Say hello."}, r"row 1, column 'instruction': .*row 0 has the same instruction"),
        ({"instruction": None}, "row 1, column 'instruction': found None, expected text"),
        ({"generator": True}, r"row 1, column 'generator': found True, expected a name"),
    ],
)
def test_bad_outputs(tmp_path, change, message):
    good = {"instruction": "Say hello.", "output": "Hi", "generator": "mine"}
    path = write(tmp_path, [good, {**good, "instruction": "other", **change}], "model_outputs.json")
    with pytest.raises(AnnotationError, match=message):
        read_outputs(path)
    with pytest.raises(AnnotationError, match="expected a column 'output'"):
        read_outputs([{"instruction": "i"}])


def test_several_gzip_members_are_one_file(tmp_path):
    text = json.dumps(records({})).encode()
    packed = gzip.compress(text[:50]) + gzip.compress(text[50:])
    assert len(read_annotations(write(tmp_path, packed, "annotations.json.gz"))) == 2
