"""Where the tasks of one run stand, kept so that those that fit a screen are found at once, however many there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import RunPlan
from flowweaver.core.state import TaskState

REMEMBERED = 200
"""Of the tasks that have ended, so many are remembered by name: no screen has more lines."""


class Board:
    """Every task of a plan but our own, by phase. A step costs the same for ten tasks and for ten thousand."""

    def __init__(self, plan: RunPlan) -> None:
        self._positions = {task.name: place for place, task in enumerate(plan.tasks) if not task.internal}
        self._open: dict[TaskPhase, dict[str, TaskState]] = {
            TaskPhase.RUNNING: {},
            TaskPhase.WAITING: {},
            TaskPhase.PENDING: dict.fromkeys(self._positions, TaskState()),
        }
        self._phases = dict.fromkeys(self._positions, TaskPhase.PENDING)
        self._failed: deque[tuple[str, TaskState]] = deque(maxlen=REMEMBERED)
        self._ended: deque[tuple[str, TaskState]] = deque(maxlen=REMEMBERED)
        self.counts = dict.fromkeys(TaskPhase, 0)
        self.counts[TaskPhase.PENDING] = len(self._positions)

    @property
    def total(self) -> int:
        """How many tasks there are."""
        return len(self._positions)

    @property
    def finished(self) -> int:
        """How many of them have ended."""
        return sum(number for phase, number in self.counts.items() if phase.finished)

    def begin(self, states: Sequence[TaskState]) -> None:
        """Take all states, by position in the plan."""
        for name, place in self._positions.items():
            self.update(name, states[place])

    def update(self, name: str, state: TaskState) -> None:
        """A task's newest state; one that is not shown is left out."""
        before = self._phases.get(name)
        if before is None:
            return
        self.counts[before] -= 1
        self.counts[state.phase] += 1
        self._phases[name] = state.phase
        if before in self._open:
            self._open[before].pop(name, None)
        if state.phase in self._open:
            self._open[state.phase][name] = state
        elif state.phase is TaskPhase.FAILED:
            self._failed.appendleft((name, state))
        else:
            self._ended.appendleft((name, state))

    def rows(self, most: int) -> list[tuple[str, TaskState]]:
        """At most so many tasks: what runs, what waits, what failed last, what ended last, what comes next."""
        found = chain(
            self._open[TaskPhase.RUNNING].items(),
            self._open[TaskPhase.WAITING].items(),
            self._still(self._failed),
            self._still(self._ended),
            self._open[TaskPhase.PENDING].items(),
        )
        return list(islice(found, most))

    def _still(self, ended: deque[tuple[str, TaskState]]) -> Iterator[tuple[str, TaskState]]:
        """Those that a rerun has not taken up again meanwhile."""
        told: set[str] = set()
        for name, state in ended:
            if self._phases[name] is state.phase and name not in told:
                told.add(name)
                yield name, state
