"""Copies a SQLite store with SQLite's own backup, from one snapshot, whoever writes to it meanwhile.

The copy is made in small steps with a rest after each: an engine beside it has its commits to sync.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import apsw

from flowweaver.errors import StoreCorrupt, StoreError, StoreTooNew, StoreUnavailable
from flowweaver.stores.backups import Origin, Rest, new_file, require_room
from flowweaver.stores.connections import BUSY_MILLISECONDS, discard, require_sqlite
from flowweaver.stores.failures import translated
from flowweaver.stores.migrations import APPLICATION_ID
from flowweaver.stores.statements import migrations, statements

STEP_PAGES = 256  # 1 MiB
SYNC_STEPS = 4
"""So often what was copied is synced on the way, so that the disk never has to take all of it at once."""

LAYOUT_OF_POSITION = 4  # before, `meta` said it all

_NO_LOCKS = "unix-none"  # a file that nobody else knows needs none, and a network file system has none that work


def back_up(source: Path, target: Path, *, now: float, rest: Rest = time.sleep, spare: int | None = None) -> Origin:
    """See `backups.write_backup`. The store may be open in this process. `spare`: so many bytes stay free."""
    with looked_at(source) as connection, new_file(target, source.stat().st_mode & 0o777) as path:
        with told(source, target):
            connection.execute("BEGIN")
            identity, epoch, sequence = position_of(connection, source)
        origin = Origin(made_at=now, store=identity, epoch=epoch, sequence=sequence, source=str(source))
        room = {} if spare is None else {"spare": spare}
        require_room(target.parent, size_of(connection), **room)
        with told(source, target):
            copy(connection, path, rest=rest)
        with told(target, target), alone_with(path) as copied:
            _mark(copied, origin)
            require_whole(copied, target)
    return origin


def read_origin(path: Path) -> Origin | None:
    """See `backups.origin_of`."""
    with looked_at(path) as connection, told(path, path):
        if not connection.table_exists("main", "backup_origin"):
            return None
        found = connection.execute(statements()["read_origin"]).fetchall()
    if len(found) != 1:
        return None
    made_at, store, epoch, sequence, source = cast("tuple[float, str, int, int, str]", found[0])
    return Origin(made_at=made_at, store=store, epoch=epoch, sequence=sequence, source=source)


def standing(path: Path) -> tuple[object, ...]:
    """The same for two files of one store where nothing has happened between them; raises `StoreError`."""
    with looked_at(path) as connection, told(path, path):
        store, _, sequence = position_of(connection, path)
        [runs] = connection.execute(statements()["read_standing"]).fetchall()
        return store, sequence, *runs


def copy(source: apsw.Connection, target: Path, *, rest: Rest) -> None:
    """Copy what a transaction on `source` sees into the empty file `target`, and sync it.

    Raises `apsw.Error`, `OSError`.
    """
    descriptor = os.open(target, os.O_RDWR | os.O_CLOEXEC)
    connection = open_alone(target)
    try:
        with connection.backup("main", source, "main") as backup:
            steps = 0
            while not backup.done:
                began = time.monotonic()
                backup.step(STEP_PAGES)
                steps += 1
                if steps % SYNC_STEPS == 0:
                    os.fsync(descriptor)
                if not backup.done:
                    rest(time.monotonic() - began)
        connection.close()
        os.fsync(descriptor)
    finally:
        discard(connection)
        os.close(descriptor)


def write_anew(source: Path, target: Path) -> None:
    """Write what is in `source` to the empty file `target`, without room that is not used; it is to be synced then.

    Raises `StoreError` where that can not be done, or where there is no room.
    """
    with looked_at(source) as connection, told(source, target):
        require_room(target.parent, size_of(connection))
        connection.pragma("query_only", 0)  # it holds for what is attached too; the source is not written
        connection.execute("VACUUM INTO ?", (str(target),))


@contextmanager
def looked_at(path: Path) -> Iterator[apsw.Connection]:
    """A connection that writes nothing, to one of our files. Raises `StoreError` where it can not be looked at."""
    require_sqlite(apsw.sqlite_lib_version())
    if not path.is_file():
        raise StoreUnavailable(f"{path} is not there: name the state file")
    with told(path, path):
        connection = _open_to_look(path)
    try:
        with told(path, path):
            require_ours(connection, path)
        yield connection
    except BaseException:
        discard(connection)  # what is damaged stays as it is, and its log with it
        raise
    _close(connection)


def _open_to_look(path: Path) -> apsw.Connection:
    """One that could write takes the log away when it is the last to leave; else one that can only read."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.pragma("query_only", 1)
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    return connection


