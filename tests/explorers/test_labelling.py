"""Labels: drawn as said, blind, on disk at every verdict, resumed, and people's judgements afterwards."""

import json

import numpy as np
import pandas as pd
import pytest

from alpaca_analysis import (
    AnnotationError,
    UndefinedWarning,
    calibrated_win_rate,
    human_agreement,
    label,
    read_annotations,
)

N = 90


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "instruction": [f"prompt {k}" for k in range(N)],
            "dataset": np.where(np.arange(N) < 60, "koala", np.where(np.arange(N) < 85, "vicuna", "oasst")),
            "model": "mine",
            "reference": "theirs",
            "annotator": "judge",
            "outcome": rng.integers(0, 2, N).astype(float),
            "output_model": [f"from mine {k}" for k in range(N)],
            "output_reference": [f"from theirs {k}" for k in range(N)],
        }
    )


def give(labeller, verdict):
    """Answer the pair that is shown, as the view does."""
    return labeller._answer({"verdict": verdict, "shown": len(labeller._records)})


def test_sides_are_blind_and_a_verdict_is_of_the_side_that_was_shown(table, tmp_path):
    labeller = label(table, tmp_path / "l.jsonl", n=40)
    shown = labeller._answer({"next": True})
    for _ in range(40):
        mine_left = "from mine" in shown["pair"]["a"]
        assert mine_left == (labeller.plan["position"].iloc[shown["shown"]] == 1)
        assert "from theirs" in shown["pair"]["b" if mine_left else "a"]
        assert set(shown) == {"pair", "shown", "status"}
        shown = give(labeller, "left" if mine_left else "right")
    assert shown["pair"] is None
    assert (labeller.labels["outcome"] == 1).all()
    assert 8 < (labeller.labels["position"] == 1).sum() < 32


def test_every_verdict_is_on_disk_at_once_and_labelling_goes_on_where_it_was_left(table, tmp_path):
    path = tmp_path / "new" / "l.jsonl"
    first = label(table, path, n=10)
    for k, verdict in enumerate(["left", "draw", "skip"]):
        give(first, verdict)
        assert len(path.read_text().splitlines()) == k + 1
    again = label(table.sample(frac=1, random_state=1), path, n=10)
    assert len(again.labels) == 3
    pd.testing.assert_frame_equal(again.labels, first.labels)
    assert again._answer({"next": True})["shown"] == 3
    assert repr(again) == f"<Labeller: 3 of 10 pairs done, 1 skipped, kept in {path}>"
    assert np.isnan(again.labels["outcome"].iloc[2])


def test_back_takes_the_last_verdict_away_and_a_late_answer_changes_nothing(table, tmp_path):
    labeller = label(table, tmp_path / "l.jsonl", n=5)
    shown = labeller._answer({"next": True})
    give(labeller, "left")
    give(labeller, "left")
    back = give(labeller, "back")
    assert back["shown"] == 1
    assert len((tmp_path / "l.jsonl").read_text().splitlines()) == 1
    labeller._answer({"verdict": "right", "shown": shown["shown"]})
    assert len(labeller.labels) == 1
    labeller._answer({"verdict": "nonsense", "shown": 1})
    assert len(labeller.labels) == 1


def test_draws_have_the_probabilities_that_are_recorded(table, tmp_path):
    plan = label(table, tmp_path / "a", n=30, by="dataset").plan
    sizes = table["dataset"].value_counts()
    taken = plan["stratum"].value_counts()
    assert taken.to_dict() == {"koala": 20, "vicuna": 8, "oasst": 2}
    np.testing.assert_allclose(plan["probability"], plan["stratum"].map(taken / sizes))
    equal = label(table, tmp_path / "b", n=24, by="dataset", allocation="equal").plan
    assert equal["stratum"].value_counts().to_dict() == {"koala": 10, "vicuna": 9, "oasst": 5}
    assert not plan.duplicated(["instruction_id"]).any()


def test_every_pair_is_drawn_as_often_as_any_other(table, tmp_path):
    counts = np.zeros(N)
    for seed in range(200):
        plan = label(table, tmp_path / "none", n=9, seed=seed).plan
        counts[[int(text.split()[1]) for text in plan["instruction"]]] += 1
    # 200 draws of 9 in 90: 20 each, with a standard deviation of 4.2
    assert counts.mean() == 20
    assert counts.std() < 6
    assert counts.min() > 5


def test_the_seed_says_which_pairs_and_which_sides(table, tmp_path):
    def plan(seed):
        return label(table, tmp_path / "none", n=20, seed=seed).plan[["instruction_id", "position"]]

    pd.testing.assert_frame_equal(plan(3), plan(3))
    assert not plan(3).equals(plan(4))


def test_the_file_is_peoples_judgements(table, tmp_path):
    path = tmp_path / "labels.jsonl"
    labeller = label(table, path, n=60)
    judged = table.set_index("instruction")["outcome"]
    for k in range(60):
        row = labeller.plan.iloc[k]
        agrees = k % 4 != 0
        outcome = judged[row["instruction"]] if agrees else 1 - judged[row["instruction"]]
        left = outcome if row["position"] == 1 else 1 - outcome
        give(labeller, "left" if left == 1 else "right")
    humans = read_annotations(path)
    with pytest.warns(UndefinedWarning, match="no pair with two human votes"):
        result = human_agreement(table, humans, method="t").set_index("annotator")
    assert result.loc["judge", "agreement"] == 0.75
    assert result.loc["judge", "n"] == 60
    calibrated = calibrated_win_rate(table, humans)
    assert calibrated.loc[0, "n_labelled"] == 60
    assert calibrated.loc[0, "human_win_rate"] == pytest.approx(humans["outcome"].mean())
    assert "instruction" not in json.loads(path.read_text().splitlines()[0])  # texts stay where they are


def test_a_pair_of_several_judges_is_labelled_once(table, tmp_path):
    both = pd.concat([table, table.assign(annotator="other")], ignore_index=True)
    assert len(label(both, tmp_path / "l").plan) == N


def test_labels_of_another_draw_or_person_are_not_mixed(table, tmp_path):
    path = tmp_path / "l.jsonl"
    give(label(table, path, n=10), "left")
    for options in ({"seed": 1}, {"n": 11}, {"by": "dataset"}):
        with pytest.raises(ValueError, match="path: found labels of another draw"):
            label(table, path, **({"n": 10} | options))
    with pytest.raises(ValueError, match="annotator: found 'you', expected 'me', who labelled"):
        label(table, path, n=10, annotator="you")
    path.write_text("{}\n")
    with pytest.raises(AnnotationError, match=r"l\.jsonl, row 0: found '{}', expected labels that label"):
        label(table, path, n=10)


def test_what_cannot_be_labelled_is_refused(table, tmp_path):
    with pytest.raises(AnnotationError, match="texts to be read: read_annotations"):
        label(table.drop(columns=["output_model", "output_reference"]), tmp_path / "l")
    with pytest.raises(ValueError, match="n: found 91, expected at most the 90 pairs"):
        label(table, tmp_path / "l", n=91)
    with pytest.raises(ValueError, match="n: found 2, expected at least one pair for each of 3 strata"):
        label(table, tmp_path / "l", n=2, by="dataset")
    assert not (tmp_path / "l").exists()
