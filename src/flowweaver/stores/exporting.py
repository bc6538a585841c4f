"""What a store knows, as JSON for other programs: runs with their tasks, attempts and results.

What bodies are made of is left out, and so are params: a manifest's author may have written a secret there.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flowweaver.core.plan import TaskPlan
from flowweaver.core.state import RunHead, TaskState
from flowweaver.ports import RunName
from flowweaver.stores.history import AttemptRow

if TYPE_CHECKING:
    from flowweaver.stores.looking import Look


def told_run(key: int, name: RunName, head: RunHead) -> dict[str, Any]:
    """A run without its tasks. Times are texts in UTC."""
    return {
        "key": key,
        "workflow": name.workflow,
        "runId": name.run_id,
        "generation": name.generation,
        "phase": str(head.phase),
        "reason": head.reason,
        "message": head.message,
        "createdAt": told_time(head.created_at),
        "startedAt": told_time(head.started_at),
        "finishedAt": told_time(head.finished_at),
    }


def whole_run(look: Look, key: int, *, results: bool) -> dict[str, Any]:
    """A run with its tasks, their attempts and, where wanted, their results. Raises `KeyError`, `StoreError`."""
    stored = look.read_run(key)
    attempts = look.read_attempts(key)
    made = look.read_results(key, range(len(stored.tasks))) if results else {}
    tasks = []
    for position, (task, state) in enumerate(zip(stored.plan.tasks, stored.tasks, strict=True)):
        told = _told_task(task, state, attempts.get(position, []))
        if position in made:
            told["result"] = json.loads(made[position])
        tasks.append(told)
    return {**told_run(key, stored.name, stored.head), "tasks": tasks}


def _told_task(task: TaskPlan, state: TaskState, attempts: list[AttemptRow]) -> dict[str, Any]:
    return {
        "name": task.name,
        "kind": task.kind,
        "dependsOn": list(task.depends_on),
        "phase": str(state.phase),
        "reason": state.reason,
        "message": state.message,
        "errorType": state.error_type,
        "startedAt": told_time(state.started_at),
        "finishedAt": told_time(state.finished_at),
        "attempts": [
            {
                "number": row.number,
                "status": row.status,
                "startedAt": told_time(row.started_at),
                "endedAt": told_time(row.ended_at),
                "reason": row.reason,
                "message": row.message,
                "errorType": row.error_type,
            }
            for row in attempts
        ],
    }


def told_time(at: float | None) -> str | None:
    """`2026-01-02T03:04:05.678Z`."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
