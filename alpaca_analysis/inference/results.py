"""What a result says of how it was computed."""

from __future__ import annotations

import numpy as np


def seed_of(rng) -> int | str:
    """Return the seed as a result states it: the number, or that a generator of unknown state was given."""
    return int(rng) if isinstance(rng, (int, np.integer)) else "generator"


def unit_of(identified) -> str:
    """Return what is resampled, as a result states it: instructions, where judgements name theirs."""
    return "instruction" if identified else "judgement (no instruction ids)"


def settings(*, method, unit, confidence_level=None, n_resamples=None, rng=None) -> dict:
    """Return what a result says of how it was computed; without resamples there is no seed.

    Examples
    --------
    >>> settings(method="t", unit="instruction", confidence_level=0.95)["seed"] is None
    True
    """
    return {
        "method": method,
        "unit": unit,
        "confidence_level": confidence_level,
        "n_resamples": n_resamples,
        "seed": None if n_resamples is None else seed_of(rng),
    }
