"""How an execution went, in numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flowweaver.library.statuses import TaskStatus
from flowweaver.library.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """How many tasks of a workflow stand where, and what the newest execution took."""

    total: int
    completed: int
    failed: int
    running: int
    pending: int
    skipped: int
    cancelled: int
    attempts: int  # started, over all processes that worked on the run
    seconds: float  # from the first start to the last end


def statistics_of(tasks: Iterable[Task]) -> Statistics:
    """Counts and duration of what these tasks show."""
    counts = dict.fromkeys(TaskStatus, 0)
    attempts = 0
    starts, ends = [], []
    for task in tasks:
        status = task.status
        counts[status] += 1
        attempts += task.attempts
        if status in {TaskStatus.COMPLETED, TaskStatus.FAILED}:
            starts += [task.started_at] if task.started_at else []
            ends += [task.completed_at] if task.completed_at else []
    return Statistics(
        total=sum(counts.values()),
        attempts=attempts,
        seconds=(max(ends) - min(starts)).total_seconds() if starts and ends else 0.0,
        **{status.value: count for status, count in counts.items()},
    )
