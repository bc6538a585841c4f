"""What follows outside the engine from each of its commits: statuses, Events, log lines.

Called on the engine's own thread: nothing here blocks.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.operator.actions import EventType, Post
from flowweaver.operator.names import CANCELLED, COMPLETED, FAILED
from flowweaver.operator.queue import WorkQueue
from flowweaver.operator.recorder import Recorder
from flowweaver.operator.run_index import RunIndex
from flowweaver.operator.status_writer import StatusWriter
from flowweaver.ports import Notice, RunNotice, TaskNotice

_EVENTS = {
    RunPhase.COMPLETED: (EventType.NORMAL, COMPLETED),
    RunPhase.FAILED: (EventType.WARNING, FAILED),
    RunPhase.CANCELLED: (EventType.NORMAL, CANCELLED),
}
logger = logging.getLogger("flowweaver.runs")


class Listener:
    """Passes the engine's notices on."""

    def __init__(self, *, runs: RunIndex, writer: StatusWriter, queue: WorkQueue, recorder: Recorder) -> None:
        self._runs = runs
        self._writer = writer
        self._queue = queue
        self._recorder = recorder

    def __call__(self, notices: Sequence[Notice]) -> None:
        """Take what one commit has changed."""
        touched: dict[str, bool] = {}
        for notice in notices:
            uid = notice.name.run_id
            touched.setdefault(uid, False)
            if isinstance(notice, RunNotice):
                touched[uid] = touched[uid] or notice.head.phase.finished
                self._run(notice)
            elif not notice.task.startswith("("):  # an internal one
                self._task(notice)
        for uid, finished in touched.items():
            self._writer.touch(uid, urgent=finished)

    def _run(self, notice: RunNotice) -> None:
        before, head, workflow = notice.before, notice.head, notice.name.workflow
        self._runs.record(notice.run, notice.name, head)
        if before.phase is head.phase:
            return
        extra = {"workflow": workflow, "phase": head.phase.value, "reason": head.reason}
        if not head.phase.finished:
            logger.info("a workflow is %s", head.phase.value, extra=extra)
            return
        seconds = None
        if head.started_at is not None and head.finished_at is not None:
            seconds = head.finished_at - head.started_at
        logger.info("a workflow has %s", _ended(head.phase), extra={**extra, "seconds": _rounded(seconds)})
        self._queue.add(workflow)
        namespace, _, name = workflow.partition("/")
        kind, reason = _EVENTS[head.phase]
        note = head.message or f"the workflow has {_ended(head.phase)}"
        self._recorder.post(namespace, name, notice.name.run_id, Post(kind, reason, note))

    def _task(self, notice: TaskNotice) -> None:
        state = notice.state
        extra = {
            "workflow": notice.name.workflow,
            "task": notice.task,
            "attempt": state.attempts,
            "reason": state.reason,
        }
        if state.phase.finished:
            seconds = None
            if state.started_at is not None and state.finished_at is not None:
                seconds = state.finished_at - state.started_at
            level = logging.WARNING if state.phase is TaskPhase.FAILED else logging.INFO
            text = f": {state.message}" if state.message else ""
            logger.log(
                level, "a task has %s%s", _ended(state.phase), text, extra={**extra, "seconds": _rounded(seconds)}
            )
        elif state.phase is TaskPhase.RUNNING:
            logger.info("a task has started", extra=extra)
        elif state.phase is TaskPhase.WAITING:
            logger.info("a task waits%s", f": {state.message}" if state.message else "", extra=extra)


def _ended(phase: RunPhase | TaskPhase) -> str:
    return {"skipped": "been skipped", "cancelled": "been cancelled"}.get(phase.value, phase.value)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
