"""Label pairs blind: which are drawn, in which places outputs stand, and what is kept at every verdict."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from alpaca_analysis.explorers import texts as read
from alpaca_analysis.explorers.window import parts
from alpaca_analysis.explorers.window.widget import Host, window
from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.foundations.files import write_text
from alpaca_analysis.table.checks import check

Allocation = Literal["proportional", "equal"]
PAIR = ("instruction_id", "model", "reference")
KEPT = (*PAIR, "dataset", "length_model", "length_reference")
# What a verdict says of the output at the left.
VERDICTS = {"left": 1.0, "draw": 0.5, "right": 0.0, "skip": None}


class Labeller:
    """Pairs to be labelled blind, and the labels so far; what `label` returns.

    Attributes
    ----------
    path : Path
        The file of labels, one JSON object per line.
    plan : DataFrame
        The pairs drawn, in their order, with ``position`` (1 where the model's output stands at the left),
        ``stratum`` and ``probability`` of having been drawn.
    """

    def __init__(self, plan: pd.DataFrame, path: Path, annotator: str, draw: str):
        self.plan, self.path = plan, path
        self._annotator, self._draw = annotator, draw
        self._texts = read.Texts(plan)
        if not self._texts.known:
            raise AnnotationError("texts to be read: read_annotations(..., texts=True) keeps them")
        self._records = _resumed(path, plan, annotator, draw)
        self._host: Host | None = None

    @property
    def labels(self) -> pd.DataFrame:
        """The labels so far, as the table: ``outcome`` is NaN where a pair was skipped."""
        if not self._records:
            columns = [*KEPT, "annotator", "outcome", "position", "stratum", "probability", "draw"]
            return pd.DataFrame(columns=columns)
        frame = pd.DataFrame(self._records)
        return frame.assign(outcome=frame["outcome"].astype(float))

    @property
    def widget(self):
        """What Jupyter shows."""
        return self._shown().widget

    def _shown(self) -> Host:
        if self._host is None:
            self._host = window("label", {}, self._answer)
        return self._host

    def _repr_mimebundle_(self, **_options):
        return self._shown().bundle(repr(self))

    def __repr__(self) -> str:
        skipped = sum(record["outcome"] is None for record in self._records)
        more = f", {skipped} skipped" if skipped else ""
        return f"<Labeller: {len(self._records)} of {len(self.plan)} pairs done{more}, kept in {self.path}>"

    def _answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a verdict on the pair that was shown, and return what is shown next."""
        at = len(self._records)
        said = message.get("verdict")
        if said == "back" and at:
            self._records.pop()
            write_text(self.path, "".join(map(_line, self._records)))
        elif said in VERDICTS and at < len(self.plan) and message.get("shown") == at:
            self._keep(at, VERDICTS[said])
        return self._next()

    def _keep(self, at, left):
        row = self.plan.iloc[at]
        outcome = None if left is None else left if row["position"] == 1 else 1 - left
        record = {column: _plain(row[column]) for column in KEPT} | {
            "annotator": self._annotator,
            "outcome": outcome,
            "position": int(row["position"]),
            "stratum": row["stratum"],
            "probability": float(row["probability"]),
            "draw": self._draw,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8", newline="") as file:
            file.write(_line(record))
            file.flush()
            os.fsync(file.fileno())
        self._records.append(record)

    def _next(self):
        at = len(self._records)
        status = f"{at} of {len(self.plan)} pairs done"
        if at == len(self.plan):
            return {"pair": None, "shown": at, "status": f"{status}; all labels are in {self.path.name}"}
        found = self._texts.of([at]).iloc[0]
        if self.plan["position"].iloc[at] == 2:
            found = found.rename({"output_model": "output_reference", "output_reference": "output_model"})
        return {"pair": parts.pair_texts(found), "shown": at, "status": status}


def label(
    table: pd.DataFrame,
    path,
    *,
    n: int | None = None,
    by: str | Sequence[str] | None = None,
    allocation: Allocation = "proportional",
    annotator: str = "me",
    seed: int = 0,
) -> Labeller:
    """Label pairs blind in JupyterLab: two columns, keys for left, right, draw and skip.

    Pairs are drawn at random, or from strata, in an order and with sides that follow from the seed; names
    are not shown. Every verdict is on disk before the next pair appears. The same call goes on where it was
    left. The file is a table: `read_annotations` reads it, `human_agreement` and `calibrated_win_rate` take
    it as people's judgements.

    Parameters
    ----------
    table : DataFrame
        Judgements whose pairs are to be labelled, with texts (``read_annotations(..., texts=True)``) or
        as `load` gives them where their files are on this machine. Who judged them does not matter: a pair
        is drawn once.
    path : path
        File of labels (``.jsonl``), made at the first verdict, added to after that.
    n : int, optional
        How many pairs; all by default.
    by : str or sequence of str, optional
        Columns that make strata, such as ``"dataset"``. Each gets its share, and every stratum at least one.
    allocation : {"proportional", "equal"}
        Share of a stratum: as large as its part of the pairs, so that (but for rounding) all have the same
        probability; or the same for each. `calibrated_win_rate` weighs labels by the inverse.
    annotator : str
        Who labels.
    seed : int
        Of the draw and of the sides: the same call draws the same pairs again.

    Returns
    -------
    Labeller
        ``.labels``: the labels so far, with ``position`` (1 where the model's output stood at the left),
        ``stratum`` and ``probability`` of the draw.

    Raises
    ------
    AnnotationError
        Pairs without instructions, or texts that are not at hand.
    ValueError
        A file that holds labels of another draw, or of somebody else; fewer pairs than `n`.

    Examples
    --------
    >>> import tempfile
    >>> table = pd.DataFrame({
    ...     "instruction": ["Say hello.", "Count to 3.", "Name a colour."],
    ...     "model": "mine", "reference": "ref", "outcome": [1.0, 1.0, 0.0],
    ...     "output_model": ["Hello!", "1, 2, 3", "Red."], "output_reference": ["Hi", "1 2", "I will not."]})
    >>> label(table, tempfile.mkdtemp() + "/labels.jsonl", n=2).plan["probability"].round(2).tolist()
    [0.67, 0.67]
    """
    if n is not None:
        options.whole("n", n)
    columns = options.groups(by) if by is not None else []
    options.one_of("allocation", allocation, Allocation)
    if not isinstance(annotator, str) or not annotator:
        raise ValueError(f"annotator: found {annotator!r}, expected a name")
    options.whole("seed", seed, 0)
    attrs = dict(table.attrs) if isinstance(table, pd.DataFrame) else {}
    pairs = check(table, require=columns)
    if pairs["instruction_id"].isna().any():
        row = int(pairs["instruction_id"].isna().to_numpy().argmax())
        raise AnnotationError("an instruction on every row", row=row, column="instruction_id", found=None)
    pairs = pairs.drop_duplicates([*PAIR, *(c for c in ("turn",) if c in pairs)])
    if n is not None and n > len(pairs):
        raise ValueError(f"n: found {n}, expected at most the {len(pairs)} pairs of the table")
    plan = drawn(pairs, len(pairs) if n is None else n, columns, allocation, seed)
    plan.attrs = attrs
    key = plan[[*PAIR, "position"]].astype(str).to_csv(index=False)
    return Labeller(plan, Path(path), annotator, hashlib.sha256(key.encode()).hexdigest()[:16])


def drawn(pairs: pd.DataFrame, n: int, by: Sequence[str], allocation: str, seed: int) -> pd.DataFrame:
    """Return `n` pairs in random order with ``position``, ``stratum`` and ``probability``.

    The draw depends on which pairs there are, not on the order of the rows.
    """
    pairs = pairs.sort_values(list(PAIR), kind="stable", ignore_index=True)
    generator = np.random.default_rng(seed)
    lot, side = generator.random(len(pairs)), generator.random(len(pairs))
    names = pairs[list(by)].astype(object).where(pairs[list(by)].notna(), "unknown")
    stratum = names.astype(str).agg(" · ".join, axis=1) if len(by) else pd.Series("all", index=pairs.index)
    sizes = stratum.value_counts().sort_index()
    shares = shared_out(n, sizes.to_numpy(), allocation)
    taken = dict(zip(sizes.index, shares, strict=True))
    rank = pd.Series(lot).groupby(stratum.to_numpy()).rank(method="first").astype(int)
    kept = (rank <= stratum.map(taken)).to_numpy()
    plan = pairs.assign(
        position=np.where(side < 0.5, 1, 2),
        stratum=stratum,
        probability=stratum.map(taken) / stratum.map(sizes),
    )[kept]
    return plan.iloc[np.argsort(generator.random(len(plan)), kind="stable")].reset_index(drop=True)


def shared_out(n: int, sizes: np.ndarray, allocation: str) -> np.ndarray:
    """Return how many of `n` each stratum of these sizes gets: one at least, none more than it has.

    Examples
    --------
    >>> shared_out(10, np.array([80, 15, 5]), "proportional").tolist()
    [8, 1, 1]
    >>> shared_out(10, np.array([80, 15, 2]), "equal").tolist()
    [4, 4, 2]
    """
    if n < len(sizes):
        raise ValueError(f"n: found {n}, expected at least one pair for each of {len(sizes)} strata")
    weight = sizes / sizes.sum() if allocation == "proportional" else np.full(len(sizes), 1 / len(sizes))
    shares = np.ones(len(sizes), dtype=int)
    while shares.sum() < n:  # to whom the most is owed, and who has any left
        owed = np.where(shares < sizes, n * weight - shares, -np.inf)
        shares[int(owed.argmax())] += 1
    return shares


def _resumed(path, plan, annotator, draw) -> list[dict]:
    """Return the labels that are in the file, or raise where they are not of this draw."""
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            record = None
        if not isinstance(record, dict) or not {*PAIR, "outcome", "draw"} <= record.keys():
            raise AnnotationError("labels that label() wrote", source=path, row=number, found=line[:80])
        records.append(record)
    for number, record in enumerate(records):
        if record.get("annotator") != annotator:
            raise ValueError(
                f"annotator: found {annotator!r}, expected {record.get('annotator')!r}, who labelled {path}"
            )
        row = plan.iloc[number] if number < len(plan) else None
        if record["draw"] != draw or row is None or any(str(row[c]) != str(record[c]) for c in PAIR):
            raise ValueError(
                f"path: found labels of another draw in {path}; give the table, n, by, allocation and "
                "seed of that draw, or another path"
            )
    return records


def _line(record) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def _plain(value):
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
