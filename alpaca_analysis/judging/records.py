"""Judgements as AlpacaEval writes them, and as the one table."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from alpaca_analysis.foundations.files import folder_name, write_json
from alpaca_analysis.judging.designs import imitations
from alpaca_analysis.table.checks import check, instruction_id


def make_record(pair, model: str, reference: str, judge, outcome: float, reason: str, answer, n: int) -> dict:
    """Return one judgement with AlpacaEval's fields, and ``position``, ``repeat`` and ``reason``.

    Parameters
    ----------
    pair : Pair
        What was judged.
    model, reference : str
        Who wrote the outputs.
    judge : Judge
        Who judged.
    outcome : float
        1 model, 0 reference, in between, or NaN.
    reason : str
        Why the outcome is NaN or needed no judge.
    answer : dict or None
        The judge's answer.
    n : int
        Pairs that shared it: price and time are divided among them.

    Returns
    -------
    dict
        ``preference`` is 1 + outcome (1.5 a draw), or None; ``generator_1`` is the reference.
    """
    known = {} if answer is None else judge.details(answer)
    seconds = known.get("seconds")
    cost = None if answer is None else judge.cost(answer)
    return {
        "instruction": pair.instruction,
        "dataset": pair.dataset,
        "output_1": pair.reference,
        "generator_1": reference,
        "output_2": pair.output,
        "generator_2": model,
        "annotator": judge.name,
        "preference": None if math.isnan(outcome) else 1.0 + outcome,
        "position": pair.position,
        "repeat": pair.repeat,
        "reason": reason,
        "price_per_example": None if cost is None else cost / n,
        "time_per_example": None if seconds is None else seconds / n,
        "preference_date": known.get("date"),
        "raw_completion": known.get("text"),
        "finish_reason": known.get("finish_reason"),
        "imitations": 0 if pair.output is None or pair.reference is None else imitations(pair.shown),
    }


@dataclass(frozen=True)
class Judgements:
    """What a judge said of one model's outputs.

    Attributes
    ----------
    records : tuple of dict
        One judgement each, with AlpacaEval's fields.
    settings : dict
        What decided them; no secret among them.
    cost : float
        Dollars spent by this call.
    seconds : float
        Time this call took.
    n_asked, n_cached : int
        Requests that were answered by the judge, and from disk.
    """

    records: tuple[dict, ...]
    settings: dict
    cost: float
    seconds: float
    n_asked: int
    n_cached: int

    @property
    def n_judged(self) -> int:
        """Return how many pairs have a verdict."""
        return sum(record["preference"] is not None for record in self.records)

    def summary(self) -> str:
        """Return in one line what was judged, what is missing and why, imitated verdicts, cost and time."""
        parts = [f"{self.n_judged} of {len(self.records)} pairs"]
        missing = Counter(r["reason"] for r in self.records if r["preference"] is None)
        if missing:
            reason, count = missing.most_common(1)[0]
            parts.append(f"{sum(missing.values())} missing (most: {count} x {reason})")
        imitations = sum(record["imitations"] for record in self.records)
        if imitations:
            parts.append(f"{imitations} imitations of a verdict in the outputs, made harmless")
        both = self._consistency()
        if both is not None:
            parts.append(f"the same output preferred in both orders in {100 * both:.0f} % of the pairs")
        parts.append(f"{self.n_asked} requests asked, {self.n_cached} from disk")
        return "; ".join([*parts, f"${self.cost:.4f}", f"{self.seconds:.0f} s"])

    def _consistency(self):
        """Return the share of pairs judged in both orders with the same output preferred, None without."""
        said: dict[tuple, dict[int, float]] = {}
        for record in self.records:
            if record["preference"] is not None:
                said.setdefault((record["instruction"], record["repeat"]), {})[record["position"]] = record[
                    "preference"
                ]
        pairs = [found for found in said.values() if len(found) == 2]
        same = [
            (found[1] > 1.5) == (found[2] > 1.5) and (found[1] < 1.5) == (found[2] < 1.5) for found in pairs
        ]
        return sum(same) / len(same) if same else None

    def __repr__(self):
        usable = self.n_judged
        return (
            f"<Judgements of {self.settings['model']!r} against {self.settings['reference']!r} by "
            f"{self.settings['annotator']!r}: {usable} of {len(self.records)} judged; "
            f"{self.n_asked} requests asked, {self.n_cached} from disk, ${self.cost:.4f}>"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the table, with ``position`` and, where pairs were repeated, ``repeat``.

        Returns
        -------
        DataFrame
            The standard columns, ``position`` (1 if the model's output was shown first, else 2),
            ``price`` (dollars), ``seconds`` and ``reason``.
        """
        rows = [
            {
                "instruction_id": instruction_id(r["instruction"]),
                "dataset": r["dataset"],
                "model": r["generator_2"],
                "reference": r["generator_1"],
                "annotator": r["annotator"],
                "outcome": math.nan if r["preference"] is None else r["preference"] - 1.0,
                "length_model": math.nan if r["output_2"] is None else len(r["output_2"]),
                "length_reference": math.nan if r["output_1"] is None else len(r["output_1"]),
                "position": r["position"],
                "repeat": r["repeat"],
                "price": math.nan if r["price_per_example"] is None else r["price_per_example"],
                "seconds": math.nan if r["time_per_example"] is None else r["time_per_example"],
                "reason": r["reason"],
            }
            for r in self.records
        ]
        table = pd.DataFrame(rows)
        if not table["repeat"].any():
            table = table.drop(columns="repeat")
        table = check(table, source="judgements")
        table.attrs["judging"] = dict(self.settings)
        return table

    def save(self, folder) -> Path:
        """Write ``annotations.json`` and, beside it, ``annotations.settings.json``.

        Parameters
        ----------
        folder : path
            A folder of results: the file goes to ``<folder>/<model>/<annotator>/annotations.json``,
            where AlpacaEval looks for it; slashes in the names become ``_``.

        Returns
        -------
        Path
            The annotations file.
        """
        place = Path(folder) / folder_name(self.settings["model"]) / folder_name(self.settings["annotator"])
        write_json(place / "annotations.settings.json", self.settings)
        return write_json(place / "annotations.json", list(self.records))
