"""One control plane for all the workers of a pytest-xdist session.

Whoever needs it first starts it and stays until the last one has let go, because its processes die with it. Users
hold a shared lock: one that was killed holds nothing any more.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.control_plane import Access, ControlPlane


@contextmanager
def shared_control_plane(folder: Path) -> Iterator[Access]:
    """The session's control plane; `folder` is the same for all its workers."""
    folder.mkdir(parents=True, exist_ok=True)
    told = folder / "access.json"
    owned: ControlPlane | None = None
    with (folder / "users.lock").open("w") as users:
        with (folder / "start.lock").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)
            if not told.exists():
                owned = _started(folder)
                told.write_text(owned.access.to_json())
        try:
            yield Access.from_json(told.read_text())
        finally:
            if owned is not None:
                fcntl.flock(users, fcntl.LOCK_EX)  # until every other user has let go
                told.unlink()
                owned.stop()


def _started(folder: Path) -> ControlPlane:
    number = len(list(folder.glob("plane-*")))
    control_plane = ControlPlane(folder / f"plane-{number}")
    try:
        control_plane.start()
    except BaseException:
        control_plane.stop()
        raise
    return control_plane
