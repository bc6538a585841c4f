"""Where a task and a workflow stand, in the library's words."""

from __future__ import annotations

from enum import Enum

from flowweaver.core.phases import RunPhase, TaskPhase


class TaskStatus(Enum):
    """Where a task stands."""

    PENDING = "pending"  # not started; also what a failed run never came to, because executing it again will
    RUNNING = "running"  # an attempt is running, or waits for its next one
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"  # a dependency did not complete, and the workflow went on without it
    CANCELLED = "cancelled"  # the run was ended early


class WorkflowStatus(Enum):
    """Where a workflow stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_OF_TASK = {
    TaskPhase.PENDING: TaskStatus.PENDING,
    TaskPhase.RUNNING: TaskStatus.RUNNING,
    TaskPhase.WAITING: TaskStatus.RUNNING,
    TaskPhase.COMPLETED: TaskStatus.COMPLETED,
    TaskPhase.FAILED: TaskStatus.FAILED,
    TaskPhase.SKIPPED: TaskStatus.SKIPPED,
    TaskPhase.CANCELLED: TaskStatus.CANCELLED,
}
_OF_RUN = {
    RunPhase.PENDING: WorkflowStatus.PENDING,
    RunPhase.RUNNING: WorkflowStatus.RUNNING,
    RunPhase.SUSPENDED: WorkflowStatus.PENDING,
    RunPhase.COMPLETED: WorkflowStatus.COMPLETED,
    RunPhase.FAILED: WorkflowStatus.FAILED,
    RunPhase.CANCELLED: WorkflowStatus.CANCELLED,
}


def task_status(phase: TaskPhase, *, failed_fast: bool = False) -> TaskStatus:
    """The status of a task in that phase. `failed_fast`: a failure has stopped the run, so what never started is
    pending still.
    """
    if failed_fast and phase in {TaskPhase.SKIPPED, TaskPhase.CANCELLED}:
        return TaskStatus.PENDING
    return _OF_TASK[phase]


def workflow_status(phase: RunPhase) -> WorkflowStatus:
    """The status of a workflow whose run is in that phase."""
    return _OF_RUN[phase]
