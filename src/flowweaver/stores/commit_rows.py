"""What one commit writes, sorted by the statement that writes it.

Most tasks start once and complete with a small result. Each of these two steps is one row with few values: nothing but
the task's own row is written, which tells of its attempt and has its result. All else takes the rows that it needs.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet

from msgspec import Struct, field

from flowweaver.core.changes import AttemptClosed, Changes
from flowweaver.core.events import AttemptId
from flowweaver.core.phases import TaskPhase
from flowweaver.core.state import TaskState
from flowweaver.stores.rows import POSITION_BITS, Row, task_row

SMALL_BYTES = 1000
"""Results up to this length are in the rows of their tasks, where whoever looks for tasks has to read over them."""


class CommitRows(Struct):
    """The bindings of the statements of the same names, in the order in which these are executed."""

    note_attempt: set[Row] = field(default_factory=set)  # tasks whose rows tell of their first attempts until now
    plain_task: list[Row] = field(default_factory=list)
    update_task: list[Row] = field(default_factory=list)
    results: Collection[tuple[int, bytes]] = ()  # by the task's key, for `write_results`
    insert_attempt: list[Row] = field(default_factory=list)
    close_attempt: list[Row] = field(default_factory=list)


def commit_rows(changes: Changes, with_rows: AbstractSet[AttemptId], number: int) -> CommitRows:
    """Sort them. `with_rows` are first attempts that are running and have rows of their own, and may be more; `number`
    is the commit's.
    """
    found = CommitRows()
    ends = _sorted_ends(changes, with_rows, found)
    results = {run << POSITION_BITS | task: result for run, task, result in changes.results}
    plain = found.plain_task
    for run, task, state in changes.tasks:
        key = run << POSITION_BITS | task
        phase, ended_at = state.phase, state.finished_at
        if (
            state.attempts != 1
            or state.failures
            or state.crashes
            or state.not_before is not None
            or state.reason
            or state.message
            or state.error_type
        ):  # more is to be said than when its first attempt has begun, or it has completed with that
            _update(state, key, number, found)
        elif phase is _RUNNING and ended_at is None:
            plain.append((phase, state.started_at, None, None, number, key))
        elif (
            phase is _COMPLETED
            and (end := ends.get(key)) is not None
            and end.ended_at == ended_at
            and len(results.get(key, _TOO_LARGE)) <= SMALL_BYTES
        ):
            plain.append((phase, state.started_at, ended_at, results.pop(key), number, key))
            del ends[key]
        else:
            _update(state, key, number, found)
    found.results = results.items()
    for key, end in ends.items():  # of which no task's row tells
        _close(end, key, found)
    for (run, task, attempt), at in changes.started:
        if attempt > 1 or (run << POSITION_BITS | task,) in found.note_attempt:
            found.insert_attempt.append((run << POSITION_BITS | task, attempt, at))
    return found


_RUNNING, _COMPLETED = TaskPhase.RUNNING, TaskPhase.COMPLETED
_TOO_LARGE = bytes(SMALL_BYTES + 1)  # in place of a result that is not there


def _sorted_ends(changes: Changes, with_rows: AbstractSet[AttemptId], found: CommitRows) -> dict[int, AttemptClosed]:
    """The ends that the rows of their tasks may tell of, by the keys of these; others are written."""
    ends = {}
    for end in changes.closed:
        run, task, number = attempt = end.attempt
        if number == 1 and end.status == "completed" and attempt not in with_rows:
            ends[run << POSITION_BITS | task] = end
        else:
            _close(end, run << POSITION_BITS | task, found)
    return ends


def _close(end: AttemptClosed, key: int, found: CommitRows) -> None:
    (_, _, number), status, at, reason, message, error_type = end
    if number == 1:
        found.note_attempt.add((key,))
    found.close_attempt.append((status, at, reason, message, error_type, key, number))


def _update(state: TaskState, key: int, number: int, found: CommitRows) -> None:
    """The row as a whole."""
    if state.attempts == 1 and state.phase is not _RUNNING:
        found.note_attempt.add((key,))
    found.update_task.append((*task_row(state), number, key))
