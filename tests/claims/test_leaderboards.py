"""The audit finds what is wrong with the published files, planted defects of each kind, and nothing else."""

import json

import numpy as np
import pandas as pd
import pytest

import alpaca_analysis as aa
from alpaca_analysis import AnnotationError, audit_leaderboard


def found(findings):
    return {(f.model, f.check) for f in findings.itertuples()}


# --- what is published ---------------------------------------------------------------------------

ERRORS_FROM_COUNTS = {
    ("humpback-llama2-70b", "standard_error"),
    ("humpback-llama-65b", "standard_error"),
    ("baize-v2-7b", "standard_error"),
}
NEAR_HALF = {(model, "penalty") for model in ("llama-2-13b-chat-hf", "evo-7b", "vicuna-13b")}
SHIFTED = {"text_davinci_001", "alpaca-7b_verbose", "alpaca-7b_concise"}
FEWER_JUDGED = SHIFTED | {
    "Snorkel-Mistral-PairRM-DPO", "Meta-Llama-3.1-8B-Instruct-Turbo", "gpt35_turbo_instruct",
    "TempNet-LLaMA2-Chat-70B-v0.1", "llama-2-70b-chat-hf", "minotaur-13b", "platolm-7b", "ghost-7b-alpha",
    "phi-2", "Qwen1.5-1.8B-Chat",
}  # fmt: skip
V2 = {
    ("aligner-2b_gpt-4-turbo-2024-04-09", "discrete_win_rate"),
    ("NullModel", "length_controlled_winrate"),
    ("dbrx-instruct", "length_controlled_winrate"),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alpaca_eval_v1_leaderboard", ERRORS_FROM_COUNTS | NEAR_HALF),
        ("alpaca_eval_v1_leaderboard_2023_09_19", ERRORS_FROM_COUNTS),
        ("alpaca_eval_v2_leaderboard", V2 | {(model, "n_total") for model in FEWER_JUDGED}),
        ("evaluators_leaderboard", {("weighted_alpaca_eval_gpt-4o-mini-2024-07-18", "scale")}),
        ("claude_leaderboard", set()),
        ("chatgpt_fn_leaderboard", set()),
        ("claude_3_opus_leaderboard", set()),
        ("mistral_large_leaderboard", set()),
    ],
)
@pytest.mark.slow
def test_published_leaderboards(name, expected):
    board = aa.load(name)
    before = board.copy()
    findings = audit_leaderboard(board)
    assert found(findings) == expected
    assert len(findings) == len(expected)
    pd.testing.assert_frame_equal(board, before)


def test_details_of_published_defects():
    one = audit_leaderboard(aa.load("alpaca_eval_v1_leaderboard")).set_index("model")
    assert one.loc["baize-v2-7b", "severity"] == "minor"
    assert one.loc["humpback-llama2-70b", "severity"] == "error"
    two = audit_leaderboard(aa.load("alpaca_eval_v2_leaderboard")).set_index("model")
    row = two.loc["aligner-2b_gpt-4-turbo-2024-04-09"]
    np.testing.assert_allclose([row["expected"], row["found"]], [47.142857, 40.186335], atol=1e-6)
    assert abs(two.loc["dbrx-instruct", "expected"] - two.loc["dbrx-instruct", "found"]) > 0.18
    assert two.attrs.pop("method").startswith("printed values against")
    assert two.attrs == {"n_rows": 223, "n_against_files": 0, "n_against_coefficients": 199, "unlisted": []}


