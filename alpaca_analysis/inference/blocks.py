"""Tables cut into blocks of groups that share instructions: what a joint resample draws from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import ratios
from alpaca_analysis.table.groups import all_identified


@dataclass(frozen=True)
class Block:
    """Groups that share units: the columns of one joint resample."""

    groups: pd.DataFrame  # the `by` columns, one row per group
    units: ratios.Units
    counts: dict[str, np.ndarray]  # n_wins, n_draws, n_losses, n_total, n_missing of each group
    plain: np.ndarray  # per group: every unit is one single judgement


def blocks_of(table: pd.DataFrame, by: list[str], stratify: str | None = None) -> Iterator[Block]:
    """Cut the table into blocks of groups connected by shared instructions; others stand alone.

    Parameters
    ----------
    table : DataFrame
        Checked judgements.
    by : list of str
        Columns that make a group.
    stratify : str, optional
        Column that is the same on all rows of an instruction.

    Raises
    ------
    AnnotationError
        Instruction ids on some rows of a group only, or an instruction in several strata.
    """
    grouped = table.groupby(by, observed=True, dropna=False, sort=True)
    group = grouped.ngroup().to_numpy()
    groups = grouped.size().reset_index()[by]
    identified = table["instruction_id"].notna().to_numpy()
    ids, unit = np.unique(table["instruction_id"].fillna("").to_numpy(dtype=str), return_inverse=True)
    links = sparse.coo_array(
        (np.ones(identified.sum()), (unit[identified], len(ids) + group[identified])),
        shape=(len(ids) + len(groups),) * 2,
    )
    label = sparse.csgraph.connected_components(links, directed=False)[1][len(ids) :]
    strata = pd.factorize(table[stratify], sort=True)[0] if stratify else np.zeros(len(table), dtype=np.int64)
    outcome, n = table["outcome"].to_numpy(), table["n"].to_numpy()
    for block in pd.unique(label):
        members = np.flatnonzero(label == block)
        rows = np.flatnonzero(np.isin(group, members))
        known = identified[rows]
        if known.any() and not known.all():
            all_identified(table["instruction_id"].iloc[rows], table[by].iloc[rows])  # raises
        columns = np.searchsorted(members, group[rows])
        codes = np.unique(unit[rows], return_inverse=True)[1] if known.all() else None
        inside = groups.iloc[members].reset_index(drop=True)
        yield _block(inside, outcome[rows], n[rows], columns, codes, strata[rows])


def _block(
    groups: pd.DataFrame,
    y: np.ndarray,
    n: np.ndarray,
    columns: np.ndarray,
    codes: np.ndarray | None,
    strata: np.ndarray,
) -> Block:
    if codes is None:  # a bootstrap of counts draws them in turn: one order, that of `from_counts`
        order = np.lexsort((n, -y, columns))
        y, n, columns, strata = y[order], n[order], columns[order], strata[order]
    judged = ~np.isnan(y)
    y, m = np.where(judged, y, 0.0), judged.astype(float)
    if codes is None:  # every row stands for n units of one judgement
        codes, multiplicity, weight = np.arange(len(y)), n, np.ones(len(y))
    else:
        multiplicity, weight = None, n.astype(float)
    shape = (codes.max() + 1, len(groups))
    cell = codes * len(groups) + columns
    sums = [np.bincount(cell, v * weight, shape[0] * shape[1]).reshape(shape) for v in (y, m)]
    stratum = np.empty(shape[0], dtype=np.int64)
    stratum[codes] = strata
    if (stratum[codes] != strata).any():
        raise AnnotationError(
            "one stratum for all rows of an instruction", column="stratify", found="several"
        )
    stratum = np.unique(stratum, return_inverse=True)[1]
    if multiplicity is not None:  # unjudged rows are no units of their own
        keep = sums[1][:, 0] > 0 if judged.any() else slice(None)
        sums, multiplicity, stratum = [s[keep] for s in sums], multiplicity[keep], stratum[keep]
    units = ratios.Units(sums[0], sums[1], multiplicity, stratum if stratum.any() else None)
    kinds = {
        "n_wins": y > 0.5,
        "n_draws": judged & (y == 0.5),
        "n_losses": judged & (y < 0.5),
        "n_total": judged,
        "n_missing": ~judged,
    }
    counts = {k: np.bincount(columns, n * v, len(groups)).astype(np.int64) for k, v in kinds.items()}
    return Block(groups, units, counts, np.all(sums[1] <= 1, axis=0))
