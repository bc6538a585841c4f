"""Time, as the engine needs it."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that survives a restart, one that nobody can set back."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds since some moment in this process."""