@pytest.mark.rows
@pytest.mark.slow
def test_published_files_v1(alpaca_eval_v1):
    findings = audit_leaderboard(aa.load("alpaca_eval_v1_leaderboard"), annotations=alpaca_eval_v1)
    assert found(findings) == ERRORS_FROM_COUNTS | NEAR_HALF | {
        ("falcon-7b-instruct", "identical files"),
        ("falcon-7b-instruct", "model in file"),
        ("falcon-7b-instruct", "file: avg_length"),
        ("alpaca-7b-neft", "model in file"),
        ("deita-7b-v1.0", "annotator in file"),
    }
    twin = findings[findings["check"] == "identical files"].iloc[0]
    assert "falcon-40b-instruct byte for byte" in twin["message"]
    assert findings.attrs["n_against_files"] == 39
    assert findings.attrs["unlisted"] == ["mistral-orpo-beta"]
    penalty = findings[findings["check"] == "penalty"].set_index("model")
    # alpaca-eval's grid point C = 0.359, where the constant is exactly 0, gives 49.87; unpenalised 46.93.
    assert "(49.87); without penalty it is 46.9" in penalty.loc["llama-2-13b-chat-hf", "message"]
    assert "(50.03); without penalty it is 49.4" in penalty.loc["vicuna-13b", "message"]
    assert "possibly" in penalty.loc["evo-7b", "message"]  # its file is not in the mirror


@pytest.mark.rows
@pytest.mark.slow
def test_published_files_v2(alpaca_eval_v2):
    findings = audit_leaderboard(aa.load("alpaca_eval_v2_leaderboard"), annotations=alpaca_eval_v2)
    shifted = {(model, "shifted rows") for model in SHIFTED}
    unseen = {(model, "n_total") for model in FEWER_JUDGED - SHIFTED}
    assert found(findings) == V2 | {("NullModel", "model in file")} | shifted | unseen
    assert findings.attrs["n_against_files"] == 20


@pytest.mark.rows
@pytest.mark.slow
def test_published_rows_that_are_shifted(alpaca_eval_v2):
    """Values of alpaca-eval's way, difficulty by row number, and of the right one, by instruction."""
    findings = audit_leaderboard(aa.load("alpaca_eval_v2_leaderboard"), annotations=alpaca_eval_v2)
    findings = findings[findings["check"] == "shifted rows"].set_index("model")
    assert set(findings.index) == SHIFTED
    printed = {"text_davinci_001": 9.03, "alpaca-7b_verbose": 6.82, "alpaca-7b_concise": 4.47}
    np.testing.assert_allclose(
        findings["found"].astype(float), pd.Series(printed)[findings.index], atol=0.005
    )
    right = {"text_davinci_001": 6.3, "alpaca-7b_verbose": 5.3, "alpaca-7b_concise": 4.6}
    np.testing.assert_allclose(
        findings["expected"].astype(float), pd.Series(right)[findings.index], atol=0.35
    )
    by_row = findings["message"].str.extract(r": ([\d.]+) by row")[0].astype(float)
    expected = {"text_davinci_001": 9.13, "alpaca-7b_verbose": 6.96, "alpaca-7b_concise": 4.49}
    np.testing.assert_allclose(by_row, pd.Series(expected)[findings.index], atol=0.35)
    assert findings.loc["text_davinci_001", "message"].count("lacks 2 of 805 rows") == 1
    severity = {"text_davinci_001": "error", "alpaca-7b_verbose": "error", "alpaca-7b_concise": "warning"}
    assert findings["severity"].to_dict() == severity


# --- planted defects -----------------------------------------------------------------------------


def clean_board(n_models=12):
    rng = np.random.default_rng(0)
    board = pd.DataFrame({"model": [f"m{i}" for i in range(n_models)]})
    board["n_wins"], board["n_draws"] = rng.integers(200, 600, n_models), rng.integers(0, 20, n_models)
    board["n_total"] = 805
    board["n_wins_base"] = board["n_total"] - board["n_wins"] - board["n_draws"]
    rows = [np.repeat([1, 0.5, 0], r) for r in board[["n_wins", "n_draws", "n_wins_base"]].to_numpy()]
    board["win_rate"] = [100 * r.mean() for r in rows]
    board["standard_error"] = [100 * r.std(ddof=1) / np.sqrt(len(r)) for r in rows]
    board["discrete_win_rate"] = board["win_rate"]
    board["avg_length"] = rng.integers(300, 3000, n_models)
    return board


