"""Counts what each turn of the engine has changed in its runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from flowweaver.core.changes import AttemptClosed, Changes
from flowweaver.core.phases import Reason
from flowweaver.core.state import RunHead, RunState, TaskState
from flowweaver.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)


class RunMeter:
    """Called on the engine's thread, after each commit and before memory follows it: see `ports.Meter`."""

    def __init__(self, metrics: Metrics, now: Callable[[], float]) -> None:
        """`now` gives seconds since the epoch."""
        self._metrics = metrics
        self._taken_up_at: dict[int, float] = {}  # runs that were resumed or taken up again: nothing waited before that
        self._began_at = now()  # nor before this process was there
        self._now = now

    def __call__(self, changes: Changes, runs: Mapping[int, RunState], seconds: float) -> None:
        """Count all of it."""
        try:
            self._metrics.committed(seconds)
            self._count(changes, runs)
        except Exception:
            logger.exception("a turn was not counted: please report this")

    def _count(self, changes: Changes, runs: Mapping[int, RunState]) -> None:
        failed = {}
        for closed in changes.closed:
            self._closed(closed, runs[closed.attempt.run])
            if closed.status in {"failed", "timed_out"}:
                failed[closed.attempt[:2]] = closed
        ended: dict[tuple[int, int], float | None] = {}
        for key, task, state in changes.tasks:
            self._task(runs[key], task, state, failed.get((key, task)))
            if state.phase.finished:
                ended[key, task] = state.finished_at
        for key, head in changes.runs:
            self._run(key, runs[key].head, head)
        for (key, task, number), started_at in changes.started:
            if number == 1:
                self._started(runs[key], task, started_at, ended)

    def _closed(self, closed: AttemptClosed, run: RunState) -> None:
        plan = run.plan.tasks[closed.attempt.task]
        if closed.reason == Reason.EXPRESSION_ERROR:
            self._metrics.expression_failed()
        if plan.internal:
            return
        self._metrics.attempt_ended(plan.kind, closed.status)
        if closed.status == "crashed":
            self._metrics.recovered("interrupted")

    def _task(self, run: RunState, task: int, state: TaskState, failed: AttemptClosed | None) -> None:
        plan = run.plan.tasks[task]
        if plan.internal:
            return
        if failed is not None and not state.phase.finished:
            self._metrics.attempt_repeated(plan.kind, failed.reason)
        if state.phase.finished and state.started_at is not None and state.finished_at is not None:
            self._metrics.task_finished(plan.kind, state.finished_at - state.started_at)

    def _started(
        self, run: RunState, task: int, started_at: float, ended: Mapping[tuple[int, int], float | None]
    ) -> None:
        if run.plan.tasks[task].internal:
            return
        wanted = run.graph.dependencies[task]
        ends = [ended.get((run.key, each)) or run.tasks[each].finished_at or 0.0 for each in wanted]
        since = max(run.head.created_at, self._began_at, self._taken_up_at.get(run.key, 0.0), *ends)
        self._metrics.task_waited(max(0.0, started_at - since))

    def _run(self, key: int, before: RunHead, head: RunHead) -> None:
        if (before.suspended and not head.suspended) or (before.phase.finished and not head.phase.finished):
            self._taken_up_at[key] = self._now()
        if before.started_at is None and head.started_at is not None:
            since = max(before.created_at, self._taken_up_at.get(key, 0.0))
            self._metrics.workflow_started(max(0.0, head.started_at - since))
        if not head.phase.finished:
            return
        self._taken_up_at.pop(key, None)
        if before.phase.finished:
            return
        seconds = None
        if head.started_at is not None and head.finished_at is not None:
            seconds = head.finished_at - head.started_at
        self._metrics.workflow_finished(head.phase.value, seconds)
