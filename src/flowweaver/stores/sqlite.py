"""The store of a real engine: one SQLite file in WAL mode, synced at every commit.

`commit` is called once for each turn of the engine, with a handful of rows: a statement a table and no more.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import apsw

from flowweaver.core.changes import Changes
from flowweaver.core.events import AttemptId
from flowweaver.core.plan import RunPlan
from flowweaver.core.state import RunHead
from flowweaver.errors import InternalError, StoreError
from flowweaver.ports import ROWS_AT_ONCE, ChildProcess, Clock, NewRun, RunName, StorePosition
from flowweaver.stores import rows
from flowweaver.stores.commit_rows import CommitRows, commit_rows
from flowweaver.stores.connections import Readers, require_sqlite
from flowweaver.stores.creation import create, names_of, write_results
from flowweaver.stores.filesystems import checked_path
from flowweaver.stores.locks import StoreLock
from flowweaver.stores.sqlite_reading import SQLiteReading
from flowweaver.stores.statements import statements
from flowweaver.stores.texts import storable, storable_changes
from flowweaver.stores.writer import Writer


class SQLiteStore(SQLiteReading):
    """`ports.Store` in a file. Beside it stand `…-wal`, `…-shm` and `….lock`, which belong to it."""

    def __init__(self, path: str | os.PathLike[str], *, clock: Clock, vfs: str | None = None) -> None:
        """Open the file, or make it; take its lock, bring it to this version's layout, begin a new epoch.

        `vfs` is a name under which SQLite knows a file layer, for tests; None: the usual one. Raises `StoreLocked`,
        `StoreTooNew`, `StoreCorrupt`, `StoreUnavailable`, or `StoreError` where it can not be used at all.
        """
        require_sqlite(apsw.sqlite_lib_version())
        self.path = checked_path(Path(path))
        self._sql = statements()
        self._names: dict[int, tuple[str, ...]] = {}  # of the tasks of runs whose rows are not all there yet
        self._with_rows: set[AttemptId] = set()  # attempts that run in processes, and so have rows
        self._unfinished: set[int] = set()  # runs that are known to be
        self._lock = StoreLock(self.path, now=clock.now())
        self._closed = False
        try:
            self._writer = Writer(str(self.path), vfs=vfs)
            self._readers = Readers(str(self.path), vfs=vfs)
            self._writer.begin_epoch()
            self._with_rows.update(process.attempt for process in self.read_processes())
        except BaseException:
            self._lock.release()
            raise

    def position(self) -> StorePosition:
        """See `ports.Store`. Nobody else writes, and after a failure it was read when the file was opened again."""
        self._check()
        return self._writer.position

    # -------------------------------------------------------------------------------------------------------- writing

    def create_run(self, name: RunName, plan: RunPlan, head: RunHead) -> int:
        """See `ports.Store`."""
        return self.create_runs([NewRun(name=name, plan=plan, head=head)])[0]

    def create_runs(self, runs: Sequence[NewRun]) -> list[int]:
        """See `ports.Store`. Raises `InternalError` where one of them is there already."""
        self._check()
        self._unfinished.difference_update(run.kept.source for run in runs if run.kept and run.kept.source)
        keys = self._writer.transact(lambda cursor: [create(cursor, self._sql, run) for run in runs])
        for key, run in zip(keys, runs, strict=True):
            if len(run.plan.tasks) > ROWS_AT_ONCE:
                self._names[key] = names_of(run.plan)
        return keys

    def create_tasks(self, run: int, first: int, names: Sequence[str]) -> None:
        """See `ports.Store`."""
        self._check()
        bounds = rows.task_key(run, first), rows.task_key(run, first + len(names))
        # After a restart they mostly are there, and then nothing has to be written and synced.
        if self._rows("count_tasks", bounds)[0][0] < len(names):
            pending = [(key, run, storable(name)) for key, run, name in rows.pending_rows(run, first, names)]
            self._writer.transact(lambda cursor: cursor.executemany(self._sql["insert_pending_task"], pending))
        if first + len(names) >= len(self._names.get(run, ())):
            self._names.pop(run, None)

    def commit(self, changes: Changes, processes: Sequence[ChildProcess] = ()) -> None:
        """See `ports.Store`."""
        self._check()
        try:
            self._writer.commit(lambda cursor, number: self._write(cursor, number, changes, processes))
        except UnicodeEncodeError:
            changes = storable_changes(changes)
            self._writer.commit(lambda cursor, number: self._write(cursor, number, changes, processes))
        if self._with_rows:
            self._with_rows.difference_update(closed.attempt for closed in changes.closed)

    def delete_run(self, run: int) -> None:
        """See `ports.Store`."""
        self._check()
        self._unfinished.discard(run)
        self._writer.transact(lambda cursor: cursor.execute(self._sql["delete_run"], (run,)))
        self._names.pop(run, None)

    def _write(self, cursor: apsw.Cursor, number: int, changes: Changes, processes: Sequence[ChildProcess]) -> None:
        sql, found = self._sql, commit_rows(changes, self._with_rows, number)
        if found.note_attempt:  # before the rows of their tasks say something else
            cursor.executemany(sql["note_attempt"], found.note_attempt)
        self._write_tasks(cursor, changes, found)
        if found.results:
            write_results(cursor, sql, found.results)
        if found.insert_attempt:
            cursor.executemany(sql["insert_attempt"], found.insert_attempt)
        if found.close_attempt:
            cursor.executemany(sql["close_attempt"], found.close_attempt)
        for process in processes:
            cursor.execute(sql["note_process"], _process_row(process))
            if cursor.connection.changes():  # else its attempt has ended already
                self._with_rows.add(process.attempt)
        if changes.runs:
            cursor.executemany(sql["update_run"], [(*rows.head_row(head), run) for run, head in changes.runs])
            self._unfinished.difference_update(run for run, _ in changes.runs)
        if changes.runs or not self._is_in_rows(cursor, changes):
            cursor.execute(sql["note_sequence"], (number,))

    def _is_in_rows(self, cursor: apsw.Cursor, changes: Changes) -> bool:
        """Whether a row has the number of this commit where it is looked for: one of an unfinished run."""
        for run, _, _ in changes.tasks:
            if run in self._unfinished:
                return True
            if cursor.execute(self._sql["is_unfinished"], (run,)).fetchall():
                self._unfinished.add(run)
                return True
        return False

    def _write_tasks(self, cursor: apsw.Cursor, changes: Changes, found: CommitRows) -> None:
        if self._update_tasks(cursor, found) == len(changes.tasks):
            return
        # A row is not there yet: the run is being written in chunks, and this task is in a later one.
        cursor.executemany(
            self._sql["insert_pending_task"],
            [(rows.task_key(run, task), run, self._name_of(run, task)) for run, task, _ in changes.tasks],
        )
        self._update_tasks(cursor, found)

    def _update_tasks(self, cursor: apsw.Cursor, found: CommitRows) -> int:
        """Gives how many rows there were to update."""
        sql, before = self._sql, cursor.connection.total_changes()
        if found.plain_task:
            cursor.executemany(sql["plain_task"], found.plain_task)
        if found.update_task:
            cursor.executemany(sql["update_task"], found.update_task)
        return cursor.connection.total_changes() - before

    def _name_of(self, run: int, task: int) -> str:
        names = self._names.get(run)
        if names is None:
            names = self._names[run] = names_of(self._plan(run))
        try:
            return names[task]
        except IndexError:
            raise InternalError(f"run {run} has {len(names)} tasks in its plan, and no task {task}") from None

    # ------------------------------------------------------------------------------------------------------- the file

    def checkpoint(self) -> None:
        """See `ports.Store`."""
        self._check()
        self._writer.checkpoint()

    def look(self) -> None:
        """Raise `StoreUnavailable` where writing would fail, as far as that can be told without; `StoreCorrupt` where
        the file was deleted and stays away. Some system calls, from any thread.
        """
        self._check()
        self._writer.look()

    def require_presence(self) -> None:
        """Raise `StoreUnavailable` where the file that is open is not the one of its name any more: it has to be opened
        again then.
        """
        self._check()
        self._writer.require_presence(now=True)

    def reopen(self) -> None:
        """See `ports.Store`. Raises `StoreUnavailable`, and then can be called again."""
        self._check()
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

    def _check(self) -> None:
        if not self._lock.is_ours:
            raise StoreError(
                f"{self.path} was opened by process {self._lock.owner}, and this is its forked child {os.getpid()}: a "
                f"store can not be shared with a child. Start the child before the store is opened, or as a new program"
            )
        if self._closed:
            raise StoreError(f"{self.path} is closed")


def _process_row(process: ChildProcess) -> tuple[int, int, int, int]:
    run, task, number = process.attempt
    return process.pid, process.started, rows.task_key(run, task), number
