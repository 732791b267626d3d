"""Every published file and format reads; each table equals a plain recount of the file."""

import gzip
import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from alpaca_analysis import read_annotations, read_outputs, win_rate, win_rate_bounds
from alpaca_analysis.table import checks as annotations
from alpaca_analysis.table.readers.paths import find_files

RECORDS = [
    {"instruction": "Say hello.", "output_1": "Hi", "generator_1": "ref", "dataset": "a",
     "output_2": "Hello!", "generator_2": "mine", "annotator": "judge", "preference": 2},
    {"instruction": "Count, please", "output_1": "1\n2", "generator_1": "ref", "dataset": "b",
     "output_2": "NA", "generator_2": "mine", "annotator": "judge", "preference": 1.5},
    {"instruction": "Ünïcode?", "output_1": "", "generator_1": "ref", "dataset": "b", "output_2": "ja \"so\"",
     "generator_2": "mine", "annotator": "judge", "preference": None},
]  # fmt: skip


def _csv(path):
    pd.DataFrame(RECORDS).to_csv(path, index=False)


def _parquet(path):
    pd.DataFrame(RECORDS).to_parquet(path)


def _json(path):
    path.write_text(json.dumps(RECORDS), encoding="utf-8")


def _jsonl(path):
    path.write_text("".join(json.dumps(r) + "\n" for r in RECORDS), encoding="utf-8")


WRITERS = {"json": _json, "jsonl": _jsonl, "csv": _csv, "parquet": _parquet}


@pytest.fixture
def expected():
    table = read_annotations(pd.DataFrame(RECORDS))
    assert table["outcome"].tolist()[:2] == [1.0, 0.5]
    assert table["length_model"].tolist() == [6, 2, 7]
    assert table["length_reference"].tolist() == [2, 3, 0]
    return table


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("suffix", WRITERS)
def test_every_container_gives_the_same_table(tmp_path, suffix, packed, expected):
    path = tmp_path / f"annotations.{suffix}"
    WRITERS[suffix](path)
    if packed:
        packed_path = path.with_name(path.name + ".gz")
        packed_path.write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
        path = packed_path
    pd.testing.assert_frame_equal(read_annotations(path), expected)
    pd.testing.assert_frame_equal(read_annotations(tmp_path), expected)
    pd.testing.assert_frame_equal(read_annotations(str(tmp_path / "*")), expected)


def test_dataset_polars_and_arrow_give_the_same_table(expected):
    import pyarrow as pa

    datasets = pytest.importorskip("datasets")
    pd.testing.assert_frame_equal(read_annotations(datasets.Dataset.from_list(RECORDS)), expected)
    pd.testing.assert_frame_equal(read_annotations(pa.Table.from_pylist(RECORDS)), expected)


def test_records_and_polars_give_the_same_table(expected):
    polars = pytest.importorskip("polars")
    pd.testing.assert_frame_equal(read_annotations(RECORDS), expected)
    pd.testing.assert_frame_equal(read_annotations(polars.DataFrame(RECORDS)), expected)


@pytest.mark.parametrize("suffix", WRITERS)
def test_outputs_read_from_every_container(tmp_path, suffix):
    frame = pd.DataFrame(RECORDS).rename(columns={"output_2": "output", "generator_2": "generator"})
    folder = tmp_path / "results" / "theirs"
    folder.mkdir(parents=True)
    path = folder / f"model_outputs.{suffix}"
    frame = frame[["instruction", "dataset", "output", "generator"]]
    {"csv": lambda: frame.to_csv(path, index=False), "parquet": lambda: frame.to_parquet(path),
     "json": lambda: frame.to_json(path, orient="records"),
     "jsonl": lambda: frame.to_json(path, orient="records", lines=True)}[suffix]()  # fmt: skip
    table = read_outputs(tmp_path, texts=True)
    assert table["model"].tolist() == ["theirs"] * 3
    assert table["model_in_file"].tolist() == ["mine"] * 3
    assert table["length"].tolist() == [6, 2, 7]
    assert table["output"].tolist() == ["Hello!", "NA", 'ja "so"']
    assert table.attrs["disagreements"][0]["in_file"] == "mine"


