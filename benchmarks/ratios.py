"""Medians and quartiles of what was measured, and of the ratios within each round."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some numbers, and where the middle half of them lies."""

    median: float
    low: float
    high: float
    number: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one number; with fewer than four the ends stand for the quartiles."""
        if len(values) < 4:
            return cls(statistics.median(values), min(values), max(values), len(values))
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high, len(values))


def ratios(ours: Sequence[float | None], theirs: Sequence[float | None]) -> list[float]:
    """Ours through theirs, round by round; a round that lacks one of them is left out."""
    both = zip(ours, theirs, strict=False)  # an interrupt leaves the last round unfinished
    return [mine / other for mine, other in both if mine is not None and other]


def figures(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    if value >= 100:
        return f"{value:,.0f}"
    digits = 2 if value >= 1 else 3
    return f"{value:.{digits}f}" if value < 10 else f"{value:.1f}"
