"""Backs the store up on a timer, into a folder, beside the engine.

Nothing waits for it: not a commit, not readiness, not the end of the process. It leaves room on the disk, removes only
what it has made itself, and what fails is logged, counted and tried again.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import apsw

from flowweaver.errors import FlowWeaverError
from flowweaver.stores.backups import PARTIAL, SPARE_BYTES, free_bytes, name_of_backup
from flowweaver.stores.sqlite_backups import back_up, looked_at, position_of, require_ours, standing
from flowweaver.stores.statements import migrations

NAME = "auto"
"""What the names of its backups begin with; those with other names it neither counts nor removes."""

RETRY_SECONDS = 300.0
STALE_SECONDS = 3600.0  # what was being written so long ago is not any more

SAME_DISK_SPARE_BYTES = 64 << 20
SAME_DISK_SPARE_PART = 10
"""On the store's own disk a tenth of it stays free, and no less than this: the engine needs it more."""

_MADE = re.compile(rf"{NAME}-(\d{{8}}T\d{{6}}Z)-([0-9a-f]{{8}})\.db")
logger = logging.getLogger(__name__)


class Meter(Protocol):
    """What is counted."""

    def backed_up(self, result: str, seconds: float) -> None: ...

    def backup_every(self, seconds: float) -> None: ...

    def backup_at(self, epoch: float) -> None: ...


class _Stopped(Exception):
    """It is to end in the middle of a backup."""


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that is there."""

    path: Path
    at: float  # seconds since the epoch
    store: str  # how its id begins


def keep_older_layout(state: Path, folder: Path, *, now: float) -> None:
    """Back a store up that is of an older layout, before this version changes that: no older version opens it then.

    Once for a commit of a store. Call it before the store is opened; what fails is logged, and no reason not to start.
    """
    try:
        if not state.exists():
            return
        newest = migrations()[-1].version
        with looked_at(state) as connection:
            layout = require_ours(connection, state)
            store, _, sequence = position_of(connection, state)
        target = folder / f"layout-{layout}-{store[:8]}-{sequence}.db"
        if layout == newest or target.exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        back_up(state, target, now=now, rest=lambda _: None)
        logger.info("the store is brought from layout %d to %d; what it was is kept as %s", layout, newest, target)
    except (FlowWeaverError, OSError, apsw.Error) as error:
        logger.error("the store was not backed up before its layout changes: %s", error)  # noqa: TRY400 - it says it all


class Backups:
    """A thread that takes one when the newest is older than it should be. `store` is the id of the store at `state`."""

    def __init__(
        self,
        *,
        state: Path,
        store: str,
        folder: Path,
        every_seconds: float,
        keep: int,
        meter: Meter,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._store = store
        self._folder = folder
        self._every_seconds = every_seconds
        self._keep = keep
        self._meter = meter
        self._now = now
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flowweaver-backups", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._meter.backup_every(self._every_seconds)
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """End; one that is being written is given up."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        pause = self._first_pause()
        while not self._stopping.wait(pause):
            pause = self.take()

    def _first_pause(self) -> float:
        made = self._ours()
        if not made:
            return 0.0
        self._meter.backup_at(made[-1].at)
        return min(self._every_seconds, max(0.0, made[-1].at + self._every_seconds - self._now()))

    def take(self) -> float:
        """Take one now; gives for how many seconds there is nothing to do then."""
        began = time.monotonic()
        try:
            at, written = self._take()
        except _Stopped:
            return 0.0
        except (FlowWeaverError, OSError) as error:
            self._meter.backed_up("failed", time.monotonic() - began)
            logger.error("the store was not backed up: %s", error)  # noqa: TRY400 - the sentence says it all
            return min(self._every_seconds, RETRY_SECONDS)
        except Exception:
            self._meter.backed_up("failed", time.monotonic() - began)
            logger.exception("the store was not backed up: please report this")
            return self._every_seconds
        if written:
            self._meter.backed_up("written", time.monotonic() - began)
        self._meter.backup_at(at)
        return self._every_seconds

    def _take(self) -> tuple[float, bool]:
        """From when the newest backup has everything, and whether that one is new."""
        now = self._now()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_stale()
        if self._is_unchanged():
            logger.debug("nothing has happened since the newest backup")
            return now, False
        spare = self._spare_bytes()
        self._make_room(spare)
        target = self._folder / name_of_backup(NAME, self._store, now, ".db")
        began = time.monotonic()
        origin = back_up(self._state, target, now=now, rest=self._rest, spare=spare)
        logger.info(
            "the store was backed up to %s at commit %d in %.1f s", target, origin.sequence, time.monotonic() - began
        )
        for old in self._ours()[: -self._keep]:
            old.path.unlink(missing_ok=True)
        return now, True

    def _is_unchanged(self) -> bool:
        """Whether the newest backup still has everything: the same once more would only push out what is older."""
        newest = self._ours()[-1:]
        with suppress(FlowWeaverError):
            return bool(newest) and standing(newest[0].path) == standing(self._state)
        return False

    def _rest(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise _Stopped

    # ------------------------------------------------------------------------------------------------------ the folder

    def _ours(self) -> list[Made]:
        """Those of this store, oldest first. Those of another one, whose volume was lost, are somebody's last hope."""
        try:
            found = [made for path in self._folder.iterdir() if (made := _made(path))]
        except OSError:
            return []
        return sorted((made for made in found if made.store == self._store[:8]), key=lambda made: made.at)

    def _remove_stale(self) -> None:
        """What an earlier life has left half written."""
        for path in self._folder.glob(f".{NAME}-*{PARTIAL}*"):
            with suppress(OSError):
                if self._now() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()

    def _spare_bytes(self) -> int:
        if self._folder.stat().st_dev != self._state.parent.stat().st_dev:
            return SPARE_BYTES
        found = os.statvfs(self._folder)
        return max(SAME_DISK_SPARE_BYTES, found.f_blocks * found.f_frsize // SAME_DISK_SPARE_PART)

    def _make_room(self, spare: int) -> None:
        """Remove the oldest ones where the next one has no room beside them: never the newest, and none in vain."""
        missing = self._state.stat().st_size + spare - free_bytes(self._folder)
        older = [(old.path, old.path.stat().st_size) for old in self._ours()[:-1]]
        if missing > sum(size for _, size in older):
            return
        for path, size in older:
            if missing <= 0:
                return
            path.unlink(missing_ok=True)
            missing -= size
            logger.warning("the backup %s was removed early: there is no room for it and the next one", path)


def _made(path: Path) -> Made | None:
    found = _MADE.fullmatch(path.name)
    if not found:
        return None
    at = datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return Made(path, at.timestamp(), found[2])
