"""Notices that an open state file is not the one under its name any more: deleted, replaced, its volume unmounted.

Everything that is written then goes into a file that nobody will find again, and no write fails. So its name is looked
at now and then: two system calls a second, and none where nothing is written.
"""

from __future__ import annotations

import os
import time

LOOK_SECONDS = 1.0


class Presence:
    """The file and its log, as they were when they were opened. Used by its writer."""

    def __init__(self, path: str) -> None:
        self._paths = (path, f"{path}-wal")
        self._known: dict[str, tuple[int, int]] = {}
        self._look_at = 0.0  # monotonic

    def note(self) -> None:
        """What is there now has just been opened."""
        self._known = {path: identity for path in self._paths if (identity := _identity(path)) is not None}
        self._look_at = time.monotonic() + LOOK_SECONDS

    def gone(self, *, now: bool = False) -> str:
        """The path of the first one that is not there any more, or another one; empty: none, or it is not time to look.

        A log is made with the first write: it is known from the first look that finds one.
        """
        if not now and time.monotonic() < self._look_at:
            return ""
        self._look_at = time.monotonic() + LOOK_SECONDS
        for path in self._paths:
            found = _identity(path)
            if found is not None:
                known = self._known.setdefault(path, found)
                if known != found:
                    return path
            elif path in self._known:
                return path
        return ""


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - once a second beside every commit
    except OSError:
        return None
    return status.st_dev, status.st_ino