def _close(connection: apsw.Connection) -> None:
    try:
        connection.close()
    except apsw.Error:
        discard(connection)


def require_ours(connection: apsw.Connection, path: Path) -> int:
    """The file's layout; raises `StoreError` where it is no store, `StoreTooNew` where a newer version wrote it."""
    if connection.pragma("application_id") != APPLICATION_ID:
        raise StoreError(f"{path} is an SQLite file of another program: name another file")
    version, newest = cast("int", connection.pragma("user_version")), migrations()[-1].version
    if version > newest:
        raise StoreTooNew(
            f"{path} was written by a newer FlowWeaver (layout {version}, this one knows {newest}): upgrade FlowWeaver"
        )
    return version


def position_of(connection: apsw.Connection, path: Path) -> tuple[str, int, int]:
    """The store's id, epoch and sequence, whatever layout it has; raises `StoreCorrupt`."""
    older = connection.pragma("user_version") < LAYOUT_OF_POSITION
    found = connection.execute(statements()["read_older_position" if older else "read_position"]).fetchall()
    if len(found) != 1:
        raise StoreCorrupt(f"{path} does not say which store it is; restore a backup of it")
    return cast("tuple[str, int, int]", found[0])


def size_of(connection: apsw.Connection) -> int:
    """How many bytes a copy will have."""
    return cast("int", connection.pragma("page_count")) * cast("int", connection.pragma("page_size"))


def open_alone(path: Path) -> apsw.Connection:
    """A connection to a file that nobody else knows. What it writes has to be synced by hand.

    It takes the file out of WAL mode: so a copy is one file, which can be read from a folder that can not be written.
    """
    vfs = _NO_LOCKS if _NO_LOCKS in apsw.vfs_names() else None
    connection = apsw.Connection(str(path), vfs=vfs)
    connection.pragma("locking_mode", "exclusive")
    connection.pragma("journal_mode", "off")
    connection.pragma("synchronous", "off")
    return connection


@contextmanager
def alone_with(path: Path) -> Iterator[apsw.Connection]:
    """The same, closed in the end."""
    connection = open_alone(path)
    try:
        yield connection
        connection.close()
    finally:
        discard(connection)


def require_whole(connection: apsw.Connection, path: Path) -> None:
    """Raise `StoreCorrupt` where SQLite finds something wrong in the file."""
    if found := page_problems(connection, 3):
        raise StoreCorrupt(
            f"{path} does not hold together ({'; '.join(found)}): look at the disk, and check the state file"
        )


def page_problems(connection: apsw.Connection, most: int) -> list[str]:
    """What SQLite finds wrong in the file, at most so many lines."""
    found: list[str] = []
    try:
        for (line,) in connection.execute(f"PRAGMA integrity_check({most})"):
            found += str(line).splitlines()
    except apsw.CorruptError as exc:  # it looks no further
        return [*found, str(exc)]
    return [] if found == ["ok"] else found


def _mark(connection: apsw.Connection, origin: Origin) -> None:
    sql = statements()
    connection.execute(sql["forget_origin"])
    connection.execute(sql["make_origin"])
    row = origin.made_at, origin.store, origin.epoch, origin.sequence, origin.source
    connection.execute(sql["insert_origin"], row)


@contextmanager
def told(source: Path, target: Path) -> Iterator[None]:
    """Failures of SQLite and of the disk as ours: of a full disk `target` is to be told of, of all else `source`."""
    try:
        yield
    except apsw.Error as exc:
        raise translated(exc, str(target if isinstance(exc, apsw.FullError) else source)) from exc
    except OSError as exc:
        raise StoreUnavailable(f"{target} can not be written: {exc.strerror}; look at the disk") from exc
