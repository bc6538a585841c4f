"""What callbacks are told, and how: from what the engine has committed, in its order, once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flowweaver.core.phases import TaskPhase
from flowweaver.library.boards import Board
from flowweaver.library.statuses import TaskStatus, WorkflowStatus, task_status, workflow_status
from flowweaver.ports import Notice, RunNotice, TaskNotice

if TYPE_CHECKING:
    from flowweaver.library.tasks import Task
    from flowweaver.library.workflow import Workflow

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusEvent:
    """A task, or where `task` is None the workflow, has another status; that is durable already."""

    workflow: str
    run_id: str
    task: str | None
    status: TaskStatus | WorkflowStatus
    previous: TaskStatus | WorkflowStatus
    attempt: int  # the task's newest; 0 for the workflow
    error: str  # of what it failed; empty where it did not
    at: datetime  # UTC


Listener = Callable[[StatusEvent], None]


def _place(notice: Notice) -> int:
    if isinstance(notice, TaskNotice):
        return 1
    return 2 if notice.head.phase.finished else 0


class Callbacks:
    """The callbacks of one execution. They are called in the thread that waits for it."""

    def __init__(self, workflow: Workflow, run_id: str, board: Board) -> None:
        """`workflow` is asked for its callbacks once, now."""
        self.failed = 0  # callbacks that raised
        self._workflow = workflow
        self._run_id = run_id
        self._board = board
        self._tasks = workflow.tasks
        self._listeners = workflow.listeners

    @property
    def any(self) -> bool:
        """Whether there is anybody to call."""
        return bool(self._listeners) or any(task.on_status_change or task.on_retry for task in self._tasks.values())

    def deliver(self, notices: Sequence[Notice]) -> None:
        """Tell everybody whom these concern; of the workflow's beginning before its tasks, of its end after them."""
        for notice in sorted(notices, key=_place):
            if isinstance(notice, TaskNotice):
                self._task_changed(notice)
            else:
                self._run_changed(notice)

    def _task_changed(self, notice: TaskNotice) -> None:
        task = self._tasks.get(notice.task)
        if task is None:  # one that nobody wrote
            return
        before, state = notice.before, notice.state
        if task.on_retry is not None and state.phase is TaskPhase.WAITING and state.failures > before.failures:
            self._call(task.on_retry, task.name, state.failures)
        failed_fast = self._board.current_head.failed_fast
        previous = task_status(before.phase, failed_fast=failed_fast)
        status = task_status(state.phase, failed_fast=failed_fast)
        if status is previous:
            return
        self._status_changed(task, status)
        if self._listeners:
            error = "" if status is TaskStatus.COMPLETED else state.message
            self._publish(task.name, status, previous, state.attempts, error, state.finished_at)

    def _status_changed(self, task: Task, status: TaskStatus) -> None:
        if task.on_status_change is not None:
            self._call(task.on_status_change, task.name, status)

    def _run_changed(self, notice: RunNotice) -> None:
        previous, status = workflow_status(notice.before.phase), workflow_status(notice.head.phase)
        if status is not previous and self._listeners:
            self._publish(None, status, previous, 0, notice.head.message, notice.head.finished_at)

    def _publish(
        self,
        task: str | None,
        status: TaskStatus | WorkflowStatus,
        previous: TaskStatus | WorkflowStatus,
        attempt: int,
        error: str,
        finished_at: float | None,
    ) -> None:
        event = StatusEvent(
            workflow=self._workflow.name,
            run_id=self._run_id,
            task=task,
            status=status,
            previous=previous,
            attempt=attempt,
            error=error,
            at=datetime.now(UTC) if finished_at is None else datetime.fromtimestamp(finished_at, UTC),
        )
        for listener in self._listeners:
            self._call(listener, event)

    def _call(self, callback: Callable[..., Any], *arguments: Any) -> None:
        try:
            given = callback(*arguments)
            if isinstance(given, Coroutine):
                given.close()
                what = f"the callback {callback!r:.80} gave a coroutine"
                raise TypeError(f"{what}, which nobody awaits: use a plain function")  # noqa: TRY301 - told as what it raises
        except Exception:
            self.failed += 1
            logger.exception("a callback of workflow '%s' failed; the workflow goes on", self._workflow.name)
