"""Ending what is left of an earlier life's processes, before this life starts theirs again.

Only recorded sessions are looked at, and a number alone proves nothing: numbers are used again, and start times begin
anew with each boot. The kernel gives a number to nobody as long as it is the session of a living process. So:

- the recorded process itself is known by its start time, and while it lives the whole session is its own;
- where a process has its number with another start time, the old session was empty before: nothing is touched;
- where its number is free, a member of the session is ended only if it started no earlier, and carries the mark that
  only processes of tasks have in their environment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence

from flowweaver.ports import ChildProcess
from flowweaver.runners.environment import MARK
from flowweaver.runners.proc import Stat, all_processes, read_stat

_PATIENCE_SECONDS = 10.0


def end_sessions(processes: Sequence[ChildProcess]) -> int:
    """Kill every process that belongs to one of these and wait until it is gone, ten seconds at most; how many."""
    recorded = {process.pid: process.started for process in processes}
    killed: set[tuple[int, int]] = set()
    until = time.monotonic() + _PATIENCE_SECONDS
    # Again and again, until none is found: one may fork between being seen and being killed.
    while recorded and time.monotonic() < until:
        found = _survivors(recorded)
        if not found:
            break
        for pid, stat in found.items():
            _kill(pid, stat)
            killed.add((pid, stat.started))
        time.sleep(0.01)
    return len(killed)


def _survivors(recorded: dict[int, int]) -> dict[int, Stat]:
    leaders = {pid: _stat(pid) for pid in recorded}
    found = {}
    for pid in all_processes():
        stat = _stat(pid)
        if stat is None or stat.state in "ZX" or stat.session not in recorded or pid == os.getpid():
            continue
        leader, started = leaders[stat.session], recorded[stat.session]
        alive = leader is not None and leader.started == started
        if alive or (leader is None and stat.started >= started and _is_marked(pid)):
            found[pid] = stat
    return found


def _kill(pid: int, stat: Stat) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        process = os.pidfd_open(pid)
        try:
            now = _stat(pid)  # what the descriptor stands for is what was found, if it still has that start time
            if now is not None and now.started == stat.started:
                signal.pidfd_send_signal(process, signal.SIGKILL)
        finally:
            os.close(process)


def _stat(pid: int) -> Stat | None:
    with contextlib.suppress(ProcessLookupError):
        return read_stat(pid)
    return None


def _is_marked(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as environment:  # noqa: PTH123 - beside the others that read /proc
            return any(entry.startswith(f"{MARK}=".encode()) for entry in environment.read().split(b"\0"))
    except OSError:
        return False
