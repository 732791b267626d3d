"""What others wrote or named: odd values in every format, frames, counts, and paths that lead elsewhere."""

import json
import os
import time
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from malformed import QUICK, VALUES, read_or_refuse

import alpaca_analysis as aa
from alpaca_analysis import AnnotationError
from alpaca_analysis.foundations.files import folder_name
from alpaca_analysis.sources import catalogue as sources
from alpaca_analysis.sources import downloads

TURNS = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi"}]
RECORDS = {
    "alpaca_eval": {
        "instruction": "Hello?", "output_1": "a", "output_2": "b", "generator_1": "r", "generator_2": "m",
        "dataset": "d", "annotator": "j", "preference": 2, "position": 1, "repeat": 0, "annotator_index": 3,
    },
    "arena": {
        "model_a": "a", "model_b": "b", "winner": "model_a", "judge": "j", "turn": 1, "question_id": 5,
        "conversation_a": TURNS, "conversation_b": TURNS,
    },
    "pandalm": {
        "idx": 0, "instruction": "Hello?", "input": "", "response1": "a", "response2": "b", "cmp_key": "x_y",
        "annotator1": 1, "annotator2": 2, "annotator3": 0,
    },
    "llmbar": {
        "input": "Hello?", "output_1": "a", "output_2": "b",
        "results": [{"swap = False": {"winner": "1"}, "swap = True": {"winner": "2"}}],
    },
    "table": {
        "model": "m", "outcome": 1, "instruction_id": "i", "n": 1, "position": 1, "repeat": 0, "length_model": 3,
        "annotator": "j", "reference": "r", "dataset": "d",
    },
}  # fmt: skip
FIELDS = [(kind, field) for kind, record in RECORDS.items() for field in record]


@QUICK
@given(which=st.sampled_from(FIELDS), value=VALUES)
@pytest.mark.slow
def test_any_value_in_any_field_of_any_format_gives_a_table_or_one_error(tmp_path, which, value):
    kind, field = which
    read_or_refuse(tmp_path / "annotations.json", json.dumps([RECORDS[kind] | {field: value}]).encode())


DIGITS = 10**400
ODD = [
    *((f"alpaca_eval {field}", value) for field in ("annotator_index", "repeat", "position")
      for value in ("x", [1], {"a": 1}, True, DIGITS)),
    *(("alpaca_eval position", value) for value in (0, 3, 1.5)),
    *(("arena turn", value) for value in ("x", [1], {}, True, DIGITS, 0, -1, 1.5)),
    *((f"arena conversation_{side}", value) for side in "ab" for value in (
        "text", {}, 5, [5], ["a"], [{"role": "assistant", "content": 5}, {"role": "user", "content": [1]}],
    )),
    *(("pandalm idx", value) for value in (None, [1], {"a": 1}, True)),
    *(("llmbar results", value) for value in ([], [{}], [[]], [5], {}, 5, None)),
    *((f"table {field}", value) for field in ("position", "repeat") for value in ([1], {"a": 1}, [{}])),
    *((f"table {field}", DIGITS) for field in ("outcome", "n")),
    *((f"table {field}", -DIGITS) for field in ("outcome", "n", "length_model")),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), ODD, ids=lambda v: str(v)[:30])
def test_odd_values_are_refused_by_the_name_of_their_column(tmp_path, field, value):
    kind, column = field.split()
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps([RECORDS[kind] | {column: value}]))
    with pytest.raises(AnnotationError, match=f"row 0, column '{column}': found"):
        aa.read_annotations(path)


