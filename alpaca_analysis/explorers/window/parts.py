"""What the view is told: numbers of all pairs at once, and the texts of those that are looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from alpaca_analysis.explorers import pairs as measured
from alpaca_analysis.explorers import texts as read
from alpaca_analysis.present.rendering import printable

NAMES = ("model", "reference", "annotator", "dataset")
MOST_LEVELS = 60  # of a column that pairs can be cut by
LONGEST_VALUE = 200
_SORTS = {
    "surprise": "surprise",
    "length_difference": "difference of lengths",
    "disagreement": "disagreement",
    "influence": "influence",
    "random": "random order",
    "table": "order of the table",
}
_MEASURES = (  # key, words, decimals, factor
    ("surprise", "surprise in bits:", 1, 1),
    ("disagreement", "disagreement:", 2, 1),
    ("influence", "moves the win rate at equal length by points:", 2, 100),
)
NEVER = {
    *("instruction_id", "outcome", "length_model", "length_reference", "n", "position", "repeat"),
    *(
        "model_in_file",
        "annotator_in_file",
        "length_feature",
        *read.COLUMNS,
        *read.EXPLANATIONS,
        *measured.ADDED,
    ),
}


def title(pairs: pd.DataFrame) -> str:
    """Return what the pairs are, in a line."""
    judges = [str(name) for name in pairs["annotator"].dropna().unique()]
    models = pairs["model"].nunique()
    who = ", ".join(judges[:3]) + (f" and {len(judges) - 3} more" if len(judges) > 3 else "")
    return f"Pairs of {models:,} model{'s' * (models != 1)} judged by {who or 'an unnamed judge'}"


def numbers(pairs: pd.DataFrame, sort: str, *, of: int | None = None) -> dict:
    """Return what is known of all pairs but their texts, as JSON takes it; a pair's number is its position.

    `of` says how many pairs there were before the first ones were taken in the order of `sort`.
    """
    from scipy import stats

    facets, single = _facets(pairs)
    longer = pairs["length_difference"]
    known = longer.dropna()
    edges = np.unique(np.quantile(known, (0.2, 0.4, 0.6, 0.8)).round()).tolist() if len(known) else []
    unit = pd.factorize(pairs["instruction_id"], use_na_sentinel=True)[0]
    own = unit < 0
    unit[own] = unit.max(initial=-1) + 1 + np.arange(own.sum())
    keys = {
        "surprise": _plain(pairs["surprise"], 3),
        "length_difference": _plain(longer.abs(), 0),
        "disagreement": _plain(pairs["disagreement"], 3),
        "influence": _plain(pairs["influence"].abs(), 7),
        "random": _plain(-pairs["random"], 0),
        "table": _plain(-pd.Series(pairs.index), 0),
    }
    keys = {key: values for key, values in keys.items() if any(value is not None for value in values)}
    votes = None
    if "votes_model" in pairs:
        counts = pairs[["votes_model", "votes_draw", "votes_reference"]].to_numpy().tolist()
        votes = [row if sum(row) else None for row in counts]
    identity = [c for c in ("instruction_id", *NAMES, "outcome") if c in pairs]
    return {
        "n": len(pairs),
        "chosen": "" if of in (None, len(pairs)) or sort in ("random", "table") else _SORTS[sort],
        "rows": [int(row) for row in pairs.index],
        "outcome": _plain(pairs["outcome"], 4),
        "length_model": _plain(pairs["length_model"], 0),
        "length_reference": _plain(pairs["length_reference"], 0),
        "length_known": bool(len(known)),
        "longer": _plain(longer, 0),
        "position": _plain(pairs["position"], 0) if "position" in pairs else None,
        "edges": edges,
        "unit": [int(u) for u in unit],
        "quantiles": stats.t.ppf(0.975, [*range(1, 1001), np.inf]).round(6).tolist(),
        "facets": facets,
        "single": single,
        "by": next(iter(facets), "length difference" if len(known) else ""),
        "sort": sort,
        "sorts": [[key, _SORTS[key]] for key in keys],
        "keys": keys,
        "shown": {"influence": _plain(pairs["influence"], 7)},
        "measures": [list(measure) for measure in _MEASURES],
        "votes": votes,
        "names": identity,
        "identity": _identity(pairs, identity) if len(pairs) <= 20_000 else [],
    }


def _identity(pairs, columns):
    return [[_value(value) for value in row] for row in pairs[columns].itertuples(index=False, name=None)]


def _value(value):
    if pd.isna(value):
        return None
    if isinstance(value, bool | int | float):
        return value
    return value.item() if isinstance(value, np.generic) else printable(value)[:LONGEST_VALUE]


def _plain(values, places):
    """Return numbers as JSON takes them, None where unknown."""
    array = np.asarray(values, dtype=float).round(places)
    whole = places == 0
    return [None if v != v else int(v) if whole else v for v in array.tolist()]


def _facets(pairs):
    """Return the columns that pairs can be cut by, and the names that all pairs share."""
    facets, single = {}, {}
    others = [c for c in pairs.columns if c not in NEVER and c not in NAMES]
    for column in (*NAMES, *others):
        values = pairs[column]
        if column not in NAMES and pd.api.types.is_float_dtype(values):
            continue
        try:
            codes, levels = pd.factorize(values.astype(object), use_na_sentinel=True)
        except TypeError:  # lists and the like
            continue
        if column in NAMES and len(levels) == 1 and (codes >= 0).all():
            single[column] = printable(levels[0])
        elif 1 < len(levels) <= (10_000 if column in NAMES else MOST_LEVELS):
            order = sorted(range(len(levels)), key=lambda k: str(levels[k]).casefold())
            place = {old: new for new, old in enumerate(order)}
            names = [printable(levels[k])[:LONGEST_VALUE] for k in order]
            facets[column] = {"names": names, "codes": [place.get(code) for code in codes.tolist()]}
    return facets, single


def texts(pairs: pd.DataFrame, source: read.Texts, rows: Iterable[int]) -> dict[int, dict]:
    """Return what a pair shows beyond its numbers, by position."""
    rows = list(rows)
    found = source.of(rows)
    explained = [c for c in read.EXPLANATIONS if c in pairs]
    both = features(pairs)
    others = [c for c in pairs.columns if c not in NEVER and c not in NAMES]
    others = [c for c in others if not any(c in (a, b) for _, a, b in both)]
    out = {}
    for k, row in enumerate(rows):
        entry: dict[str, Any] = pair_texts(found.iloc[k], known=source.known)
        values = pairs.iloc[row]
        entry["features"] = [[name, _cell(values[a]), _cell(values[b])] for name, a, b in both]
        entry["columns"] = [[printable(c), _cell(values[c])] for c in others if _cell(values[c]) != "–"]
        entry["explanation"] = next((read.shortened(values[c]) for c in explained if values[c]), "")
        out[row] = entry
    return out


def pair_texts(found, *, known: bool = True) -> dict[str, Any]:
    """Return prompt and outputs as written, and the outputs rendered."""
    prompt, a, b = (read.shortened(found[column]) for column in read.COLUMNS)
    entry = {"prompt": prompt if known else read.NONE, "a": a, "b": b}
    return entry | {f"{side}_html": read.rendered(text) for side, text in (("a", a), ("b", b)) if text}


def features(pairs: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return the columns that hold the same of both outputs: name, the model's, the reference's."""
    ends = [c.removesuffix("_model") for c in pairs.columns if str(c).endswith("_model")]
    return [
        (name.replace("_", " "), f"{name}_model", f"{name}_reference")
        for name in ends
        if f"{name}_reference" in pairs and name not in ("output", "length", "votes")
    ]


def _cell(value):
    if value is None or (np.isscalar(value) and pd.isna(value)):
        return "–"
    if isinstance(value, float | np.floating):
        return f"{value:,.4g}"
    return printable(value)[:LONGEST_VALUE]


def verdict(outcome: float) -> str:
    """Return an outcome in words, A being the model."""
    if pd.isna(outcome):
        return "no verdict"
    return "a draw" if outcome == 0.5 else "A is better" if outcome > 0.5 else "B is better"
