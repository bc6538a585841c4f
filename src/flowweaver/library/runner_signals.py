"""Signals for a `WorkflowRunner`: read by a thread, so that nothing is done in a handler.

Python calls a handler between two steps of the main thread, which may be in a body for a long time. The number of the
signal is written to a socket in the moment that it comes, whatever the main thread does.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT)
_WAKE = b"\0"


class SignalReader:
    """Gives the numbers of signals that have come. Made by `signals_read`."""

    def __init__(self) -> None:
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(True)
        self._writing.setblocking(False)

    def read(self, timeout_seconds: float | None) -> list[int]:
        """Those of `STOPPING` that have come; waits for one, for `wake`, or so long."""
        self._reading.settimeout(timeout_seconds)
        try:
            numbers = self._reading.recv(100)
        except TimeoutError:
            return []
        return [number for number in numbers if number in STOPPING]

    def wake(self) -> None:
        """Have a waiting `read` return."""
        with suppress(BlockingIOError):  # it is full, so that nothing sleeps
            self._writing.send(_WAKE)

    def fileno(self) -> int:
        """Where Python writes signals to."""
        return self._writing.fileno()

    def close(self) -> None:
        """Close both ends."""
        self._reading.close()
        self._writing.close()


@contextmanager
def signals_read() -> Iterator[SignalReader]:
    """Take SIGTERM and SIGINT for so long, unless they are ignored, as SIGINT is by what a shell runs behind itself.

    Only the main thread can do that; in another one nothing is taken, and nothing comes.
    """
    reader = SignalReader()
    try:
        if threading.current_thread() is not threading.main_thread():
            yield reader
            return
        taken = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
        wakeup = signal.set_wakeup_fd(reader.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, _nothing) for number in taken}
        try:
            yield reader
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)
    finally:
        reader.close()


def let_interrupts_end_the_process() -> None:
    """From now on SIGINT does what it does in other programs, and raises nothing: before a run and after it nothing is
    under way that a `KeyboardInterrupt` could save. A handler that is somebody's own stays, and so does ignoring it.
    """
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _nothing(number: int, frame: FrameType | None) -> None:
    """The number has been written already."""
