"""The engine's side of the processes that bodies run in.

One launcher serves this whole process. It is started when the first body needs it, started again should it die, and
ends with this process. Nothing here runs code of a task.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from flowweaver.core.phases import Reason
from flowweaver.ports import Attempt, ChildProcess
from flowweaver.runners import bodies, launcher
from flowweaver.runners.environment import clean_environment
from flowweaver.runners.failures import Refused
from flowweaver.runners.survivors import end_sessions

_tokens = itertools.count(1)
_PART = 65_536
_LARGE_PART = 1 << 20  # room is made for as much at each reading, however little comes
_BOOT = """\
import sys
sys.path[:] = {path!r}
from flowweaver.runners.launcher import main
main({control}, {parent})
"""


class Launcher:
    """Makes processes. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self, command: bytes, token: int, descriptors: Sequence[int]) -> None:
        """Make a process that has these descriptors; a launcher that died is replaced."""
        with self._lock:
            for last in (False, True):
                try:
                    socket.send_fds(self._running(), [launcher.COMMAND.pack(command, token)], descriptors)
                except (BrokenPipeError, ConnectionResetError):
                    self._close()
                    if last:
                        raise
                else:
                    return

    def end(self, token: int, *, at_once: bool = False) -> None:
        """SIGTERM for that process and its group, and SIGKILL a little later or `at_once`. One that has ended is no
        error.
        """
        command = launcher.COMMAND.pack(launcher.KILL if at_once else launcher.END, token)
        with self._lock, contextlib.suppress(OSError):
            if self._control is not None:
                self._control.send(command)

    def close(self) -> None:
        """End the launcher and every process that it made, and wait for it. The next `spawn` starts another one."""
        with self._lock:
            self._close()

    def forget(self) -> None:
        """In a fork of this process: the launcher is not its own, and must not be kept alive by it."""
        self._lock = threading.Lock()
        if self._control is not None:
            self._control.close()
        self._control = self._process = None

    def _running(self) -> socket.socket:
        if self._control is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                boot = _BOOT.format(path=sys.path, control=theirs.fileno(), parent=os.getpid())
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own code
                    [sys.executable, "-c", boot],
                    env=clean_environment(),
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            self._control = ours
        return self._control

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)
        self._control = self._process = None


LAUNCHER = Launcher()
os.register_at_fork(after_in_child=LAUNCHER.forget)
atexit.register(LAUNCHER.close)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended."""

    code: int  # as a shell has it in `$?`, but -N where signal N ended it
    lost: bool = False  # the launcher died, so that nobody knows

    @property
    def killed(self) -> bool:
        """Whether it was SIGKILL, which the system sends too."""
        return self.code == -signal.SIGKILL and not self.lost

    def __str__(self) -> str:
        if self.lost:
            return "was lost together with the process that had started it"
        if self.code < 0:
            return f"was killed by {signal.strsignal(-self.code) or 'a signal'} (signal {-self.code})"
        return f"ended with exit code {self.code}"


class Child:
    """A process of one attempt, from its start to its end. Use it as a context manager."""

    def __init__(self, attempt: Attempt, command: bytes, streams: Sequence[int] = ()) -> None:
        """Start it, and tell the attempt of it. It does nothing before it is told to by `send`."""
        if not sys.platform.startswith("linux"):
            raise Refused(Reason.TASK_FAILED, "processes of their own need Linux: set isolation: Thread")
        self._token = next(_tokens)
        self.socket, theirs = socket.socketpair()
        self._status, status = os.pipe()
        try:
            LAUNCHER.spawn(command, self._token, [theirs.fileno(), status, *streams])
        finally:
            theirs.close()
            os.close(status)
        self._poll = select.poll()
        for descriptor in (self.socket.fileno(), self._status):
            self._poll.register(descriptor, select.POLLIN)
        self.exit: Exit | None = None
        started = self._exactly(bodies.STARTED.size)
        if not started:
            self._no_start()
        pid, started_at = bodies.STARTED.unpack(started)
        self._process = ChildProcess(attempt.id, pid, started_at)
        try:
            attempt.on_process(ChildProcess(attempt.id, pid, started_at))
        except BaseException:
            self.close()
            raise
        attempt.cancellation.on_request(self.end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, work: bytes) -> None:
        """Give it its work. That it died meanwhile shows at its end."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(work)

    def end(self) -> None:
        """Ask for its end, without waiting for it."""
        LAUNCHER.end(self._token)

    def answer(self, limit: int) -> bytes | None:
        """What it answers, of at most `limit` bytes; None where it ends without that, and `exit` says how."""
        length = bodies.LENGTH.unpack(self._exactly(bodies.LENGTH.size) or bytes(bodies.LENGTH.size))[0]
        if 0 < length <= limit and (said := self._exactly(length)):
            return said
        self.wait()
        return None

    def wait(self) -> bytes:
        """Wait for its end, which `exit` then describes; the first 64 KiB of what it still said."""
        said = b""
        while part := self._receive(_PART):
            said = said or part
        self.exit = self._read_status()
        if self.exit.lost:  # it died with the launcher, which would have ended what it had started
            end_sessions([self._process])
        return said

    def close(self) -> None:
        """Let go of it; if it has not ended, it and all of its group are killed, which is not waited for."""
        if self.exit is None:
            LAUNCHER.end(self._token, at_once=True)
        self.socket.close()
        os.close(self._status)

    def _exactly(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            part = self._receive(min(size - len(received), _LARGE_PART))
            if not part:
                return b""
            received += part
        return bytes(received)

    def _receive(self, size: int) -> bytes:
        # Its end is written to the status pipe, or closes that where the launcher is gone. A stray of a body may hold
        # the socket open longer than that, so that the socket's own end is not what is waited for.
        self._poll.poll()
        try:
            return self.socket.recv(size, socket.MSG_DONTWAIT)
        except (BlockingIOError, ConnectionResetError):
            return b""

    def _read_status(self) -> Exit:
        text = os.read(self._status, launcher.STATUS.size)
        if len(text) < launcher.STATUS.size:
            return Exit(-signal.SIGKILL, lost=True)
        return Exit(os.waitstatus_to_exitcode(launcher.STATUS.unpack(text)[0]))

    def _no_start(self) -> None:
        text = os.read(self._status, launcher.STATUS.size)
        error = launcher.STATUS.unpack(text)[1] if len(text) == launcher.STATUS.size else 0
        self.socket.close()
        os.close(self._status)
        why = os.strerror(error) if error else "it died before it could begin"
        raise Refused(
            Reason.TASK_FAILED,
            f"no process could be made for this task: {why}; see the limits on processes and memory here",
            error_type="ProcessNotStarted",
            retryable=True,
        )
