"""What a workflow's objects show of their run: its own rows in memory, looked at and never copied.

A board is filled by the engine's thread and read by anybody: each read is of one value that is replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.state import RunHead, RunState, TaskState
from flowweaver.library.statuses import TaskStatus, WorkflowStatus, task_status, workflow_status
from flowweaver.runners.results import decode_result


@dataclass(slots=True)
class Board:
    """The run of one execution, while it goes on and after it."""

    run: RunState | None = None  # while it is in memory: `head` and `tasks` are read through it
    head: RunHead = field(default_factory=RunHead)
    tasks: Sequence[TaskState] = ()
    results: list[bytes | None] = field(default_factory=list)  # JSON text of each completed task
    objects: dict[int, Any] = field(default_factory=dict)  # results that JSON can not carry, where nothing is stored

    #: while the run is in memory: reads a result that is not on the board from the store
    fetch: Callable[[int], bytes | None] | None = None

    def follow(self, run: RunState, fetch: Callable[[int], bytes | None]) -> None:
        """Show that run from now on."""
        self.run, self.tasks, self.fetch = run, run.tasks, fetch
        if not self.results:
            self.results = [None] * len(run.tasks)

    def close(self) -> None:
        """All results are here: nothing is asked for any more."""
        self.fetch = None

    def settle(self, run: RunState) -> None:
        """The run is over: keep what it has come to, and let the rest of it go."""
        head = run.head
        # One that has not finished was let go, and waits until somebody goes on with it.
        self.head = head if head.phase.finished else replace(head, phase=RunPhase.PENDING)
        self.tasks, self.run = run.tasks, None

    @property
    def current_head(self) -> RunHead:
        """The run's head now."""
        run = self.run
        return self.head if run is None else run.head

    @property
    def workflow_status(self) -> WorkflowStatus:
        """Where the run stands."""
        return workflow_status(self.current_head.phase)

    def status(self, position: int) -> TaskStatus:
        """Where a task stands."""
        return task_status(self.tasks[position].phase, failed_fast=self.current_head.failed_fast)

    def result(self, position: int) -> Any:
        """A task's result, decoded anew each time; None where it has none."""
        if position in self.objects:
            return self.objects[position]
        encoded = self.results[position]
        fetch = self.fetch
        if encoded is None and fetch is not None and self.tasks[position].phase is TaskPhase.COMPLETED:
            encoded = fetch(position)  # of an earlier execution, or so new that it is not here yet
        return None if encoded is None else decode_result(encoded)

    def error(self, position: int) -> str | None:
        """What a task's newest attempt failed of; None where nothing is known to have failed."""
        state = self.tasks[position]
        match self.status(position):
            case TaskStatus.FAILED:
                return state.message
            case TaskStatus.RUNNING | TaskStatus.SKIPPED | TaskStatus.CANCELLED:
                return state.message or None
            case _:
                return None

    def started_at(self, position: int) -> datetime | None:
        """When a task's first attempt started: local time without a zone, as `datetime.now()` gives it."""
        return _local(self.tasks[position].started_at)

    def completed_at(self, position: int) -> datetime | None:
        """When a task finished: the same."""
        return None if self.status(position) is TaskStatus.PENDING else _local(self.tasks[position].finished_at)


def _local(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).astimezone().replace(tzinfo=None)
