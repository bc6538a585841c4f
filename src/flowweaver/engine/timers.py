"""What is due when. Deadlines that survive a restart are wall time; an attempt's timeout is monotonic."""

from __future__ import annotations

import heapq
from itertools import count

from flowweaver.core.events import Timer


class Timers:
    """Events with the instant at which they are due. An old one does no harm: the core looks whether it still holds."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._ties = count()

    def add(self, due_at: float, event: Timer) -> None:
        """Have `event` fire at `due_at`."""
        heapq.heappush(self._heap, (due_at, next(self._ties), event))

    def next_due_at(self) -> float | None:
        """When the first one is due; None where there is none."""
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> list[Timer]:
        """Remove and give all that are due, in order."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        return due
