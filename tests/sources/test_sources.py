"""The catalogue, loading by name, and where files come from."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import alpaca_analysis as aa
from alpaca_analysis.sources import catalogue as sources

BUNDLED = aa.catalog().query("kind in ('figures', 'counts')")["name"].tolist()
PUBLISHED = [name for name in BUNDLED if name.endswith("leaderboard") or "_leaderboard_" in name]


@pytest.fixture
def nothing_at_hand(monkeypatch, tmp_path):
    """Neither mirror nor cache, and an address where nobody listens."""
    monkeypatch.delenv(sources.MIRROR, raising=False)
    monkeypatch.setenv(sources.CACHE, str(tmp_path / "cache"))
    monkeypatch.setenv("ALPACA_ANALYSIS_URL", "http://127.0.0.1:9")
    return tmp_path / "cache"


def test_catalogue_says_what_there_is():
    catalog = aa.catalog()
    expected = ["name", "what", "kind", "files", "n_files", "licence", "bytes", "available"]
    assert catalog.columns.tolist() == expected
    assert catalog["name"].is_unique
    assert set(catalog["kind"]) <= {"figures", "counts", "rows", "hub"}
    assert (catalog.loc[catalog["kind"].isin(["figures", "counts"]), "available"] == "bundled").all()
    assert not catalog[["what", "licence", "files"]].eq("").any().any()


@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_name_loads_without_mirror_or_network(name, nothing_at_hand):
    frame = aa.load(name)
    assert len(frame) > 0
    assert isinstance(frame.index, pd.RangeIndex)
    assert frame.attrs["name"] == name
    described = frame.drop(columns="note", errors="ignore")
    assert not described.isna().all().any() or "outcome" in frame


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_leaderboards_start_with_the_model_and_stay_in_percent(name):
    board = aa.load(name)
    assert board.columns[0] == "model"
    assert board["model"].is_unique
    if "win_rate" in board:
        assert board["win_rate"].between(0, 100).all()
        assert board["win_rate"].max() > 40


def test_loaded_numbers_are_the_printed_ones():
    board = aa.load("alpaca_eval_v1_leaderboard_2023_09_19").set_index("model")
    assert board.loc["xwinlm-70b-v0.1", "win_rate"] == 95.56803995006244
    assert board.loc["gpt4", ["n_wins", "n_wins_base", "n_draws"]].tolist() == [761, 32, 12]


def test_printed_claims_stay_text():
    claims = aa.load("xwin_claims")
    assert all(isinstance(value, str) for value in claims["printed"])
    assert "87.50" in claims["printed"].tolist()


def test_loading_twice_gives_frames_that_do_not_share_their_data():
    first = aa.load("models")
    first.loc[0, "model"] = "changed"
    assert aa.load("models").loc[0, "model"] != "changed"


def test_unknown_name_lists_near_ones():
    with pytest.raises(
        ValueError, match=r"'alpaca_eval_v1_leaderbord'.*such as 'alpaca_eval_v1_leaderboard'"
    ):
        aa.load("alpaca_eval_v1_leaderbord")
    with pytest.raises(ValueError, match=r"'pandalm/testset.json'.*'pandalm/testset-v1.json'"):
        sources.fetch("pandalm/testset.json")


@pytest.mark.parametrize("name", aa.catalog().query("kind == 'rows'")["name"].tolist())
@pytest.mark.parametrize("download", [True, False])
def test_rows_never_become_counts(name, download, nothing_at_hand):
    assert sources.available(name) == "download"
    with pytest.raises(sources.DataUnavailableError) as caught:
        aa.load(name, download=download)
    message = str(caught.value)
    assert f"rows of {name!r} are not at hand" in message
    assert sources.MIRROR in message
    instead = sources._catalog().loc[name, "counts"]
    if instead:
        assert f"load({instead!r})" in message
        assert instead in BUNDLED


def test_rows_name_only_bundled_alternatives():
    assert set(sources._catalog()["counts"]) - {""} <= set(BUNDLED)


def test_availability_of_single_files_and_patterns(nothing_at_hand, monkeypatch, tmp_path):
    path = "alpaca_eval/results/gpt4/model_outputs.json"
    assert sources.available(path) == "download"
    for folder, place in ((nothing_at_hand, "cached"), (tmp_path / "mirror", "mirror")):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text("[]")
        if place == "mirror":
            monkeypatch.setenv(sources.MIRROR, str(folder))
        assert sources.available(path) == place
    assert sources.available("alpaca_eval/results/gpt4*/model_outputs.json") == "download"
    with pytest.raises(ValueError, match="expected a name"):
        sources.available("nothing")


def test_mirror_that_is_no_folder_is_an_error_not_a_download(monkeypatch, tmp_path):
    monkeypatch.setenv(sources.MIRROR, str(tmp_path / "nowhere"))
    with pytest.raises(sources.DataUnavailableError, match=r"nowhere.*not a folder"):
        aa.load("alpaca_eval_v1")


@pytest.mark.rows
def test_registry_agrees_with_the_mirror(mirror):
    found = sources.verify()
    known = sources.registry()
    known = known[known["sha256"].notna()]
    assert len(known) == 110
    assert set(found.loc[found["path"].isin(known["path"]), "status"]) == {"ok"}
    on_disk = {path.relative_to(mirror).as_posix() for path in mirror.rglob("*") if path.is_file()}
    samples = {path for path in on_disk if path.startswith("formats/")}  # of other formats: for tests alone
    assert set(known["path"]) == on_disk - samples - {"README.md"}


def test_registry_is_complete():
    registry = sources.registry()
    assert registry["path"].is_unique
    assert registry["sha256"].dropna().str.fullmatch("[0-9a-f]{64}").all()
    assert registry["sha256"].isna().equals(registry["bytes"].isna())
    assert registry["url"].str.startswith("https://").all()
    fixed = registry.loc[registry["sha256"].notna(), "url"]
    assert fixed.str.contains(r"/[0-9a-f]{40}/").all()


@pytest.mark.rows
@pytest.mark.parametrize(
    ("name", "n_rows", "n_models", "licence"),
    [
        ("alpaca_eval_v1", 40 * 805, 40, "CC-BY-NC-4.0"),
        ("alpaca_eval_outputs", 17 * 805 - 1, 17, "CC-BY-NC-4.0"),  # one output was never published
        ("pandalm", 5 * 999, None, "Apache-2.0"),
        ("llmbar", 18 * 200 + 300, None, "MIT"),
    ],
)
@pytest.mark.slow
def test_rows_load_from_the_mirror(name, n_rows, n_models, licence, mirror):
    assert sources.available(name) == "mirror"
    table = aa.load(name)
    assert len(table) == n_rows
    assert n_models is None or table["model"].nunique() == n_models
    assert table.attrs["name"] == name
    assert table.attrs["licence"] == licence


@pytest.mark.rows
@pytest.mark.slow
def test_counts_lose_nothing_of_a_win_rate_by_source_or_over_all(alpaca_eval_v1):
    counts = aa.load("alpaca_eval_v1_counts")
    assert counts["n"].sum() == len(alpaca_eval_v1)
    keys = ["model", "dataset", "outcome"]
    recount = alpaca_eval_v1.astype({"model": str, "dataset": str}).groupby(keys, dropna=False).size()
    counted = counts.astype({"model": str, "dataset": str}).set_index(keys)["n"]
    pd.testing.assert_series_equal(counted.sort_index(), recount.sort_index(), check_names=False)
    rows, same = (aa.win_rate(t, method="t").set_index("model") for t in (alpaca_eval_v1, counts))
    columns = ["win_rate", "standard_error", "ci_low", "ci_high", "n_total", "n_missing"]
    pd.testing.assert_frame_equal(
        same.loc[rows.index, columns], rows[columns], rtol=1e-12, check_index_type=False
    )


@pytest.mark.rows
def test_instructions_are_a_recount_of_the_rows(alpaca_eval_v1):
    summary = aa.load("alpaca_eval_v1_instructions").set_index("instruction_id")
    judged = alpaca_eval_v1.dropna(subset="outcome")
    recount = judged.groupby("instruction_id")["outcome"].agg(["mean", "count"]).loc[summary.index]
    assert (summary["mean_outcome"] - recount["mean"]).abs().max() < 1e-6
    assert summary["n_models"].tolist() == recount["count"].tolist()
    assert (summary["n_models"] + summary["n_missing"] == 40).all()
    assert summary["dataset"].value_counts().to_dict() == {
        "selfinstruct": 252,
        "oasst": 188,
        "koala": 156,
        "helpful_base": 129,
        "vicuna": 80,
    }


@pytest.mark.rows
def test_cells_give_length_control_within_the_loss_the_codebook_states(alpaca_eval_v1):
    cells = aa.load("alpaca_eval_v1_cells")
    assert cells["n"].sum() == len(alpaca_eval_v1)
    assert len(cells) < len(alpaca_eval_v1) / 7
    rows = aa.fit_length_control(alpaca_eval_v1).to_frame().set_index("model")
    same = aa.fit_length_control(cells).to_frame().set_index("model").loc[rows.index]
    error = 100 * (same["lc_win_rate"] - rows["lc_win_rate"]).abs()
    assert error.mean() < 0.105
    assert error.max() < 0.285
    assert (same["standard_error"] / rows["standard_error"]).between(0.99, 1.01).all()
    pd.testing.assert_series_equal(same["win_rate"], rows["win_rate"], rtol=1e-12)


@pytest.mark.rows
@pytest.mark.parametrize("model", ["xwinlm-70b-v0.1", "xwinlm-70b-v0.3", "xwinlm-13b-v0.1", "xwinlm-7b-v0.1"])
@pytest.mark.parametrize("reference", ["gpt4", "gpt-3.5-turbo-0301"])
def test_length_cells_give_mean_spread_and_distribution(model, reference, mirror):
    lengths = {}
    for name in (model, reference):
        records = json.loads((mirror / "alpaca_eval" / "results" / name / "model_outputs.json").read_text())
        lengths[name] = pd.Series({r["instruction"]: len(r["output"]) for r in records})
    difference = lengths[reference] - lengths[model]
    feature = np.tanh(difference / difference.std())

    cells = aa.load("xwin_length_cells").query("model == @model and reference == @reference")
    n, within = cells["n"].to_numpy(), cells["sd_difference"].to_numpy()
    mean = (cells["length_reference"] - cells["length_model"]).to_numpy()
    total = n.sum()
    assert total == 805
    assert np.average(mean, weights=n) == pytest.approx(difference.mean(), abs=1e-5)
    spread = np.sqrt((n * (within**2 + (mean - difference.mean()) ** 2)).sum() / (total - 1))
    assert spread == pytest.approx(difference.std(), abs=1e-5)
    assert np.abs(np.sort(feature) - np.sort(np.repeat(cells["length_feature"], n))).max() < 0.08


@pytest.mark.rows
def test_length_cells_of_the_reference_are_those_of_the_leaderboard(mirror):
    board = aa.load("alpaca_eval_v1_leaderboard").set_index("model")["avg_length"]
    cells = aa.load("xwin_length_cells")
    means = cells.assign(total=cells["n"] * cells["length_model"]).groupby("model")[["total", "n"]].sum()
    means = means["total"] / means["n"]
    assert (means - board.loc[means.index]).abs().max() <= 1  # the leaderboard truncates


@pytest.mark.rows
def test_pandalm_patterns_are_a_recount_of_the_files(mirror):
    files = {
        "human": "testset-v1",
        "gpt-3.5-turbo": "gpt-3.5-turbo-testset-v1",
        "pandalm-7b": "pandalm-7b-testset-v1",
    }
    raw = {k: pd.read_json(mirror / "pandalm" / f"{v}.json", dtype=False) for k, v in files.items()}
    coding = {"0": 0.5, "1": 1.0, "2": 0.0, "Tie": 0.5}
    patterns = pd.DataFrame(
        {f"human_{i}": raw["human"][f"annotator{i}"].astype(str).map(coding) for i in (1, 2, 3)}
        | {
            "gpt-3.5-turbo": raw["gpt-3.5-turbo"]["gpt_result"].astype(str).map(coding),
            "pandalm-7b": raw["pandalm-7b"]["pandalm_result"].astype(str).map(coding),
        }
    )
    recount = patterns.value_counts(dropna=False).rename("n").reset_index()
    counts = aa.load("pandalm_counts")
    order = recount.columns[:-1].tolist()
    pd.testing.assert_frame_equal(
        counts.sort_values(order, ignore_index=True), recount.sort_values(order, ignore_index=True)
    )
    assert counts["n"].sum() == 999
    assert counts.loc[counts["gpt-3.5-turbo"].isna(), "n"].sum() == 25


@pytest.mark.packaging
@pytest.mark.slow
def test_wheel_installed_elsewhere_finds_its_data(tmp_path):
    root = Path(__file__).parents[2]
    wheels = tmp_path / "wheels"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    subprocess.run(build, cwd=root, check=True, capture_output=True, timeout=120)
    (wheel,) = wheels.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import alpaca_analysis as aa, alpaca_analysis.sources.catalogue as s; "
        "print(s.data_folder()); print(len(aa.load('alpaca_eval_v1_leaderboard')), len(s.registry()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    folder, counts = done.stdout.splitlines()
    assert Path(folder) == tmp_path / "site" / "alpaca_analysis" / "data"
    assert counts == "102 112"


@pytest.mark.parametrize("name", aa.catalog().query("kind == 'hub'")["name"].tolist())
def test_names_on_the_hub_are_pinned_and_say_at_once_that_there_is_no_hub(name, monkeypatch, tmp_path):
    datasets = pytest.importorskip("datasets")
    row = aa.catalog().set_index("name").loc[name]
    assert re.fullmatch(r"hf:[\w-]+/[\w-]+@[0-9a-f]{40}:\w+", row["files"])
    assert row["available"] == "hub"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(aa.DataUnavailableError, match="HF_HUB_OFFLINE is set"):
        aa.load(name)
    with pytest.raises(aa.DataUnavailableError, match="not in the cache of datasets, and downloading"):
        aa.load(name, download=False)
    with pytest.raises(ValueError, match="a data set of the hub, not files"):
        sources.fetch(name)
