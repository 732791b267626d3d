"""Judgements as AlpacaEval writes them, and as the one table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from alpaca_analysis.asking.estimates import Estimate, sum_of
from alpaca_analysis.foundations.files import folder_name, write_json
from alpaca_analysis.judging.designs import imitations
from alpaca_analysis.table.checks import SEQUENCE, STOPPED, check, instruction_id


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
        What is known of the judge's answer: ``text``, ``finish_reason``, ``seconds``, ``date``, ``cost``.
    n : int
        Pairs that shared it: price and time are divided among them.

    Returns
    -------
    dict
        ``preference`` is 1 + outcome (1.5 a draw), or None; ``generator_1`` is the reference.
    """
    known = answer or {}
    seconds, cost = known.get("seconds"), known.get("cost")
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
    """What a judge, or several, said of one model's outputs.

    Attributes
    ----------
    records : tuple of dict
        One judgement each, with AlpacaEval's fields.
    settings : dict
        What decided them; no secret among them. Of several judges, ``annotator`` is the list of their names.
    cost : float
        Dollars spent by this call.
    seconds : float
        Time this call took.
    n_asked, n_cached : int
        Requests that were answered by the judge, and from disk.
    estimate : Estimate or None
        Of a dry run, what judging would ask for.
    parts : tuple of Judgements
        Of several judges, each one's own.
    """

    records: tuple[dict, ...]
    settings: dict
    cost: float
    seconds: float
    n_asked: int
    n_cached: int
    estimate: Estimate | None = None
    parts: tuple[Judgements, ...] = ()

    @property
    def n_judged(self) -> int:
        """Return how many pairs have a verdict."""
        return sum(record["preference"] is not None for record in self.records)

    def summary(self) -> str:
        """Return what was judged, what is missing and why, consistency, imitations, cost and time.

        One line; of several judges, one each.
        """
        if self.parts:
            return "\n".join(f"{part.settings['annotator']}: {part.summary()}" for part in self.parts)
        if self.estimate:
            return f"dry run over {len(self.records)} pairs: {self.estimate}{self._order_said('; ')}"
        parts = [f"{self.n_judged} of {len(self.records)} pairs"]
        if stop := self.settings.get("stop_when"):
            undecided = f"not decided after all {stop['n_instructions']} instructions"
            parts.append(f"stopped: {stop['decided']}" if stop["decided"] else undecided)
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
        if self._order_said():
            parts.append(self._order_said())
        parts.append(f"{self.n_asked} requests asked, {self.n_cached} from disk")
        return "; ".join([*parts, f"${self.cost:.4f}", f"{self.seconds:.0f} s"])

    def _order_said(self, start: str = "") -> str:
        """Say that money alone kept the pairs from being judged in both orders."""
        most = self.settings.get("both_orders_could_cost")
        return f"{start}one order only: both could cost ${most:.2f}" if most is not None else ""

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
        names = self.settings["annotator"]
        by = ", ".join(map(repr, names if isinstance(names, list) else [names]))
        return (
            f"<Judgements of {self.settings['model']!r} against {self.settings['reference']!r} by "
            f"{by}: {self.n_judged} of {len(self.records)} judged; "
            f"{self.n_asked} requests asked, {self.n_cached} from disk, ${self.cost:.4f}>"
        )

    def to_frame(self, *, texts: bool = False) -> pd.DataFrame:
        """Return the table, with ``position`` and, where pairs were repeated, ``repeat``.

        Parameters
        ----------
        texts : bool
            Keep what `browse` shows and an audit of style reads: prompt, outputs, the judge's words and why
            they ended (``instruction``, ``output_model``, ``output_reference``, ``raw_completion``,
            ``finish_reason``).

        Returns
        -------
        DataFrame
            The standard columns, ``position`` (1 if the model's output was shown first, else 2),
            ``price`` (dollars), ``seconds`` and ``reason``; with ``stop_when`` also ``sequence`` (place of
            the instruction in the random order) and, where it stopped, ``stopped_early``.
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
                **(_texts(r) if texts else {}),
                **{column: r[column] for column in (SEQUENCE, STOPPED) if column in r},
            }
            for r in self.records
        ]
        table = pd.DataFrame(rows)
        if not table["repeat"].any():
            table = table.drop(columns="repeat")
        table = check(table, source="judgements", at_any_time=True)
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
            The annotations file; of several judges, the folder of the model that holds one for each.
        """
        if self.parts:
            return [part.save(folder) for part in self.parts][-1].parent.parent
        place = Path(folder) / folder_name(self.settings["model"]) / folder_name(self.settings["annotator"])
        write_json(place / "annotations.settings.json", self.settings)
        return write_json(place / "annotations.json", list(self.records))


def together(parts: Sequence[Judgements]) -> Judgements:
    """Return what several judges said of the same pairs as one result."""
    settings = {
        **parts[0].settings,
        **{k: [p.settings[k] for p in parts] for k in ("annotator", "judge", "order")},
    }
    expected = [part.estimate for part in parts if part.estimate]
    return Judgements(
        records=tuple(record for part in parts for record in part.records),
        settings=settings,
        cost=math.fsum(part.cost for part in parts),
        seconds=math.fsum(part.seconds for part in parts),
        n_asked=sum(part.n_asked for part in parts),
        n_cached=sum(part.n_cached for part in parts),
        estimate=sum_of(expected) if expected else None,
        parts=tuple(parts),
    )


def _texts(record):
    return {
        "instruction": record["instruction"],
        "output_model": record["output_2"],
        "output_reference": record["output_1"],
        "raw_completion": record["raw_completion"],
        "finish_reason": record["finish_reason"],
    }
