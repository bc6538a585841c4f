"""The process that all processes of tasks are made by: small, single-threaded, without anything of the engine's in it.

Forking from the engine's own process would copy its threads' locks, its open files and its memory; starting a fresh
interpreter costs a hundred times more than forking this one. It also stands guard:

- each child leads its own session, and dies with this process (PR_SET_PDEATHSIG);
- when the engine's process is gone, however it went, every session is killed;
- when a child ends, what is left in its session is killed before its number can be given to another process;
- what loses its parent becomes a child of this process (PR_SET_CHILD_SUBREAPER) and is reaped: there are no zombies,
  also where the engine is process 1 of a container.

A child is made before it is needed (a spare), and has been warmed up by a call of its own, so that a body need not wait
for the fork and for the memory that every child touches first. Each child runs one body.

The engine's side is `processes`. Messages come on one socket, one in a packet: `PYTHON` and `PROGRAM` with the
descriptors of the attempt; `END` (SIGTERM, then SIGKILL) and `KILL` with its token. An attempt's socket is its child's
alone; how the child ended is written to the attempt's status pipe from here.
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
from pathlib import Path
from typing import NoReturn

from flowweaver.runners import bodies
from flowweaver.runners.proc import children_of_this_process, open_descriptors, read_stat

COMMAND = struct.Struct("!cQ")  # what, token
STATUS = struct.Struct("!iI")  # status as wait(2) gives it, errno where no process could be made
PYTHON, PROGRAM, END, KILL = b"P", b"S", b"E", b"K"
GRACE_SECONDS = 2.0  # between SIGTERM and SIGKILL
SPARES = 2  # children that wait for work
_QUIET_SECONDS = 0.01  # without anything asked for, before spares are made
_LATER_SECONDS = 1.0  # until a spare that could not be made is tried again
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
    with contextlib.suppress(OSError):  # where memory runs out, a body goes before the engine does
        Path("/proc/self/oom_score_adj").write_text("500")
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
        self._spares: dict[int, socket.socket] = {}  # children without work, and where they get it from
        self._last_command = PYTHON  # a program needs nothing of what warming up touches
        self._prepare_at: float | None = None  # monotonic; when spares are to be made, if any are missing
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
            if self._control.fileno() in ready and not self._obey():
                return
            if self._wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
                self._reap()
            self._kill_overdue()
            self._prepare()

    def kill_all(self) -> None:
        """Kill every session and every process that became ours, and wait for them, at most five seconds."""
        until = time.monotonic() + _LAST_SECONDS
        while time.monotonic() < until:
            for pid in (*self._children, *self._spares):
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
        if command in {END, KILL}:
            self._end(token, at_once=command == KILL)
        else:
            self._spawn(command, token, descriptors)
        return True

    def _end(self, token: int, *, at_once: bool) -> None:
        for pid, child in self._children.items():
            if child.token == token and (at_once or child.kill_at is None):
                child.kill_at = time.monotonic() + GRACE_SECONDS
                _signal(pid, signal.SIGKILL if at_once else signal.SIGTERM)

    def _spawn(self, command: bytes, token: int, descriptors: list[int]) -> None:
        """Give the attempt to a spare, or to a child that is made now. Its streams stay open there alone."""
        child = _Child(token, socket.socket(fileno=descriptors[0]), descriptors[1])
        handed = [descriptors[0], *descriptors[2:]]
        try:
            pid = self._hand_over(command, handed)
        except OSError as exc:
            _tell(child, STATUS.pack(0, exc.errno or errno.EAGAIN))
        else:
            self._children[pid] = child
        self._last_command = command
        self._prepare_at = time.monotonic() + _QUIET_SECONDS
        for descriptor in handed[1:]:
            os.close(descriptor)

    def _hand_over(self, command: bytes, descriptors: list[int]) -> int:
        while True:
            if not self._spares:
                self._add_spare(warm=False)
            pid, spare = self._spares.popitem()
            with spare:
                try:
                    socket.send_fds(spare, [command], descriptors)
                except (BrokenPipeError, ConnectionResetError):
                    continue  # it has died while it was waiting; it is reaped like any other
                return pid

    # --------------------------------------------------------------------------------------------------- spares

    def _prepare(self) -> None:
        """Make a spare that is missing, in a quiet moment: right after work was given away it would take the processor
        from the body and from the engine, which both have just been woken.
        """
        if self._prepare_at is None or self._prepare_at > time.monotonic() or self._poll.poll(0):
            return
        try:
            if len(self._spares) < SPARES:
                self._add_spare(warm=self._last_command == PYTHON)
        except OSError:  # no memory or no process numbers now
            self._prepare_at = time.monotonic() + _LATER_SECONDS
        if len(self._spares) >= SPARES:
            self._prepare_at = None

    def _add_spare(self, *, warm: bool) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                pid = os.fork()
            except OSError:
                ours.close()
                raise
            if pid == 0:
                self._become_child(theirs, warm=warm)
            self._spares[pid] = ours

    def _become_child(self, work: socket.socket, *, warm: bool) -> NoReturn:
        """In the child: wait for an attempt and run its body. Of this process nothing may be left."""
        status = 70
        try:
            os.setsid()
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != self._pid:
                os._exit(status)  # it died before the signal was set
            _let_go(keep=work.fileno())
            if warm:
                bodies.warm_up()
            command, descriptors, _, _ = socket.recv_fds(work, 1, 3)
            work.close()
            if command:
                _run(command, descriptors)
            status = 0
        finally:
            os._exit(status)

    # ---------------------------------------------------------------------------------------------------- the end

    def _patience(self) -> float | None:
        """Milliseconds until somebody must be killed, or a spare made; None: until somebody asks for something."""
        deadlines = [child.kill_at for child in self._children.values() if child.kill_at is not None]
        if self._prepare_at is not None:
            deadlines.append(self._prepare_at)
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
                if (spare := self._spares.pop(found.si_pid, None)) is not None:
                    spare.close()
                if child is not None:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(found.si_pid, signal.SIGKILL)
                    self._ended.add(found.si_pid)
                    if self._prepare_at is not None:
                        self._prepare_at = time.monotonic()
                _, status = os.waitpid(found.si_pid, 0)
                if child is not None:
                    self._sweep()
                    _tell(child, STATUS.pack(status, 0))
        self._sweep()

    def _sweep(self) -> None:
        """Kill what ended sessions left behind, and, when nothing runs, also what made a session of its own."""
        if not self._ended:
            return
        known = self._children.keys() | self._spares.keys()
        strays = [pid for pid in children_of_this_process() if pid not in known]
        for pid in strays:
            with contextlib.suppress(ProcessLookupError):
                session = read_stat(pid).session
                if session in self._ended or not self._children:
                    os.kill(pid, signal.SIGKILL)
        if not strays:
            self._ended.clear()


def _let_go(keep: int) -> None:
    """Close every descriptor but `keep` and the standard ones, and take signals as any program does. The objects that
    had the descriptors are never looked at again: this process ends without returning to them.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    for descriptor in open_descriptors():
        if descriptor > 2 and descriptor != keep:
            with contextlib.suppress(OSError):  # what listed them
                os.close(descriptor)


def _run(command: bytes, descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    with socket.socket(fileno=descriptors[0]) as attempt:
        attempt.sendall(bodies.STARTED.pack(os.getpid(), read_stat(os.getpid()).started))
        if command == PYTHON:
            bodies.run_python(attempt)
        else:
            bodies.run_program(attempt, *descriptors[1:])


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