@pytest.mark.parametrize("kind", ["alpaca_eval", "arena", "pandalm", "llmbar"])
def test_outputs_that_are_lists_are_kept_as_texts(tmp_path, kind):
    lists = {"alpaca_eval": "output_1", "pandalm": "response1", "llmbar": "output_1", "arena": "output_a"}
    record = {k: v for k, v in RECORDS[kind].items() if not k.startswith("conversation")} | {lists[kind]: "a"}
    other = {"instruction": "2", "input": "2", "question_id": 2, "idx": 2}
    path = tmp_path / "annotations.json"
    path.write_text(
        json.dumps([record | {lists[kind]: [1]}, {k: other.get(k, v) for k, v in record.items()}])
    )
    table = aa.read_annotations(path, texts=True)
    texts = table["output_model" if kind != "alpaca_eval" else "output_reference"].tolist()
    assert [1] in texts
    assert table.attrs["counts"]["n_not_text"] >= 1


def twice(column, frame):
    return pd.concat([frame, frame[[column]]], axis=1)


ONE = pd.DataFrame({"model": ["m"], "outcome": [1.0]})
COUNTS = pd.DataFrame({"model": ["m"], "n_wins": [3], "n_losses": [1], "n_draws": [0]})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: aa.read_annotations(twice("outcome", ONE)), "'outcome' twice, expected each column once"),
        (lambda: aa.win_rate(twice("model", ONE)), "'model' twice"),
        (lambda: aa.win_rate(twice("model", ONE).drop(columns="outcome")), "'model' twice"),
        (lambda: aa.read_annotations(pd.DataFrame([[1, 2]], columns=[1, "1"])), "'1' twice"),
        (lambda: aa.win_rate(ONE.set_axis(pd.MultiIndex.from_product([["a"], ["b", "c"]]), axis=1)), "one name each"),
        (lambda: aa.read_annotations(pd.Series([1])), "found 'Series', expected a path"),
        (lambda: aa.from_counts(twice("n_wins", COUNTS)), "'n_wins' twice"),
        (lambda: aa.from_counts(twice("model", COUNTS)), "'model' twice"),
        (lambda: aa.from_counts(5), "counts: expected a DataFrame, or lists by column"),
        (lambda: aa.from_counts("model"), "counts: expected a DataFrame, or lists by column"),
        (lambda: aa.from_counts({"model": "m", "n_wins": 3}), "counts: expected a DataFrame, or lists by column"),
        (lambda: aa.from_counts({"model": ["m"], "n_wins": [3, 4]}), "counts: expected a DataFrame, or lists by column"),
        (lambda: aa.from_counts(COUNTS.assign(model=[["a"]])), r"column 'model': found \['a'\]"),
        (lambda: aa.from_counts(COUNTS, reference=["a"]), r"column 'reference': found \['a'\]"),
        (lambda: aa.from_counts(COUNTS.assign(n_wins=pd.Timestamp("2020-01-01"))), "'n_wins': found Timestamp"),
        (lambda: aa.from_counts(COUNTS.assign(n_wins=pd.Timedelta(3))), "'n_wins': found Timedelta"),
        (lambda: aa.from_counts(COUNTS.assign(n_wins=[3j])), "'n_wins': found 3j"),
        (lambda: aa.from_counts(COUNTS.assign(n_wins=[b"3"])), "'n_wins': found b'3'"),
        (lambda: aa.from_counts(COUNTS.assign(n_wins=pd.Series([DIGITS], dtype=object))), "'n_wins': found 1000"),
        (lambda: aa.from_counts(COUNTS.assign(n_wins_base=[9])), "'n_wins_base' and 'n_losses', which differ"),
    ],
)  # fmt: skip
def test_frames_and_counts_that_say_two_things_or_nothing(call, message):
    with pytest.raises(AnnotationError, match=message):
        call()


def test_both_columns_of_losses_may_agree():
    both = aa.from_counts(COUNTS.assign(n_wins_base=[1]))
    pd.testing.assert_frame_equal(both, aa.from_counts(COUNTS))


# Paths.


