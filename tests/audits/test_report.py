"""The audit: every rule finds what was planted and nothing else, and its page is one quiet file."""

import base64
import hashlib
import html
import html.parser
import json
import os
import re
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from judgements import said

from alpaca_analysis import AnnotationError, audit, figures, from_counts, read_annotations
from alpaca_analysis.audits.health import health
from alpaca_analysis.audits.rules import COLUMNS, collect

N = 200
QUICK = {"n_resamples": 199}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "{{ 7 * 7 }}",
    "gpt4\x1b[2J\x1b]0;owned\x07",
    "abc\u202edcba",
)


def judgements(rng, *, model="m", n=N, **columns):
    """Return judgements without any bias: outcome, lengths and position are independent."""
    return pd.DataFrame(
        {
            "instruction_id": [f"i{k}" for k in range(n)],
            "model": model,
            "reference": "ref",
            "annotator": "judge",
            "outcome": rng.integers(0, 2, n).astype(float),
            "length_model": rng.integers(200, 1500, n),
            "length_reference": rng.integers(200, 1500, n),
            **columns,
        }
    )


@pytest.fixture
def fair():
    return judgements(np.random.default_rng(3))


def page(result, folder):
    """Return the page of an audit."""
    return result.to_html(folder / "audit.html").read_text(encoding="utf-8")


def found(table, **options):
    """Return what an audit finds as a set of severity, check and model."""
    frame = audit(table, **QUICK, **options).to_frame()
    return {tuple(row) for row in frame[["severity", "check", "model"]].to_numpy()}


@pytest.mark.slow
def test_a_fair_judge_has_no_finding(fair, tmp_path):
    result = audit(fair, **QUICK)
    assert result.to_frame().empty
    assert result.to_frame().columns.tolist() == list(COLUMNS)
    assert "Nothing was found." in page(result, tmp_path)
    head = "Audit of judge: 200 judgements of m, which wins 51.5 % [45.0, 58.4], against ref"
    looked_at = (result.checks()["why"] == "").sum()
    said = f"{looked_at} checks, no problem; {len(result.checks()) - looked_at} not looked at."
    assert repr(result).startswith(f"{head}\n{said}\nNot looked at: ")
    assert said in page(result, tmp_path)
    assert set(result.checks()["severity"]) == {"none", ""}
    assert looked_at >= 7


@pytest.mark.parametrize(("same", "says"), [(N, "one text"), (N - 20, "as if cut off")])
@pytest.mark.slow
def test_outputs_of_one_length_are_called_no_answers(fair, same, says):
    fair.loc[: same - 1, "length_model"] = 872
    frame = audit(fair, **QUICK).to_frame()
    assert frame.loc[0, ["severity", "check", "model"]].tolist() == ["high", "outputs", "m"]
    assert says in frame.loc[0, "finding"]
    assert f"{100 * same / N:.1f} % of the outputs have exactly 872 characters" in frame.loc[0, "finding"]


@pytest.mark.slow
def test_tasks_whose_answers_are_all_as_long_are_not_taken_for_broken(fair):
    assert ("high", "outputs", "m") not in found(fair.assign(length_model=1, length_reference=1))


def test_files_that_contradict_their_folders_are_named(fair):
    fair.attrs["disagreements"] = [{"file": "a.json", "column": "model", "folder": "m", "in_file": "example"}]
    frame = audit(fair, **QUICK).to_frame()
    assert frame.loc[0, ["severity", "check", "model", "evidence"]].tolist() == [
        *("high", "folder and file", "m", "a.json")
    ]
    assert "'example'" in frame.loc[0, "finding"]


@pytest.mark.parametrize(("n_missing", "severity"), [(2, "low"), (3, "medium")])
@pytest.mark.slow
def test_missing_judgements_are_counted(fair, n_missing, severity):
    fair.loc[: n_missing - 1, "outcome"] = np.nan
    assert {row[:2] for row in found(fair)} == {(severity, "missing judgements")}


def test_a_judge_that_does_not_decide_is_named(fair):
    assert ("medium", "draws", "m") in found(fair.assign(outcome=0.5))


def test_draws_and_losses_without_a_win_are_doubted(fair):
    table = fair.assign(outcome=np.where(np.arange(len(fair)) % 4 == 0, 0.5, 0.0))
    assert ("high", "verdicts", "m") in found(table)
    assert ("high", "verdicts", "m") not in found(fair)


