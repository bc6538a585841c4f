"""A clock that stands still and workers that wait for a word: the engine, step by step.

With these, `Conductor.turn` runs in one thread, and whatever happens is said by the test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from flowweaver.core.events import AttemptEnded, AttemptId, Outcome
from flowweaver.ports import Attempt


class ManualClock:
    """Both clocks stand still until `advance`."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        self._monotonic += seconds


@dataclass(slots=True)
class ManualExecutor:
    """Remembers what was handed out; an attempt ends when the test says so."""

    clock: ManualClock
    on_start: Callable[[Attempt], None] = field(default=lambda attempt: None)  # noqa: ARG005 - its name is its place
    running: dict[AttemptId, Attempt] = field(default_factory=dict)
    abandoned: dict[AttemptId, Attempt] = field(default_factory=dict)

    def start(self, attempt: Attempt, ended: Callable[[AttemptEnded], None]) -> None:  # noqa: ARG002 - the test says it
        """Take an attempt."""
        self.on_start(attempt)
        self.running[attempt.id] = attempt

    def abandon(self, attempt: AttemptId) -> None:
        """Nobody waits for it."""
        gone = self.running.pop(attempt)
        gone.cancellation.request()
        self.abandoned[attempt] = gone

    def end(self, attempt: AttemptId, outcome: Outcome, random: float = 0.0) -> AttemptEnded:
        """The body of that attempt returns; gives the event to hand to the conductor."""
        if self.running.pop(attempt, None) is None:
            del self.abandoned[attempt]
        return AttemptEnded(attempt, outcome, self.clock.now(), random)

    def close(self, grace_seconds: float = 5.0) -> None:  # noqa: ARG002 - nothing to wait for
        """Forget everything."""
        self.running.clear()
        self.abandoned.clear()
