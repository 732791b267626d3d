"""Data sets of `datasets`: in memory, streamed, saved, and on the hub (a small server that answers as it does)."""

import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import alpaca_analysis as aa

datasets = pytest.importorskip("datasets")

BATTLES = {
    "model_a": ["a", "b", "a", "c"],
    "model_b": ["b", "c", "c", "a"],
    "winner": ["model_a", "tie", "model_b", None],
    "question_id": [1, 2, 3, 4],
    "conversation_a": [
        [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "x" * i}] for i in range(4)
    ],
    "conversation_b": [
        [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "yy"}] for i in range(4)
    ],
}


@pytest.fixture
def data():
    return datasets.Dataset.from_dict(BATTLES)


@pytest.fixture
def expected():
    return aa.read_annotations(pd.DataFrame(BATTLES).to_dict("records"))


def test_all_kinds_of_data_sets_are_the_same_table(data, expected):
    for source in (
        data,
        data.with_format("numpy"),
        data.to_iterable_dataset(num_shards=2),
        datasets.IterableDataset.from_generator(lambda: iter(data.to_list())),
        datasets.DatasetDict({"train": data}),
    ):
        pd.testing.assert_frame_equal(aa.read_annotations(source), expected)
    splits = datasets.DatasetDict({"train": data.select([0, 1]), "eval": data})
    pd.testing.assert_frame_equal(aa.read_annotations(splits, split="eval"), expected)
    pd.testing.assert_frame_equal(aa.read_annotations(splits["eval"]), expected)


def test_selected_rows_and_no_others_are_read(data):
    chosen = data.shuffle(seed=3).filter(lambda row: row["question_id"] != 2).select([2, 0])
    plain = aa.read_annotations(pd.DataFrame(chosen.to_list()).to_dict("records"))
    pd.testing.assert_frame_equal(aa.read_annotations(chosen), plain)


def test_columns_stay_arrow_arrays_until_they_are_used(data, monkeypatch):
    converted = []
    from alpaca_analysis.table.readers import files

    usual = files._to_list
    monkeypatch.setattr(files, "_to_list", lambda array: converted.append(array.type) or usual(array))
    unused = pa.array([[{"tokens": [1.0] * 8}]] * 4)
    aa.read_annotations(data.add_column("embedding", unused.to_pylist()))
    assert unused.type not in converted
    assert pa.string() in converted


def test_class_labels_are_their_names(data, expected):
    labels = datasets.ClassLabel(names=["model_a", "model_b", "tie"])
    winners = [-1 if w is None else labels.str2int(w) for w in BATTLES["winner"]]
    labelled = data.remove_columns("winner").add_column("winner", winners).cast_column("winner", labels)
    pd.testing.assert_frame_equal(aa.read_annotations(labelled), expected)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (lambda d: datasets.DatasetDict({"train": d, "eval": d}), {}, r"DatasetDict: found the splits 'train', 'eval', expected one of them, such as split='train'"),
        (lambda d: datasets.DatasetDict({"train": d}), {"split": "test"}, "found the splits 'train', expected one of them"),
        (lambda d: d, {"split": "train"}, "Dataset: found one without splits, expected a data set with the split 'train'"),
        (lambda d: d.select([]), {}, "at least one record, found none"),
        (lambda d: datasets.IterableDataset.from_generator(lambda: iter(())), {}, "at least one record, found none"),
        (lambda d: datasets.IterableDataset.from_generator(lambda: iter([{"model": 1}, {"model": "a"}])), {}, r"IterableDataset: expected columns of one type each \("),
        (lambda d: d.remove_columns("winner"), {}, "Dataset: found"),
        (lambda d: "hf:lmsys", {}, "source: found 'hf:lmsys', expected 'hf:owner/name'"),
        (lambda d: "hf:o/n@main:train", {"split": "test"}, "found 'train', expected split='test'"),
    ],
)  # fmt: skip
def test_what_is_no_one_table_is_one_error(data, source, options, message):
    with pytest.raises(aa.AnnotationError, match=message):
        aa.read_annotations(source(data), **options)


def test_a_split_of_files_is_refused(tmp_path):
    pd.DataFrame(BATTLES).to_json(tmp_path / "battles.json", orient="records")
    with pytest.raises(aa.AnnotationError, match=r"battles.json: found one without splits"):
        aa.read_annotations(tmp_path / "battles.json", split="train")


