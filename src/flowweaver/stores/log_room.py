"""Keeps the log a little longer than what is written to it.

A sync after a write at a file's end has to record its new length too, and takes half as long again. So the length is
grown by many commits' worth at a time. SQLite reads a log until the first frame that does not check, as zeros do not.
"""

from __future__ import annotations

import os
import sys

FRAME_BYTES = 4096 + 24  # a page and its header
SPARE_FRAMES = 16  # a commit of so many fits in, mostly
_ZEROS = bytes(64 * FRAME_BYTES)


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
                    self._bytes += os.write(descriptor, _ZEROS)
            finally:
                os.close(descriptor)
        except OSError:
            self._bytes = sys.maxsize  # until the log is begun anew

    def forget(self) -> None:
        """The log may have been cut back."""
        self._bytes = self._frames = 0