@pytest.mark.slow
def test_outputs_that_are_no_text_are_counted(fair):
    fair["length_model"] = fair["length_model"].astype(float)
    fair.loc[0, "length_model"] = np.nan
    assert found(fair) == {("low", "outputs", "m")}


@pytest.mark.slow
def test_a_model_with_another_reference_is_named():
    rng = np.random.default_rng(0)
    lengths = rng.integers(200, 1500, N)
    models = [judgements(rng, model=name, length_reference=lengths) for name in "abc"]
    assert found(pd.concat(models)) == set()
    models[2]["length_reference"] += 1
    assert ("high", "reference", "c") in found(pd.concat(models))


@pytest.mark.parametrize(("longer_wins", "severity"), [(0.85, "medium"), (0.62, "low")])
@pytest.mark.parametrize("side", ["longer", "shorter"])
@pytest.mark.slow
def test_a_preference_for_length_is_found_in_both_directions(longer_wins, severity, side):
    rng = np.random.default_rng(1)
    table = judgements(rng, n=600)
    longer = table["length_model"] > table["length_reference"]
    wins = longer if side == "longer" else ~longer
    table["outcome"] = np.where(rng.random(600) < longer_wins, wins, ~wins).astype(float)
    frame = audit(table, **QUICK).to_frame().set_index("check")
    row = frame.loc["length preference"]
    assert row["severity"] == severity
    share = np.mean(
        (table["outcome"] == wins)[(table["length_model"] - table["length_reference"]).abs() > 30]
    )
    assert f"prefers the {side} output in {100 * share:.1f} %" in row["finding"]


def test_a_win_rate_that_length_makes_is_found():
    rng = np.random.default_rng(2)
    table = judgements(rng, n=800, length_model=rng.integers(600, 2200, 800))
    longer = (table["length_model"] - table["length_reference"]) / 400
    table["outcome"] = (rng.random(800) < 1 / (1 + np.exp(-longer))).astype(float)
    frame = audit(table, **QUICK).to_frame().set_index("check")
    assert frame.loc["length control", "severity"] == "medium"
    assert "points follow output length" in frame.loc["length control", "finding"]


def test_a_win_rate_at_equal_length_far_from_any_output_is_called_extrapolated(fair):
    rng = np.random.default_rng(4)
    far = fair.assign(length_model=rng.integers(3000, 3300, N), length_reference=rng.integers(100, 400, N))
    frame = audit(far, **QUICK).to_frame()
    assert frame.loc[frame["check"] == "length control", "finding"].str.contains("extrapolated").any()


@pytest.mark.parametrize(("place", "which"), [(1, "first"), (2, "second")])
@pytest.mark.slow
def test_a_preference_for_a_place_is_found(place, which):
    rng = np.random.default_rng(5)
    table = judgements(rng, n=400, position=rng.integers(1, 3, 400))
    chosen = rng.random(400) < 0.7
    table["outcome"] = np.where(chosen, table["position"] == place, table["outcome"]).astype(float)
    frame = audit(table, **QUICK).to_frame()
    assert frame.loc[0, ["severity", "check"]].tolist() == ["high", "position"]
    assert f"shown {which} in" in frame.loc[0, "finding"]


def test_a_preference_for_lists_is_found(fair):
    rng = np.random.default_rng(6)
    fair["list_model"], fair["list_reference"] = rng.integers(0, 2, (2, N))
    fair.loc[fair["list_model"] > fair["list_reference"], "outcome"] = 1
    assert ("low", "lists", "") in found(fair)


@pytest.mark.slow
def test_agreement_below_that_of_people_is_found(fair):
    people = pd.concat([fair.assign(annotator=name) for name in ("p", "q", "r")])
    nameless = ("info", "own family", "")  # nobody knows of which family the judge is
    assert found(fair, humans=people) == {("info", "agreement", ""), nameless}
    half = fair.index % 2
    wrong = fair.assign(outcome=np.where(half, fair["outcome"], 1 - fair["outcome"]))
    frame = audit(wrong, humans=people, **QUICK).to_frame()
    assert ("high", "agreement") in set(frame[["severity", "check"]].itertuples(index=False, name=None))
    texts = frame.set_index("check").loc["agreement", "finding"]
    assert "less often than one person does, by 50.0 points" in texts.iloc[0]
    assert "50.0 % of the pairs, one person with that of the others in 100.0 %" in texts.iloc[1]


