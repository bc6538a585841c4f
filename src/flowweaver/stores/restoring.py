"""Puts a backup in the place of a state file, as a whole; what was there is kept beside it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flowweaver.errors import StoreCorrupt, StoreError, StoreUnavailable
from flowweaver.ports import StorePosition
from flowweaver.stores.backups import Kind, Origin, kind_of, origin_of, stamp, sync, sync_folder, temporary_file
from flowweaver.stores.checks import check
from flowweaver.stores.filesystems import checked_path
from flowweaver.stores.locks import StoreLock
from flowweaver.stores.looking import looking_at

LOGS = ("-wal", "-shm", "-journal")
"""What stands beside a state file and belongs to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore has done."""

    origin: Origin | None  # what the backup says of itself; None: nothing, it is a plain copy
    position: StorePosition  # the restored store's
    before: StorePosition | None  # the old store's; None: there was none, or it could not be read
    kept: Path | None  # the old file; None: there was none


def restore(backup: Path, path: Path, *, now: float) -> Restored:
    """Let `path` be what `backup` is. The old file stays beside it, under another name, with what belongs to it.

    A crash at any moment leaves the old store or the new one. Raises `StoreLocked` while somebody has the store,
    `StoreCorrupt` for a backup that does not hold together, `StoreUnavailable` where there is no room or the disk
    fails; nothing has changed then.
    """
    path = checked_path(path)
    if path == Path(os.path.realpath(backup)):
        raise StoreError(f"{path} is both the state file and the backup: name two files")
    found = check(backup)
    if path.exists() and path.stat().st_size and _kind_of(path) not in {found.kind, None}:
        raise StoreError(f"{path} is no {found.kind} store, and {backup} is one: name the state file that it is of")
    if found.problems:
        raise StoreCorrupt(f"{backup} can not be restored: {'; '.join(found.problems[:3])}. Take another backup")
    origin = origin_of(backup)
    lock = StoreLock(path, now=now)
    try:
        with temporary_file(path, ".restoring", _mode_of(path, backup)) as new:
            before = _settled(path)
            _copy(backup, new, path)
            kept = _replace(new, path, now, is_json=found.kind is Kind.JSON)
    finally:
        lock.release()
    return Restored(origin=origin, position=found.position, before=before, kept=kept)


def _kind_of(path: Path) -> Kind | None:
    """None: it is damaged, or none of ours."""
    try:
        return kind_of(path)
    except StoreError:
        return None


def _mode_of(path: Path, backup: Path) -> int:
    return (path if path.exists() else backup).stat().st_mode & 0o777


def _settled(path: Path) -> StorePosition | None:
    """Where the old store is, after bringing its log into it as far as it can be read: one file is moved at once."""
    with suppress(StoreError):
        if path.exists() and kind_of(path) is Kind.JSON:
            with looking_at(path) as look:
                return look.position()
        if path.exists():
            from flowweaver.stores.sqlite_backups import looked_at, position_of, told

            with looked_at(path) as connection, told(path, path):
                return StorePosition(*position_of(connection, path))
    return None


def _copy(backup: Path, new: Path, path: Path) -> None:
    """The backup's contents in the new file, without what makes it a backup; checked and synced."""
    if kind_of(backup) is Kind.JSON:
        from flowweaver.stores.json_backups import contents_at, number_of, write_contents

        # An old journal that a crash leaves behind has an older number then, and is taken for one that is in it.
        write_contents(contents_at(backup), new, number=number_of(path) + 1)
        return
    from flowweaver.stores.sqlite_backups import alone_with, require_whole, told, write_anew
    from flowweaver.stores.statements import statements

    write_anew(backup, new)
    with told(new, new), alone_with(new) as copied:
        copied.execute(statements()["forget_origin"])
        require_whole(copied, new)


def _replace(new: Path, path: Path, now: float, *, is_json: bool) -> Path | None:
    kept = _free_name(path, now) if path.exists() else None
    try:
        sync(new)
        if kept is not None:
            for suffix in ("", *LOGS):
                with suppress(FileNotFoundError):
                    _keep(Path(f"{path}{suffix}"), Path(f"{kept}{suffix}"))
            sync_folder(path.parent)
        if is_json:  # its number tells the old journal from one that goes on from it
            new.replace(path)
            sync_folder(path.parent)
        for suffix in LOGS:  # SQLite would take an old log for the new file's
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        if not is_json:
            new.replace(path)
        sync_folder(path.parent)
    except OSError as exc:
        raise StoreUnavailable(f"{path} can not be replaced: {exc.strerror}; look at the disk") from exc
    return kept


def _keep(file: Path, other: Path) -> None:
    """A second name for a file, so that the first one is there until it is replaced."""
    try:
        os.link(file, other)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        file.rename(other)


def _free_name(path: Path, now: float) -> Path:
    name = path.with_name(f"{path.name}.before-{stamp(now)}")
    count = 1
    while os.path.lexists(name):
        count += 1
        name = path.with_name(f"{path.name}.before-{stamp(now)}-{count}")
    return name