def test_a_folder_gives_annotations_before_other_files(tmp_path):
    _json(tmp_path / "annotations.json")
    _json(tmp_path / "copy.json")
    (tmp_path / "model_outputs.json").write_text("not even JSON")
    (tmp_path / "README.md").write_text("not data")
    assert find_files(tmp_path) == [tmp_path / "annotations.json"]
    (tmp_path / "annotations.json").unlink()
    assert find_files(tmp_path) == [tmp_path / "copy.json"]


def test_format_can_be_forced():
    frame = pd.DataFrame(RECORDS)
    pd.testing.assert_frame_equal(read_annotations(frame, format="alpaca_eval"), read_annotations(frame))
    both = frame.assign(outcome=[0.25, 0.5, 0.75], model="m")  # has the fields of two formats
    assert read_annotations(both)["outcome"].tolist()[:2] == [1, 0.5]
    assert read_annotations(both, format="table")["outcome"].tolist() == [0.25, 0.5, 0.75]
    with pytest.raises(annotations.AnnotationError, match="expected a column 'winner'"):
        read_annotations(frame, format="arena")


def test_table_reads_back(tmp_path, expected):
    expected.to_parquet(tmp_path / "table.parquet")
    expected.to_csv(tmp_path / "table.csv", index=False)
    pd.testing.assert_frame_equal(
        read_annotations(tmp_path / "table.parquet"), expected, check_index_type=False
    )
    pd.testing.assert_frame_equal(read_annotations(tmp_path / "table.csv"), expected)


def test_what_is_read_is_a_checked_table(expected):
    pd.testing.assert_frame_equal(annotations.check(expected), expected)


def test_texts_on_request(expected):
    table = read_annotations(pd.DataFrame(RECORDS), texts=True)
    assert table["output_model"].tolist() == ["Hello!", "NA", 'ja "so"']
    assert "instruction" not in expected


def test_human_annotations_without_names_meet_by_text():
    pair = {"instruction": "i", "output_1": "x", "output_2": "yy"}
    humans = pd.DataFrame(
        [{**pair, "annotator_index": i, "preference": p} for i, p in enumerate((1, 2, 2, 0))]
    )
    judge = pd.DataFrame([{**pair, "output_1": "yy", "output_2": "x", "annotator": "j", "annotator_index": 0,
                           "preference": 1}])  # fmt: skip
    people, verdict = read_annotations(humans), read_annotations(judge)
    assert people["annotator"].tolist() == ["human_0", "human_1", "human_2", "human_3"]
    assert people["outcome"].tolist() == [0, 1, 1, 0.5]
    assert verdict["model"].iloc[0] == people["reference"].iloc[0]
    assert verdict["reference"].iloc[0] == people["model"].iloc[0]
    named = humans.assign(generator_1="r", generator_2="m", preference=1)
    several = pd.concat([named, named.assign(instruction="j", generator_1="other")])
    assert read_annotations(several)["reference"].nunique() == 2  # many models' pairs in one file
    assert verdict["instruction_id"].iloc[0] == people["instruction_id"].iloc[0]


# --- arena ---------------------------------------------------------------------------------------

CHAT = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there"}]
BATTLES = [
    {"question_id": "q1", "model_a": "x", "model_b": "y", "winner": "model_a", "judge": "u1", "turn": 1,
     "conversation_a": CHAT, "conversation_b": [CHAT[0], {"role": "assistant", "content": "Hey"}]},
    {"question_id": "q2", "model_a": "y", "model_b": "x", "winner": "tie (bothbad)", "judge": "u2", "turn": 1,
     "conversation_a": CHAT, "conversation_b": CHAT},
    {"question_id": "q3", "model_a": "x", "model_b": "z", "winner": "model_b", "judge": "u1", "turn": 1,
     "conversation_a": CHAT, "conversation_b": CHAT},
    {"question_id": "q4", "model_a": "x", "model_b": "y", "winner": "tie", "judge": "u1", "turn": 1,
     "conversation_a": CHAT, "conversation_b": CHAT},
]  # fmt: skip


