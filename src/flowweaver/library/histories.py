"""What a program is told of a task's attempts."""

from __future__ import annotations

import json
from typing import Any

from flowweaver.library.saved_states import local_time
from flowweaver.library.statuses import TaskStatus
from flowweaver.stores.history import PastAttempt

_STATUSES = {
    "timed_out": TaskStatus.FAILED,
    "crashed": TaskStatus.FAILED,
    "interrupted": TaskStatus.CANCELLED,
    "waiting": TaskStatus.RUNNING,
    **{status.value: status for status in TaskStatus},
}


def told(past: PastAttempt) -> dict[str, Any]:
    """As `query_task_history` gives it."""
    row = past.attempt
    at = local_time(row.started_at if row.ended_at is None else row.ended_at)
    return {
        "status": _STATUSES[row.status],
        "result": None if past.result is None else json.loads(past.result),
        "error": row.message or None,
        "timestamp": at,
        "updated_at": at,
    }