def test_streams_have_a_limit(data, monkeypatch):
    from alpaca_analysis.table.readers import objects

    monkeypatch.setattr(objects, "MAX_BYTES", 100)
    with pytest.raises(aa.AnnotationError, match=r"expected at most 100 bytes in memory; .take\(n\)"):
        aa.read_annotations(data.to_iterable_dataset())


def test_saved_folders_are_read_with_their_hash(data, expected, tmp_path):
    data.save_to_disk(tmp_path / "one", num_shards=2)
    read = aa.read_annotations(tmp_path / "one")
    pd.testing.assert_frame_equal(read, expected)
    content = b"".join(file.read_bytes() for file in sorted((tmp_path / "one").glob("*.arrow")))
    assert read.attrs["files"][0]["sha256"] == hashlib.sha256(content).hexdigest()
    datasets.DatasetDict({"train": data.select([0]), "eval": data}).save_to_disk(tmp_path / "two")
    pd.testing.assert_frame_equal(aa.read_annotations(str(tmp_path / "two"), split="eval"), expected)
    with pytest.raises(aa.AnnotationError, match="found the splits 'train', 'eval'"):
        aa.read_annotations(tmp_path / "two")
    with pytest.raises(aa.AnnotationError, match="found one data set, expected splits"):
        aa.read_annotations(tmp_path / "one", split="eval")


def test_a_list_of_saved_folders_and_files(data, expected, tmp_path):
    data.save_to_disk(tmp_path / "one")
    renamed = pd.DataFrame(BATTLES).assign(model_a="d")
    renamed.to_json(tmp_path / "battles.json", orient="records")
    read = aa.read_annotations([tmp_path / "one", tmp_path / "battles.json"])
    assert len(read) == 2 * len(expected)
    assert read["model"].astype(str).tolist() == [*expected["model"], *"dddd"]


@pytest.mark.parametrize("file", ["state.json", "dataset_info.json", "data-00000-of-00001.arrow"])
def test_damaged_folders_are_one_error(data, tmp_path, file):
    data.save_to_disk(tmp_path / "one")
    path = tmp_path / "one" / file
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(aa.AnnotationError, match="one: expected a folder saved by datasets"):
        aa.read_annotations(tmp_path / "one")


def test_model_outputs_are_read_from_data_sets(tmp_path):
    rows = {"instruction": ["Say hello."], "output": ["Hi"], "generator": ["mine"]}
    data = datasets.Dataset.from_dict(rows)
    data.save_to_disk(tmp_path / "outputs")
    expected = aa.read_outputs(pd.DataFrame(rows))
    pd.testing.assert_frame_equal(aa.read_outputs(data), expected)
    pd.testing.assert_frame_equal(aa.read_outputs(tmp_path / "outputs"), expected)


@pytest.mark.parametrize("offline", ["1", "0"], ids=["offline by setting", "no server"])
def test_nobody_waits_for_a_hub_that_does_not_answer(monkeypatch, tmp_path, offline):
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    start = time.perf_counter()
    why = "HF_HUB_OFFLINE is set" if offline == "1" else r"http://127.0.0.1:9 does not answer within 3 s"
    for name in ("hf:o/n", f"hf:o/n@{COMMIT}", "hf:o/n@main:train"):
        with pytest.raises(
            aa.DataUnavailableError, match=f"{name}: {why}, and the cache of datasets does not hold"
        ):
            aa.read_annotations(name)
    assert time.perf_counter() - start < 9


