"""Copies a JSON store: what its two files say at one moment, as one file."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from flowweaver.errors import StoreCorrupt, StoreError, StoreUnavailable
from flowweaver.stores.backups import Origin, Rest, new_file, refuse_existing, require_room
from flowweaver.stores.json_contents import Contents
from flowweaver.stores.json_disk import Disk, write_file
from flowweaver.stores.json_files import look_at_files, opening_of, read_files, snapshot_text

_FIRST_LINE_BYTES = 1 << 16


def back_up(source: Path, target: Path, *, now: float, rest: Rest = time.sleep) -> Origin:
    """See `backups.write_backup`. All of the store is held in memory, as whoever has it does; there is no rest."""
    del rest
    refuse_existing(target)
    contents = contents_at(source)
    require_room(target.parent, 2 * source.stat().st_size)
    origin = Origin(
        made_at=now, store=contents.id, epoch=contents.epoch, sequence=contents.sequence, source=str(source)
    )
    with new_file(target, source.stat().st_mode & 0o777) as path:
        write_contents(contents, path, number=1, origin=origin)
    return origin


def contents_at(path: Path) -> Contents:
    """All that the store holds, whoever writes to it; raises `StoreError`."""
    contents = look_at_files(path)
    if contents is None:
        raise StoreUnavailable(f"{path} is not there: name the state file")
    return contents


def write_contents(contents: Contents, path: Path, *, number: int, origin: Origin | None = None) -> None:
    """Write it to that file, synced, and read it again; raises `StoreUnavailable`, `StoreCorrupt`."""
    backup = None if origin is None else asdict(origin)
    try:
        write_file(Disk(), path, snapshot_text(contents, number, {}, backup=backup), like=path)
    except OSError as exc:
        raise StoreUnavailable(f"{path} can not be written: {exc.strerror}; look at the disk") from exc
    written = read_files(path)
    if written is None or written.contents.runs.keys() != contents.runs.keys():
        raise StoreCorrupt(f"{path} is not what was written to it: look at the disk")


def read_origin(path: Path) -> Origin | None:
    """See `backups.origin_of`."""
    try:
        with path.open("rb") as file:
            head = opening_of(path, file.read(_FIRST_LINE_BYTES))
    except OSError as exc:
        raise StoreUnavailable(f"{path} can not be read: {exc.strerror}; look at the permissions") from exc
    told = head.get("backup")
    return Origin(**told) if told else None


def number_of(path: Path) -> int:
    """The number of the snapshot that is there; 0: there is none that can be read."""
    try:
        with path.open("rb") as file:
            return int(opening_of(path, file.read(_FIRST_LINE_BYTES))["number"])
    except (OSError, StoreError, KeyError, ValueError):
        return 0
