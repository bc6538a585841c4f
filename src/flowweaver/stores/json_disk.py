"""Every way in which a JSON store touches the disk: few enough that a test can let each of them fail."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class Disk:
    """The real one. Each method raises `OSError`."""

    def open(self, path: Path, *, like: Path, empty: bool = False) -> int:
        """A descriptor for reading and writing; a new file gets the permissions of `like`, where that is there."""
        # O_CLOEXEC is what os.open does anyway: a child that is started must not carry the descriptor along.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if empty else 0)
        descriptor = os.open(path, flags, 0o644)
        with suppress(FileNotFoundError):
            mode = stat.S_IMODE(like.stat().st_mode)
            if mode != stat.S_IMODE(os.fstat(descriptor).st_mode):
                os.fchmod(descriptor, mode)
        return descriptor

    def close(self, descriptor: int) -> None:
        """Let it go."""
        os.close(descriptor)

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write all of it there."""
        written = os.pwrite(descriptor, data, offset)
        while written < len(data):  # a signal, or a disk that is about to be full
            written += os.pwrite(descriptor, memoryview(data)[written:], offset + written)

    def sync(self, descriptor: int) -> None:
        """Return when all that was written is on the disk."""
        _sync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file to so many bytes."""
        os.ftruncate(descriptor, size)

    def replace(self, source: Path, target: Path) -> None:
        """Let `source` take the place of `target`."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Take a file away; one that is not there is no error."""
        path.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Return when what was made, renamed or removed in it is on the disk."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_file(disk: Disk, path: Path, pieces: Iterable[bytes], *, like: Path) -> int:
    """Write a whole new file and sync it; gives its size. What it leaves where it fails is taken away."""
    try:
        descriptor = disk.open(path, like=like, empty=True)
        try:
            size = _write_pieces(disk, descriptor, pieces)
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
    except OSError:
        with suppress(OSError):
            disk.remove(path)
        raise
    return size


_AT_ONCE = 1 << 20


def _write_pieces(disk: Disk, descriptor: int, pieces: Iterable[bytes]) -> int:
    size, waiting, count = 0, [], 0
    for piece in pieces:
        waiting.append(piece)
        count += len(piece)
        if count >= _AT_ONCE:
            disk.write(descriptor, b"".join(waiting), size)
            size, waiting, count = size + count, [], 0
    disk.write(descriptor, b"".join(waiting), size)
    return size + count
