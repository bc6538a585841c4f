"""What is told to whoever listens or watches: all of it is durable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from flowweaver.core.changes import Changes, ResultRecorded
from flowweaver.core.state import RunHead, RunState, TaskState
from flowweaver.ports.stores import RunName


@dataclass(frozen=True, slots=True)
class TaskNotice:
    """A task has a new state; it is durable already."""

    run: int
    name: RunName
    task: str
    before: TaskState
    state: TaskState


@dataclass(frozen=True, slots=True)
class RunNotice:
    """A run has a new head; it is durable already."""

    run: int
    name: RunName
    before: RunHead
    head: RunHead


Notice = TaskNotice | RunNotice
Listener = Callable[[Sequence[Notice]], None]
"""Called within the engine's turn after each commit, in order; it must return at once. What it raises is logged."""


class Meter(Protocol):
    """Who counts what a turn has changed. Called within it: it must return at once and raise nothing."""

    def __call__(self, changes: Changes, runs: Mapping[int, RunState], seconds: float) -> None:
        """`changes` are durable after so long; `runs` stand where they stood before them."""


class RunObserver(Protocol):
    """Told of one run, within the engine's turn, after the commit. It must return at once; what it raises is logged."""

    @property
    def wants_notices(self) -> bool:
        """False: `changed` is never called, and no notice is made for this run. Asked once."""

    def recorded(self, results: Sequence[ResultRecorded]) -> None:
        """These results are durable."""

    def changed(self, notices: Sequence[Notice]) -> None:
        """All that has changed in the run, in order."""

    def troubled(self, notices: Sequence[TaskNotice]) -> None:
        """Attempts of these tasks have failed, in order: the task waits for its next one, or has failed for good.

        Called whatever `wants_notices` says, after `recorded` and `changed` of the same turn.
        """

    def ended(self, run: RunState) -> None:
        """The run has finished, or was released. The last call."""

    def broke(self, why: str) -> None:
        """The engine is no more, and the run has not ended. The last call."""
