"""What follows from a batch of events: frozen values that are committed as one transaction, then acted on."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct, field

from flowweaver.core.events import AttemptId
from flowweaver.core.state import RunHead, TaskState


class TaskChanged(NamedTuple):
    """A task stands elsewhere."""

    run: int
    task: int
    state: TaskState


class RunChanged(NamedTuple):
    """A run stands elsewhere."""

    run: int
    head: RunHead


class AttemptStarted(NamedTuple):
    """An attempt is recorded, and will be handed to a worker once that is durable."""

    attempt: AttemptId
    started_at: float


class AttemptClosed(NamedTuple):
    """How an attempt ended: "completed", "failed", "timed_out", "cancelled", "interrupted" or "crashed"."""

    attempt: AttemptId
    status: str
    ended_at: float
    reason: str = ""
    message: str = ""
    error_type: str = ""


class ResultRecorded(NamedTuple):
    """A task's result: JSON text in UTF-8."""

    run: int
    task: int
    result: bytes


class Changes(Struct):
    """Everything that one batch of events changes. Values only: committing it again after a failure is the same."""

    tasks: list[TaskChanged] = field(default_factory=list)  # at most one for a task
    runs: list[RunChanged] = field(default_factory=list)  # at most one for a run
    started: list[AttemptStarted] = field(default_factory=list)
    closed: list[AttemptClosed] = field(default_factory=list)
    results: list[ResultRecorded] = field(default_factory=list)

    # For memory alone; after a restart they follow from the rows.
    ready: dict[int, list[int]] = field(default_factory=dict)  # by run, tasks that became ready, in order
    unmet: dict[int, dict[int, int]] = field(default_factory=dict)  # by run and task, dependencies still unfinished
    #: bodies to interrupt after the commit, because nobody waits for their result any more
    abandoned: list[AttemptId] = field(default_factory=list)
    returned: list[AttemptId] = field(default_factory=list)  # abandoned bodies that are over now
    troubled: list[tuple[int, int]] = field(default_factory=list)  # run and task of attempts that have failed
    draining: bool = False
    workers: int = 0  # so many more, or fewer

    def __bool__(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.tasks or self.runs or self.started or self.closed or self.results)