def test_arena(tmp_path):
    (tmp_path / "battles.jsonl").write_text("\n".join(map(json.dumps, BATTLES)))
    table = read_annotations(tmp_path / "battles.jsonl")
    assert table["outcome"].tolist() == [1, 0.5, 0, 0.5]
    assert table["model"].tolist() == ["x", "y", "x", "x"]
    assert table["annotator"].tolist() == ["u1", "u2", "u1", "u1"]
    assert table["length_model"].tolist() == [8] * 4
    assert table["length_reference"].tolist() == [3, 8, 8, 8]
    assert table["repeat"].tolist() == [0, 0, 0, 1]  # the same person asked the same prompt twice
    assert set(table["instruction_id"]) == {annotations.instruction_id("Hello")}


def test_arena_from_parquet(tmp_path):
    path = tmp_path / "battles.parquet"
    pd.DataFrame(BATTLES).to_parquet(path)
    expected = read_annotations(BATTLES)
    pd.testing.assert_frame_equal(read_annotations(path), expected)
    pd.testing.assert_frame_equal(read_annotations(pd.read_parquet(path)), expected)


def test_a_battle_without_a_winner_is_missing_in_csv(tmp_path):
    path = tmp_path / "battles.csv"
    path.write_text("model_a,model_b,winner\na,b,model_a\na,b,\n")
    table = read_annotations(path)
    assert table["outcome"].tolist()[0] == 1
    assert np.isnan(table["outcome"].tolist()[1])


def test_arena_without_texts():
    frame = pd.DataFrame(BATTLES).drop(columns=["conversation_a", "conversation_b"])
    table = read_annotations(frame)
    assert table["instruction_id"].tolist() == ["q1/1", "q2/1", "q3/1", "q4/1"]
    assert table["length_model"].isna().all()
    bare = read_annotations(frame[["model_a", "model_b", "winner"]])
    assert bare["instruction_id"].isna().all()
    assert bare["annotator"].isna().all()


def test_arena_strange_winner_is_named():
    frame = pd.DataFrame(BATTLES).assign(winner=["model_a", "nobody", "tie", None])
    with pytest.raises(annotations.AnnotationError, match=r"row 1, column 'winner': found 'nobody'.*model_a"):
        read_annotations(frame)


# --- the published files -------------------------------------------------------------------------


def _files(mirror, pattern):
    found = sorted((mirror / "alpaca_eval" / "results").glob(pattern))
    assert found
    return found


def _published(mirror, name):
    return pd.read_csv(mirror / "alpaca_eval" / "leaderboards" / name, index_col=0)