def files_of(models, n=60):
    """Make the annotations of models on the same instructions, in one order."""
    rng = np.random.default_rng(1)
    return pd.concat(
        [
            pd.DataFrame(
                {"instruction_id": [f"i{k:02d}" for k in range(n)], "model": model, "reference": "r"}
            ).assign(annotator="j", outcome=rng.integers(0, 2, n) * 1.0)
            for model in models
        ],
        ignore_index=True,
    )


def test_files_that_lack_rows_are_named_and_unjudged_rows_are_not_gaps():
    board = pd.DataFrame({"model": list("abcd"), "length_controlled_winrate": [40.0, 41, 42, 43]})
    files = files_of("abcd")
    files.loc[files["instruction_id"].isin(["i03", "i04"]) & (files["model"] == "a"), "outcome"] = np.nan
    files = files[~((files["model"] == "b") & files["instruction_id"].isin(["i10", "i11", "i12"]))]
    findings = audit_leaderboard(board, annotations=files)
    findings = findings[findings["check"] == "shifted rows"]
    assert findings["model"].tolist() == ["b"]
    assert "lacks 3 of 60 rows" in findings["message"].iloc[0]
    assert findings["severity"].tolist() == ["warning"]  # these instructions have no published difficulty
    alone = audit_leaderboard(board, annotations=files[files["model"] == "b"])
    assert "shifted rows" not in set(alone["check"])
    two = audit_leaderboard(board, annotations=files[files["model"].isin(["b", "c"])])
    assert two.loc[two["check"] == "shifted rows", "model"].tolist() == ["b"]


def test_files_without_instructions_are_compared_all_the_same():
    board = clean_board().assign(length_controlled_winrate=50.1)
    files = files_of(["m0", "m1"]).drop(columns="instruction_id")
    checks = set(audit_leaderboard(board, annotations=files)["check"])
    assert "file: n_total" in checks
    assert "shifted rows" not in checks
    with pytest.raises(AnnotationError, match=r"the columns \['model'\]"):
        audit_leaderboard(board, annotations=files.drop(columns="model"))


def test_clean_rows_have_no_finding():
    assert audit_leaderboard(clean_board()).empty
    assert list(audit_leaderboard(clean_board())) == [
        "model",
        "check",
        "expected",
        "found",
        "severity",
        "message",
    ]


@pytest.mark.parametrize("decimals", [1, 2, 3, 8, 9])
def test_rounding_is_no_defect(decimals):
    assert audit_leaderboard(clean_board().round(decimals)).empty


def test_a_rounded_board_still_shows_what_rounding_cannot_explain():
    board = clean_board().round(2)
    board.loc[3, "win_rate"] = round(board.loc[3, "win_rate"] + 0.02, 2)
    assert found(audit_leaderboard(board)) == {("m3", "win_rate")}