@pytest.mark.slow
def test_a_judge_as_good_as_one_person_is_not_found_better(fair):
    """Against the majority of all three people it would agree 5 points more often than one of them."""
    rng = np.random.default_rng(5)
    people = pd.concat([fair.assign(annotator=k) for k in "pqr"])
    wrong = rng.random(len(people)) < 0.2
    people["outcome"] = np.where(wrong, 1 - people["outcome"], people["outcome"])
    wrong = rng.random(len(fair)) < 0.2
    judge = fair.assign(outcome=np.where(wrong, 1 - fair["outcome"], fair["outcome"]))
    result = audit(judge, humans=people, **QUICK)
    agreement = result.results["agreement"].set_index("annotator")["agreement"]
    row = result.results["agreement_difference"].iloc[0]
    assert row["difference"] == pytest.approx(agreement.drop("humans").item() - agreement["humans"])
    assert abs(row["difference"]) < 2 * row["standard_error"]
    findings = result.to_frame().query("check == 'agreement'")
    assert findings["severity"].tolist() == ["info", "info"]
    assert "not shown to agree with people more or less often" in findings["finding"].iloc[1]


def test_one_person_a_pair_has_no_other_to_be_compared_with(fair):
    result = audit(fair, humans=fair.assign(annotator="p"), **QUICK)
    assert result.results["agreement"].set_index("annotator")["agreement"].drop("humans").item() == 1
    assert "agreement_difference" not in result.results
    assert "agreement_difference" not in result.settings["skipped"]


def test_printed_numbers_are_checked():
    table = from_counts(
        {"model": ["m"], "n_wins": [703], "n_losses": [97], "n_draws": [1]}, reference="ref", annotator="j"
    )
    claims = pd.DataFrame({"model": "m", "reference": "ref", "printed": ["87.83", "87.82", "87.35"]})
    frame = audit(table, claims=claims, **QUICK).to_frame()
    heading = figures.claims(audit(table, claims=claims, **QUICK).results["claims"]).texts[0]
    assert heading.get_text() == "against ref"
    plt.close("all")
    verdicts = frame[frame["check"] == "claims"]
    assert verdicts["severity"].tolist() == ["high", "high", "info"]
    assert verdicts["finding"].str.contains("87.35 % against ref: impossible as printed").sum() == 1


def test_a_handful_of_judgements_is_audited(tmp_path):
    table = pd.DataFrame(
        {
            "model": ["a", "a", "b", "b"],
            "instruction": ["x", "y", "x", "y"],
            "outcome": [1, 0, 1, 0.5],
            "output_model": ["abc", "ab", "a", "a"],
            "output_reference": ["a", "abcd", "bc", "abcd"],
        }
    )
    result = audit(table, **QUICK)
    assert len(result.results["length_response"]) == 4
    some = audit(table.assign(outcome=[1, None, 1, 0.5]), **QUICK)
    assert len(some.results["length_response"]) <= 3
    assert "<table" in page(result, tmp_path)
    same = audit(table.assign(output_model="a", output_reference="bb"), **QUICK)
    assert "collinear" in page(same, tmp_path)
    plt.close("all")


def test_what_cannot_be_computed_is_said_with_its_reason(tmp_path):
    table = from_counts({"model": ["m"], "n_wins": [70], "n_losses": [25], "n_draws": [5]}, reference="r")
    result = audit(table, **QUICK)
    assert set(result.settings["skipped"]) == {"length_preference", "length_response", "length_control"}
    absent = {
        "first_place",
        "first_position",
        "lists",
        "agreement",
        "claims",
        "order",
        "noise",
        "style",
        "more_beyond_people",
        "beyond_people",
        "own_family",
    }
    assert set(result.settings["not_given"]) == absent
    frame = result.to_frame()
    assert frame["severity"].tolist() == ["info"]
    assert frame.loc[0, "check"] == "length preference, length response, length control"
    assert frame.loc[0, "finding"].startswith("not looked at: the judgements do not say how long outputs are")
    assert repr(result).startswith(
        "Audit of an unnamed judge: 100 judgements of m, which wins 72.5 % [63.5, 80.5], against r"
    )
    said = html.unescape(page(result, tmp_path))
    for reason in (*result.settings["skipped"].values(), *result.settings["not_given"].values()):
        assert reason in said


