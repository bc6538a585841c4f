"""How long the log of a state file is: a little longer than what is written to it, and never too long for its disk.

A sync after a write at a file's end has to record its new length too, and takes half as long again. So the length is
grown by many commits' worth at a time. SQLite reads a log until the first frame that does not check, as zeros do not.

On a small or nearly full disk the log must not take the room that the file itself needs: there it is brought into the
file more often, is not grown ahead, and what it holds beyond its last commit is given back when the disk is full.
"""

from __future__ import annotations

import os
import sys

from flowweaver.stores.disks import free_bytes, refused

HEADER_BYTES = 32
PAGE_BYTES = 4096
FRAME_BYTES = PAGE_BYTES + 24  # a page and its header
SPARE_FRAMES = 16  # a commit of so many fits in, mostly
AHEAD_FRAMES = 64
_ZEROS = bytes(AHEAD_FRAMES * FRAME_BYTES)

CHECKPOINT_PAGES = 1_000
"""So many pages in the log are brought into the main file: about 4 MiB, as SQLite itself does it."""

LEAST_PAGES = 16
"""However little room there is: a commit has a handful."""

SHARE = 8
"""The log may take this part of the room that is left, before it is brought into the main file."""

PLENTY_BYTES = 32 * len(_ZEROS)
"""With less room than this (8 MiB), the log is not grown ahead."""


def pages_before_checkpoint(path: str) -> int:
    """How long the log of the state file at `path` may become, in pages, by the room that is left beside it."""
    try:
        system = os.statvfs(os.path.dirname(path) or ".")  # noqa: PTH120 - a folder's name as text, for each checkpoint
    except OSError:
        return CHECKPOINT_PAGES
    return min(CHECKPOINT_PAGES, max(LEAST_PAGES, free_bytes(system) // SHARE // FRAME_BYTES))


def settle(state: str) -> None:
    """Write the log of that state file over itself and sync it. Raises `StoreUnavailable`.

    After a failed sync its pages may be right in memory, gone from the
    disk, and taken for clean; what is read back from it must be on the disk before anything is built on it.
    """
    path = f"{state}-wal"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise refused(exc, f"{path} can not be opened") from exc
    try:
        offset = 0
        while block := os.pread(descriptor, 1 << 20, offset):
            offset += os.pwrite(descriptor, block, offset)
        os.fsync(descriptor)
    except OSError as exc:
        raise refused(exc, f"{path} can not be written") from exc
    finally:
        os.close(descriptor)


class LogRoom:
    """The room in the log of one state file. Used by its writer within a transaction, where nobody else adds to it."""

    def __init__(self, path: str) -> None:
        """`path` is that of the log."""
        self._path = path
        self._bytes = 0  # the log is so long at least
        self._frames = 0  # at the last look

    def make(self, frames: int) -> None:
        """There are so many frames in the log now: let this commit find room. What fails is no matter."""
        small, self._frames = frames - self._frames <= SPARE_FRAMES, frames
        wanted = (frames + SPARE_FRAMES) * FRAME_BYTES
        if wanted <= self._bytes or not small:
            return
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                self._bytes = os.fstat(descriptor).st_size
                if self._bytes < wanted:
                    self._grow(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            self._bytes = sys.maxsize  # until the log is begun anew

    def _grow(self, descriptor: int) -> None:
        system = os.fstatvfs(descriptor)
        if free_bytes(system) < PLENTY_BYTES:
            self._bytes = sys.maxsize
        else:
            self._bytes += os.write(descriptor, _ZEROS)

    def give_back(self, frames: int) -> None:
        """Cut off what is behind that many frames, none of which is of any commit. What fails is no matter."""
        self.forget()
        try:
            length = HEADER_BYTES + frames * FRAME_BYTES
            if os.stat(self._path).st_size > length:  # noqa: PTH116 - as everything here
                os.truncate(self._path, length)
        except OSError:
            return

    def forget(self) -> None:
        """The log may have been cut back."""
        self._bytes = self._frames = 0
