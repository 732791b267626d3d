"""The shell: results on standard output, notes on standard error, exit codes, pipes."""

import csv
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import alpaca_analysis as aa
from alpaca_analysis.cli import app, main

N = 60
VERBS = {
    "win-rate": ["win-rate", "{file}", "--n-resamples", "99"],
    "bounds": ["bounds", "{file}"],
    "compare": ["compare", "{file}", "--a", "a", "--b", "b"],
    "confidence-sequence": ["confidence-sequence", "{file}", "--a", "a", "--b", "b", "--margin", "0.05"],
    "rank-sets": ["rank-sets", "{file}", "--n-resamples", "199", "--dropped"],
    "ratings": ["ratings", "{battles}", "--n-resamples", "99"],
    "plan": ["plan", "{file}", "--a", "a", "--b", "b"],
    "detectable": ["detectable", "805"],
    "agreement": ["agreement", "{file}", "--humans", "{humans}", "--n-resamples", "99"],
    "correlation": ["correlation", "{rates}", "--x", "judge", "--y", "human"],
    "prefer-longer": ["prefer-longer", "{file}", "--n-resamples", "99"],
    "prefer-first": ["prefer-first", "{file}", "--n-resamples", "99"],
    "prefer-lists": ["prefer-lists", "{file}", "--n-resamples", "99"],
    "length-response": ["length-response", "{file}", "--n-bins", "3"],
    "length-control": ["length-control", "{file}", "--difficulty", "none"],
    "audit": ["audit", "{file}", "--n-resamples", "99"],
    "audit-leaderboard": ["audit-leaderboard", "{board}"],
    "check-claims": ["check-claims", "{claims}", "{file}", "--n-resamples", "99"],
    "judge": ["judge", "{outputs}", "{others}", "--judge", "length"],
    "data list": ["data", "list"],
    "data verify": ["data", "verify", "pandalm"],
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return files of every kind that verbs read, by name."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    table = pd.concat(
        pd.DataFrame(
            {
                "instruction_id": [f"i{k}" for k in range(N)],
                "model": model,
                "reference": "ref",
                "annotator": "judge",
                "outcome": (rng.random(N) < rate).astype(float),
                "length_model": rng.integers(50, 900, N),
                "length_reference": rng.integers(50, 900, N),
                "position": rng.integers(1, 3, N),
                "list_model": rng.integers(0, 2, N),
                "list_reference": rng.integers(0, 2, N),
                "topic": np.where(np.arange(N) < N // 2, "art", "law"),
            }
        )
        for model, rate in (("a", 0.7), ("b", 0.4))
    )
    people = pd.concat(
        table.assign(annotator=f"person {k}", outcome=rng.integers(0, 2, 2 * N)) for k in range(3)
    )
    sides = rng.permuted(np.tile(["a", "b", "c"], (90, 1)), axis=1)
    battles = [
        {"question_id": f"q{k}", "model_a": a, "model_b": b, "winner": w, "judge": "arena", "topic": k % 2}
        for k, ((a, b, _), w) in enumerate(
            zip(sides.tolist(), rng.choice(["model_a", "model_b"], 90), strict=True)
        )
    ]
    rates = pd.DataFrame({"model": list("abcdef"), "judge": rng.random(6), "human": rng.random(6)})
    claims = pd.DataFrame({"model": ["a"], "reference": ["ref"], "printed": ["70.0"]})
    outputs = [{"instruction": f"Say {k}.", "output": "x" * k, "generator": "mine"} for k in range(1, 9)]
    paths = {
        n: folder / n for n in ("file", "humans", "battles", "rates", "claims", "board", "outputs", "others")
    }
    paths = {
        n: p.with_suffix(".json" if n in ("battles", "outputs", "others") else ".csv")
        for n, p in paths.items()
    }
    for name, frame in (("file", table), ("humans", people), ("rates", rates), ("claims", claims)):
        frame.to_csv(paths[name], index=False)
    aa.to_leaderboard(aa.win_rate(table, method="t"), paths["board"])
    paths["battles"].write_text(json.dumps(battles))
    paths["outputs"].write_text(json.dumps(outputs))
    paths["others"].write_text(json.dumps([o | {"output": "yyyy", "generator": "theirs"} for o in outputs]))
    return paths


def run(capsys, arguments):
    """Run the shell in this process; return exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as exit:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return exit.value.code, out, err


def arguments(verb, files, *more):
    return [a.format(**files) for a in VERBS[verb]] + list(more)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.slow
def test_every_verb_prints_a_table_csv_and_json(verb, files, capsys):
    code, table, err = run(capsys, arguments(verb, files))
    assert code == 0, err
    assert table.strip()
    assert all(line.startswith(("note: ", "judged: ")) for line in err.splitlines())
    code, text, _ = run(capsys, arguments(verb, files, "--format", "csv"))
    assert code == 0
    head, *rows = csv.reader(io.StringIO(text))
    assert rows or verb in ("audit", "audit-leaderboard")
    assert {len(row) for row in rows} <= {len(head)}
    code, text, _ = run(capsys, arguments(verb, files, "-f", "json"))
    assert code == 0
    records = json.loads(text)
    assert len(records) == len(rows)
    assert all(list(record) == head for record in records)


def test_judging_stops_in_the_shell_and_prints_the_sequence(files, capsys, tmp_path):
    prompts = [f"Say {k}." for k in range(60)]
    names = {"mine": "xxxx", "theirs": "x", "other": ""}
    for name, text in names.items():
        records = [{"instruction": p, "output": text, "generator": name} for p in prompts]
        (tmp_path / f"{name}.json").write_text(json.dumps(records))
    mine, theirs, other = (tmp_path / f"{name}.json" for name in names)
    call = ["judge", mine, theirs, "--judge", "length", "--stop", "--margin", "0.1", "-f", "json"]
    code, text, err = run(capsys, call)
    assert code == 0, err
    row = json.loads(text)[0]
    assert (row["model"], row["verdict"], row["n"]) == ("mine", "better", row["n_decided"])
    assert "stopped: better than theirs after" in err
    run(capsys, ["judge", other, theirs, "--judge", "length", "--out", tmp_path / "r"])
    code, text, err = run(
        capsys, [*call, "--against", tmp_path / "r" / "other" / "length" / "annotations.json"]
    )
    assert code == 0, err
    assert [json.loads(text)[0][c] for c in ("model_a", "model_b", "verdict")] == ["mine", "other", "better"]
    code, _, err = run(capsys, ["judge", mine, theirs, "--judge", "length", "--margin", "0.1"])
    assert code == 2
    assert "--margin, --against and --rival go with --stop" in err


@pytest.mark.slow
def test_csv_and_json_keep_every_digit(files, capsys):
    expected = aa.win_rate(aa.read_annotations(files["file"]), n_resamples=99)
    _, text, _ = run(capsys, arguments("win-rate", files, "-f", "csv"))
    read = pd.read_csv(io.StringIO(text))
    _, text, _ = run(capsys, arguments("win-rate", files, "-f", "json"))
    records = pd.DataFrame(json.loads(text))
    for column in ("win_rate", "standard_error", "ci_low", "ci_high", "n_total"):
        np.testing.assert_array_equal(read[column], expected[column])
        np.testing.assert_array_equal(records[column], expected[column])


def test_undefined_numbers_are_null_and_their_reason_is_noted(files, capsys, tmp_path):
    path = tmp_path / "won.csv"
    pd.DataFrame({"model": "m", "outcome": [0.5, 0.5]}).to_csv(path, index=False)
    code, text, err = run(capsys, ["win-rate", path, "-f", "json"])
    assert code == 0
    assert json.loads(text)[0]["ci_low"] is None
    assert err == "note: m: interval undefined: all outcomes are equal\n"


def test_bundled_counts_are_read_by_name(capsys):
    code, text, _ = run(capsys, ["bounds", "alpaca_eval_v1_counts", "-f", "csv"])
    assert code == 0
    board = pd.read_csv(io.StringIO(text)).set_index("model")
    assert board.loc["gpt4", "win_rate"] == pytest.approx(0.9527950311)


@pytest.mark.parametrize(
    "text", ["model,outcome\nm,1\nm,0\n", '[{"model": "m", "outcome": 1}, {"model": "m", "outcome": 0}]']
)
def test_judgements_come_through_a_pipe(text, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    code, out, _ = run(capsys, ["win-rate", "-", "--method", "t", "--format", "csv"])
    assert code == 0
    assert float(next(csv.DictReader(io.StringIO(out)))["win_rate"]) == 0.5


def test_what_is_wrong_with_a_pipe_is_said_without_a_path(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"a": 1')))
    code, _, err = run(capsys, ["win-rate", "-"])
    assert code == 1
    assert err.startswith("alpaca-analysis: standard input: expected valid JSON")


def test_bundled_leaderboards_are_audited_by_name(capsys):
    code, out, _ = run(capsys, ["audit-leaderboard", "alpaca_eval_v1_leaderboard", "--format", "csv"])
    assert code == 0
    assert any(row["model"] == "humpback-llama2-70b" for row in csv.DictReader(io.StringIO(out)))


def test_it_says_its_version(capsys):
    assert run(capsys, ["--version"]) == (0, f"alpaca_analysis {aa.__version__}\n", "")


def test_smallest_detectable_difference(capsys):
    assert "4.94" in run(capsys, ["detectable", "805"])[1]


def test_plan_of_an_order_says_its_size_on_standard_error(files, capsys):
    code, out, err = run(capsys, ["plan", files["file"]])
    assert code == 0
    assert "model a" in out
    assert re.match(r"note: [\d,]+ instructions for the whole order of 2 models", err)


@pytest.mark.slow
def test_audit_writes_the_page_and_json_and_says_so(files, capsys, tmp_path):
    html, data = tmp_path / "a.html", tmp_path / "a.json"
    code, out, err = run(capsys, arguments("audit", files, "--html", str(html), "--json", str(data)))
    assert code == 0
    assert out.startswith("Audit of judge: 120 judgements of 2 models against ref")
    assert err == f"written: {html}\nwritten: {data}\n"
    assert html.read_text().startswith("<!doctype html>")
    assert json.loads(data.read_text())["settings"]["n_models"] == 2


def test_judgements_are_written_where_they_are_read_from(files, capsys, tmp_path):
    code, out, err = run(capsys, arguments("judge", files, "--out", str(tmp_path), "-f", "json"))
    assert code == 0
    path = tmp_path / "mine" / "length" / "annotations.json"
    assert f"written: {path}" in err
    table = aa.read_annotations(path)
    assert json.loads(out)[0]["win_rate"] == table["outcome"].mean() == 4.5 / 8  # 1 to 8 letters against 4


def mistakes(files, tmp_path):
    """Yield arguments and what the one line has to name."""
    good = pd.read_csv(files["file"])
    paths = {k: tmp_path / f"{k}.csv" for k in ("outcome", "claim", "empty", "column")}
    good.assign(outcome=good["outcome"].where(good.index != 7, 3.5)).to_csv(paths["outcome"], index=False)
    pd.DataFrame({"model": ["a"], "reference": ["ref"], "printed": ["many"]}).to_csv(
        paths["claim"], index=False
    )
    paths["empty"].write_text("")
    pd.DataFrame({"model": ["a"]}).to_csv(paths["column"], index=False)
    yield ["win-rate", paths["outcome"]], (str(paths["outcome"]), "row 7", "'outcome'", "3.5")
    yield ["win-rate", tmp_path / "none.json"], (str(tmp_path / "none.json"),)
    yield ["win-rate", files["file"], "--by", "colour"], ("'colour'",)
    yield ["compare", files["file"], "--a", "a", "--b", "z"], ("'z'", "'b'")
    yield ["check-claims", paths["claim"], files["file"]], ("'printed'", "'many'")
    yield ["check-claims", paths["empty"], files["file"]], (str(paths["empty"]),)
    yield ["check-claims", paths["column"], files["file"]], (str(paths["column"]), "'reference'")
    yield ["correlation", files["rates"], "--x", "judge", "--y", "people"], ("'people'", "human")
    yield ["correlation", tmp_path / "none.csv", "--x", "a", "--y", "b"], (str(tmp_path / "none.csv"),)
    yield ["audit", files["file"], files["humans"]], ("annotator",)
    yield ["data", "fetch", "nothing"], ("'nothing'",)


@pytest.mark.parametrize("which", range(11))
@pytest.mark.slow
def test_what_a_user_can_mend_is_one_line_and_exit_code_1(which, files, capsys, tmp_path):
    wrong, names = list(mistakes(files, tmp_path))[which]
    code, out, err = run(capsys, wrong)
    assert code == 1
    assert out == ""
    assert err.startswith("alpaca-analysis: ")
    assert len(err.splitlines()) == 1
    for name in names:
        assert name in err


@pytest.mark.parametrize(
    "wrong",
    [["--nonsense"], ["nonsense"], ["win-rate"], ["win-rate", "x", "--format", "xml"], ["detectable", "many"],
     ["plan", "x", "--b", "b"], ["generate", "p.json", "--out", "o", "--model", "m", "--backend", "magic"]],
)  # fmt: skip
@pytest.mark.slow
def test_a_wrong_command_is_exit_code_2(wrong, capsys):
    code, out, err = run(capsys, wrong)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err


def test_generate_prints_where_the_outputs_are(capsys, tmp_path, monkeypatch):
    from alpaca_analysis import generating as generate

    monkeypatch.setattr(
        generate, "ServerBackend", lambda model, **_: generate.FunctionBackend(lambda m: "yes", name=model)
    )
    (tmp_path / "p.json").write_text('[{"instruction": "Say yes."}]')
    code, out, _ = run(capsys, ["generate", tmp_path / "p.json", "--out", tmp_path / "r", "--model", "mine"])
    assert code == 0
    assert out == f"{tmp_path / 'r' / 'mine' / 'model_outputs.json'}\n"
    assert json.loads((tmp_path / "r" / "mine" / "model_outputs.json").read_text())[0]["output"] == "yes"


def commands(typer_app=app, before=()):
    """Yield every verb as a list of words."""
    for group in typer_app.registered_groups:
        name = (group.name,) if isinstance(group.name, str) else ()
        yield from commands(group.typer_instance, (*before, *name))
    for command in typer_app.registered_commands:
        yield [*before, command.name or command.callback.__name__.replace("_", "-")]


def test_the_list_of_verbs_is_complete():
    assert {" ".join(c) for c in commands()} == {*VERBS, "gate", "generate", "data fetch"}


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
@pytest.mark.slow
def test_every_verb_has_help_with_an_example_of_itself(command, capsys):
    code, out, _ = run(capsys, [*command, "--help"])
    assert code == 0
    words = " ".join(out.split())
    assert f"Example: alpaca-analysis {' '.join(command)}" in words
    example = words.split("Example: alpaca-analysis ")[1].split(" Options: ")[0].split(" Arguments: ")[0]
    options = re.findall(r"(--[a-z-]+)", example)
    assert all(option in words.split("Options: ")[1] for option in options)


@pytest.mark.slow
def test_names_cannot_act_in_a_terminal(files, capsys, tmp_path):
    names = ["<script>", "=1+1", "x\x1b[2J\x1b]0;owned\x07", "a\u202eb"]
    path = tmp_path / "hostile\x1b[31m.json"
    rows = [{"model": m, "outcome": k % 2, "instruction_id": f"i{k}"} for m in names for k in range(4)]
    path.write_text(json.dumps(rows))
    control = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
    for format in ("table", "csv", "json"):
        code, out, err = run(capsys, ["win-rate", path, "--format", format, "--n-resamples", "99"])
        assert code == 0
        assert not control.search(out + err)
    code, out, _ = run(capsys, ["win-rate", path, "--format", "csv", "--n-resamples", "99"])
    assert not pd.read_csv(io.StringIO(out))["model"].str.match(r"[=+\-@]").any()
    code, _, err = run(capsys, ["compare", path, "--a", names[2], "--b", "none\x1b[31m"])
    assert code == 1
    assert not control.search(err)
    code, _, err = run(capsys, ["win-rate", tmp_path / "none\x1b[31m.json"])
    assert code == 1
    assert not control.search(err)


def shell(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "alpaca_analysis.cli", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


@pytest.mark.slow
def test_a_reader_who_leaves_is_no_error():
    process = shell("data", "list", "-f", "json")
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
    assert err == ""


def test_any_table_is_read_by_what_the_options_say_of_it(tmp_path, capsys):
    file = tmp_path / "mine.csv"
    file.write_text("a,b,label\nx,z,win\nx,z,lose\nx,z,same\nx,z,win\n")
    columns = ["--column", "model=a", "--column", "reference=b", "--column", "outcome=label"]
    values = ["--value", "model=win", "--value", "reference=lose", "--value", "draw=same"]
    code, out, _ = run(capsys, ["win-rate", str(file), *columns, *values, "-f", "json", "--method", "t"])
    assert code == 0
    assert json.loads(out)[0]["win_rate"] == 0.625
    code, _, err = run(capsys, ["win-rate", str(file), "--column", "model"])
    assert code == 1
    assert "--column: found 'model', expected NAME=VALUE" in err
    code, _, err = run(capsys, ["win-rate", str(file)])  # what one call said is not remembered
    assert "found the columns a, b, label" in err


def test_a_choice_that_is_none_is_a_wrong_command(files, capsys):
    code, _, err = run(capsys, ["win-rate", files["file"], "--method", "magic"])
    assert code == 2
    assert "'magic' is not one of" in err
    assert "bca" in err


@pytest.mark.slow
def test_an_audit_without_a_page_loads_no_drawing_or_modelling_library(files):
    code = (
        "import sys\nfrom alpaca_analysis.cli import main\n"
        f"try: main(['audit', {str(files['file'])!r}, '--n-resamples', '99'])\n"
        "except SystemExit as e: assert not e.code\n"
        "heavy = {'matplotlib', 'seaborn', 'statsmodels', 'sklearn', 'choix', 'torch', 'openai', 'IPython'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == "[]\n"


@pytest.mark.benchmark
@pytest.mark.rows
@pytest.mark.timeout(1800)
def test_the_page_of_every_annotation_file_takes_less_than_five_seconds(mirror, tmp_path):
    files = sorted((mirror / "alpaca_eval" / "results").glob("*/*/annotations.json"))
    assert len(files) == 60
    seconds = {}
    for file in files:
        before = os.times()
        process = shell("audit", file, "--html", tmp_path / "audit.html")
        out, err = process.communicate()
        after = os.times()
        assert process.returncode == 0, err
        assert ("adversarial" in out.lower()) == (file.parts[-3] in ("NullModel", "gpt4_gamed"))
        seconds[file.parts[-3]] = (
            after.children_user + after.children_system - before.children_user - before.children_system
        )
    print(pd.Series(seconds).describe().to_string())
    assert max(seconds.values()) < 5  # of the processor: what other programs take does not count


def test_refusals_speak_the_words_of_the_shell(capsys, tmp_path):
    path = tmp_path / "battles.jsonl"
    pairs = [("a", "b", "x"), ("b", "a", "x"), ("a", "b", "y"), ("c", "a", "x")]
    rows = [
        {
            "model_a": a,
            "model_b": b,
            "judge": judge,
            "question_id": k,
            "winner": "model_a" if k % 3 else "tie",
        }
        for a, b, judge in pairs
        for k in range(6)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    code, _, err = run(capsys, ["win-rate", str(path)])
    assert code == 1
    assert "; group by it too: --by model --by reference" in err
    assert "`alpaca-analysis ratings` rates models that stand on both sides" in err
    code, _, err = run(capsys, ["win-rate", str(path), "--by", "model", "--by", "reference"])
    assert "--by model --by reference --by annotator" in err
    by = ["--by", "model", "--by", "reference", "--by", "annotator"]
    code, out, _ = run(capsys, ["win-rate", str(path), "--format", "csv", *by])
    assert code == 0
    assert len(out.splitlines()) == 1 + 5  # a and b from either side, by both judges where they met


SLICED = ("compare", "rank-sets", "ratings", "agreement", "length-control")


@pytest.mark.parametrize("verb", SLICED)
def test_by_cuts_into_slices(capsys, files, verb):
    command = [part.format(**files) for part in VERBS[verb]]
    code, out, err = run(capsys, [*command, "--by", "topic", "--format", "csv"])
    assert code == 0
    found = pd.read_csv(io.StringIO(out))
    assert found.columns[0] == "topic"
    assert found["topic"].nunique() == 2
    assert re.search(r"test that all slices are equal: F\(\d+, [\d.]+\) = [\d.]+, p [=<]", err)
    code, out, _ = run(capsys, [*command, "--by", "topic"])
    assert "test that all slices are equal: F(" in out
    code, _, err = run(capsys, [*command, "--by", "subject"])
    assert (code, err.count("\n")) == (1, 1)
    assert "a column 'subject'" in err


def test_by_takes_several_columns(capsys, files):
    command = ["compare", str(files["file"]), "--by", "topic", "--by", "list_model", "--format", "csv"]
    code, out, _ = run(capsys, command)
    assert code == 0
    assert pd.read_csv(io.StringIO(out)).columns[:2].tolist() == ["topic", "list_model"]


def test_an_audit_in_slices(capsys, files, tmp_path):
    page = tmp_path / "audit.html"
    command = ["audit", files["file"], "--n-resamples", "99", "--by", "topic"]
    code, out, _ = run(capsys, [*command, "--html", page])
    assert code == 0
    assert out.startswith("Audit in 2 slices by topic.")
    assert "All slices equal?" in page.read_text(encoding="utf-8")
    code, out, _ = run(capsys, [*command, "--format", "csv"])
    assert pd.read_csv(io.StringIO(out)).columns[:2].tolist() == ["topic", "severity"]
