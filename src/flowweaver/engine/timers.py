"""What is due when. Deadlines that survive a restart are wall time; an attempt's timeout is monotonic."""

from __future__ import annotations

import heapq
from itertools import count
from typing import assert_never

from flowweaver.core.events import AttemptTimedOut, RunDue, TaskDue, Timer
from flowweaver.core.phases import TaskPhase
from flowweaver.core.state import World

NEVER = float("inf")

LEAST_ROOM = 1000
"""With fewer timers than that, nobody looks which of them are over."""


class Timers:
    """Events with the instant at which they are due. An old one does no harm: the core looks whether it still holds.

    Old ones are thrown away whenever the number of all may have doubled: a million short attempts with a timeout of
    a day leave next to nothing behind.
    """

    def __init__(self, world: World) -> None:
        """`world` says which timers still hold."""
        self.next_due_at = NEVER
        """When the first one is due. Read from any thread."""
        self._world = world
        self._heap: list[tuple[float, int, Timer]] = []
        self._ties = count()
        self._room = LEAST_ROOM

    def __len__(self) -> int:
        """How many there are, old ones too."""
        return len(self._heap)

    def add(self, due_at: float, event: Timer) -> None:
        """Have `event` fire at `due_at`."""
        if len(self._heap) >= self._room:
            self._heap = [entry for entry in self._heap if _holds(self._world, entry[2])]
            heapq.heapify(self._heap)
            self._room = max(LEAST_ROOM, 2 * len(self._heap))
        heapq.heappush(self._heap, (due_at, next(self._ties), event))
        self.next_due_at = self._heap[0][0]

    def take_due(self, now: float) -> list[Timer]:
        """Remove and give all that are due, in order."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        self.next_due_at = self._heap[0][0] if self._heap else NEVER
        return due


def _holds(world: World, timer: Timer) -> bool:
    """Whether anything can still follow from it."""
    run = world.runs.get(timer.attempt.run if isinstance(timer, AttemptTimedOut) else timer.run)
    if run is None:
        return False
    match timer:
        case AttemptTimedOut(attempt=attempt):
            state = run.tasks[attempt.task]
            return state.phase is TaskPhase.RUNNING and state.attempts == attempt.number
        case TaskDue(task=task):
            return run.tasks[task].phase is TaskPhase.WAITING
        case RunDue():
            return run.head.deadline is not None
        case _:
            assert_never(timer)
