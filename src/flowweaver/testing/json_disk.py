"""A disk for `JSONStore` that does what a test says: it fails, fills up, tears a write; and it tells what a power cut
leaves, which is what was synced, under the names that were.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from flowweaver.stores.json_disk import Disk
from flowweaver.testing.stores_disk import Effect, Fault


class PowerCut(BaseException):
    """The machine is gone: nothing of the program may go on."""


@dataclass(slots=True)
class BadDisk(Disk):
    """Give it to `JSONStore(disk=…)`. Files are "main" (also while it is new), "journal" and "folder"."""

    faults: list[Fault] = field(default_factory=list)
    operations: list[tuple[str, str]] = field(default_factory=list)  # (file, operation), in order
    written_bytes: int = 0
    cut_at: int | None = None  # the power goes before that operation, counted from 0
    synced: dict[int, bytes] = field(default_factory=dict)  # content by inode
    names: dict[Path, int] = field(default_factory=dict)  # inode by path
    _paths: dict[int, Path] = field(default_factory=dict)  # by descriptor

    def will(self, effect: Effect, operation: str, *, file: str = "journal", nth: int = 1, times: int = 1) -> None:
        """Plan a fault, counting from now."""
        self.faults.append(Fault(effect=effect, operation=operation, file=file, nth=nth, times=times))

    def heal(self) -> None:
        """Forget all faults that have not struck."""
        self.faults.clear()

    def after_power_cut(self, folder: Path) -> None:
        """Write into `folder` what a power cut now would leave."""
        for path, inode in self.names.items():
            (folder / path.name).write_bytes(self.synced.get(inode, b""))

    def open(self, path: Path, *, like: Path, empty: bool = False) -> int:
        """See `Disk`."""
        self._strike(path, "open", lambda: None)
        descriptor = Disk.open(self, path, like=like, empty=empty)
        self._paths[descriptor] = path
        if empty or not os.fstat(descriptor).st_size:
            self.synced[os.fstat(descriptor).st_ino] = b""  # a number that a file before it may have had
        return descriptor

    def close(self, descriptor: int) -> None:
        """See `Disk`."""
        Disk.close(self, descriptor)

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        """See `Disk`."""
        half = data[: len(data) // 2]
        self.written_bytes += len(data)
        self._strike(
            self._paths[descriptor],
            "write",
            lambda: Disk.write(self, descriptor, data, offset),
            torn=lambda: Disk.write(self, descriptor, half, offset),
        )

    def sync(self, descriptor: int) -> None:
        """See `Disk`."""
        self._strike(self._paths[descriptor], "sync", lambda: self._sync(descriptor))

    def _sync(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self.synced[status.st_ino] = os.pread(descriptor, status.st_size, 0)

    def truncate(self, descriptor: int, size: int) -> None:
        """See `Disk`."""
        self._strike(self._paths[descriptor], "truncate", lambda: Disk.truncate(self, descriptor, size))

    def replace(self, source: Path, target: Path) -> None:
        """See `Disk`."""
        self._strike(target, "replace", lambda: Disk.replace(self, source, target))

    def remove(self, path: Path) -> None:
        """See `Disk`."""
        self._strike(path, "remove", lambda: Disk.remove(self, path))

    def sync_folder(self, folder: Path) -> None:
        """See `Disk`."""
        self._strike(folder, "sync", lambda: self._note_names(folder.iterdir()))

    def _note_names(self, paths: Iterable[Path]) -> None:
        self.names = {path: path.stat().st_ino for path in paths if path.is_file() and path.suffix != ".lock"}

    def _strike(
        self, path: Path, operation: str, work: Callable[[], None], *, torn: Callable[[], None] | None = None
    ) -> None:
        file = "folder" if path.is_dir() else "journal" if path.name.endswith("-journal") else "main"
        if self.cut_at is not None and len(self.operations) >= self.cut_at:
            raise PowerCut
        self.operations.append((file, operation))
        struck = [fault.effect for fault in self.faults if fault.takes(file, operation)]
        effect = struck[0] if struck else None
        if effect is Effect.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if effect is Effect.FILL:
            if torn:
                torn()
            raise OSError(errno.ENOSPC, "the test has filled the disk")
        if effect is Effect.TEAR and torn:
            torn()
        elif effect is not Effect.FAIL:
            work()
        if effect is Effect.KILL_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)
        if effect:
            raise OSError(errno.EIO, "the test has broken the disk")