@pytest.mark.slow
def test_an_undefined_win_rate_says_why(fair):
    frame = audit(fair.assign(outcome=0.9), **QUICK).to_frame()
    assert "all outcomes are equal" in frame.set_index("check").loc["win rate", "finding"]


def test_findings_stand_strongest_first():
    results = {"health": health(judgements(np.random.default_rng(0), length_model=5, outcome=0.5))}
    frame = collect(results, {"skipped": {"claims": "no"}})
    assert frame["severity"].tolist() == ["high", "medium", "info"]


def test_several_judges_are_refused(fair):
    both = pd.concat([fair, fair.assign(annotator="other")])
    with pytest.raises(AnnotationError, match="one annotator; select one"):
        audit(both)


def test_of_several_references_what_concerns_the_judge_is_looked_at(fair):
    other = fair.assign(reference="other", length_reference=fair["length_reference"] + 50)
    result = audit(pd.concat([fair, other]), **QUICK)
    assert {"win_rates", "length_control"} == set(result.settings["skipped"])
    assert {"health", "length_preference"} <= set(result.results)
    frame = result.checks().set_index("check")
    assert frame.loc["win rate", "why"].startswith("the judgements are against several references")
    assert frame.loc["length preference", "status"] == "fine"
    assert not (result.to_frame()["check"] == "reference").any()


def test_input_is_left_as_it_was(fair):
    fair.attrs["mine"] = 1
    before = fair.copy()
    audit(fair, **QUICK)
    pd.testing.assert_frame_equal(fair, before)
    assert fair.attrs == {"mine": 1}


def test_health_counts_what_pandas_counts():
    rng = np.random.default_rng(7)
    table = judgements(rng, n=50, n_extra=0).assign(n=rng.integers(1, 4, 50))
    table.loc[:4, "outcome"] = np.nan
    table.loc[5:9, "outcome"] = 0.5
    rows = table.loc[table.index.repeat(table["n"])]
    row = health(table).iloc[0]
    assert row["n_judged"] == rows["outcome"].notna().sum()
    assert row["n_missing"] == rows["outcome"].isna().sum()
    assert row["n_draws"] == (rows["outcome"] == 0.5).sum()
    assert row["mean_length"] == pytest.approx(rows["length_model"].mean())
    assert row["mean_length_reference"] == pytest.approx(rows["length_reference"].mean())
    assert row["same_length"] == pytest.approx(rows["length_model"].value_counts(normalize=True).max())


