"""Looks at a state file without holding it, also while another process writes to it."""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from flowweaver.errors import StoreUnavailable
from flowweaver.ports import RunName
from flowweaver.stores.connections import BUSY_MILLISECONDS, Readers, discard, require_sqlite
from flowweaver.stores.filesystems import checked_path
from flowweaver.stores.history import AttemptRow, PastAttempt, with_results
from flowweaver.stores.migrations import APPLICATION_ID
from flowweaver.stores.rows import task_key, task_of
from flowweaver.stores.sqlite_reading import SQLiteReading
from flowweaver.stores.statements import migrations, statements


class SQLiteLook(SQLiteReading):
    """No lock, no new epoch, nothing is written."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises `StoreError` where there is no folder to look into."""
        require_sqlite(apsw.sqlite_lib_version())
        self.path = checked_path(Path(path))
        self._sql = statements()
        self._readers: _Lookers = _Lookers(str(self.path), vfs=None)

    @property
    def is_there(self) -> bool:
        """Whether the file is there, and one of ours."""
        return self.path.exists() and self._readers.rows("PRAGMA application_id") == [(APPLICATION_ID,)]

    @property
    def is_older(self) -> bool:
        """Whether the file has an older layout, which this can not read: `looking.looking_at` can."""
        [(version,)] = self._readers.rows("PRAGMA user_version")
        return bool(version < migrations()[-1].version)

    def read_history(self, name: str, limit: int) -> list[PastAttempt]:
        """The newest attempts of all tasks of that name, newest first, at most so many."""
        return with_results(
            PastAttempt(row[0], RunName(*row[1:4]), AttemptRow(*row[4:11]), row[11])
            for row in self._rows("read_history", (name, limit))
        )

    def read_attempts(self, run: int) -> dict[int, list[AttemptRow]]:
        """The attempts of a run's tasks, by position, oldest first."""
        found: dict[int, list[AttemptRow]] = {}
        for task, *row in self._rows("read_attempts", (task_key(run, 0), task_key(run + 1, 0))):
            found.setdefault(task_of(task)[1], []).append(AttemptRow(*row))
        return found

    def close(self) -> None:
        """Let the file go."""
        self._readers.close()

    def _check(self) -> None:
        if not self.path.exists():
            raise StoreUnavailable(f"{self.path} is gone")


class _Lookers(Readers):
    """Connections that could write and do not: only such a one takes its log away when it is the last to leave."""

    def close(self) -> None:
        """Close what is idle, properly."""
        with self._guard:
            idle, self._idle = self._idle, []
        for connection in idle:
            try:
                connection.close()
            except apsw.Error:
                discard(connection)

    def _open(self) -> apsw.Connection:
        try:
            connection = apsw.Connection(self._path, flags=apsw.SQLITE_OPEN_READWRITE)
        except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError):
            return super()._open()
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        connection.pragma("query_only", 1)
        return connection
