"""Writes a new run: its head and plan, the rows of its first tasks, and what it has kept from an earlier one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import apsw

from flowweaver.core.plan import RunPlan, digest, plan_to_text
from flowweaver.errors import InternalError
from flowweaver.ports import ROWS_AT_ONCE, Kept, NewRun
from flowweaver.stores import rows
from flowweaver.stores.commit_rows import SMALL_BYTES
from flowweaver.stores.texts import storable, storable_head, storable_name, storable_task

Statements = Mapping[str, str]


def create(cursor: apsw.Cursor, sql: Statements, run: NewRun) -> int:
    """Write it, within a transaction, and give its key. Raises `InternalError` where a task can not be kept."""
    names = names_of(run.plan)
    cursor.execute(sql["insert_run"], (*rows.head_row(storable_head(run.head)), *storable_name(run.name)))
    key = cursor.connection.last_insert_rowid()
    cursor.execute(sql["insert_plan"], (key, plan_to_text(run.plan), digest(run.plan)))
    if run.kept is not None:
        _write_kept(cursor, sql, run.kept, key, names)
        if run.kept.source is not None:
            _replace(cursor, sql, run.kept.source, run.head.created_at)
    # After what was kept: a row that is there stays.
    cursor.executemany(sql["insert_pending_task"], rows.pending_rows(key, 0, names[:ROWS_AT_ONCE]))
    return key


def names_of(plan: RunPlan) -> tuple[str, ...]:
    """The tasks' names as they are stored."""
    names = [task.name for task in plan.tasks]
    return tuple(names if "".join(names).isascii() else map(storable, names))


def _write_kept(cursor: apsw.Cursor, sql: Statements, kept: Kept, key: int, names: tuple[str, ...]) -> None:
    given = kept.given.items()
    cursor.executemany(
        sql["insert_task"],
        [
            (*rows.task_row(storable_task(state)), rows.task_key(key, task), key, names[task], state.attempts > 0)
            for task, (state, _) in given
        ],
    )
    write_results(cursor, sql, [(rows.task_key(key, task), result) for task, (_, result) in given])
    if kept.source is None:
        return
    pairs = list(_pairs(key, kept.source, kept.tasks))
    copies = [(new, key, names[task], old) for task, new, old in pairs]
    before = cursor.connection.total_changes()
    cursor.executemany(sql["copy_task"], copies)
    if cursor.connection.total_changes() - before != len(pairs):
        raise InternalError(f"a task of run {kept.source} that is to be kept has not completed")
    cursor.executemany(sql["copy_large_result"], [(new, old) for _, new, old in pairs])


def write_results(cursor: apsw.Cursor, sql: Statements, results: Collection[tuple[int, bytes]]) -> None:
    """Write results by the keys of their tasks: small ones into the rows of these, others apart. Raises `InternalError`
    where there is no such row.
    """
    large = [(key, result) for key, result in results if len(result) > SMALL_BYTES]
    before = cursor.connection.total_changes()
    cursor.executemany(
        sql["set_result"], [(result if len(result) <= SMALL_BYTES else None, key) for key, result in results]
    )
    if cursor.connection.total_changes() - before < len(results):
        raise InternalError(f"a result of a task that is not there, one of {[rows.task_of(key) for key, _ in results]}")
    if len(large) < len(results):
        cursor.executemany(sql["delete_large_result"], [(key,) for key, _ in results])
    if large:
        cursor.executemany(sql["insert_large_result"], large)


def _pairs(key: int, source: int, tasks: Mapping[int, int]) -> Iterator[tuple[int, int, int]]:
    for task, position in tasks.items():
        yield task, rows.task_key(key, task), rows.task_key(source, position)


def _replace(cursor: apsw.Cursor, sql: Statements, source: int, now: float) -> None:
    """Another generation takes the place of that run: what has not finished there never will."""
    bounds = rows.task_key(source, 0), rows.task_key(source + 1, 0)
    before = cursor.connection.total_changes()
    cursor.execute(sql["replace_run"], (now, source))
    if cursor.connection.total_changes() != before:
        # First of all: the rows of tasks that run tell of their first attempts.
        cursor.execute(sql["replace_attempts"], (now, *bounds))
        cursor.execute(sql["replace_tasks"], (now, *bounds))
