"""States of tasks by name, on a store of runs: what a program reads, saves and clears by itself.

A state that is saved for a name alone is a run of its own: of the workflow "", with the task's name as its id. The
newest of a task's states counts, whoever wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from flowweaver.core.changes import Changes, ResultRecorded, RunChanged, TaskChanged
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead, TaskState
from flowweaver.errors import WorkflowRunningError
from flowweaver.library.statuses import TaskStatus, task_status
from flowweaver.ports import Kept, NewRun, RunName, Store, StoredRun

BY_NAME = ""
"""The workflow of states that were saved for a name alone."""

SAVED = "Saved"
CLEARED = "Cleared"
KEPT_STATES = 100
"""So many states of one name are kept as its history."""

_SAVED_KIND = "saved"  # of a task whose body nobody knows


class Reading(Protocol):
    """What is needed to look."""

    def task_named(self, name: str) -> tuple[int, int] | None: ...

    def read_run(self, run: int) -> StoredRun: ...

    def read_results(self, run: int, tasks: list[int]) -> dict[int, bytes]: ...

    def list_runs(self) -> Iterator[tuple[int, RunName, RunHead]]: ...


@dataclass(frozen=True, slots=True)
class SavedState:
    """Where a task stands, in the words of the library."""

    status: TaskStatus
    result: Any = None
    error: str | None = None
    timestamp: datetime | None = None  # local, without a zone: its end, else its start
    started_at: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """As `load_task_state` gives it."""
        return {"status": self.status, "result": self.result, "error": self.error, "timestamp": self.timestamp}


class Given(NamedTuple):
    """A state to be saved."""

    status: TaskStatus
    result: bytes  # JSON text
    error: str | None
    at: float  # seconds since the epoch


def local_time(seconds: float | None) -> datetime | None:
    """As `datetime.now()` would have given it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).astimezone().replace(tzinfo=None)


# ------------------------------------------------------------------------------------------------------------ reading


def read_state(store: Reading, name: str) -> SavedState | None:
    """The newest state of the task of that name."""
    found = store.task_named(name)
    if found is None:
        return None
    run, position = found
    stored = store.read_run(run)
    return _told(stored, position, store.read_results(run, [position]).get(position))


def read_states(store: Reading, stored: StoredRun) -> dict[str, SavedState]:
    """The states of all tasks of a run, by name, as far as they have one."""
    results = store.read_results(stored.key, list(range(len(stored.tasks))))
    told = ((task.name, _told(stored, at, results.get(at))) for at, task in enumerate(stored.plan.tasks))
    return {name: state for name, state in told if state is not None}


def list_names(store: Reading) -> list[str]:
    """The names of all tasks that have a state: run by run, oldest first, and in each as its tasks were added. One of
    several runs stands where the newest of them has it.
    """
    seen: set[str] = set()
    names: list[list[str]] = []
    for run in sorted((run for run, _, _ in store.list_runs()), reverse=True):
        stored = store.read_run(run)
        new = {
            task.name: state.reason != CLEARED
            for task, state in zip(stored.plan.tasks, stored.tasks, strict=True)
            if not task.internal and task.name not in seen
        }
        seen.update(new)
        names.append([name for name, has_state in new.items() if has_state])
    return [name for of_run in reversed(names) for name in of_run]


def _told(stored: StoredRun, position: int, result: bytes | None) -> SavedState | None:
    state, head = stored.tasks[position], stored.head
    if state.reason == CLEARED:
        return None
    by_name = stored.name.workflow == BY_NAME
    reopened = head.failed_fast or (head.reason in {SAVED, CLEARED} and not by_name)
    status = task_status(state.phase, failed_fast=reopened)
    at = next((at for at in (state.finished_at, state.started_at, head.created_at) if at is not None), None)
    return SavedState(
        status,
        json.loads(result) if result is not None and (by_name or status is TaskStatus.COMPLETED) else None,
        state.message or None if by_name or status is not TaskStatus.PENDING else None,
        local_time(at),
        local_time(state.started_at),
    )


# ------------------------------------------------------------------------------------------------------------- saving


def save_states(store: Store, states: Mapping[str, Given]) -> None:
    """Save these, by name, in one transaction."""
    runs, before = [], []
    for name, given in states.items():
        newest = store.find_newest(BY_NAME, name)
        generation = 1 if newest is None else newest.name.generation + 1
        before.append(RunName(BY_NAME, name, generation - KEPT_STATES))
        runs.append(_run_of_one(RunName(BY_NAME, name, generation), given))
    store.create_runs(runs)
    for old in before:
        if old.generation > 0 and (found := store.find_run(old)):
            store.delete_run(found.key)


def _run_of_one(name: RunName, given: Given) -> NewRun:
    completed = given.status is TaskStatus.COMPLETED
    return NewRun(
        name=name,
        plan=RunPlan(tasks=(TaskPlan(name=name.run_id, kind=_SAVED_KIND),)),
        head=RunHead(
            phase=RunPhase.COMPLETED if completed else RunPhase.FAILED,
            reason=SAVED,
            created_at=given.at,
            finished_at=given.at,
        ),
        kept=Kept(given={0: (_state_of(given), given.result)}),
    )


