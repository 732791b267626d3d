"""What ranks or compares models does not depend on how the table was written down.

The order of rows, the names of models, judgements all counted three times, and outcomes moved from y to
0.1 + 0.8 y (whose sums round otherwise) change no rank, no tie and no decision. The tables are small and full
of ties on purpose: there the last digit of a mean used to decide.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alpaca_analysis as aa

FEW = {"n_resamples": 49}


def _people(table, model):
    """Return two people on one model's rows, who leave the judge on every third and every fourth instruction."""
    rows = table[table["model"] == model]
    number = rows["instruction_id"].str[1:].astype(int)
    verdict = (rows["outcome"] - 0.1).round().clip(0, 1)
    parts = [
        rows.assign(annotator=name, model="m", outcome=verdict.where(number % every > 0, 1 - verdict))
        for name, every in (("anne", 3), ("ben", 4))
    ]
    return pd.concat(parts)


def _judges(table):
    """Return verdicts of judges who are named as the models are, on one model's rows."""
    return table.assign(
        annotator=table["model"], model="m", outcome=(table["outcome"] - 0.1).round().clip(0, 1)
    )


def _agreement(table, names):
    found = aa.human_agreement(_judges(table), _people(table, names[0]), method="t")
    found = found[found["annotator"] != "humans"]
    return found.rename(columns={"annotator": "model"}).assign(rank=found["agreement"].rank(method="min"))


def _compared_agreement(table, names):
    judges, people = _judges(table), _people(table, names[2])
    found = aa.compare_agreement(judges, people, *names[:2], method="percentile", **FEW)
    return found.rename(columns={"annotator_a": "model_a", "annotator_b": "model_b"})


def _correlation(table, names):
    wide = table.pivot(index="instruction_id", columns="model", values="outcome")
    first = np.arange(len(wide)) < len(wide) // 2
    x, y = wide[first].mean(), wide[~first].mean()
    both = {
        method: aa.win_rate_correlation(x, y, method=method, interval="bootstrap", **FEW).statistic
        for method in ("spearman", "kendall")
    }
    return pd.DataFrame([both])


def _order_plan(table, names):
    plan = aa.plan_order(table, **FEW)
    return pd.DataFrame({"ordered": [plan.n_neighbours_ordered], "undecided": [np.isinf(plan.n_needed)]})


# Each takes a table and the names of its models in a fixed order; with it, the columns that are decisions.
STATISTICS = {
    "compare": (lambda t, m: aa.compare(t, m[0], m[1]), ["difference_sign", "undecided"]),
    "rank_sets": (lambda t, m: aa.rank_sets(t, **FEW), ["rank"]),
    "pairwise_differences": (lambda t, m: aa.pairwise_differences(t, **FEW), ["difference_sign"]),
    "plan_comparison": (lambda t, m: aa.plan_comparison(t, m[0], m[1]), ["difference_sign", "discordance"]),
    "plan_order": (_order_plan, ["undecided"]),
    "check_first": (lambda t, m: aa.check_first(t, m[0]), ["model", "rank"]),
    "discrimination": (lambda t, m: aa.discrimination(t, **FEW), ["instruction_id", "discrimination"]),
    "fewer_instructions": (
        lambda t, m: aa.fewer_instructions(t, sizes=[3], **FEW),
        ["n", "same_best"],
    ),
    "human_agreement": (_agreement, ["rank"]),
    "compare_agreement": (_compared_agreement, ["difference_sign"]),
    "win_rate_correlation": (_correlation, ["spearman", "kendall"]),
}


@st.composite
def tables(draw):
    """Return judgements of three or four models on a few instructions, often with equal win rates."""
    n, p = draw(st.integers(6, 12)), draw(st.integers(3, 4))
    verdicts = np.array(draw(st.lists(st.integers(0, 2), min_size=n * p, max_size=n * p))).reshape(n, p) / 2
    if draw(st.booleans()):
        verdicts[:, 1] = draw(st.permutations(list(verdicts[:, 0])))
    instructions, models = np.repeat([f"i{k}" for k in range(n)], p), np.tile([f"m{j}" for j in range(p)], n)
    common = {"reference": "ref", "annotator": "judge", "outcome": verdicts.ravel()}
    return pd.DataFrame({"instruction_id": instructions, "model": models} | common)


def _decisions(name, table, names):
    """Return what a statistic decides, with models as numbers, or which of its errors it raises."""
    statistic, columns = STATISTICS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", aa.UndefinedWarning)
        try:
            frame = statistic(table, names).copy()
        except aa.AnnotationError as error:
            return pd.DataFrame({"error": [type(error).__name__]})
    keys = [c for c in ("model", "model_a", "model_b") if c in frame]
    frame[keys] = frame[keys].apply(lambda column: column.map(names.index))
    if "pvalue" in frame:
        frame["undecided"] = frame["pvalue"].isna() | (frame["pvalue"] == 1)
    if "difference" in frame:
        frame["difference_sign"] = np.sign(frame["difference"].where(frame["difference"].abs() > 1e-9, 0))
    if "model_a" in frame:
        turned = frame["model_a"] > frame["model_b"]
        frame["difference_sign"] = frame["difference_sign"].where(~turned, -frame["difference_sign"]) + 0.0
        frame[["model_a", "model_b"]] = np.sort(frame[["model_a", "model_b"]].to_numpy(dtype=int), axis=1)
    chosen = list(dict.fromkeys([*keys, *columns]))
    frame = frame[chosen].sort_values(chosen[: max(len(keys), 1)]).reset_index(drop=True)
    return frame.astype({c: float for c in frame if c != "instruction_id"})


@pytest.mark.parametrize("name", STATISTICS)
@given(tables(), st.randoms(use_true_random=False))
@settings(max_examples=5, deadline=None, derandomize=True)
def test_no_decision_depends_on_how_the_table_was_written(name, table, random):
    names = sorted(table["model"].unique())
    others = [f"z{len(names) - k}" for k in range(len(names))]
    order = list(table.index)
    random.shuffle(order)
    ways = {
        "rows in another order": (table.loc[order].reset_index(drop=True), names),
        "models under other names": (
            table.assign(model=table["model"].map(dict(zip(names, others, strict=True)))),
            others,
        ),
        "each judgement counted three times": (table.assign(n=3), names),
        "outcomes moved and squeezed": (table.assign(outcome=0.1 + 0.8 * table["outcome"]), names),
    }
    expected = _decisions(name, table, names)
    for way, (changed, called) in ways.items():
        found = _decisions(name, changed, called)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-9, atol=1e-9, obj=f"{name}, {way}")