COMMIT = hashlib.sha1(b"the first").hexdigest()
NEXT = hashlib.sha1(b"the next").hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as `datasets` asks for to load o/n, which today stands at `server.commit`."""

    def do_HEAD(self):
        self.do_GET(head=True)

    def do_GET(self, head=False):
        path = self.path.partition("?")[0]
        files, today = self.server.files, self.server.commit
        commit = next((c for c in files if c in path), today)
        if path == "/":
            return self.answer(b"hub", head)
        if path.startswith("/datasets/o/n/resolve/"):
            name = path.split("/resolve/")[1].partition("/")[2]
            if name in files[commit]:
                tag = f'"{hashlib.sha1(files[commit][name]).hexdigest()}"'
                return self.answer(files[commit][name], head, {"X-Repo-Commit": commit, "ETag": tag})
            return self.answer(b"", head, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, 404)
        if path.startswith("/api/datasets/o/n/tree/"):
            folder = path.split("/tree/")[1].partition("/")[2]
            found = [self.entry(n, d) for n, d in files[commit].items() if n.rpartition("/")[0] == folder]
            found += [] if folder else [{"type": "directory", "path": "data", "oid": "0" * 40, "size": 0}]
            return self.answer(json.dumps(found).encode(), head)
        if path.startswith("/api/datasets/o/n"):
            about = {"id": "o/n", "sha": commit, "private": False, "tags": [], "downloads": 0, "likes": 0}
            return self.answer(
                json.dumps({**about, "siblings": [{"rfilename": n} for n in files[commit]]}).encode(), head
            )
        return self.answer(b"{}", head, {"X-Error-Code": "RepoNotFound"}, 404)

    def entry(self, name, content):
        return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def answer(self, content, head, headers=(), code=200):
        self.send_response(code)
        for key, value in {"Content-Length": len(content), **dict(headers)}.items():
            self.send_header(key, str(value))
        self.end_headers()
        if not head:
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def parquet(**columns):
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


@pytest.fixture
def hub(tmp_path):
    """Return what reads a name in a process of its own, whose `datasets` asks our server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    card = b"---\nlicense: cc-by-4.0\n---\n"
    one = {"model_a": ["a", "b"], "model_b": ["b", "c"], "question_id": [1, 2]}
    server.commit, server.files = (
        NEXT,
        {
            commit: {
                "README.md": card,
                "data/human-00000-of-00001.parquet": parquet(**one, winner=[first, "tie"]),
                "data/judge-00000-of-00001.parquet": parquet(**one, winner=["tie", "tie"]),
            }
            for commit, first in ((COMMIT, "model_a"), (NEXT, "model_b"))
        },
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    program = (
        "import sys, warnings, alpaca_analysis as aa\n"
        "with warnings.catch_warnings(record=True) as said:\n"
        "    warnings.simplefilter('always')\n"
        "    try: print(aa.read_annotations(sys.argv[1])['outcome'].tolist())\n"
        "    except (aa.AnnotationError, aa.DataUnavailableError) as error: print(type(error).__name__, error)\n"
        "print([str(w.message) for w in said if 'revision' in str(w.message)])\n"
    )

    def read(name, *, online=True):
        address = f"http://127.0.0.1:{server.server_port}" if online else "http://127.0.0.1:9"
        environment = {
            **os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        for variable in ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_DATASETS_OFFLINE"):
            environment.pop(variable, None)
        done = subprocess.run(
            [sys.executable, "-c", program, name],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    yield read
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_a_revision_is_read_once_from_the_hub_and_then_from_the_cache(hub):
    assert hub(f"hf:o/n@{COMMIT}:human") == ["[1.0, 0.5]", "[]"]
    today, said = hub("hf:o/n:human")
    assert today == "[0.0, 0.5]"
    assert f"hf:o/n@{NEXT} reads the same again" in said
    for commit, first in ((COMMIT, 1.0), (NEXT, 0.0)):  # though the other was loaded, or is the newest
        assert hub(f"hf:o/n@{commit}:human", online=False) == [f"[{first}, 0.5]", "[]"]
    newest, said = hub("hf:o/n:judge", online=False)
    assert newest == "[0.5, 0.5]"
    assert "newest in the cache (http://127.0.0.1:9 does not answer within 3 s)" in said


@pytest.mark.slow
def test_what_the_hub_does_not_have_is_one_error(hub):
    assert hub("hf:o/absent")[0].startswith("DataUnavailableError hf:o/absent: the hub does not know it (")
    splits = "found the splits 'human', 'judge', expected one of them, such as split='human'"
    assert hub(f"hf:o/n@{COMMIT}")[0] == f"AnnotationError hf:o/n@{COMMIT}: {splits}"
    other = hub(f"hf:o/n@{'0' * 40}", online=False)[0]
    assert "does not hold revision 000" in other


def test_numbers_with_gaps_stay_numbers():
    rows = datasets.Dataset.from_dict(
        {"model": ["a", "b"], "outcome": [1.0, None], "length_model": [None, 3]}
    )
    read = aa.read_annotations(rows)
    np.testing.assert_array_equal(read["outcome"], [1.0, np.nan])
    np.testing.assert_array_equal(read["length_model"], [np.nan, 3.0])