@pytest.mark.skipif(os.name == "nt", reason="needs pipes and links")
@pytest.mark.parametrize("ask", [lambda p: p, str, lambda p: [p]])
def test_links_to_nothing_pipes_and_devices_are_refused_by_name(tmp_path, ask):
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere.json")
    (tmp_path / "round.json").symlink_to(tmp_path / "round.json")
    os.mkfifo(tmp_path / "pipe.json")
    for name, what in {"gone": "a link to nothing", "round": "a link to nothing", "pipe": "a pipe"}.items():
        with pytest.raises(FileNotFoundError, match=f"{name}.json: expected a file or folder, found {what}"):
            aa.read_annotations(ask(tmp_path / f"{name}.json"))
    with pytest.raises(FileNotFoundError, match="nothing matches it"):
        aa.read_annotations(str(tmp_path / "*.json"))
    with pytest.raises(FileNotFoundError, match="a pipe or device"):
        aa.read_annotations("/dev/null")


def test_dots_in_a_path_are_no_names(tmp_path, monkeypatch):
    folder = tmp_path / "results" / "gpt4" / "judge"
    folder.mkdir(parents=True)
    for place in (folder, folder.parent, folder.parent.parent):
        (place / "annotations.json").write_text(json.dumps([RECORDS["alpaca_eval"] | {"annotator": "judge"}]))

    def names(path):
        return aa.read_annotations(path).loc[0, ["model", "annotator"]].tolist()

    monkeypatch.chdir(folder)
    assert names("annotations.json") == ["gpt4", "judge"]
    assert names("../judge/annotations.json") == ["gpt4", "judge"]
    assert names("../annotations.json") == ["gpt4", "judge"]
    assert names(tmp_path / "results" / "gpt4" / ".." / "annotations.json") == ["m", "judge"]


LEADING_OUT = ["../out", "../../out", "/tmp/out", "..", ".", "a/../../out", "..\\out", "a\0b", " ", ""]


@pytest.mark.parametrize("name", LEADING_OUT)
def test_names_from_files_make_one_folder_and_no_other(name, tmp_path):
    safe = folder_name(name)
    inside = tmp_path / "inside"
    (inside / safe).mkdir(parents=True)
    assert [p.resolve() for p in inside.iterdir()] == [inside.resolve() / safe]
    assert "\\" not in safe


@pytest.mark.parametrize("name", ["../../out", "/out", "..", "meta/llama-3"])
def test_results_stay_in_their_folder_and_are_read_back_under_their_names(name, tmp_path):
    from alpaca_analysis.generating import FunctionBackend, generate
    from alpaca_analysis.judging import judge

    results = tmp_path / "deep" / "er" / "results"
    made = generate(["Say one.", "Say two."], FunctionBackend(lambda m: "ok, one", name=name), cache=False)
    outputs = made.save(results)
    theirs = [{"instruction": f"Say {x}.", "output": x, "generator": "r"} for x in ("one", "two")]
    said = judge(outputs, pd.DataFrame(theirs), judge="length", cache=False)
    files = {outputs, said.save(results)}
    assert all(results.resolve() in path.resolve().parents for path in files)
    assert {p.name for p in tmp_path.iterdir()} == {"deep"}
    assert [p.name for p in results.iterdir()] == [folder_name(name)]
    table = aa.read_annotations(results)
    assert table["model"].unique().tolist() == [name]
    assert not table.attrs["disagreements"]


