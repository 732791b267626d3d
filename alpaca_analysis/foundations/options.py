"""One check for each kind of option."""

from __future__ import annotations


def check_options(confidence_level: float = 0.95, n_resamples: int = 1) -> None:
    """Raise `ValueError` for a coverage that is no probability, or for less than one resample."""
    if not 0 < confidence_level < 1:
        raise ValueError(f"confidence_level: found {confidence_level!r}, expected a number in (0, 1)")
    if n_resamples < 1:
        raise ValueError(f"n_resamples: found {n_resamples!r}, expected at least 1")
