"""A disk that does what a test says: it fails, fills up, tears a write, waits; and it can tell what a power cut leaves.

It is a file layer (VFS) that SQLite itself writes through, so that what is tested is SQLite on a bad disk and not a
guess at how that looks. Shared memory is left alone: it is no part of a disk.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import apsw


class Effect(Enum):
    """What happens to an operation instead."""

    FAIL = "an I/O error; nothing was written"
    FAIL_AFTER = "an I/O error, although all was written or synced"
    FILL = "the disk is full; nothing was written"
    TEAR = "half of it was written, then an I/O error"
    KILL = "the process is killed instead"
    KILL_AFTER = "the process is killed as soon as it is done"
    HOLD = "it waits until `Disk.gate` is set, then goes on"


@dataclass(slots=True, kw_only=True)
class Fault:
    """From the `nth` such operation on, `times` of them have this effect."""

    effect: Effect
    operation: str  # "read", "write", "sync" or "truncate"
    file: str = "wal"  # "main" or "wal"
    nth: int = 1
    times: int = 1

    def takes(self, file: str, operation: str) -> bool:
        """Whether it strikes now; counts."""
        if (file, operation) != (self.file, self.operation) or self.times == 0:
            return False
        self.nth -= 1
        if self.nth > 0:
            return False
        self.times -= 1
        return True


class Undo(NamedTuple):
    """How a file looked before a write that is not synced yet."""

    offset: int
    content: bytes
    size: int


@dataclass(slots=True)
class Disk:
    """Give its `name` to `SQLiteStore(vfs=…)`. Use it as a context manager."""

    name: str = field(default_factory=lambda: f"disk-{uuid.uuid4()}")
    faults: list[Fault] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    held: threading.Event = field(default_factory=threading.Event)  # set when an operation has begun to wait
    operations: list[tuple[str, str]] = field(default_factory=list)  # (file, operation), in order
    unsynced: dict[str, list[Undo]] = field(default_factory=lambda: defaultdict(list))  # by path
    _layer: apsw.VFS | None = None

    def __enter__(self) -> Self:
        self._layer = _Layer(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.gate.set()
        if self._layer:
            self._layer.unregister()

    def will(self, effect: Effect, operation: str, *, file: str = "wal", nth: int = 1, times: int = 1) -> None:
        """Plan a fault, counting from now."""
        self.faults.append(Fault(effect=effect, operation=operation, file=file, nth=nth, times=times))

    def heal(self) -> None:
        """Forget all faults that have not struck."""
        self.faults.clear()
        self.gate.set()

    def after_power_cut(self, path: Path, folder: Path) -> Path:
        """Copy the database at `path` as a power cut now would leave it: without all that was not synced."""
        for suffix in ("", "-wal"):
            source, target = Path(f"{path}{suffix}"), Path(f"{folder / path.name}{suffix}")
            if source.exists():
                shutil.copyfile(source, target)
                _undo(target, self.unsynced[str(source)])
        return folder / path.name

    def strike(self, file: str, operation: str) -> Effect | None:
        """Note an operation and give what happens to it; None: what was asked for."""
        self.operations.append((file, operation))
        struck = [fault.effect for fault in self.faults if fault.takes(file, operation)]
        effect = struck[0] if struck else None
        if effect is Effect.HOLD:
            self.held.set()
            self.gate.wait()
            return None
        if effect is Effect.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if effect is Effect.FILL:
            raise apsw.FullError("the test has filled the disk")
        if effect is Effect.FAIL:
            raise apsw.IOError("the test has broken the disk")
        return effect


def _finish(effect: Effect | None) -> None:
    """What comes after the operation itself."""
    if effect is Effect.KILL_AFTER:
        os.kill(os.getpid(), signal.SIGKILL)
    if effect:
        raise apsw.IOError("the test has broken the disk")


def _undo(target: Path, writes: list[Undo]) -> None:
    with target.open("r+b") as file:
        for write in reversed(writes):
            file.seek(write.offset)
            file.write(write.content)
            file.truncate(write.size)


class _Layer(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(disk.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path and flags[0] & (apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL):
            return _File(self._disk, path, name, flags)
        return apsw.VFSFile("", name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, path: str, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        self._path = path
        self._file = "wal" if flags[0] & apsw.SQLITE_OPEN_WAL else "main"
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        _finish(self._disk.strike(self._file, "read"))
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        effect = self._disk.strike(self._file, "write")
        size = self.xFileSize()
        before = super().xRead(min(len(data), max(0, size - offset)), offset) if offset < size else b""
        self._disk.unsynced[self._path].append(Undo(offset, before, size))
        super().xWrite(data[: len(data) // 2] if effect is Effect.TEAR else data, offset)
        _finish(effect)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.strike(self._file, "truncate")
        size = self.xFileSize()
        if newsize < size:
            self._disk.unsynced[self._path].append(Undo(newsize, super().xRead(size - newsize, newsize), size))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        effect = self._disk.strike(self._file, "sync")
        super().xSync(flags)
        self._disk.unsynced[self._path].clear()
        _finish(effect)
