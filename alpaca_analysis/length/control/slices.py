"""Length-controlled win rates in slices of the table: each fitted alone, their intervals made together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from alpaca_analysis.inference.results import finish, seed_of
from alpaca_analysis.inference.slices import Part, Slices, cut, each, said, simultaneous
from alpaca_analysis.inference.slices import shares as shares_of
from alpaca_analysis.length.control.result import LengthControl
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import all_identified, refuse_mixed


def fit_in_slices(
    table: pd.DataFrame,
    by: Sequence[str],
    fit: Callable[[pd.DataFrame], LengthControl],
    *,
    confidence_level: float,
    n_resamples: int,
    rng: Any,
) -> Slices:
    """Fit each slice, with intervals that hold for all of them at once.

    Parameters
    ----------
    table : DataFrame
        Judgements with lengths.
    by : sequence of str
        Columns that make a slice.
    fit : callable
        `fit_length_control` with its options.
    confidence_level, n_resamples, rng
        Of the intervals.

    Returns
    -------
    Slices
        Of LengthControl. A model without a judgement with lengths in a slice is NaN there.
    """
    table = check(table, require=by)
    refuse_mixed(table, by)
    all_identified(table["instruction_id"], table[["model"]])
    found = cut(table, by)
    results, undefined = each(table, found, lambda part: fit(_measured(part)))
    models = sorted(map(str, table["model"].unique()))
    empty = pd.DataFrame(columns=next(iter(results.values())).models.columns)
    frames = [results[k].models if k in results else empty for k in range(len(found))]
    absent = [
        _absent([m for m in models if m not in set(frame["model"])], undefined.get(k))
        for k, frame in enumerate(frames)
    ]
    shares = _shares(results, models)
    low, high, critical = simultaneous(
        shares, confidence_level=confidence_level, n_resamples=n_resamples, rng=rng, logit=True
    )
    out = found.glued(frames, absent)
    place = {
        (k, models[label]): at for at, (k, label) in enumerate(zip(shares.slices, shares.labels, strict=True))
    }
    codes = np.repeat(np.arange(len(found)), [len(f) + len(a) for f, a in zip(frames, absent, strict=True)])
    rows = [place.get(key, -1) for key in zip(codes, out["model"], strict=True)]
    fitted = np.array(rows) >= 0
    out.loc[fitted, "ci_low"], out.loc[fitted, "ci_high"] = low[rows][fitted], high[rows][fitted]
    first = next(iter(results.values())).settings
    frame = finish(out, estimate="lc_win_rate", method=first["method"], undefined=[*by, "model"])
    slices = said(
        found,
        shares.on_logit_scale().equality(),
        confidence_level=confidence_level,
        n_intervals=int(shares.known.sum()),
        critical_value=critical,
    )
    made = {"interval": "max-t", "n_resamples": n_resamples, "rng": seed_of(rng), "slices": slices}
    frame.attrs = {**first, **made}
    return Slices(
        {found.name(k): result for k, result in results.items()},
        {found.name(k): why for k, why in undefined.items()},
        frame,
    )


def _measured(part):
    """Return the rows of models with a judgement whose lengths are known; all where there is none."""
    known = part[["length_model", "length_reference"]].notna().all(axis=1)
    if "length_feature" in part:
        known |= part["length_feature"].notna()
    usable = part.loc[known & part["outcome"].notna(), "model"].unique()
    return part[part["model"].isin(usable)].reset_index(drop=True) if len(usable) else part


def _absent(models, why):
    """Return rows for models that a slice says nothing of."""
    text = why or "no judgement with lengths in this slice"
    note = {"reason": "undefined_slice" if why else "nothing_judged", "note": f"undefined: {text}"}
    return pd.DataFrame({"model": models}).assign(**note)


def _shares(results, models):
    """Return what instructions contribute to the win rate of each model in each slice."""
    parts: list[Part] = []
    rows: list[tuple] = []
    for k, result in results.items():
        values = result.models.set_index("model")[["lc_win_rate", "standard_error"]]
        for model, part in result.parts.items():
            parts.append(replace(part, columns=[len(rows)]))
            rows.append((k, models.index(model), *values.loc[model]))
    slices, labels, estimate, error = np.array(rows).reshape(-1, 4).T
    return shares_of(parts, slices=slices, labels=labels, estimate=estimate, error=error)
