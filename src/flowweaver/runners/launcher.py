"""The process that all processes of tasks are made by: small, single-threaded, without anything of the engine's in it.

Forking from the engine's own process would copy its threads' locks, its open files and its memory; starting a fresh
interpreter costs a hundred times more than forking this one. It also stands guard:

- each child leads its own session, and dies with this process (PR_SET_PDEATHSIG);
- when the engine's process is gone, however it went, every session is killed;
- when a child ends, what is left in its session is killed before its number can be given to another process;
- what loses its parent becomes a child of this process (PR_SET_CHILD_SUBREAPER) and is reaped: there are no zombies,
  also where the engine is process 1 of a container.

It runs no code of a task itself, and never answers anything but the attempts' own sockets.

The engine's side is `processes`. Messages come on one socket, one in a packet: `SPAWN_*` with the descriptors of the
attempt, `END` with its token. An attempt's socket is its child's alone; how the child ended is written to the attempt's
status pipe from here.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import select
import signal
import socket
import struct
import time
from dataclasses import dataclass
from typing import NoReturn

from flowweaver.runners import bodies
from flowweaver.runners.proc import children_of_this_process, read_stat

COMMAND = struct.Struct("!cQ")  # what, token
STATUS = struct.Struct("!iI")  # status as wait(2) gives it, errno where no process could be made
SPAWN_PYTHON, SPAWN_PROGRAM, END = b"P", b"S", b"E"
GRACE_SECONDS = 2.0  # between SIGTERM and SIGKILL
_LAST_SECONDS = 5.0  # how long the end waits for killed processes
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_prctl = ctypes.CDLL(None, use_errno=True).prctl


@dataclass(slots=True)
class _Child:
    token: int
    socket: socket.socket
    status: int  # the descriptor that its end is written to
    kill_at: float | None = None  # monotonic


def main(control: int, parent: int) -> NoReturn:
    """Serve until the other end of `control` is closed or the process `parent` is gone; then kill what is left."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # whoever ends the engine may end its whole group: the engine goes first
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    launcher = _Launcher(socket.socket(fileno=control), parent)
    gc.freeze()  # a collection in a child must not copy all of this
    with contextlib.suppress(ConnectionError):
        launcher.serve()
    launcher.kill_all()
    os._exit(0)


class _Launcher:
    def __init__(self, control: socket.socket, parent: int) -> None:
        self._control = control
        self._pid = os.getpid()
        self._children: dict[int, _Child] = {}  # by process number
        self._ended: set[int] = set()  # sessions whose leader was reaped, while there may be something left of them
        self._poll = select.poll()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._parent = -1
        with contextlib.suppress(OSError, AttributeError):  # an old kernel: the socket's end has to do
            self._parent = os.pidfd_open(parent)
        for descriptor in (control.fileno(), self._wake_read, self._parent):
            if descriptor >= 0:
                self._poll.register(descriptor, select.POLLIN)
        self._gone = os.getppid() != parent

    def serve(self) -> None:
        while not self._gone:
            ready = {descriptor for descriptor, _ in self._poll.poll(self._patience())}
            if self._parent in ready:
                return
            if self._wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
                self._reap()
            if self._control.fileno() in ready and not self._obey():
                return
            self._kill_overdue()

    def kill_all(self) -> None:
        """Kill every session and every process that became ours, and wait for them, at most five seconds."""
        until = time.monotonic() + _LAST_SECONDS
        while time.monotonic() < until:
            for pid in self._children:
                _signal(pid, signal.SIGKILL)
            for pid in children_of_this_process():
                _signal(pid, signal.SIGKILL)
            self._reap()
            if not self._children and not children_of_this_process():
                return
            time.sleep(0.005)

    # ------------------------------------------------------------------------------------------------- commands

    def _obey(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._control, COMMAND.size, 4)
        if not message:
            return False
        command, token = COMMAND.unpack(message)
        if command == END:
            self._end(token)
        else:
            self._spawn(command, token, descriptors)
        return True

    def _end(self, token: int) -> None:
        for pid, child in self._children.items():
            if child.token == token and child.kill_at is None:
                child.kill_at = time.monotonic() + GRACE_SECONDS
                _signal(pid, signal.SIGTERM)

    def _spawn(self, command: bytes, token: int, descriptors: list[int]) -> None:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        child = _Child(token, socket.socket(fileno=descriptors[0]), descriptors[1])
        try:
            pid = os.fork()
        except OSError as exc:
            _tell(child, STATUS.pack(0, exc.errno or errno.EAGAIN))
        else:
            if pid == 0:
                self._become(command, child, descriptors[2:])
            self._children[pid] = child
        for descriptor in descriptors[2:]:
            os.close(descriptor)

    def _become(self, command: bytes, child: _Child, streams: list[int]) -> NoReturn:
        """In the child: nothing of this process may be left but the attempt's own socket."""
        status = 70
        try:
            os.setsid()
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != self._pid:
                os._exit(status)  # it died before the signal was set
            self._let_go()
            os.close(child.status)
            child.socket.sendall(bodies.STARTED.pack(os.getpid(), read_stat(os.getpid()).started))
            if command == SPAWN_PYTHON:
                bodies.run_python(child.socket)
            else:
                bodies.run_program(child.socket, *streams)
            status = 0
        finally:
            os._exit(status)

    def _let_go(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        self._control.close()
        for descriptor in (self._wake_read, self._wake_write, self._parent):
            if descriptor >= 0:
                os.close(descriptor)
        for child in self._children.values():
            child.socket.close()
            os.close(child.status)
        self._children.clear()

    # ---------------------------------------------------------------------------------------------------- the end

    def _patience(self) -> float | None:
        """Milliseconds until somebody must be killed; None: nobody."""
        deadlines = [child.kill_at for child in self._children.values() if child.kill_at is not None]
        return max(0.0, min(deadlines) - time.monotonic()) * 1000 + 1 if deadlines else None

    def _kill_overdue(self) -> None:
        for pid, child in self._children.items():
            if child.kill_at is not None and child.kill_at <= time.monotonic():
                child.kill_at = time.monotonic() + GRACE_SECONDS  # again, should it be one that can not die yet
                _signal(pid, signal.SIGKILL)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            # Looking first, without reaping: as long as it is a zombie its number means this session and no other.
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                child = self._children.pop(found.si_pid, None)
                if child is not None:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(found.si_pid, signal.SIGKILL)
                    self._ended.add(found.si_pid)
                _, status = os.waitpid(found.si_pid, 0)
                if child is not None:
                    self._sweep()
                    _tell(child, STATUS.pack(status, 0))
        self._sweep()

    def _sweep(self) -> None:
        """Kill what ended sessions left behind, and, when nothing runs, also what made a session of its own."""
        if not self._ended:
            return
        strays = [pid for pid in children_of_this_process() if pid not in self._children]
        for pid in strays:
            with contextlib.suppress(ProcessLookupError):
                session = read_stat(pid).session
                if session in self._ended or not self._children:
                    os.kill(pid, signal.SIGKILL)
        if not strays:
            self._ended.clear()


def _signal(pid: int, number: signal.Signals) -> None:
    """To the group that the child leads, or to the child alone as long as it leads none."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    except PermissionError:
        pass  # a program of another user: it can only be waited for


def _tell(child: _Child, status: bytes) -> None:
    """How the child ended. The shutdown ends its socket's stream also where a stray still has it open."""
    with contextlib.suppress(OSError):  # nobody reads it any more
        os.write(child.status, status)
    with contextlib.suppress(OSError):
        child.socket.shutdown(socket.SHUT_RDWR)
    os.close(child.status)
    child.socket.close()