def _state_of(given: Given) -> TaskState:
    return TaskState(phase=TaskPhase(given.status.value), message=given.error or "", finished_at=given.at)


def save_run(store: Store, plan: RunPlan, states: Mapping[int, Given], *, now: float, engine: bool) -> None:
    """Save the states of a workflow's tasks, by position, so that an execution goes on from there.

    `engine`: one has this store. Raises `WorkflowRunningError` where that may be executing this very run.
    """
    newest = store.find_newest(plan.name, "default", plan)
    if newest is not None and engine and not newest.head.phase.finished:
        raise WorkflowRunningError(
            f'workflow "{plan.name}" is being executed: its states are saved as it goes, and can not be set now'
        )
    tasks = [_resumable(states.get(position)) for position in range(len(plan.tasks))]
    head = RunHead(phase=_phase_of(tasks), reason=SAVED, created_at=now, finished_at=now, priority=plan.priority)
    results = {position: given.result for position, given in states.items()}
    if newest is not None and newest.plan is plan and _says(store, newest, tasks, results):
        return
    if newest is not None and newest.plan is plan and newest.head.reason == SAVED:
        store.commit(
            Changes(
                tasks=[
                    TaskChanged(newest.key, position, replace(state, attempts=newest.tasks[position].attempts))
                    for position, state in enumerate(tasks)
                ],
                results=[ResultRecorded(newest.key, position, result) for position, result in results.items()],
                runs=[RunChanged(newest.key, head)],
            )
        )
        return
    name = RunName(plan.name, "default", 1 if newest is None else newest.name.generation + 1)
    given = {position: (tasks[position], result) for position, result in results.items()}
    pending = {position: (state, b"null") for position, state in enumerate(tasks) if position not in given}
    source = None if newest is None else newest.key
    store.create_runs([NewRun(name=name, plan=plan, head=head, kept=Kept(source=source, given={**pending, **given}))])


def _says(store: Store, stored: StoredRun, tasks: list[TaskState], results: Mapping[int, bytes]) -> bool:
    """Whether a run says all that already."""
    if stored.head.phase is not RunPhase.COMPLETED or _phase_of(tasks) is not RunPhase.COMPLETED:
        return False
    return store.read_results(stored.key, list(results)) == results


def _resumable(given: Given | None) -> TaskState:
    """What has not ended is told as cancelled in a run that has: a rerun takes it up again."""
    if given is None or given.status not in {TaskStatus.COMPLETED, TaskStatus.FAILED}:
        return TaskState(phase=TaskPhase.CANCELLED, reason=SAVED)
    return _state_of(given)


def _phase_of(tasks: list[TaskState]) -> RunPhase:
    phases = {state.phase for state in tasks}
    if TaskPhase.FAILED in phases:
        return RunPhase.FAILED
    return RunPhase.CANCELLED if TaskPhase.CANCELLED in phases else RunPhase.COMPLETED


# ----------------------------------------------------------------------------------------------------------- clearing


def clear_name(store: Store, name: str, *, engine: bool) -> None:
    """Forget what became of all tasks of that name. The runs that had completed them do so again.

    Raises `WorkflowRunningError` where an engine may be executing one of them.
    """
    found = [
        (stored, position)
        for run, _, _ in list(store.list_runs())
        for stored in [store.read_run(run)]
        for position, task in enumerate(stored.plan.tasks)
        if task.name == name
    ]
    for stored, _ in found:
        _refuse_unfinished(stored.name, stored.head, engine=engine)
    changes = Changes()
    for stored, position in found:
        if stored.name.workflow == BY_NAME:
            store.delete_run(stored.key)
        elif stored.tasks[position].reason != CLEARED:
            changes.tasks.append(TaskChanged(stored.key, position, _cleared(stored, position)))
            if stored.head.phase is RunPhase.COMPLETED:
                changes.runs.append(
                    RunChanged(stored.key, replace(stored.head, phase=RunPhase.CANCELLED, reason=CLEARED))
                )
    if changes:
        store.commit(changes)


def _cleared(stored: StoredRun, position: int) -> TaskState:
    phase = TaskPhase.CANCELLED if stored.head.phase.finished else TaskPhase.PENDING
    return TaskState(phase=phase, reason=CLEARED, attempts=stored.tasks[position].attempts)


def clear_all(store: Store, *, engine: bool) -> None:
    """Forget all runs. Raises `WorkflowRunningError` where an engine may be executing one of them."""
    runs = list(store.list_runs())
    for _, name, head in runs:
        _refuse_unfinished(name, head, engine=engine)
    for run, _, _ in runs:
        store.delete_run(run)


def _refuse_unfinished(name: RunName, head: RunHead, *, engine: bool) -> None:
    if engine and not head.phase.finished:
        raise WorkflowRunningError(
            f'workflow "{name.workflow}", run "{name.run_id}", is being executed: clear its states when it is over'
        )