@pytest.mark.rows
@pytest.mark.filterwarnings("ignore:gpt4_1106_preview. interval undefined")  # the reference against itself
@pytest.mark.parametrize(
    ("judge", "board", "n_models", "n_listed"),
    [
        ("alpaca_eval_gpt4", "alpaca_eval_gpt4_leaderboard.csv", 40, 39),
        ("weighted_alpaca_eval_gpt4_turbo", "weighted_alpaca_eval_gpt4_turbo_leaderboard.csv", 20, 20),
    ],
    ids=["AE1", "AE2"],
)
@pytest.mark.slow
def test_win_rates_and_counts_equal_the_leaderboard(mirror, judge, board, n_models, n_listed):
    table = read_annotations(_files(mirror, f"*/{judge}/annotations.json"))
    assert table.attrs["counts"]["n_files"] == n_models
    ours = win_rate(table, method="t").set_index("model")
    published = _published(mirror, board)
    listed = ours.index.intersection(published.index)
    assert len(listed) == n_listed
    published = published.loc[listed]
    np.testing.assert_allclose(100 * ours.loc[listed, "win_rate"], published["win_rate"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(
        100 * ours.loc[listed, "standard_error"], published["standard_error"], rtol=0, atol=1e-7
    )
    for name, theirs in (("n_wins", "n_wins"), ("n_losses", "n_wins_base"), ("n_draws", "n_draws"),
                         ("n_total", "n_total")):  # fmt: skip
        different = ours.loc[listed, name] != published[theirs]
        assert not different.any(), published[different]


@pytest.mark.rows
@pytest.mark.parametrize("pattern", ["*/alpaca_eval_gpt4/*.json", "*/weighted_*/*.json"])
@pytest.mark.slow
def test_alpaca_eval_rows_equal_a_plain_recount(mirror, pattern):
    paths = _files(mirror, pattern)
    table = read_annotations(paths)
    plain = pd.concat(
        [
            pd.DataFrame(json.loads(p.read_text("utf-8"))).assign(model=p.parts[-3], judge=p.parts[-2])
            for p in paths
        ]
    )
    preference = plain["preference"].astype(float).replace(0, 1.5)
    np.testing.assert_array_equal(table["outcome"], preference - 1)
    np.testing.assert_array_equal(table["length_model"], plain["output_2"].map(len))
    np.testing.assert_array_equal(table["length_reference"], plain["output_1"].map(len))
    assert table["model"].tolist() == plain["model"].tolist()
    assert table["annotator"].tolist() == plain["judge"].tolist()
    assert table["dataset"].tolist() == plain["dataset"].tolist()
    assert table["instruction_id"].tolist() == plain["instruction"].map(annotations.instruction_id).tolist()


@pytest.mark.rows
@pytest.mark.slow
def test_folder_names_win_and_disagreements_are_listed(mirror):
    table = read_annotations(mirror / "alpaca_eval")
    assert table.attrs["counts"] | {"n_rows": 0} == {
        "n_files": 60,
        "n_rows": 0,
        "n_missing": 46,
        "n_not_text": 0,
    }
    listed = {(d["folder"], d["column"], d["in_file"]) for d in table.attrs["disagreements"]}
    assert {(folder, column) for folder, column, _ in listed} == {
        ("NullModel", "model"),
        ("alpaca-7b-neft", "model"),
        ("falcon-7b-instruct", "model"),
        ("alpaca_eval_gpt4", "annotator"),
    }
    assert ("falcon-7b-instruct", "model", "falcon-40b-instruct") in listed
    assert ("alpaca_eval_gpt4", "annotator", "alpaca_eval_gpt4_0613") in listed
    hashes = Counter(f["sha256"] for f in table.attrs["files"])
    twins = {f["model"] for f in table.attrs["files"] if hashes[f["sha256"]] > 1}
    assert twins == {"falcon-7b-instruct", "falcon-40b-instruct"}


@pytest.mark.rows
@pytest.mark.slow
def test_outputs(mirror):
    table = read_outputs(mirror / "alpaca_eval")
    sizes = table["model"].value_counts()
    assert len(sizes) == 17
    assert sizes.pop("llama-2-70b-chat-hf") == 804
    assert set(sizes) == {805}
    paths = _files(mirror, "*/model_outputs.json")
    plain = pd.concat(
        [pd.DataFrame(json.loads(p.read_text("utf-8"))).assign(model=p.parts[-2]) for p in paths]
    )
    np.testing.assert_array_equal(table["length"], plain["output"].map(len))
    assert table["model"].tolist() == plain["model"].tolist()
    judged = read_annotations(_files(mirror, "gpt4/alpaca_eval_gpt4/annotations.json"))
    both = judged.merge(table[table["model"] == "gpt4"], on="instruction_id")
    assert len(both) == 805
    np.testing.assert_array_equal(both["length_model"], both["length"])


@pytest.mark.rows
def test_pandalm_equals_a_plain_recount(mirror):
    table = read_annotations(mirror / "pandalm")
    assert table.attrs["counts"] == {"n_files": 3, "n_rows": 4995, "n_missing": 25, "n_not_text": 6}
    plain = pd.DataFrame(json.loads((mirror / "pandalm" / "testset-v1.json").read_text("utf-8")))
    coding = {1: 1.0, 2: 0.0, 0: 0.5}
    for i in (1, 2, 3):
        ours = table[table["annotator"] == f"human_{i}"]
        np.testing.assert_array_equal(ours["outcome"], plain[f"annotator{i}"].map(coding))
        assert ours["model"].tolist() == plain["cmp_key"].str.split("_").str[0].tolist()
        assert ours["reference"].tolist() == plain["cmp_key"].str.split("_").str[1].tolist()
        assert ours["repeat"].tolist() == list(range(999))
    assert table["instruction_id"].nunique() == 170
    text = plain["response1"].map(lambda r: len(r) if isinstance(r, str) else np.nan)
    np.testing.assert_array_equal(table[table["annotator"] == "human_1"]["length_model"], text)


@pytest.mark.rows
@pytest.mark.parametrize(
    ("file", "column", "counts"),
    [
        ("gpt-3.5-turbo", "gpt_result", {1.0: 460, 0.0: 476, 0.5: 38, None: 25}),
        ("pandalm-7b", "pandalm_result", {1.0: 433, 0.0: 459, 0.5: 107}),
    ],
)
def test_pandalm_judges_meet_the_humans(mirror, file, column, counts):
    path = mirror / "pandalm" / f"{file}-testset-v1.json"
    table = read_annotations(path)  # finds its test set beside it
    plain = pd.DataFrame(json.loads(path.read_text("utf-8")))[column].astype(str)
    np.testing.assert_array_equal(table["outcome"], plain.map({"1": 1.0, "2": 0.0, "0": 0.5, "Tie": 0.5}))
    assert Counter(None if np.isnan(o) else o for o in table["outcome"]) == counts
    humans = read_annotations(mirror / "pandalm" / "testset-v1.json")
    key = ["instruction_id", "model", "reference", "repeat"]
    met = table.merge(humans[humans["annotator"] == "human_1"], on=key, validate="one_to_one")
    assert len(met) == 999
    bounds = win_rate_bounds(table, by=["model", "reference"])
    assert bounds["n_missing"].sum() == counts.get(None, 0)


@pytest.mark.rows
def test_llmbar_equals_a_plain_recount(mirror):
    paths = sorted((mirror / "llmbar").rglob("result.json"))
    assert len(paths) == 18
    table = read_annotations(mirror / "llmbar")
    gold = table[table["annotator"] == "gold"]
    assert gold["dataset"].value_counts().to_dict() == {"LLMEval^2": 200, "Natural": 100}
    assert gold["outcome"].value_counts().to_dict() == {1.0: 134, 0.0: 166}
    natural = gold[gold["dataset"] == "Natural"].set_index("instruction_id")
    for path in paths:
        rows = json.loads(path.read_text("utf-8"))
        ours = table[table["annotator"] == "/".join(path.parts[-3:-1])]
        assert len(ours) == 200
        assert ours["position"].value_counts().to_dict() == {1: 100, 2: 100}
        for position, order in ((1, "swap = False"), (2, "swap = True")):
            plain = pd.Series([r["results"][-1][order]["winner"] for r in rows]).map({"1": 1.0, "2": 0.0})
            shown = ours[ours["position"] == position]
            np.testing.assert_array_equal(shown["outcome"], plain)
            # judge and gold rows of a pair share instruction, model and reference
            label = pd.Series([{1: 1.0, 2: 0.0}[r["label"]] for r in rows])
            met = natural.loc[shown["instruction_id"], "outcome"]
            np.testing.assert_array_equal(met, label)


@pytest.mark.rows
@pytest.mark.slow
def test_every_file_of_the_mirror_reads(mirror):
    paths = [p for p in sorted(mirror.rglob("*.json")) if p.is_file() and p.parent.name != "formats"]
    outputs = [p for p in paths if p.name == "model_outputs.json"]
    judged = [p for p in paths if p.name != "model_outputs.json"]
    assert (len(outputs), len(judged)) == (17, 83)
    assert len(read_outputs(outputs)) == 16 * 805 + 804
    table = read_annotations(judged)
    assert table.attrs["counts"]["n_files"] == 83
    annotations.check(table)
    assert set(find_files(mirror / "pandalm")) <= set(judged)