class Page(html.parser.HTMLParser):
    """What a page holds: tags, attributes, and every address it could ask."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.addresses, self.images = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [v for k, v in attrs if k in ("src", "href", "action", "data", "srcset")]
        self.images += [v for k, v in attrs if tag == "img" and k == "src"]


@pytest.mark.slow
def test_the_page_is_one_file_that_asks_for_nothing(fair, tmp_path):
    path = audit(fair, **QUICK).to_html(tmp_path / "deep" / "audit.html")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("script") == 1  # sorts and filters tables; nothing else may run
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL).group(1)
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{hashed}';" in text
    assert not {"link", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert all(a.startswith(("#", "data:image/svg+xml;base64,")) for a in page.addresses)
    assert len(page.images) == 3
    assert "url(" not in text
    assert "@import" not in text
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text).group(1)
    assert policy.startswith("default-src 'none';")
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes_in_any_process(tmp_path):
    code = (
        "import sys; from alpaca_analysis import audit, from_counts\n"
        "t = from_counts({'model': list('abc'), 'n_wins': [7, 6, 5], 'n_losses': [2, 3, 4], 'n_draws': 1})\n"
        "a = audit(t, n_resamples=99); a.to_html(sys.argv[1] + '.html'); a.to_json(sys.argv[1] + '.json')"
    )
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / seed)],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "MPLBACKEND": "agg"},
        )
    for suffix in ("html", "json"):
        first, second = ((tmp_path / f"{seed}.{suffix}").read_bytes() for seed in ("1", "2"))
        assert first == second


def test_json_keeps_every_digit_and_undefined_numbers_are_null(fair, tmp_path):
    result = audit(fair.assign(outcome=0.9), **QUICK)
    content = json.loads(result.to_json(tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert content["results"]["win_rates"][0]["ci_low"] is None
    assert content["results"]["health"][0]["mean_length"] == fair["length_model"].mean()
    assert [f["finding"] for f in content["findings"]] == result.to_frame()["finding"].tolist()


@pytest.fixture(scope="module")
def hostile():
    rng = np.random.default_rng(8)
    models = [judgements(rng, model=name, length_model=9) for name in HOSTILE]
    table = pd.concat(models, ignore_index=True)
    table["reference"], table["annotator"], table["dataset"] = HOSTILE[0], HOSTILE[1], HOSTILE[2]
    table["position"] = 1
    table["outcome"] = 1.0
    table.attrs["disagreements"] = [
        {"file": HOSTILE[4], "column": "model", "folder": HOSTILE[0], "in_file": HOSTILE[1]}
    ]
    claims = pd.DataFrame({"model": HOSTILE, "reference": HOSTILE[0], "printed": "50.00"})
    return audit(table, claims=claims, **QUICK)


@pytest.mark.slow
def test_names_cannot_act_in_the_page(hostile, tmp_path):
    text = hostile.to_html(tmp_path / "audit.html").read_bytes().decode()
    page = Page(text)
    assert set(page.tags) <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "nav", "a", "ul", "li", "span"),
        *("br", "strong", "section", "img", "div", "table", "caption", "thead", "tbody", "tr", "th", "td"),
        *("footer", "script", "details", "summary"),
    }
    assert page.tags.count("script") == 1
    assert page.attributes <= {
        *("lang", "charset", "name", "content", "http-equiv", "aria-label", "href", "id", "class", "src"),
        *("alt", "style", "scope"),
    }
    assert not any(a.startswith("javascript:") for a in page.addresses)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert "{{ 7 * 7 }}" in text
    for image in page.images:
        assert b"<script" not in base64.b64decode(image.split(",")[1])


def test_names_cannot_act_in_a_terminal_or_a_notebook(hostile):
    text = repr(hostile)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert max(map(len, text.splitlines())) < 200
    shown = Page(hostile._repr_html_())
    assert set(shown.tags) <= {"p", "table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert shown.attributes <= {"style", "scope"}


def test_names_stay_whole_in_json(hostile, tmp_path):
    content = json.loads(hostile.to_json(tmp_path / "a.json").read_bytes())
    models = {row["model"] for row in content["results"]["health"]}
    assert models == set(HOSTILE)


@pytest.mark.rows
@pytest.mark.slow
def test_an_audit_with_people_and_two_judges_of_pandalm(mirror):
    rows = read_annotations(mirror / "pandalm")
    humans = rows[rows["annotator"].astype(str).str.startswith("human")]
    judges = sorted(set(rows["annotator"].astype(str)) - set(humans["annotator"].astype(str)))
    assert len(judges) == 2
    one = rows[rows["annotator"] == judges[-1]]
    result = audit_one_reference(one, humans)
    assert result.results["agreement"]["annotator"].tolist()[0] == "humans"


def audit_one_reference(rows, humans):
    pair = rows["reference"].value_counts().index[0]
    return audit(rows[rows["reference"] == pair], humans=humans[humans["reference"] == pair], **QUICK)


@pytest.mark.rows
@pytest.mark.slow
def test_a_judge_of_llmbar_is_audited_for_position(mirror):
    from alpaca_analysis import load

    rows = load("llmbar")
    judge = next(a for a in rows["annotator"].cat.categories if a != "gold")
    result = audit(rows[rows["annotator"] == judge], humans=rows[rows["annotator"] == "gold"], **QUICK)
    assert "first_position" in result.results
    assert "agreement" in result.results


@pytest.mark.rows
@pytest.mark.slow
def test_annotation_files_are_audited_and_the_adversarial_ones_are_named(mirror):
    """Every twelfth file, and the adversarial ones; the benchmarks of the shell audit all sixty."""
    files = sorted((mirror / "alpaca_eval" / "results").glob("*/*/annotations.json"))
    assert len(files) == 60
    adversarial = {"NullModel", "gpt4_gamed"}
    named = set()
    for file in [f for k, f in enumerate(files) if k % 12 == 0 or f.parts[-3] in adversarial]:
        result = audit(read_annotations(file), n_resamples=99)
        assert not result.settings["skipped"]
        frame = result.to_frame()
        suspect = frame[frame["finding"].str.contains("adversarial", case=False)]
        assert (suspect["severity"] == "high").all()
        named |= set(suspect["model"])
    assert named == adversarial


def test_seed_and_resamples_reach_the_agreement_with_people(fair):
    rng = np.random.default_rng(0)
    people = [fair.assign(annotator=name, outcome=rng.integers(0, 2, N) * 1.0) for name in "pqr"]
    found = [
        audit(fair, humans=pd.concat(people), n_resamples=50, rng=seed).results["agreement"]
        for seed in (1, 2)
    ]
    assert [frame.attrs["n_resamples"] for frame in found] == [50, 50]
    assert [frame.attrs["rng"] for frame in found] == [1, 2]
    assert not np.allclose(found[0][["ci_low", "ci_high"]], found[1][["ci_low", "ci_high"]])


@pytest.mark.parametrize("absent", ["length_reference", "length_model"])
def test_lengths_of_a_side_nobody_gave_are_not_called_no_text(fair, absent):
    assert health(fair.drop(columns=absent))["n_not_text"].tolist() == [0]
    other = ({"length_reference", "length_model"} - {absent}).pop()
    some = fair.drop(columns=absent).astype({other: float})
    some.loc[:2, other] = np.nan
    assert health(some)["n_not_text"].tolist() == [3]


@pytest.mark.parametrize(
    ("files", "shown"),
    [
        (["/home/me/results/m/j/a.json", "/home/me/results/k/j/a.json"], "m/j/a.json"),
        (["/home/me/a.json"], "a.json"),
        (["/home/me/a.json", "other/b.json"], "a.json"),
        (["results/m/a.json", "results/k/a.json"], "m/a.json"),
    ],
)
def test_files_are_named_from_their_common_folder(fair, files, shown):
    """Where somebody keeps their files is not the reader's business."""
    fair.attrs["files"] = [{"file": file} for file in files]
    fair.attrs["disagreements"] = [{"file": files[0], "column": "model", "folder": "m", "in_file": "example"}]
    result = audit(fair, **QUICK)
    assert result.to_frame().loc[0, "evidence"] == shown
    assert result.settings["disagreements"][0]["file"] == shown
    assert fair.attrs["disagreements"][0]["file"] == files[0]


