"""Opens connections to a state file: one that writes, and as many that read as are reading at one time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import apsw

from flowweaver.errors import StoreError
from flowweaver.stores.failures import translated

OLDEST_SQLITE = "3.51.3"
"""Older ones have a race between two connections that can corrupt a file in WAL mode."""

BUSY_MILLISECONDS = 5_000
KEPT_WAL_BYTES = 16 << 20  # a log that grew beyond is cut back when it is reset


def require_sqlite(version: str) -> None:
    """Raise `StoreError` where that version of SQLite is not safe to use."""
    if tuple(map(int, version.split("."))) < tuple(map(int, OLDEST_SQLITE.split("."))):
        raise StoreError(f"SQLite {version} is too old: {OLDEST_SQLITE} or later is needed. Upgrade the package apsw")


def open_writer(path: str, *, vfs: str | None, create: bool) -> apsw.Connection:
    """Open the one connection that writes and checkpoints; raises `apsw.Error` or `StoreError`."""
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    connection = apsw.Connection(path, flags=flags, vfs=vfs)
    try:
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        _require_wal(connection, path)
        for name, value in (
            ("synchronous", "full"),
            ("foreign_keys", 1),
            ("journal_size_limit", KEPT_WAL_BYTES),
            # Checkpoints are ours: SQLite's own would not say when one fails, and would go on with that connection.
            ("wal_autocheckpoint", 0),
        ):
            connection.pragma(name, value)
    except BaseException:
        discard(connection)
        raise
    return connection


def _require_wal(connection: apsw.Connection, path: str) -> None:
    mode = connection.pragma("journal_mode", "wal")
    if mode != "wal":
        raise StoreError(f'{path} can not be put into WAL mode, it stays in mode "{mode}"; use a local disk')


def discard(connection: apsw.Connection) -> None:
    """Close without touching the file: no checkpoint, no sync."""
    with suppress(apsw.Error):
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    with suppress(apsw.Error):
        connection.close(True)


class Readers:
    """Connections for reading, lent to one thread at a time. A read transaction never outlives the call that began it,
    because the log can not be reset while one looks at it.
    """

    def __init__(self, path: str, *, vfs: str | None) -> None:
        self._path = path
        self._vfs = vfs
        self._idle: list[apsw.Connection] = []
        self._guard = threading.Lock()
        self._life = 0  # grows when all that are lent out are to be thrown away

    def rows(self, statement: str, bindings: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of one query."""
        with self._lent() as connection:
            return connection.execute(statement, bindings).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[apsw.Connection]:
        """A connection that sees one commit, whatever is written meanwhile."""
        with self._lent() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute(
                "ROLLBACK"
            )  # what raises in between discards the connection, and the transaction with it

    def reset(self) -> None:
        """Close what is idle, and what is lent out as soon as it comes back."""
        with self._guard:
            self._life += 1
            idle, self._idle = self._idle, []
        for connection in idle:
            discard(connection)

    @contextmanager
    def _lent(self) -> Iterator[apsw.Connection]:
        with self._guard:
            life = self._life
            connection = self._idle.pop() if self._idle else None
        try:
            connection = connection or self._open()
            yield connection
        except apsw.Error as exc:
            if connection:
                discard(connection)
            raise translated(exc, self._path) from exc
        except BaseException:
            if connection:
                discard(connection)
            raise
        with self._guard:
            if life == self._life:
                self._idle.append(connection)
                return
        discard(connection)

    def _open(self) -> apsw.Connection:
        connection = apsw.Connection(self._path, flags=apsw.SQLITE_OPEN_READONLY, vfs=self._vfs)
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        return connection
