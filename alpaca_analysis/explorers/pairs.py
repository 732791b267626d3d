"""What is known of every judged pair besides its texts: how surprising, how contested, how influential."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import special

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.length.scales import length_difference
from alpaca_analysis.people import votes
from alpaca_analysis.table.checks import check

Sort = Literal["surprise", "length_difference", "disagreement", "influence", "random", "table"]
SHRINK = 1.0  # information of about four judgements: doubt about how an instruction differs from others
CLOSEST = 1e-4  # an expected outcome is never nearer to 0 or 1
_MEASURES = ("length_difference", "expected", "surprise", "disagreement", "influence", "random")
_VOTES = ("votes_model", "votes_draw", "votes_reference")
ADDED = (*_MEASURES, *_VOTES)


def measure(table: pd.DataFrame, *, humans: pd.DataFrame | None = None, rng: Any = 0) -> pd.DataFrame:
    """Add to every judgement what pairs are sorted by.

    Parameters
    ----------
    table : DataFrame
        Judgements, one row each.
    humans : DataFrame, optional
        Judgements of the same pairs by people, told apart by ``annotator``.
    rng : int, Generator or SeedSequence
        Seed of the random order.

    Returns
    -------
    DataFrame
        The table, in its order, and: ``length_difference`` (characters, model less reference);
        ``expected`` (outcome that the model's other judgements and those of other models on the
        instruction let expect) and ``surprise`` (bits, -log2 of the probability that this gave to the
        verdict); ``disagreement`` (between the judge and the people's mean, else the range of several
        judges of the pair); ``influence`` (change of the model's win rate at equal length, linear in
        the difference of lengths, by this judgement; of its win rate where lengths are unknown);
        ``random`` (place in a random order); with `humans` ``votes_model``, ``votes_draw`` and
        ``votes_reference``.

    Raises
    ------
    AnnotationError
        Rows that stand for several judgements, or a column of the table named like one of these.

    Examples
    --------
    >>> table = pd.DataFrame({"instruction_id": list("abcd"), "model": "m", "outcome": [1, 1, 1, 0]})
    >>> measure(table)["surprise"].round(2).tolist()
    [0.68, 0.68, 0.68, 3.0]
    """
    if humans is not None and not isinstance(humans, pd.DataFrame):
        raise AnnotationError("a DataFrame of people's judgements", source="humans", found=humans)
    attrs = dict(table.attrs) if isinstance(table, pd.DataFrame) else {}
    table = check(table)
    for column in ADDED:
        if column in table:
            raise AnnotationError(f"no column {column!r}, which is added here", column=column)
    many = table["n"] > 1
    if many.any():
        row = int(many.to_numpy().argmax())
        raise AnnotationError(
            "one row per judgement: counts name no pairs", row=row, column="n", found=table["n"].iloc[row]
        )
    added = {"length_difference": table["length_model"] - table["length_reference"]}
    added["expected"], added["surprise"] = _surprise(table)
    voted = _votes(table, humans) if humans is not None else None
    added["disagreement"] = _disagreement(table, voted)
    added["influence"] = _influence(table)
    drawn = np.random.default_rng(rng).random(len(table))  # a permutation's stream is not pinned by NumPy
    added["random"] = np.argsort(np.argsort(drawn, kind="stable"), kind="stable")
    if voted is not None:
        added |= voted.to_dict("series")
    out = table.assign(**added)
    out.attrs = attrs
    return out


def chosen(pairs: pd.DataFrame, where, sort: str) -> pd.DataFrame:
    """Return the pairs that `where` keeps, sorted.

    Parameters
    ----------
    pairs : DataFrame
        What `measure` returns.
    where : str, dict, or sequence of bool
        A condition as `DataFrame.query` takes it, values by column (one or a list of them), or one
        truth value a row; None keeps all.
    sort : str
        What stands first: the largest "surprise", "length_difference" (either way), "disagreement" or
        "influence" (either way), a "random" order, or the order of the "table".
    """
    options.one_of("sort", sort, Sort)
    kept = pairs[_kept(pairs, where)]
    if not len(kept):
        raise ValueError(f"where: {where!r} keeps none of {len(pairs):,} judgements")
    if sort != "table":
        key = kept[sort].abs() if sort != "random" else -kept[sort]
        if key.isna().all():
            raise ValueError(f"sort: {sort!r} is not known of any pair: {_UNKNOWN.get(sort, 'no verdicts')}")
        kept = kept.loc[(-key).sort_values(kind="stable", na_position="last").index]
    return kept


_UNKNOWN = {
    "length_difference": "the judgements hold no lengths",
    "disagreement": "it takes humans=, or several judges of the same pairs",
}


def _kept(pairs, where):
    if where is None:
        return np.ones(len(pairs), dtype=bool)
    if isinstance(where, str):
        try:
            kept = pairs.eval(where, engine="python")
        except Exception as error:  # pandas raises what its parser, Python's or the columns raise
            raise ValueError(
                f"where: found {where!r}, expected a condition on columns such as \"model == 'gpt4' and "
                f'outcome == 0"; {error}'
            ) from None
    elif isinstance(where, dict):
        kept = np.ones(len(pairs), dtype=bool)
        for column, values in where.items():
            if column not in pairs:
                raise ValueError(
                    f"where: found column {column!r}, expected one of {', '.join(pairs.columns)}"
                )
            values = [values] if isinstance(values, str) or not np.iterable(values) else list(values)
            kept &= pairs[column].isin(values).to_numpy(dtype=bool)
    else:
        kept = where
    kept = pd.Series(np.asarray(kept)) if np.ndim(kept) == 1 else pd.Series(dtype=object)
    if len(kept) != len(pairs) or not pd.api.types.is_bool_dtype(kept.infer_objects()):
        raise ValueError(f"where: found {where!r}, expected one truth value for each of {len(pairs):,} rows")
    return kept.fillna(False).to_numpy(dtype=bool)


def _group(table, columns):
    return table.groupby(list(columns), observed=True, dropna=False, sort=False)


def _surprise(table):
    y = table["outcome"]
    group = _group(table, ["model", "reference", "annotator"])["outcome"]
    total, size = group.transform("sum"), group.transform("count")
    usual = (total - y + 0.5) / size  # without this judgement, and with half of one for either side
    rate = (total + 0.5) / (size + 1)
    keys = [table["instruction_id"], table["reference"], table["annotator"]]
    parts = pd.DataFrame({"residual": y - rate, "information": (rate * (1 - rate)).where(y.notna())})
    sums = parts.groupby(keys, observed=True, dropna=False).transform("sum") - parts
    shift = sums["residual"] / (sums["information"] + SHRINK)  # one step of the fit of a Rasch model
    shift = shift.where(table["instruction_id"].notna(), 0.0)
    expected = special.expit(special.logit(usual) + shift).clip(CLOSEST, 1 - CLOSEST)
    bits = -(y * np.log2(expected) + (1 - y) * np.log2(1 - expected))
    return expected.where(y.notna()), bits


def _votes(table, humans):
    """Count people's votes for each side of every judged pair, seen from the row's side."""
    matched = votes.match(table, humans, unvoted=True)
    given = matched.voters.to_numpy(dtype=float)[matched.place]
    given = np.where(matched.turned[:, None], 1 - given, given)
    given[matched.place < 0] = np.nan
    counts = {name: (given == value).sum(axis=1) for name, value in zip(_VOTES, (1, 0.5, 0), strict=True)}
    return pd.DataFrame(counts, index=table.index)


def _disagreement(table, voted):
    if voted is not None:
        n = voted.sum(axis=1)
        mean = (voted["votes_model"] + 0.5 * voted["votes_draw"]) / n.where(n > 0)
        return (table["outcome"] - mean).abs()
    rows = table.assign(annotator=table["annotator"].astype(object).fillna(""))
    pair = _group(rows, ["instruction_id", "model", "reference"])
    judged = pair["outcome"].agg(["min", "max", "count"])
    place = pair.ngroup()
    spread = (judged["max"] - judged["min"]).where(judged["count"] > 1).to_numpy()[place]
    return pd.Series(spread, index=table.index).where(table["instruction_id"].notna())


def _influence(table):
    """Compute by how much each judgement moves the intercept of outcome on length difference, per model."""
    known = table[["length_model", "length_reference"]].notna().all(axis=1) & table["outcome"].notna()
    scaled = length_difference(table, scale="tanh") if known.any() else pd.Series(np.nan, index=table.index)
    out = pd.Series(np.nan, index=table.index)
    for _, rows in _group(table, ["model", "reference", "annotator"]):
        y = rows["outcome"].dropna()
        x = scaled.loc[y.index]
        if x.notna().sum() < 3 or np.ptp(x.dropna()) == 0:
            x = pd.Series(0.0, index=y.index)
        y = y[x.notna()]
        design = np.column_stack([np.ones(len(y)), x.dropna()])
        inverse = np.linalg.pinv(design.T @ design)
        residual = y.to_numpy() - design @ (inverse @ (design.T @ y.to_numpy()))
        leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
        with np.errstate(divide="ignore", invalid="ignore"):
            change = (design @ inverse)[:, 0] * residual / (1 - leverage)
        out[y.index] = np.where(leverage < 1 - 1e-12, change, np.nan)
    return out