def with_texts(table, **texts):
    given = {"instruction": "Say it.", "output_model": "mine", "output_reference": "theirs", **texts}
    return table.assign(**given)


@pytest.mark.slow
def test_findings_have_pairs_to_read_behind_them_where_texts_were_given(fair, tmp_path):
    rng = np.random.default_rng(1)
    fair["instruction"] = [f"prompt {k}" for k in range(N)]
    fair["output_model"] = ["w" * int(n) for n in rng.integers(200, 1500, N)]
    fair["output_reference"] = ["v" * int(n) for n in rng.integers(200, 1500, N)]
    longer = fair["output_model"].str.len() - fair["output_reference"].str.len()
    fair = fair.drop(columns=["length_model", "length_reference"])
    fair["outcome"] = (longer > 0).astype(float)
    few = longer.abs().sort_values().index[:20]
    fair.loc[few, "outcome"] = 1 - fair.loc[few, "outcome"]
    fair.loc[[3, 4, 5], "outcome"] = np.nan
    result = audit(fair, **QUICK)
    frame = result.to_frame().reset_index(names="finding_row")
    shown = result.examples.merge(frame[["finding_row", "check"]], left_on="finding", right_on="finding_row")
    missing = shown[shown["check"] == "missing judgements"]
    assert missing["instruction"].tolist() == ["prompt 3", "prompt 4"]
    assert set(missing["verdict"]) == {"no verdict"}
    preferred = shown[shown["check"] == "length preference"]
    most = longer[fair["outcome"].notna()].abs().sort_values(ascending=False).index[:2]
    assert preferred["instruction"].tolist() == [f"prompt {k}" for k in most]
    text = page(result, tmp_path)
    assert text.count("<details>") == shown["finding"].nunique()
    assert "characters more)" in text
    content = json.loads(result.to_json(tmp_path / "a.json").read_text(encoding="utf-8"))
    assert "prompt 3" not in json.dumps(content)  # texts may not be ours to pass on


