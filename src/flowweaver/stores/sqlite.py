"""The store of a real engine: one SQLite file in WAL mode, synced at every commit.

`commit` is called once for each turn of the engine, with a handful of rows: a statement a table and no more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from flowweaver.core.changes import Changes
from flowweaver.core.plan import RunPlan, digest
from flowweaver.core.state import RunHead
from flowweaver.errors import InternalError, StoreError
from flowweaver.ports import ROWS_AT_ONCE, ChildProcess, Clock, NewRun, RunName, StoredRun, StorePosition
from flowweaver.stores import rows
from flowweaver.stores.connections import Readers, require_sqlite
from flowweaver.stores.creation import create, names_of
from flowweaver.stores.filesystems import refuse_network
from flowweaver.stores.locks import StoreLock
from flowweaver.stores.statements import statements
from flowweaver.stores.texts import storable, storable_changes, storable_name
from flowweaver.stores.writer import Writer

PAGE_OF_RUNS = 500  # heads that `list_runs` reads at once


class SQLiteStore:
    """`ports.Store` in a file. Beside it stand `…-wal`, `…-shm` and `….lock`, which belong to it."""

    def __init__(self, path: str | os.PathLike[str], *, clock: Clock, vfs: str | None = None) -> None:
        """Open the file, or make it; take its lock, bring it to this version's layout, begin a new epoch.

        `vfs` is a name under which SQLite knows a file layer, for tests; None: the usual one. Raises `StoreLocked`,
        `StoreTooNew`, `StoreCorrupt`, `StoreUnavailable`, or `StoreError` where it can not be used at all.
        """
        require_sqlite(apsw.sqlite_lib_version())
        self.path = _checked(Path(path))
        self._sql = statements()
        self._names: dict[int, tuple[str, ...]] = {}  # of the tasks of runs whose rows are not all there yet
        self._lock = StoreLock(self.path, now=clock.now())
        try:
            self._writer = Writer(str(self.path), vfs=vfs)
            self._readers = Readers(str(self.path), vfs=vfs)
            self._writer.begin_epoch()
        except BaseException:
            self._lock.release()
            raise
        self._closed = False

    # -------------------------------------------------------------------------------------------------------- writing

    def create_run(self, name: RunName, plan: RunPlan, head: RunHead) -> int:
        """See `ports.Store`."""
        return self.create_runs([NewRun(name=name, plan=plan, head=head)])[0]

    def create_runs(self, runs: Sequence[NewRun]) -> list[int]:
        """See `ports.Store`. Raises `InternalError` where one of them is there already."""
        self._check_owner()
        keys = self._writer.transact(lambda cursor: [create(cursor, self._sql, run) for run in runs])
        for key, run in zip(keys, runs, strict=True):
            if len(run.plan.tasks) > ROWS_AT_ONCE:
                self._names[key] = names_of(run.plan)
        return keys

    def create_tasks(self, run: int, first: int, names: Sequence[str]) -> None:
        """See `ports.Store`."""
        self._check_owner()
        bounds = rows.task_key(run, first), rows.task_key(run, first + len(names))
        # After a restart they mostly are there, and then nothing has to be written and synced.
        if self._rows("count_tasks", bounds)[0][0] < len(names):
            pending = [(key, run, storable(name)) for key, run, name in rows.pending_rows(run, first, names)]
            self._writer.transact(lambda cursor: cursor.executemany(self._sql["insert_pending_task"], pending))
        if first + len(names) >= len(self._names.get(run, ())):
            self._names.pop(run, None)

    def commit(self, changes: Changes, processes: Sequence[ChildProcess] = ()) -> None:
        """See `ports.Store`."""
        self._check_owner()
        try:
            self._writer.commit(lambda cursor: self._write(cursor, changes, processes))
        except UnicodeEncodeError:
            changes = storable_changes(changes)
            self._writer.commit(lambda cursor: self._write(cursor, changes, processes))

    def delete_run(self, run: int) -> None:
        """See `ports.Store`."""
        self._check_owner()
        self._writer.transact(lambda cursor: cursor.execute(self._sql["delete_run"], (run,)))
        self._names.pop(run, None)

    def _write(self, cursor: apsw.Cursor, changes: Changes, processes: Sequence[ChildProcess]) -> None:
        sql = self._sql
        if changes.tasks:
            self._write_tasks(cursor, changes)
        if changes.results:
            cursor.executemany(
                sql["upsert_result"], [(rows.task_key(run, task), result) for run, task, result in changes.results]
            )
        if changes.started:
            cursor.executemany(
                sql["insert_attempt"],
                [(rows.task_key(run, task), number, at) for (run, task, number), at in changes.started],
            )
        if changes.closed:
            cursor.executemany(
                sql["close_attempt"],
                [
                    (status, at, reason, message, error_type, rows.task_key(run, task), number)
                    for (run, task, number), status, at, reason, message, error_type in changes.closed
                ],
            )
        if processes:
            cursor.executemany(sql["note_process"], map(_process_row, processes))
        if changes.runs:
            cursor.executemany(sql["update_run"], [(*rows.head_row(head), run) for run, head in changes.runs])

    def _write_tasks(self, cursor: apsw.Cursor, changes: Changes) -> None:
        updates = [(*rows.task_row(state), rows.task_key(run, task)) for run, task, state in changes.tasks]
        before = cursor.connection.total_changes()
        cursor.executemany(self._sql["update_task"], updates)
        if cursor.connection.total_changes() - before == len(updates):
            return
        # A row is not there yet: the run is being written in chunks, and this task is in a later one.
        cursor.executemany(
            self._sql["insert_pending_task"],
            [(rows.task_key(run, task), run, self._name_of(run, task)) for run, task, _ in changes.tasks],
        )
        cursor.executemany(self._sql["update_task"], updates)

    def _name_of(self, run: int, task: int) -> str:
        names = self._names.get(run)
        if names is None:
            names = self._names[run] = names_of(self._plan(run))
        try:
            return names[task]
        except IndexError:
            raise InternalError(f"run {run} has {len(names)} tasks in its plan, and no task {task}") from None

    # -------------------------------------------------------------------------------------------------------- reading

    def position(self) -> StorePosition:
        """See `ports.Store`."""
        return StorePosition(*self._rows("read_position")[0])

    def find_run(self, name: RunName) -> StoredRun | None:
        """See `ports.Store`."""
        found = self._rows("find_run", tuple(storable_name(name)))
        return self._read_run(found[0][0]) if found else None

    def find_newest(self, workflow: str, run_id: str, plan: RunPlan | None = None) -> StoredRun | None:
        """See `ports.Store`."""
        name = storable_name(RunName(workflow, run_id))
        found = self._rows("find_newest", (name.workflow, name.run_id))
        return self._read_run(found[0][0], plan) if found else None

    def task_named(self, name: str) -> tuple[int, int] | None:
        """See `ports.Store`."""
        found = self._rows("task_named", (storable(name),))
        return rows.task_of(found[0][0]) if found else None

    def read_run(self, run: int) -> StoredRun:
        """See `ports.Store`."""
        stored = self._read_run(run)
        if stored is None:
            raise KeyError(run)
        return stored

    def unfinished_runs(self) -> Iterator[StoredRun]:
        """See `ports.Store`. Each run is read when it is asked for."""
        for (run,) in self._rows("unfinished_runs"):
            stored = self._read_run(run)
            if stored and not stored.head.phase.finished:
                yield stored

    def list_runs(self) -> Iterator[tuple[int, RunName, RunHead]]:
        """See `ports.Store`."""
        after = 0
        while page := self._rows("list_heads", (after, PAGE_OF_RUNS)):
            for row in page:
                after, name, head = rows.head_of(row)
                yield after, name, head

    def read_results(self, run: int, tasks: Sequence[int]) -> dict[int, bytes]:
        """See `ports.Store`."""
        self._check_owner()
        with self._readers.snapshot() as connection:
            found = connection.executemany(self._sql["read_result"], [(rows.task_key(run, task),) for task in tasks])
            return {rows.task_of(key)[1]: result for key, result in found}

    def read_processes(self) -> list[ChildProcess]:
        """See `ports.Store`."""
        return [
            ChildProcess(attempt=rows.attempt_of(task, number), pid=pid, started=started)
            for task, number, pid, started in self._rows("read_processes")
        ]

    def _read_run(self, run: int, expected: RunPlan | None = None) -> StoredRun | None:
        """That run; where its plan has the tasks of `expected`, with that in its place."""
        self._check_owner()
        same = None if expected is None else digest(expected)
        with self._readers.snapshot() as connection:
            heads = connection.execute(self._sql["read_head"], (run,)).fetchall()
            if not heads:
                return None
            plans: list[Any] = connection.execute(self._sql["read_plan_unless"], (same or b"", run)).fetchall()
            bounds = rows.task_key(run, 0), rows.task_key(run + 1, 0)
            tasks = connection.execute(self._sql["read_tasks"], bounds).fetchall()
        key, name, head = rows.head_of(heads[0])
        plan = (
            expected
            if expected and plans and plans[0][0] is None
            else rows.plan_of(run, plans[0][0] if plans else None)
        )
        if expected and plan is not expected and digest(plan) == same:  # written by a version that made no digests
            plan = expected
        return StoredRun(key=key, name=name, plan=plan, head=head, tasks=rows.tasks_of(tasks, len(plan.tasks)))

    def _plan(self, run: int) -> RunPlan:
        found = self._rows("read_plan", (run,))
        if not found:
            raise InternalError(f"there is no run {run}")
        return rows.plan_of(run, found[0][0])

    def _rows(self, statement: str, bindings: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        self._check_owner()
        return self._readers.rows(self._sql[statement], bindings)

    # ------------------------------------------------------------------------------------------------------- the file

    def checkpoint(self) -> None:
        """See `ports.Store`."""
        self._check_owner()
        self._writer.checkpoint()

    def reopen(self) -> None:
        """See `ports.Store`. Raises `StoreUnavailable`, and then can be called again."""
        self._check_owner()
        self._readers.reset()
        self._writer.reopen()

    def close(self) -> None:
        """See `ports.Store`. In a forked child it does nothing: the file is the parent's."""
        if self._closed or not self._lock.is_ours:
            return
        self._closed = True
        self._readers.reset()
        self._writer.close()
        self._lock.release()

    def database_bytes(self) -> int:
        """The size of the main file."""
        return self.path.stat().st_size

    def wal_bytes(self) -> int:
        """The size of the log, which grows until a checkpoint and while a reader looks at it."""
        try:
            return Path(f"{self.path}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def _check_owner(self) -> None:
        if not self._lock.is_ours:
            raise StoreError(
                f"{self.path} was opened by process {self._lock.owner}, and this is its forked child {os.getpid()}: a "
                f"store can not be shared with a child. Start the child before the store is opened, or as a new program"
            )
        if self._closed:
            raise StoreError(f"{self.path} is closed")


def _checked(path: Path) -> Path:
    """The path without links, after looking at where it is."""
    real = Path(os.path.realpath(path))
    if not real.parent.is_dir():
        raise StoreError(f"{real.parent} is no folder: make it first, or name a file in another one")
    if real.is_dir():
        raise StoreError(f"{real} is a folder: name a file in it")
    refuse_network(real.parent)
    return real


def _process_row(process: ChildProcess) -> tuple[int, int, int, int]:
    run, task, number = process.attempt
    return process.pid, process.started, rows.task_key(run, task), number
