"""The status of a Workflow, built from what the engine has committed. Pure: times are parameters.

A status is a bounded view. Whatever a workflow does, it stays under `ACTIVE_BYTES` (with a reserve for managed fields),
and under `FINISHED_BYTES` once finished: failed and running tasks come first, then the rest, then counts alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import TaskPlan
from flowweaver.core.state import TaskState
from flowweaver.manifest.problems import Problem
from flowweaver.operator.conditions import PHASES, Standing, bounded, conditions
from flowweaver.ports import RunSnapshot, StorePosition

ACTIVE_BYTES = 232 * 1024  # of 256 KiB; the rest is for managed fields
FINISHED_BYTES = 56 * 1024  # of 64 KiB
LONGEST_TASK_MESSAGE = 512
OUTPUTS_SHARE = 2  # outputs may take half of what there is
MOST_PROBLEMS = 10

# Failed tasks are what one looks for, then those that are at work.
_ORDER = (
    TaskPhase.FAILED,
    TaskPhase.RUNNING,
    TaskPhase.WAITING,
    TaskPhase.CANCELLED,
    TaskPhase.COMPLETED,
    TaskPhase.SKIPPED,
    TaskPhase.PENDING,
)


_SECOND, _MINUTE, _HOUR, _DAY = (1, "s"), (60, "m"), (3600, "h"), (86400, "d")
_UNITS = ((3600, _MINUTE, _SECOND), (2 * 86400, _HOUR, _MINUTE), (float("inf"), _DAY, _HOUR))
"""Below so many seconds, a duration is written in these two units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a status says beside the run itself."""

    generation: int
    observed_rerun: str = ""
    previous: Sequence[Mapping[str, Any]] = ()  # the conditions that the object has now
    least_epoch: int = 0  # what the object reports already: the API server lets it only grow
    now: float


def status_of_run(run: RunSnapshot, context: Context, *, limit_bytes: int | None = None) -> dict[str, Any]:
    """The status of a workflow that the store knows, in at most `limit_bytes` of JSON (None: the phase's own limit)."""
    head = run.head
    standing = Standing(head.phase.value)
    shown = [(task, state) for task, state in zip(run.plan.tasks, run.tasks, strict=True) if not task.internal]
    counts = {phase.value: 0 for phase in TaskPhase}
    for _, state in shown:
        counts[state.phase.value] += 1
    message = head.message or ("" if head.phase.finished else _waits(standing))
    status: dict[str, Any] = {
        "observedGeneration": context.generation,
        "phase": PHASES[standing],
        "progress": f"{sum(state.phase.finished for _, state in shown)}/{len(shown)}",
        "message": bounded(message, 1024),
        "conditions": _conditions(standing, head.reason, message, context),
        "counts": counts,
        "overhead": _overhead(run, [state for _, state in shown]),
        "store": _store(run.position, context.least_epoch),
    }
    if context.observed_rerun:
        status["observedRerun"] = context.observed_rerun
    if head.started_at is not None:
        status["startedAt"] = _moment(head.started_at)
    if head.finished_at is not None:
        status["finishedAt"] = _moment(head.finished_at)
        began = head.started_at if head.started_at is not None else head.created_at
        status["durationMilliseconds"] = _milliseconds(head.finished_at - began)
        status["duration"] = duration_text(head.finished_at - began)
    limit = limit_bytes or (FINISHED_BYTES if head.phase.finished else ACTIVE_BYTES)
    _add_outputs(status, run.outputs or {}, limit)
    _add_tasks(status, shown, limit)
    return {name: value for name, value in status.items() if value != ""}


def duration_text(seconds: float) -> str:
    """A duration as kubectl shows an age, with milliseconds where they matter: 20ms, 4.5s, 95s, 12m5s, 3h20m, 2d4h."""
    milliseconds = _milliseconds(seconds)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 10_000:
        return f"{milliseconds / 1000:.1f}s"
    whole = milliseconds // 1000
    if whole < 120:
        return f"{whole}s"
    large, small = next((large, small) for limit, large, small in _UNITS if whole < limit)
    count, rest = divmod(whole, large[0])
    tail = f"{rest // small[0]}{small[1]}" if rest // small[0] else ""
    return f"{count}{large[1]}{tail}"


def status_of_refusal(problems: Sequence[Problem], context: Context, store: StorePosition | None) -> dict[str, Any]:
    """The status of a workflow that can not run as it stands. The first problem's reason stands for all."""
    message = refusal(problems)
    status = {
        "observedGeneration": context.generation,
        "phase": PHASES[Standing.INVALID],
        "message": bounded(message, 1024),
        "finishedAt": _moment(context.now),
        "conditions": _conditions(Standing.INVALID, problems[0].reason, message, context),
    }
    if context.observed_rerun:
        status["observedRerun"] = context.observed_rerun
    if store is not None:  # once there, the position of a store may not go
        status["store"] = _store(store)
    return status


def refusal(problems: Sequence[Problem]) -> str:
    """All problems in one line, bounded in number."""
    shown = "; ".join(map(str, problems[:MOST_PROBLEMS]))
    more = len(problems) - MOST_PROBLEMS
    return f"{shown}; and {more} more" if more > 0 else shown


def status_of_loss(shown: Mapping[str, Any], message: str, context: Context) -> dict[str, Any]:
    """The status of a workflow whose state is gone: what it said before, and that it is not going on."""
    return {
        **shown,
        "observedGeneration": context.generation,
        "phase": PHASES[Standing.STATE_LOST],
        "message": bounded(message, 1024),
        "conditions": _conditions(Standing.STATE_LOST, "", message, context),
    }


def status_of_history(shown: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """The status of a finished workflow that this store does not know: as it was, with the edit noted as seen."""
    status = {**shown, "observedGeneration": context.generation}
    status["conditions"] = [
        {**found, "observedGeneration": context.generation} for found in shown.get("conditions") or ()
    ]
    if context.observed_rerun:
        status["observedRerun"] = context.observed_rerun
    return status


def _conditions(standing: Standing, reason: str, message: str, context: Context) -> list[dict[str, Any]]:
    return conditions(
        standing,
        reason=reason,
        message=message,
        generation=context.generation,
        previous=context.previous,
        now=context.now,
    )


def _waits(standing: Standing) -> str:
    if standing is Standing.SUSPENDED:
        return "suspended: set spec.suspend to false to go on"
    return ""


def _store(position: StorePosition, least_epoch: int = 0) -> dict[str, Any]:
    return {"id": position.id, "epoch": max(position.epoch, least_epoch), "sequence": position.sequence}


def _overhead(run: RunSnapshot, states: Iterable[TaskState]) -> dict[str, int]:
    """Time before the first start, and time between the first start and the end in which no task was under way."""
    head = run.head
    if head.started_at is None:
        return {}
    overhead = {"queuedMilliseconds": _milliseconds(head.started_at - head.created_at)}
    if head.finished_at is None:
        return overhead
    spans = sorted(
        (state.started_at, state.finished_at)
        for state in states
        if state.started_at is not None and state.finished_at is not None
    )
    idle, covered = 0.0, head.started_at
    for began, ended in spans:
        idle += max(0.0, began - covered)
        covered = max(covered, ended)
    overhead["engineMilliseconds"] = _milliseconds(idle + max(0.0, head.finished_at - covered))
    return overhead


def _add_outputs(status: dict[str, Any], outputs: Mapping[str, Any], limit: int) -> None:
    left = limit // OUTPUTS_SHARE
    shown, hidden = [], []
    for name, value in outputs.items():
        size = _size({"name": name, "value": value})
        if size <= left:
            left -= size
            shown.append({"name": name, "value": value})
        else:
            hidden.append(name)
    if shown:
        status["outputs"] = shown
    if hidden and not status["message"]:
        status["message"] = bounded("too large to be shown in status.outputs: " + ", ".join(hidden), 1024)


def _add_tasks(status: dict[str, Any], shown: Sequence[tuple[TaskPlan, TaskState]], limit: int) -> None:
    left = limit - _size(status) - len('"tasks":[],"tasksTruncated":12345,')
    rank = {phase: place for place, phase in enumerate(_ORDER)}
    fitting: dict[int, dict[str, Any]] = {}
    for place in sorted(range(len(shown)), key=lambda place: rank[shown[place][1].phase]):
        task, state = shown[place]
        entry = _task(task.name, state)
        left -= _size(entry) + 1
        if left < 0:
            break
        fitting[place] = entry
    status["tasks"] = [fitting[place] for place in sorted(fitting)]
    status["tasksTruncated"] = len(shown) - len(fitting)


def _task(name: str, state: TaskState) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "phase": state.phase.capitalize()}
    if state.reason:
        entry["reason"] = state.reason
    if state.attempts:
        entry["attempts"] = state.attempts
    if state.started_at is not None:
        entry["startedAt"] = _moment(state.started_at)
    if state.finished_at is not None:
        entry["finishedAt"] = _moment(state.finished_at)
    if state.message:
        entry["message"] = bounded(state.message, LONGEST_TASK_MESSAGE)
    return entry


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