def test_hostile_texts_are_texts_in_the_page(fair, tmp_path):
    evil = "</p><script>alert(1)</script>\x1b[31m\nsecond line"
    table = with_texts(fair, output_model=evil).assign(outcome=0.5)
    text = page(audit(table.drop(columns=["length_model", "length_reference"]), **QUICK), tmp_path)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[31m\nsecond line" in text
    assert text.count("<script") == 1


def test_what_holds_nothing_has_no_column_and_data_health_stands_last(tmp_path):
    table = from_counts({"model": ["m", "k"], "n_wins": [70, 60], "n_losses": [25, 40], "n_draws": [5, 0]})
    text = page(audit(table, **QUICK), tmp_path)
    heads = re.findall(r"<th[^>]*>([^<]+)</th>", text.split('id="health"')[1])
    assert heads == ["model", "judged", "draws"]
    assert text.index('id="findings"') < text.index('id="checks"') < text.index('id="win_rates"')
    assert text.index('id="win_rates"') < text.index('id="health"') < text.index('id="absent"')


def test_each_check_is_named_with_what_it_came_to(fair):
    fair.loc[:9, "outcome"] = np.nan
    frame = audit(fair, **QUICK).checks().set_index("check")
    assert frame.loc["missing judgements", ["severity", "n_findings"]].tolist() == ["medium", 1]
    assert frame.index[0] == "missing judgements"
    assert frame.loc["draws", "severity"] == "none"
    assert frame.loc["claims", ["severity", "why"]].tolist() == ["", "no printed numbers were given (claims)"]
    assert frame.loc["reference", "why"] == "there is one model"
    counts = from_counts({"model": ["m"], "n_wins": [7], "n_losses": [2], "n_draws": [1]})
    assert audit(counts, **QUICK).checks().set_index("check").loc["outputs", "severity"] == ""


def test_every_finding_belongs_to_a_named_check():
    import inspect

    from alpaca_analysis.audits import biases, checks, rules

    sources = inspect.getsource(rules) + inspect.getsource(biases)
    yielded = set(re.findall(r'yield (?:\S+|"\w+" if .*? else "\w+"), "([a-z ]+)"', sources))
    assert len(yielded) >= 8
    assert yielded - set(rules.SEVERITIES) <= {name for name, _, _ in checks.CHECKS}


@pytest.mark.slow
def test_cells_of_length_are_audited_at_equal_length(tmp_path):
    from alpaca_analysis import load

    cells = load("alpaca_eval_v1_cells")
    cells = cells[cells["model"].isin(["gpt4", "alpaca-7b"])]
    result = audit(cells, **QUICK)
    assert {"length_control", "length_response"} <= set(result.results)
    assert result.results["length_response"].attrs["scale"] == "tanh"
    assert "length_preference" in result.settings["skipped"]


def test_adjusted_p_values_are_holms():
    from statsmodels.stats.multitest import multipletests

    from alpaca_analysis.win_rates.two_models import holm

    pvalues = pd.Series([0.04, np.nan, 0.001, 0.03, 0.6], index=list("abcde"))
    known = pvalues.dropna()
    expected = pd.Series(multipletests(known, method="holm")[1], known.index).reindex(pvalues.index)
    pd.testing.assert_series_equal(holm(pvalues), expected)


def _two_models(n_better, n=400):
    """Return two models that differ on few instructions; the first wins `n_better` more of them."""
    first, second = np.zeros(n), np.zeros(n)
    first[: 6 + n_better] = 1
    second[-6:] = 1
    rows = [
        said(y, model=name, length_model=100, length_reference=100)
        for y, name in ((first, "a"), (second, "b"))
    ]
    return pd.concat(rows, ignore_index=True)


@pytest.mark.parametrize(
    ("n_better", "severity", "text"),
    [
        (3, "medium", "first by win rate, but 4 judgements decide its place above b"),
        (60, None, ""),
    ],
)
def test_a_first_place_that_few_judgements_decide_is_named(n_better, severity, text):
    result = audit(_two_models(n_better), n_resamples=99)
    found = result.to_frame().set_index("check")
    asked = result.checks().set_index("check").loc["first place"]
    if severity is None:
        assert "first place" not in found.index
        assert asked["status"] == "fine"
    else:
        row = found.loc["first place"]
        assert (row["severity"], row["model"], row["finding"]) == (severity, "a", text)
    single = audit(_two_models(3).query("model == 'a'"), n_resamples=99).checks().set_index("check")
    assert (
        single.loc["first place", "why"] == "there are no two models whose judgements name their instructions"
    )
