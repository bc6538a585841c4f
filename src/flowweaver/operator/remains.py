"""What a status still tells of a run whose state is lost: which tasks have completed, and which have to run again.

Known are the tasks' phases as they were last written, never their results. A completed task whose result nobody asks
for any more is kept; one whose result is needed by a task that has to run has to run again, and so on above it. What
ended after the last status was written is not known, nor is any attempt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.core.state import TaskState
from flowweaver.operator.objects import instant
from flowweaver.ports import Given

REBUILT = "RebuiltFromStatus"
"""The reason of a task that is kept: where its completion is known from."""

_NULL = b"null"
_SHOWN = 10  # names in a sentence


class Recovery(StrEnum):
    """What the annotation `flowweaver.io/recover` asks for."""

    REBUILD = "Rebuild"  # keep what has completed; what is needed and lost runs again
    STRICT = "Strict"  # run no completed task again: where a result is needed and lost, stay as it is
    RESTART = "Restart"  # begin anew, every task


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What is left of one run."""

    given: Given = field(default_factory=dict)  # tasks that are kept, by position
    again: tuple[str, ...] = ()  # completed, their results needed and lost
    begun: tuple[str, ...] = ()  # were under way: whether they have ended since is not known
    unsaid: int = 0  # so many completed tasks had no room in the status: nobody knows which
    tasks: int = 0  # of the user's, in all

    @property
    def repeats(self) -> bool:
        """Whether going on would run again what has completed."""
        return bool(self.again or self.unsaid)

    def sentence(self) -> str:
        """What going on would come to."""
        parts = [f"of {self.tasks} tasks {len(self.given)} are known to have completed, and are kept"]
        if self.again:
            parts.append(f"these completed too, and run again because their results are needed: {_listed(self.again)}")
        if self.unsaid:
            parts.append(f"{self.unsaid} more completed ones had no room in the status, and run again")
        if self.begun:
            parts.append(f"these were under way, and run again whether they have ended or not: {_listed(self.begun)}")
        return "; ".join(parts)


def remains_of(status: Mapping[str, Any], plan: RunPlan, needed: Mapping[str, frozenset[str]]) -> Remains:
    """Compare a status with the plan of its spec. `needed` has, by task, the tasks whose results it asks for."""
    listed = {str(entry.get("name")): entry for entry in status.get("tasks") or () if isinstance(entry, Mapping)}
    completed = {
        position: _state(listed[task.name])
        for position, task in enumerate(plan.tasks)
        if not task.internal and listed.get(task.name, {}).get("phase") == "Completed"
    }
    again = _again(plan, completed, needed)
    counted = (status.get("counts") or {}).get("completed")
    return Remains(
        given={position: (state, _NULL) for position, state in completed.items() if position not in again},
        again=tuple(plan.tasks[position].name for position in sorted(again) if plan.tasks[position].kind != "value"),
        begun=tuple(name for name, entry in listed.items() if entry.get("phase") in {"Running", "Waiting"}),
        unsaid=max(0, counted - len(completed)) if isinstance(counted, int) else 0,
        tasks=sum(not task.internal for task in plan.tasks),
    )


def _again(plan: RunPlan, completed: Mapping[int, TaskState], needed: Mapping[str, frozenset[str]]) -> set[int]:
    """The completed tasks that have to run again: their results are needed by what has to run, and are not known."""
    places = {task.name: position for position, task in enumerate(plan.tasks)}
    to_run = [position for position in range(len(plan.tasks)) if position not in completed]
    again: set[int] = set()
    for position in to_run:  # grows
        for name in needed.get(plan.tasks[position].name, ()):
            wanted = places[name]
            if wanted in completed and wanted not in again and not _is_known(plan.tasks[wanted]):
                again.add(wanted)
                to_run.append(wanted)
    return again


def _is_known(task: TaskPlan) -> bool:
    """Whether its result is the same each time."""
    return task.kind == "wait"  # null


def _state(entry: Mapping[str, Any]) -> TaskState:
    attempts = entry.get("attempts")
    return TaskState(
        phase=TaskPhase.COMPLETED,
        attempts=attempts if isinstance(attempts, int) else 0,
        reason=REBUILT,
        started_at=instant(entry.get("startedAt")),
        finished_at=instant(entry.get("finishedAt")),
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
