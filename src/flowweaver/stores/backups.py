"""Backups: a whole copy of a store in one file, taken while an engine goes on with it.

A backup is a state file of its own, which says in itself when and of which store it was taken. It is made under
another name, checked, synced, and only then called what it is to be called: what has a backup's name is a backup.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from flowweaver.errors import StoreCorrupt, StoreError, StoreUnavailable, UserError
from flowweaver.stores import disks

PARTIAL = ".partial"
SPARE_BYTES = 16 << 20
"""So much room a copy leaves on the disk, so that an engine beside it can go on writing."""

Rest = Callable[[float], None]
"""Waits for so many seconds, so that others get their turn at the disk; may raise to give up."""


class Kind(StrEnum):
    """How a store is kept."""

    SQLITE = "sqlite"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a backup says of itself."""

    made_at: float  # seconds since the epoch: everything that was acknowledged before is in it
    store: str  # the store's id
    epoch: int
    sequence: int  # of the newest commit that is in it
    source: str  # the path of the state file


def kind_of(path: Path) -> Kind:
    """How the store at that path is kept, by what the file begins with.

    Never call it where the store is open in this process: closing the file would let go of SQLite's locks.
    Raises `StoreUnavailable` where it can not be read, `StoreError` where it is none of ours.
    """
    try:
        with path.open("rb") as file:
            opening = file.read(16)
    except FileNotFoundError:
        raise StoreUnavailable(f"{path} is not there: name the state file") from None
    except OSError as exc:
        raise StoreUnavailable(f"{path} can not be read: {exc.strerror}; look at the permissions") from exc
    if opening.startswith(b"SQLite format 3\0"):
        return Kind.SQLITE
    if opening.startswith(b"{"):
        return Kind.JSON
    raise StoreCorrupt(f"{path} is no state file, or its first bytes are damaged: restore a backup of it")


def write_backup(source: Path, target: Path, *, now: float, rest: Rest = time.sleep) -> Origin:
    """Back the store at `source` up to the new file `target`, while whoever has it goes on.

    Raises `UserError` where `target` is there, `StoreUnavailable` where there is no room or the disk fails, and
    `StoreCorrupt` where the store, or what was written, does not hold together. In each case there is no new file.
    """
    if kind_of(source) is Kind.JSON:
        from flowweaver.stores.json_backups import back_up
    else:
        from flowweaver.stores.sqlite_backups import back_up
    return back_up(source, target, now=now, rest=rest)


def origin_of(path: Path) -> Origin | None:
    """What a backup says of itself; None: it is a state file that is no backup. Raises `StoreError`."""
    if kind_of(path) is Kind.JSON:
        from flowweaver.stores.json_backups import read_origin
    else:
        from flowweaver.stores.sqlite_backups import read_origin
    return read_origin(path)


def newest_in(folder: Path) -> Path:
    """The newest backup in a folder; raises `UserError` where there is none, or where they are of several stores: the
    newest may be that of an empty volume which took the place of the one that was lost.
    """
    found: list[tuple[Origin, Path]] = []
    for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
        with suppress(StoreError):
            origin = origin_of(path)
            if origin is not None:
                found.append((origin, path))
    if not found:
        raise UserError(f"there is no backup in {folder}: name another folder, or a file")
    if len({origin.store for origin, _ in found}) > 1:
        told = "; ".join(f"{path.name} (store {origin.store}, commit {origin.sequence})" for origin, path in found)
        raise UserError(f"the backups in {folder} are of several stores: name the one to be restored. {told}")
    return max(found, key=lambda made: made[0].made_at)[1]


def name_of_backup(stem: str, store: str, at: float, suffix: str) -> str:
    """`state-20260102T030405Z-1a2b3c4d.db`: sorted by name they are sorted by time; the store's id tells them apart."""
    return f"{stem}-{stamp(at)}-{store[:8]}{suffix}"


def stamp(at: float) -> str:
    """An instant in a file's name."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")


# --------------------------------------------------------------------------------------------------------------- files


def require_room(folder: Path, size: int, spare: int = SPARE_BYTES) -> None:
    """Raise `StoreUnavailable` where so many bytes can not be written there without filling the disk."""
    try:
        free = free_bytes(folder)
    except OSError as exc:
        raise StoreUnavailable(f"{folder} can not be looked at: {exc.strerror}; look at the disk") from exc
    if free < size + spare:
        raise StoreUnavailable(
            f"{folder} has {free >> 20} MiB left, and a copy takes {size >> 20} MiB beside {spare >> 20} MiB that are "
            f"kept free: make room, or name a folder on another disk"
        )


def free_bytes(folder: Path) -> int:
    """So much can be written there; raises `OSError`."""
    return disks.free_bytes(os.statvfs(folder))


@contextmanager
def new_file(target: Path, mode: int = 0o600) -> Iterator[Path]:
    """A file to be written beside `target`, which gets that name, synced, when the block ends; nothing is replaced.

    Raises `UserError` where `target` is there, `StoreUnavailable` where the disk fails.
    """
    refuse_existing(target)
    with temporary_file(target, PARTIAL, mode) as path:
        yield path
        _publish(path, target)


def refuse_existing(target: Path) -> None:
    """Raise `UserError` where something has that name, or where it has no folder."""
    if os.path.lexists(target):
        raise UserError(f"{target} is there already, and a backup replaces nothing: name another file, or a folder")
    if not target.parent.is_dir():
        raise UserError(f"{target.parent} is no folder: make it first, or name another one")


@contextmanager
def temporary_file(target: Path, ending: str, mode: int) -> Iterator[Path]:
    """A new, empty file beside `target` that is taken away in the end, where it still has its name then."""
    try:
        descriptor, name = tempfile.mkstemp(ending, f".{target.name}.", target.parent)
        os.fchmod(descriptor, mode)
        os.close(descriptor)
    except OSError as exc:
        raise StoreUnavailable(f"{target.parent} can not be written to: {exc.strerror}; look at the disk") from exc
    path = Path(name)
    try:
        yield path
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                Path(f"{path}{suffix}").unlink(missing_ok=True)


def _publish(path: Path, target: Path) -> None:
    try:
        sync(path)
        try:
            os.link(path, target)  # unlike a rename it replaces nothing
        except FileExistsError:
            raise UserError(f"{target} is there by now, and a backup replaces nothing: name another file") from None
        except OSError:  # a file system without links
            refuse_existing(target)
            path.rename(target)
        sync_folder(target.parent)
    except OSError as exc:
        raise StoreUnavailable(f"{target} can not be written: {exc.strerror}; look at the disk") from exc


def sync(path: Path) -> None:
    """Return when what was written to that file is on the disk; raises `OSError`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """The same for what was made, renamed or removed in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
