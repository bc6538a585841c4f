"""One engine at a time on a state file: a lock beside it that goes with the process, however that ends.

It is a POSIX record lock. `flock` would stay held by a forked child after its parent was killed, and SQLite's own
`locking_mode=EXCLUSIVE` would shut out whoever wants to look. Record locks belong to a process, so a second store in
the same process is refused by a list, before it opens the lock file: closing any descriptor of it would let go.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from flowweaver.errors import StoreError, StoreLocked
from flowweaver.stores.disks import refused

_held: dict[str, tuple[int, int]] = {}  # real paths that are locked here, with device and inode of the lock file
_guard = threading.Lock()
_process = os.getpid()  # this one, asked once: it is compared at each commit


class StoreLock:
    """The lock of one state file, held from the constructor on until `release`."""

    def __init__(self, path: Path, *, now: float) -> None:
        """Lock the state file at `path`, an absolute path without links; raises `StoreLocked`, and
        `StoreUnavailable` where the lock file is not there and can not be made now.

        `now` goes into the lock file, for whoever is refused later.
        """
        self.path = path
        self.owner = _process
        with _guard:
            if str(path) in _held or _inode(path) in _held.values():
                raise StoreLocked(
                    f"{path} is open in this process (pid {self.owner}) already: share that store, or close it first"
                )
            self._descriptor = _locked_file(path, now)
            _held[str(path)] = _identity(os.fstat(self._descriptor))

    @property
    def is_ours(self) -> bool:
        """Whether this is the process that took it; a forked child has no lock."""
        return self.owner == _process

    def release(self) -> None:
        """Let it go. Idempotent."""
        with _guard:
            if self._descriptor < 0:
                return
            os.close(self._descriptor)
            self._descriptor = -1
            if self.is_ours:
                _held.pop(str(self.path), None)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        return _identity(Path(f"{path}.lock").stat())
    except OSError:
        return None  # nobody has locked it ever


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _locked_file(path: Path, now: float) -> int:
    lock_path = f"{path}.lock"
    try:
        # O_CLOEXEC is what os.open does anyway: a child that is started must not carry the descriptor along.
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as exc:
        if exc.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
            raise refused(exc, f"{lock_path} can not be opened") from exc
        raise StoreError(f"{lock_path} can not be opened: {exc.strerror}; look at the permissions") from exc
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        holder = os.pread(descriptor, 300, 0).decode("utf-8", "replace").strip() or "another process"
        os.close(descriptor)
        if exc.errno in {errno.EACCES, errno.EAGAIN}:
            raise StoreLocked(f"{path} is held by {holder}: end that process, or use another file") from exc
        raise StoreError(f"{lock_path} can not be locked: {exc.strerror}; use a local disk") from exc
    _sign(descriptor, now)
    return descriptor


def _sign(descriptor: int, now: float) -> None:
    """Say who holds it: over what is there, which needs no room. Where that fails, the lock holds all the same."""
    since = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    text = f"pid {os.getpid()} on {socket.gethostname()} since {since}\n".encode()
    with suppress(OSError):
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))


def _after_fork_in_child() -> None:
    # The parent's locks are not the child's: a child that opens a store itself has to ask the kernel.
    global _guard, _process
    _guard, _process = threading.Lock(), os.getpid()
    _held.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