@pytest.mark.parametrize(
    "path", ["../out.json", "a/../../out.json", "/out.json", "..\\out.json", "a//b", "", "C:\\x"]
)
def test_a_list_of_data_cannot_lead_out_of_mirror_and_cache(path, tmp_path, monkeypatch):
    (tmp_path / "out.json").write_text("secret")
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv(sources.MIRROR, str(tmp_path / "mirror"))
    monkeypatch.setenv(sources.CACHE, str(tmp_path / "cache"))
    if path == "/out.json":
        path = str(tmp_path / "out.json")
    listed = pd.DataFrame(
        {"url": ["http://127.0.0.1:9/x"], "sha256": [None], "bytes": [6], "licence": ["x"]}, [path]
    )
    catalog = pd.DataFrame({"kind": ["rows", "figures"], "files": [path, path], "text_columns": ["", ""],
                            "licence": "x", "what": "x", "counts": ""}, ["theirs", "ours"])  # fmt: skip
    monkeypatch.setattr(sources, "_registry", lambda: listed)
    monkeypatch.setattr(sources, "_catalog", lambda: catalog)
    calls = [aa.catalog, lambda: aa.load("ours"), lambda: aa.load("theirs"), lambda: sources.fetch("ours"),
             lambda: sources.fetch("theirs"), lambda: sources.available("theirs"), lambda: sources.verify(),
             lambda: downloads.download_files(listed, tmp_path / "cache", progress=False)]  # fmt: skip
    for call in calls:
        with pytest.raises(sources.DataUnavailableError, match="expected a path inside a folder"):
            call()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mirror", "out.json"]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "models.csv", "../data/models", "..", "", "*/../*"]
)
def test_names_of_data_are_never_paths(name):
    for call in (aa.load, sources.fetch, sources.available, sources.verify):
        with pytest.raises(ValueError, match="name: found"):
            call(name)


@pytest.mark.skipif(os.name == "nt", reason="needs links")
def test_a_link_in_the_cache_is_replaced_and_not_written_through(tmp_path, monkeypatch):
    import hashlib

    monkeypatch.delenv(sources.MIRROR, raising=False)
    other, cache = tmp_path / "precious.txt", tmp_path / "cache"
    other.write_text("precious")
    cache.mkdir()
    (cache / "a.json").symlink_to(other)
    body = b"published"
    listed = pd.DataFrame(
        {
            "url": ["http://127.0.0.1:9/a.json"],
            "sha256": [hashlib.sha256(body).hexdigest()],
            "bytes": [len(body)],
        },
        ["a.json"],
    )
    monkeypatch.setattr(downloads, "_stream", lambda url, file, row, bar: Path(file).write_bytes(body))
    downloads.download_files(listed, cache, progress=False)
    assert (cache / "a.json").read_bytes() == body
    assert not (cache / "a.json").is_symlink()
    assert other.read_text() == "precious"


def test_lengths_that_no_number_can_hold_are_refused():
    with pytest.raises(AnnotationError, match="column 'length_model'"):
        aa.win_rate(ONE.assign(length_model=pd.Series([DIGITS], dtype=object)))


@pytest.mark.skipif(pd.__version__ < "3", reason="pandas 2 holds halves of pairs, wherever they are")
def test_half_an_emoji_in_a_text_is_read_and_in_a_name_refused(tmp_path):
    path = tmp_path / "annotations.json"
    path.write_text(
        json.dumps([RECORDS["alpaca_eval"] | {"output_2": "cut \ud83d", "instruction": "\ud83d?"}])
    )
    table = aa.read_annotations(path, texts=True)
    assert table.loc[0, ["instruction", "output_model"]].tolist() == ["??", "cut ?"]
    assert table.loc[0, "length_model"] == 5
    assert table.loc[0, "instruction_id"] == aa.read_annotations(path).loc[0, "instruction_id"]
    outputs = tmp_path / "model_outputs.json"
    outputs.write_text(json.dumps([{"instruction": "a", "output": "\ud83d", "generator": "m"}]))
    assert aa.read_outputs(outputs, texts=True).loc[0, "output"] == "?"
    for kind, field, column in (
        ("alpaca_eval", "generator_2", "model"), ("alpaca_eval", "dataset", "dataset"), ("arena", "model_b", "reference"),
        ("table", "model", "model"), ("table", "instruction_id", "instruction_id"),
    ):  # fmt: skip
        path.write_text(json.dumps([RECORDS[kind] | {field: "\ud83d"}]))
        with pytest.raises(
            AnnotationError, match=f"row 0, column '{column}': found .*, expected whole characters"
        ):
            aa.read_annotations(path)


# Writing.


@pytest.mark.skipif(os.name == "nt", reason="needs pipes and links")
def test_devices_pipes_links_and_folders_are_not_replaced(tmp_path):
    table = aa.win_rate(aa.from_counts(COUNTS), method="t")
    target, link, pipe = tmp_path / "target.csv", tmp_path / "link.csv", tmp_path / "pipe.csv"
    link.symlink_to(target)
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for place in (target, link, pipe):
            aa.to_csv(table, place)
        assert os.read(reader, 10_000) == target.read_bytes()
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert link.is_symlink()
    with pytest.raises(IsADirectoryError, match="a folder; expected the name of a file"):
        aa.to_csv(table, tmp_path)
    aa.to_csv(table, "/dev/null")
    assert not Path("/dev/null").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.csv", "pipe.csv", "target.csv"]


def test_an_empty_path_is_not_the_folder_one_is_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "annotations.json").write_text(json.dumps([RECORDS["alpaca_eval"]]))
    for empty in ("", [""]):
        with pytest.raises(FileNotFoundError, match="an empty path"):
            aa.read_annotations(empty)
    assert len(aa.read_annotations(tmp_path)) == 1


def test_columns_of_a_result_are_no_columns_of_claims():
    claims = pd.DataFrame({"model": ["m"], "reference": ["r"], "printed": ["75"], "verdict": ["mine"]})
    with pytest.raises(AnnotationError, match="found a column 'verdict', expected no column of the result"):
        aa.check_claims(claims, aa.from_counts(COUNTS, reference="r"))
    with pytest.raises(ValueError, match="by: found 'model' twice"):
        aa.win_rate(aa.from_counts(COUNTS), by=["model", "model"])


def test_integers_of_400_digits_in_boards_points_and_results(tmp_path):
    path = tmp_path / "board.csv"
    path.write_text(f",win_rate,n_wins\nm,50,{DIGITS}\n")
    assert {"range", "number"} & set(aa.audit_leaderboard(path)["check"])  # pandas 2 reads a text
    path.write_text("")
    with pytest.raises(AnnotationError, match=r"board\.csv: expected a CSV file with a header"):
        aa.audit_leaderboard(path)
    points = pd.Series([DIGITS, 1, 2, 3], dtype=object)
    with pytest.raises(AnnotationError, match="x, row 0: found 1000"):
        aa.win_rate_correlation(points, pd.Series([1, 2, 3, 4]))
    assert f"{DIGITS:,}" in str(aa.show(pd.DataFrame({"n_wins": [DIGITS]}, dtype=object)))
    aa.show(pd.DataFrame({"win_rate": [DIGITS]}, dtype=object))._repr_html_()
    with pytest.raises(AnnotationError, match="'model' twice"):
        aa.show(twice("model", ONE))


@pytest.mark.parametrize("name", [" =1+1", "\u00a0=1", "  @a"])
def test_a_space_does_not_hide_a_formula(name):
    assert aa.to_csv(pd.DataFrame({"model": [name]})).splitlines()[1].startswith("'")


def test_names_of_any_length_are_shortened_in_no_time():
    from alpaca_analysis.figures.style import LONGEST, on_one_line, shorten, text_width

    def one_by_one(name, width):
        for keep in range(len(name), 1, -1):
            text = (
                name if keep == len(name) else name[: (keep + 1) // 2] + "…" + name[len(name) - keep // 2 :]
            )
            if text_width(text, 7.0) <= width:
                return text
        return name[:1] + "…"

    for name in ("gpt4", "a-model-with-a-very-long-name-v0.1", "WWWWWWWWiiiiiiiiWWWWWWWW", "ab"):
        for width in (0.01, 0.2, 0.5, 1.0, 9.0):
            assert shorten([name], width=width) == [one_by_one(name, width)]
    start = time.process_time()
    names = shorten(["x" * 100_000 + end for end in "ab"] + ["y" * 100_000], width=1.0)
    assert time.process_time() - start < 5  # one by one: hours
    assert all(len(name) <= LONGEST for name in names)
    assert text_width(names[2], 7.0) <= 1.0
    assert len(on_one_line("z" * 100_000)) == LONGEST
