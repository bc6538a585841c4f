"""What a program writes, read as it comes and kept within bounds, so that no program fills this process's memory."""

from __future__ import annotations

import contextlib
import os
import select
from typing import Self

from flowweaver.runners.processes import Child

STDOUT_LIMIT = 1024 * 1024
STDERR_LIMIT = 64 * 1024
_RESTS = 32  # parts that a pipe can still hold at the end: what a stray goes on writing is not read for ever


class Output:
    """The last `limit` bytes of a stream."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = 0
        self._kept = bytearray()

    @property
    def cut(self) -> bool:
        """Whether not all of it is kept."""
        return self.total > self.limit

    def add(self, part: bytes) -> None:
        """What has come."""
        self.total += len(part)
        self._kept += part
        if len(self._kept) > 2 * self.limit:
            del self._kept[: -self.limit]

    def text(self) -> str:
        """What is kept; bytes that are no UTF-8 become U+FFFD, and a cut shows."""
        if not self.cut:
            return self._kept.decode("utf-8", "replace")
        return f"({self.total - self.limit} bytes cut) …" + self._kept[-self.limit :].decode("utf-8", "replace")


class Streams:
    """The two pipes of one program. Use it as a context manager."""

    def __init__(self) -> None:
        self.stdout, self.stderr = Output(STDOUT_LIMIT), Output(STDERR_LIMIT)
        read_out, write_out = os.pipe()
        read_err, write_err = os.pipe()
        self._outputs = {read_out: self.stdout, read_err: self.stderr}
        self.theirs = (write_out, write_err)
        self._theirs_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_theirs()
        for descriptor in self._outputs:
            os.close(descriptor)

    def close_theirs(self) -> None:
        """The program has them now."""
        if self._theirs_open:
            self._theirs_open = False
            for descriptor in self.theirs:
                os.close(descriptor)

    def collect(self, child: Child) -> bytes:
        """Read all that the program writes until it has ended; what the child said instead of becoming the program.

        What something that it left behind writes later is not waited for.
        """
        poll = select.poll()
        for descriptor in (child.socket.fileno(), *self._outputs):
            poll.register(descriptor, select.POLLIN)
        said = b""
        while child.exit is None:
            for descriptor, _ in poll.poll():
                if descriptor == child.socket.fileno():
                    said = child.wait()
                elif not self._read(descriptor):
                    poll.unregister(descriptor)
        self._read_rest()
        return said

    def _read(self, descriptor: int) -> bool:
        part = os.read(descriptor, 65536)
        self._outputs[descriptor].add(part)
        return bool(part)

    def _read_rest(self) -> None:
        for descriptor in self._outputs:
            os.set_blocking(descriptor, False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(_RESTS):
                    if not self._read(descriptor):
                        break
