"""Annotators of the alpaca-eval package as judges, their answers kept and their prices told."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from alpaca_analysis.foundations.extras import need
from alpaca_analysis.judging.judges import Judge

_SECRET = re.compile("api_?key|secret|password|authorization", re.IGNORECASE)


class AlpacaEvalJudge(Judge):
    """An annotator of the alpaca-eval package, where that is installed.

    The order of presentation is this package's, so that it can be recorded; alpaca-eval's own
    randomisation and cache are switched off. Answers are kept as those of other judges are, pair by pair,
    under the annotator's configuration, prompts and version.

    Parameters
    ----------
    annotators_config : str or path
        As alpaca-eval takes it, such as ``"weighted_alpaca_eval_gpt4_turbo"``.
    batch_size : int
        Pairs handed over at once; alpaca-eval asks for them side by side. Each such batch is kept when it
        is done.
    options : dict, optional
        Further keyword arguments of ``alpaca_eval.annotators.PairwiseAnnotator``.
    """

    is_kept = True

    def __init__(self, annotators_config, *, batch_size: int = 128, options: dict | None = None):
        need("alpaca_eval", "alpaca-eval", "AlpacaEvalJudge")
        from alpaca_eval.annotators import PairwiseAnnotator

        self.annotator = PairwiseAnnotator(
            annotators_config=annotators_config,
            **{"caching_path": None, "is_randomize_output_order": False, **(options or {})},
        )
        self.name = self.annotator.annotator_name
        self.chunk_size = batch_size
        self._settings = {"judge": self.name, "alpaca_eval": _version(), **_configuration(self.annotator)}

    @property
    def settings(self) -> dict:
        """Return version, seed and configuration of the annotators, their prompts by their hash."""
        return dict(self._settings)

    def answers(self, requests: Sequence[dict]) -> list[dict]:
        """Have alpaca-eval annotate pairs in the order given."""
        keys = {"instruction": "instruction", "first": "output_1", "second": "output_2"}
        pairs = [{keys[field]: text for field, text in pair.items()} for r in requests for pair in r["pairs"]]
        annotated = self.annotator.annotate_pairs(pairs)
        by_texts = {tuple(record[key] for key in keys.values()): record for record in annotated}
        return [_answer(by_texts.get(tuple(pair.values()))) for pair in pairs]

    def cost(self, answer: dict) -> float | None:
        """Return the dollars that alpaca-eval states, None where it states none."""
        return answer["cost"]


def _version():
    from importlib.metadata import version

    return version("alpaca-eval")


def _configuration(annotator):
    """Return what decides an annotator's answers: the file's fields, a hash of its prompts, and the seed."""
    from alpaca_eval.utils import load_configs

    fields = json.loads(json.dumps(load_configs(annotator.annotators_config), default=str))
    prompts = {
        name: hashlib.sha256(str(one.prompt_template).encode()).hexdigest()
        for name, one in annotator.annotators.items()
    }
    return {"annotators": _without_secrets(fields), "prompts_sha256": prompts, "seed": annotator.seed}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_secrets(v) for name, v in value.items() if not _SECRET.search(str(name))}
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value


def _answer(record):
    """Return reading, cost, words, time and date of one annotation; its fields had no prefix once."""
    found = {name.removeprefix("preference_"): value for name, value in (record or {}).items()}
    words, date = found.get("raw_completion"), found.get("date")
    return {
        "readings": [_outcome(record)],
        "cost": _number(found.get("price_per_example")),
        "seconds": _number(found.get("time_per_example")),
        "date": date if isinstance(date, str) else None,
        "text": words if words is None or isinstance(words, str) else json.dumps(words, default=str),
    }


def _number(value):
    return float(value) if isinstance(value, (int, float)) and value == value else None


def _outcome(record):
    preference = None if record is None else record["preference"]
    if preference is None or preference != preference:
        return None, "alpaca-eval found no preference"
    return (0.5 if preference in (0, 1.5) else 2.0 - preference), ""
