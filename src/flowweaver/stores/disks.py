"""What a disk says of itself and of what it refuses, in words that name the fix. Every store needs it, so that nothing
of SQLite is imported here.
"""

from __future__ import annotations

import errno
import os
import sys

from flowweaver.errors import StoreUnavailable

FIXES = {
    "full": "free some space",
    "readonly": "mount it read-write again",
    "io": "look at the disk, the mount and the permissions",
}


def refused(exc: OSError, what: str) -> StoreUnavailable:
    """The error to raise where the system has refused `what`: "PATH can not be opened"."""
    kind = {errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EROFS: "readonly"}.get(exc.errno or 0, "io")
    return StoreUnavailable(f"{what}: {exc.strerror}; {FIXES[kind]}", kind=kind)


def free_bytes(system: os.statvfs_result) -> int:
    """The room that is left. A file system that says nothing of its size is taken for an endless one."""
    return system.f_bavail * system.f_frsize if system.f_blocks else sys.maxsize


def require_writable(path: str) -> None:
    """Raise `StoreUnavailable` where the file system around `path` is read-only, or has no block left."""
    try:
        system = os.statvfs(os.path.dirname(path))  # noqa: PTH120 - as above
    except OSError as exc:
        raise refused(exc, f"the file system of {path} can not be looked at") from exc
    if system.f_flag & os.ST_RDONLY:
        raise StoreUnavailable(f"the file system of {path} is read-only; {FIXES['readonly']}", kind="readonly")
    if not free_bytes(system):
        raise StoreUnavailable(f"the disk of {path} is full; {FIXES['full']}", kind="full")
