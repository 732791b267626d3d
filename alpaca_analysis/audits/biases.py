"""What moves the judge besides length: order, its own noise, length beyond people, its own family."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd
from scipy import stats

from alpaca_analysis.inference.results import has_reason
from alpaca_analysis.table.style_pairs import STYLE, style_difference

BETWEEN_ORDERS = (
    0.05  # share of pairs that go by the place rather than the output, from which many are decided by it
)
INCONSISTENT = (
    0.8  # share of pairs with the same output preferred in both orders below which a caveat is needed
)
NOISY = 0.1  # part of the squared error that is the judge's own noise
BEYOND = 0.05  # points of outcome per unit of tanh length, and of preference for the own family
SAID = {
    "headers": "headers",
    "bold": "bold text",
    "bulleted": "bulleted items",
    "numbered": "numbered items",
    "code_blocks": "blocks of code",
    "opening": "opening phrases",
    "refusal": "refusals",
    "position": "first places",
}
PAIR = ("instruction_id", "model", "reference", "annotator")
NEEDS = {
    "order": "no pair was judged in both orders (column position)",
    "noise": "no pair was judged twice in the same order (column repeat)",
    "style": "the judgements hold no features of style (read_annotations(..., features=True))",
    "beyond_people": "no human judgements were given (humans)",
    "more_beyond_people": "no human judgements were given (humans), or no positions and features of style",
    "own_family": "no human judgements were given (humans); several judges are compared by self_preference",
}


def bias_sections(
    table: pd.DataFrame,
    humans: pd.DataFrame | None,
    families: Mapping[str, str] | None,
    options: dict[str, Any],
) -> dict[str, Callable[[], pd.DataFrame]]:
    """Return the sections that the table allows, by name.

    Parameters
    ----------
    table : DataFrame
        Checked judgements of one judge, who has a name.
    humans : DataFrame, optional
        Judgements by people.
    families : mapping, optional
        Family of each model and judge.
    options : dict
        ``n_resamples`` and ``rng``.
    """
    from alpaca_analysis.biases.noise import judge_noise
    from alpaca_analysis.biases.order import order_consistency
    from alpaca_analysis.biases.own_family import self_preference
    from alpaca_analysis.length.beyond_people import bias_beyond_humans
    from alpaca_analysis.length.preferences import prefer

    sections: dict[str, Callable[[], pd.DataFrame]] = {}
    styles = [f for f in STYLE if f"{f}_model" in table and style_difference(table, f).fillna(0).ne(0).any()]
    if styles:
        needed = [
            *("instruction_id", "model", "reference", "annotator", "outcome", "n"),
            *("length_model", "length_reference"),
        ]

        def by_feature():
            each = [prefer(table[[*needed, f"{f}_model", f"{f}_reference"]], f, method="t") for f in styles]
            frame = pd.concat(each, ignore_index=True)
            frame.attrs = each[0].attrs
            return frame

        sections["style"] = by_feature
    pair = [c for c in (*PAIR, "turn") if c in table]
    known = table[table["instruction_id"].notna() & table["outcome"].notna()]
    place = ["position"] if "position" in table else []
    shown = known.dropna(subset=place).drop_duplicates([*pair, *place])
    if place and shown.duplicated(pair).any():
        sections["order"] = lambda: order_consistency(table, **options)
    if known.duplicated([*pair, *place]).any() or (known["n"] > 1).any():
        columns = [c for c in ("reference", *place) if len(table[c].unique()) > 1]
        sections["noise"] = lambda: judge_noise(table, by=["model", *columns])
    if humans is not None:
        sections["beyond_people"] = lambda: bias_beyond_humans(table, humans)
        known_of = ["position"] if place and len(shown) and "order" not in sections else []
        covariates = ["length", *known_of, *styles]
        if len(covariates) > 1:
            sections["more_beyond_people"] = lambda: bias_beyond_humans(table, humans, covariates=covariates)
        sections["own_family"] = lambda: self_preference(table, families=families, humans=humans)
    return sections


def beyond_people(frame: pd.DataFrame) -> Iterator[tuple]:
    """Yield what length adds where people are indifferent; also where nothing is shown."""
    rows = frame[(frame["kind"] == "judge") & (frame["quantity"] == "at_equal_preference")]
    for row in rows.dropna(subset=["ci_low"]).to_dict("records"):
        judge, size = row["annotator"], abs(row["estimate"])
        shift = f"outcome moves by {100 * row['estimate']:.1f} points where lengths differ by one spread"
        evidence = f"{shift}, 95 % interval {_points(row)}, n = {row['n']}"
        evidence += f"; {row['note']}" if row["note"] else ""
        if row["ci_low"] > 0 or row["ci_high"] < 0:
            which = "longer" if row["estimate"] > 0 else "shorter"
            text = f"{judge} is biased beyond people: it prefers {which} outputs more than people do"
            sure = not has_reason(pd.DataFrame([row]), "weak_instrument").iloc[0]
            yield "high" if size > BEYOND and sure else "medium", "beyond people", "", text, evidence
        else:
            text = f"{judge} is not shown to prefer longer or shorter outputs more than people do"
            yield "info", "beyond people", "", text, evidence


def style(frame: pd.DataFrame) -> Iterator[tuple]:
    """Yield which features of style go with being preferred, adjusted for their number."""
    error = frame["standard_error"].where(frame["standard_error"] > 0)
    pvalue = 2 * stats.norm.sf((frame["probability"] - 0.5).abs() / error) * len(frame)
    clear = frame[pvalue < 0.05]
    for more, rows in clear.groupby(clear["probability"] > 0.5, sort=False):
        rows = rows.sort_values("probability", ascending=not more)
        share = rows["probability"] if more else 1 - rows["probability"]
        listed = [
            f"{SAID[name]} ({100 * value:.1f} %)" for name, value in zip(rows["feature"], share, strict=True)
        ]
        which = "more" if more else "fewer"
        text = f"{rows['annotator'].iloc[0]} prefers, where it decides, the output with {which} "
        sizes = sorted({rows["n"].min(), rows["n"].max()})
        evidence = f"n = {' to '.join(map(str, sizes))} decisions; intervals in the table"
        yield "low", "style", "", text + ", ".join(listed), evidence


def more_beyond_people(frame: pd.DataFrame) -> Iterator[tuple]:
    """Yield covariates other than length that add to the verdict where people are indifferent, adjusted."""
    rows = frame[(frame["kind"] == "judge") & (frame["quantity"] == "at_equal_preference")]
    rows = rows[rows["covariate"] != "length"].dropna(subset=["pvalue"])
    sure = ~has_reason(rows, "weak_instrument")
    for row in rows[(rows["pvalue"] * len(rows) < 0.05) & sure].to_dict("records"):
        more = "more" if row["estimate"] > 0 else "fewer"
        what = f"outputs with {more} {SAID[row['covariate']]}"
        if row["covariate"] == "position":
            what = f"the output shown {'first' if row['estimate'] > 0 else 'second'}"
        text = f"{row['annotator']} is biased beyond people: it prefers {what} more than people do"
        shift = f"outcome moves by {100 * row['estimate']:.1f} points per unit of difference"
        evidence = f"{shift}, 95 % interval {_points(row)}, n = {row['n']}"
        yield "high" if abs(row["estimate"]) > BEYOND else "medium", "style beyond people", "", text, evidence


def order(frame: pd.DataFrame) -> Iterator[tuple]:
    """Yield preferences for a place, and verdicts that depend on the order."""
    for row in frame.to_dict("records"):
        first, second, n = row["n_first"], row["n_second"], row["n_pairs"]
        if row["pvalue"] < 0.05:
            which, often, rarely = ("first", first, second) if first > second else ("second", second, first)
            other = "second" if which == "first" else "first"
            text = (
                f"{row['annotator']} prefers the output shown {which}, whichever it is, in {often} of {n} "
                f"pairs judged in both orders, and the one shown {other} in {rarely}"
            )
            severity = "high" if (often - rarely) / n > BETWEEN_ORDERS else "medium"
            yield severity, "order", "", text, f"sign test, p = {row['pvalue']:.2g}"
        if row["consistent"] < INCONSISTENT and not row["beyond_low"] <= 0:  # repeats do not explain it
            text = (
                f"{row['annotator']} prefers the same output in both orders in only "
                f"{100 * row['consistent']:.0f} % of the pairs: judge every pair in both orders, and average"
            )
            evidence = f"{n} pairs"
            if not pd.isna(row["beyond_low"]):
                beyond = 100 * row["flips_beyond_repeats"]
                evidence += f"; {beyond:.1f} points more flips than between repeats in the same order"
            yield "medium", "order", "", text, evidence


def noise(frame: pd.DataFrame) -> Iterator[tuple]:
    """Yield how much of the error is the judge's own noise, of the model where it is most."""
    known = frame.dropna(subset=["noise_share"])
    if len(known) and known["noise_share"].max() > NOISY:
        row = known.loc[known["noise_share"].idxmax()]
        where = f" (most for {row['model']})" if len(known) > 1 else ""
        text = (
            f"asked again, the judge gives another verdict in {100 * row['flip_rate']:.1f} % of the pairs: "
            f"its own noise is {100 * row['noise_share']:.0f} % of the squared error of the win rate{where}"
        )
        evidence = f"{row['n_judgements']} judgements of {row['n_instructions']} instructions"
        yield "low", "noise", "", text, evidence


def own_family(frame: pd.DataFrame) -> Iterator[tuple]:
    """Yield preferences for or against the judge's own family."""
    for row in frame.dropna(subset=["ci_low"]).to_dict("records"):
        if row["ci_low"] <= 0 <= row["ci_high"]:
            continue
        more = "more" if row["estimate"] > 0 else "less"
        text = (
            f"{row['annotator']} prefers outputs of its own family ({row['family']}) {more} often than "
            f"people do, by {100 * abs(row['estimate']):.1f} points"
        )
        severity = "low" if more == "less" else "high" if row["estimate"] > BEYOND else "medium"
        yield severity, "own family", "", text, f"95 % interval {_points(row)} points, n = {row['n']}"


def _points(row):
    return f"{100 * row['ci_low']:.1f} to {100 * row['ci_high']:.1f}"
