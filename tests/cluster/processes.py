"""Processes that a test starts: their output in a file, and an end with the test, whatever happens to it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Dies with the test's process, also where that is killed with SIGKILL. Linux only; elsewhere a stray may stay.
_BOUND = [path, "--pdeathsig", "KILL", "--"] if (path := shutil.which("setpriv")) else []


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start `command` with its output appended to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [*_BOUND, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
        )


def stop(process: subprocess.Popen[bytes], grace_seconds: float = 5.0) -> int:
    """End it, with SIGKILL where SIGTERM is not enough; gives its exit status. One that has ended is no error."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(grace_seconds)
        process.send_signal(signal.SIGKILL)
    return process.wait()


def await_true(
    what: str, holds: Callable[[], object], *, seconds: float = 60.0, every_seconds: float = 0.05, story: str = ""
) -> None:
    """Wait until `holds()`; raises `AssertionError` that says `what` did not happen. `story` is a log to quote."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:.0f} s{story}")
        time.sleep(every_seconds)


def tail(log: Path, lines: int = 40) -> str:
    """The last lines of a log, as they would be quoted in a failure."""
    if not log.exists():
        return "(no output)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
