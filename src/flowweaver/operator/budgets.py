"""How much may be written to the API server: writes and bytes a second, less of both where it struggles.

A bucket fills with time and may be overdrawn by one write; who overdrew it waits until it is level again. An overloaded
or slow API server halves the rates, each good answer gives a little back.
"""

from __future__ import annotations

LEAST_SHARE = 0.02
SLOW_SECONDS = 2.0


class Budget:
    """Not thread-safe. Times are monotonic seconds."""

    def __init__(self, *, writes_a_second: float, bytes_a_second: float, burst_seconds: float, now: float) -> None:
        self.share = 1.0  # of the full rates, between LEAST_SHARE and 1
        self._rates = (writes_a_second, bytes_a_second)
        self._burst_seconds = burst_seconds
        self._levels = [rate * burst_seconds for rate in self._rates]
        self._filled_at = now

    def seconds_to_wait(self, now: float) -> float:
        """How long until something may be written."""
        self._fill(now)
        return max(0.0, *(-level / (rate * self.share) for level, rate in zip(self._levels, self._rates, strict=True)))

    def spend(self, bytes_written: int, now: float) -> None:
        """One write of that size goes out."""
        self._fill(now)
        self._levels[0] -= 1
        self._levels[1] -= bytes_written

    def answered(self, seconds: float) -> None:
        """A write went well after so long."""
        if seconds > SLOW_SECONDS:
            self.strained()
        else:
            self.share = min(1.0, self.share * 1.05)

    def strained(self) -> None:
        """The API server said that it has too much to do, or was slow."""
        self.share = max(LEAST_SHARE, self.share / 2)

    def _fill(self, now: float) -> None:
        passed = max(0.0, now - self._filled_at)
        self._filled_at = now
        for place, rate in enumerate(self._rates):
            self._levels[place] = min(
                rate * self._burst_seconds * self.share, self._levels[place] + passed * rate * self.share
            )