PLANTED = {
    "win_rate": (lambda b: b["win_rate"] + 0.3, "win_rate", "error"),
    "swapped sides": (lambda b: 100 - b["win_rate"], "win_rate", "error"),
    "standard_error": (lambda b: b["standard_error"] * 1.01, "standard_error", "error"),
    "marginal": (lambda b: b["standard_error"] + 2e-4, "standard_error", "minor"),
    "discrete_win_rate": (lambda b: b["discrete_win_rate"] - 7, "discrete_win_rate", "error"),
    "n_total": (lambda b: b["n_total"] + 1, "counts", "error"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_in_one_cell(name):
    change, check, severity = PLANTED[name]
    column = {"swapped sides": "win_rate", "marginal": "standard_error"}.get(name, name)
    board = clean_board()
    board.loc[5, column] = change(board)[5]
    findings = audit_leaderboard(board)
    assert found(findings) == {("m5", check)}
    assert findings.loc[0, "severity"] == severity
    assert findings.loc[0, "found"] == board.loc[5, column]
    assert column in findings.loc[0, "message"]


def test_counts_that_are_off_touch_all_that_follows():
    board = clean_board()
    board.loc[2, "n_wins"] += 3
    assert found(audit_leaderboard(board)) == {
        ("m2", c) for c in ("counts", "win_rate", "standard_error", "discrete_win_rate")
    }


@pytest.mark.parametrize(
    ("column", "value", "check"),
    [
        ("win_rate", 130.0, "range"),
        ("win_rate", -3.0, "range"),
        ("n_wins", 300.5, "range"),
        ("n_draws", -1, "range"),
        ("avg_length", -5, "range"),
        ("win_rate", "95,57", "number"),
        ("standard_error", "about 1", "number"),
    ],
)
def test_planted_out_of_range(column, value, check):
    board = clean_board().astype({column: object})
    board.loc[1, column] = value
    findings = audit_leaderboard(board)
    assert ("m1", check) in found(findings)
    assert set(findings["model"]) == {"m1"}


@pytest.mark.parametrize("column", ["win_rate", "standard_error", "discrete_win_rate"])
def test_planted_scale(column):
    board = clean_board()
    board.loc[4, column] /= 100
    assert found(audit_leaderboard(board)) == {("m4", "scale"), ("m4", column)}
    alone = board[["model", column]]
    assert found(audit_leaderboard(alone)) == {("m4", "scale")}


def test_planted_duplicate():
    board = clean_board()
    board.loc[7, "model"] = "m6"
    findings = audit_leaderboard(board)
    assert found(findings) == {("m6", "duplicate")}
    assert findings.loc[0, "found"] == 2


def test_weighted_boards_are_bounded_by_their_counts():
    board = clean_board()
    rng = np.random.default_rng(1)
    board["win_rate"] += rng.uniform(-2, 2, len(board))
    board["standard_error"] *= 0.85
    assert audit_leaderboard(board).empty
    board.loc[0, "win_rate"] = 5.0  # below half its wins
    board.loc[1, "standard_error"] = 3.0
    board.loc[2, "discrete_win_rate"] += 1
    assert found(audit_leaderboard(board)) == {
        ("m0", "win_rate"),
        ("m0", "standard_error"),  # a win rate of 5 % leaves less room
        ("m1", "standard_error"),
        ("m2", "discrete_win_rate"),
    }


def test_length_control_from_given_coefficients():
    rng = np.random.default_rng(0)
    coefficients = pd.DataFrame({"psi": rng.normal(1, 0.2, 12), "theta": rng.normal(0, 1, 12)},
                                index=[f"m{i}" for i in range(12)])  # fmt: skip
    atoms = aa.load("difficulty_quadrature")
    logit = coefficients["theta"].to_numpy()[:, None] + np.outer(coefficients["psi"], atoms["difficulty"])
    lc = (1 / (1 + np.exp(-logit))) @ (atoms["weight"] / atoms["weight"].sum()).to_numpy()
    board = clean_board().assign(length_controlled_winrate=100 * lc)
    assert audit_leaderboard(board, coefficients=coefficients).empty
    board.loc[8, "length_controlled_winrate"] += 0.2
    findings = audit_leaderboard(board, coefficients=coefficients)
    assert found(findings) == {("m8", "length_controlled_winrate")}
    published = aa.load("alpaca_eval_v2_leaderboard")
    given = audit_leaderboard(published, coefficients=aa.load("length_control_coefficients"))
    assert found(given) == V2 | {(model, "n_total") for model in FEWER_JUDGED}
    assert audit_leaderboard(board).empty  # the published coefficients are evidently not this board's


# --- files ---------------------------------------------------------------------------------------


def write_files(folder, n_models=3, judge="judge", **changes):
    rng = np.random.default_rng(5)
    for i in range(n_models):
        place = folder / "results" / f"m{i}" / judge
        place.mkdir(parents=True)
        rows = [
            {"instruction": f"prompt {k}", "output_1": "x" * 50, "output_2": "y" * int(rng.integers(20, 200)),
             "generator_1": "ref", "generator_2": f"m{i}", "annotator": judge,
             "preference": int(rng.choice([1, 2], p=[0.3, 0.7])), **changes.get(f"m{i}", {})}
            for k in range(60)
        ]  # fmt: skip
        (place / "annotations.json").write_text(json.dumps(rows))
    return folder / "results"


def board_of(table):
    groups = table.groupby("model", observed=True)["outcome"]
    board = pd.DataFrame({"win_rate": 100 * groups.mean(), "standard_error": 100 * groups.sem(ddof=1)})
    board["n_wins"], board["n_wins_base"] = (
        groups.agg(lambda y: (y > 0.5).sum()),
        groups.agg(lambda y: (y < 0.5).sum()),
    )
    board["n_draws"] = groups.agg(lambda y: (y == 0.5).sum())
    board["n_total"], board["discrete_win_rate"] = groups.count(), board["win_rate"]
    board["avg_length"] = table.groupby("model", observed=True)["length_model"].mean().astype(int)
    return board


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path)


def test_clean_files_have_no_finding(files):
    table = aa.read_annotations(files)
    findings = audit_leaderboard(board_of(table), annotations=table)
    assert findings.empty
    assert findings.attrs["n_against_files"] == 3


def test_row_that_does_not_follow_from_its_file(files):
    table = aa.read_annotations(files)
    board = board_of(table)
    board.loc["m1"] = board.loc["m2"]
    board.loc["m1", "n_total"] -= 1
    board.loc["m1", "n_wins"] -= 1
    checks = {check for model, check in found(audit_leaderboard(board, annotations=table)) if model == "m1"}
    assert {"file: win_rate", "file: standard_error", "file: discrete_win_rate", "file: n_total"} <= checks
    assert "file: n_wins" in checks
    assert "file: avg_length" in checks


def test_sides_that_changed_places_are_told(files):
    table = aa.read_annotations(files)
    board = board_of(table)
    board.loc["m1", ["win_rate", "discrete_win_rate"]] = 100 - board.loc["m1", "win_rate"]
    board.loc["m1", ["n_wins", "n_wins_base"]] = board.loc["m1", ["n_wins_base", "n_wins"]].to_numpy()
    findings = audit_leaderboard(board, annotations=table)
    first = findings[findings["check"] == "file: win_rate"].iloc[0]
    assert "changed sides" in first["message"]


def test_contents_against_folder_names(tmp_path):
    changes = {"m0": {"generator_2": "other"}, "m1": {"annotator": "older judge"}}
    table = aa.read_annotations(write_files(tmp_path, **changes))
    findings = audit_leaderboard(board_of(table), annotations=table)
    assert found(findings) == {("m0", "model in file"), ("m1", "annotator in file")}
    assert set(findings["severity"]) == {"warning"}
    assert findings.set_index("model").loc["m0", "found"] == "other"


def test_reference_and_judge_mixed_up(tmp_path):
    table = aa.read_annotations(write_files(tmp_path, n_models=4, m2={"generator_1": "another reference"}))
    findings = audit_leaderboard(board_of(table), annotations=table)
    assert found(findings) == {("m2", "reference")}
    assert (findings.loc[0, "expected"], findings.loc[0, "found"]) == ("ref", "another reference")
    plain = table.astype({"annotator": object})
    plain.loc[plain["model"] == "m3", "annotator"] = "another judge"
    assert ("m3", "annotator") in found(audit_leaderboard(board_of(table), annotations=plain))


@pytest.mark.parametrize("same_bytes", [True, False])
def test_identical_files(files, same_bytes):
    text = (files / "m0" / "judge" / "annotations.json").read_text()
    text = text if same_bytes else json.dumps(json.loads(text), indent=1)
    (files / "m2" / "judge" / "annotations.json").write_text(text)
    table = aa.read_annotations(files)
    findings = audit_leaderboard(board_of(table), annotations=table)
    assert found(findings) == {("m2", "identical files"), ("m2", "model in file")}
    message = findings[findings["check"] == "identical files"]["message"].iloc[0]
    assert ("byte for byte" in message) == same_bytes


# --- ways of giving a board ----------------------------------------------------------------------


def test_board_in_any_form(tmp_path):
    board = clean_board()
    board.loc[5, "win_rate"] += 1
    board.set_index("model").rename_axis(None).to_csv(tmp_path / "board.csv")
    expected = audit_leaderboard(board)
    for form in (
        board.set_index("model"),
        board.rename(columns={"model": "Unnamed: 0"}),
        tmp_path / "board.csv",
        str(tmp_path / "board.csv"),
    ):
        pd.testing.assert_frame_equal(audit_leaderboard(form), expected)


def test_bad_calls(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such leaderboard"):
        audit_leaderboard(tmp_path / "none.csv")
    with pytest.raises(AnnotationError, match="models in the index"):
        audit_leaderboard(pd.DataFrame({"win_rate": [1.0]}))
    with pytest.raises(AnnotationError, match="at least one row"):
        audit_leaderboard(clean_board().head(0))
    with pytest.raises(AnnotationError, match="found 'int', expected a DataFrame or a path"):
        audit_leaderboard(3)
    with pytest.raises(AnnotationError, match=r"annotations: found .* expected the columns"):
        audit_leaderboard(clean_board(), annotations=pd.DataFrame({"model": ["m"]}))
    board = clean_board().assign(length_controlled_winrate=50.0)
    with pytest.raises(AnnotationError, match="columns 'psi' and 'theta'"):
        audit_leaderboard(board, coefficients=pd.DataFrame({"model": ["m"]}))


@pytest.mark.parametrize("wrong", [False, True])
def test_counts_stand_for_as_many_judgements(wrong):
    counts = pd.DataFrame({"model": ["a", "b", "c"], "n_wins": [90, 50, 30], "n_losses": [10, 40, 60],
                           "n_draws": [0, 10, 5], "n_asked": 100})  # fmt: skip
    table = aa.from_counts(counts, reference="r", annotator="j").assign(length_model=[9.0] * 5 + [1] * 4)
    rows = {row.model: np.repeat([1, 0, 0.5], [row.n_wins, row.n_losses, row.n_draws])
            for row in counts.itertuples()}  # fmt: skip
    board = counts.rename(columns={"n_losses": "n_wins_base"}).drop(columns="n_asked")
    board["n_total"] = [len(y) for y in rows.values()]
    board["win_rate"] = [100 * y.mean() for y in rows.values()]
    board["standard_error"] = [100 * y.std(ddof=1) / np.sqrt(len(y)) for y in rows.values()]
    board["discrete_win_rate"] = board["win_rate"]
    board["avg_length"] = table.groupby("model", observed=True)[["length_model", "n"]].apply(
        lambda t: np.average(t["length_model"], weights=t["n"])
    ).to_numpy()  # fmt: skip
    if wrong:
        board.loc[1, ["n_wins", "n_wins_base"]] = [51, 39]
    findings = audit_leaderboard(board, annotations=table)
    assert found(findings[findings["check"].str.startswith("file")]) == (
        {("b", "file: n_wins"), ("b", "file: n_wins_base")} if wrong else set()
    )


def test_models_that_always_win_have_figures_without_a_warning(files):
    table = aa.read_annotations(files)
    table.loc[table["model"] == "m1", "outcome"] = 1.0
    assert audit_leaderboard(board_of(table), annotations=table).empty
