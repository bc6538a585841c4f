"""Between values and rows. The order of the columns here is the order in the `.sql` files, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, cast

from flowweaver.core.events import AttemptId, Shutdown
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.plan import RunPlan, plan_from_text
from flowweaver.core.state import RunHead, TaskState
from flowweaver.errors import RunCorrupt
from flowweaver.ports import Damaged, RunName

Row = tuple[Any, ...]

POSITION_BITS = 24
KEY_OF_HEAD = 16  # where a row of a head has the run's key
MOST_TASKS = 1 << POSITION_BITS  # in one run

_PENDING = TaskState()
_RUN_PHASES = {str(phase): phase for phase in RunPhase}
_TASK_PHASES = {str(phase): phase for phase in TaskPhase}

#: C code that picks the columns of a head and of a task: these run once a row in every commit
head_row = cast(
    "Callable[[RunHead], Row]",
    attrgetter(
        *("phase", "reason", "message", "created_at", "started_at", "finished_at", "deadline", "shutdown"),
        *("failed_fast", "suspended", "priority", "parallelism", "rerun_token"),
    ),
)
task_row = cast(
    "Callable[[TaskState], Row]",
    attrgetter(
        *("phase", "attempts", "failures", "crashes", "not_before", "started_at", "finished_at"),
        *("reason", "message", "error_type"),
    ),
)


def task_key(run: int, task: int) -> int:
    """The integer that a task's row is found by."""
    return run << POSITION_BITS | task


def task_of(key: int) -> tuple[int, int]:
    """The run and the position that `task_key` made the key of."""
    return key >> POSITION_BITS, key & (MOST_TASKS - 1)


def attempt_of(task: int, number: int) -> AttemptId:
    """The attempt that a row of `attempts` speaks of."""
    return AttemptId(*task_of(task), number)


def told_head(row: Sequence[Any]) -> RunHead:
    """The head whose `head_row` a row begins with; raises `KeyError` or `ValueError` for a word that is none."""
    phase, reason, message, created, started, finished, deadline, shutdown, failed, suspended, priority, most, token = (
        row[:13]
    )
    return RunHead(
        phase=_RUN_PHASES[phase],
        reason=reason,
        message=message,
        created_at=created,
        started_at=started,
        finished_at=finished,
        deadline=deadline,
        shutdown=None if shutdown is None else Shutdown(shutdown),
        failed_fast=bool(failed),
        suspended=bool(suspended),
        priority=priority,
        parallelism=most,
        rerun_token=token,
    )


def head_of(row: Row) -> tuple[int, RunName, RunHead]:
    """A run's key, name and head from a row of `read_head` or `list_heads`; raises `RunCorrupt`."""
    workflow, run_id, generation, key = row[13:]  # the last one is KEY_OF_HEAD
    try:
        head = told_head(row)
    except (KeyError, ValueError) as exc:
        raise RunCorrupt(f"run {key}: {exc} is no phase or shutdown that this version knows") from exc
    return key, RunName(workflow, run_id, generation), head


def tasks_of(rows: Iterable[Row], count: int) -> tuple[TaskState, ...]:
    """The states of `count` tasks from the rows that are there; raises `RunCorrupt`."""
    states = [_PENDING] * count
    for row in rows:
        run, task = task_of(row[10])
        try:
            states[task] = told_state(row)
        except KeyError as exc:
            raise RunCorrupt(f"run {run}, task {task}: {exc} is no phase that this version knows") from exc
        except IndexError as exc:
            raise RunCorrupt(f"run {run} has {count} tasks in its plan, and a row of task {task}") from exc
    return tuple(states)


def told_state(row: Sequence[Any]) -> TaskState:
    """The state whose `task_row` a row begins with; raises `KeyError` for a phase that is none."""
    phase, attempts, failures, crashes, not_before, started, finished, reason, message, error_type = row[:10]
    words = reason, message, error_type
    # By position: a run may have 50,000 of them, and by name it takes twice as long.
    return TaskState(_TASK_PHASES[phase], attempts, failures, crashes, *words, not_before, started, finished)


def plan_of(run: int, text: str | None) -> RunPlan:
    """The plan that `plan_to_text` wrote; raises `RunCorrupt`."""
    if text is None:
        raise RunCorrupt(f"run {run} has no plan")
    try:
        return plan_from_text(text)
    except ValueError as exc:
        raise RunCorrupt(f"run {run}: its plan can not be read: {type(exc).__name__}: {exc}") from exc


def pending_rows(run: int, first: int, names: Iterable[str]) -> Iterator[Row]:
    """The rows that `insert_pending_task` takes."""
    for task, name in enumerate(names, first):
        yield task_key(run, task), run, name


def tell(exc: RunCorrupt, run: int, damaged: Damaged | None) -> None:
    """Tell whoever asked for runs that this one can not be read; raises it where nobody wants to know."""
    if damaged is None:
        raise exc
    damaged(run, str(exc))
