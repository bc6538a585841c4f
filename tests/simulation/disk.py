"""A store that fails before, during and after a commit, is slow, full or ambiguous, and may be the last thing seen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from flowweaver.core.changes import Changes
from flowweaver.errors import CommitUnknown, StoreUnavailable
from flowweaver.ports import Store
from flowweaver.testing.simulation import ManualClock

WRITES = {"create_run", "create_runs", "create_tasks", "commit", "delete_run"}
TROUBLES = ("refused", "lost", "unknown", "slow", "full", "dies before", "dies after")


class Died(BaseException):
    """The process is gone, at whatever it was doing."""


class TroubledStore:
    """Another store, with trouble on the way to it and back. What it did not get it does not have."""

    def __init__(self, store: Store, random: Random, clock: ManualClock) -> None:
        self.store = store  # without trouble
        self.trouble = 0.0  # how likely it is with each access
        self.seen: list[str] = []  # which trouble there was
        self.committed: list[Changes] = []  # what has happened, acknowledged or not
        self._random = random
        self._clock = clock
        self._writing = False
        self._refusals = 0  # so many writes more are refused: the disk is full

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._access, name)

    def pause(self, seconds: float) -> None:
        """The engine waits for the disk. That takes time, and the process may be ended meanwhile."""
        if self._writing:
            self._clock.advance(seconds)
        if self._random.random() < self.trouble / 4:
            raise Died

    def _access(self, name: str, *arguments: Any) -> Any:
        # A timeout counts from before what an attempt is given is read: time stands still while something is read.
        writes = self._writing = name in WRITES
        if writes and self._refusals:
            self._refusals -= 1
            raise StoreUnavailable("the disk is full")
        trouble = self._random.choice(TROUBLES) if self._random.random() < self.trouble else ""
        if trouble:
            self.seen.append(trouble)
        self._before(trouble, writes=writes)
        answer = getattr(self.store, name)(*arguments)
        if name == "commit":
            self.committed.append(arguments[0])
        if trouble == "dies after":
            raise Died
        if trouble == "unknown" and writes:
            raise CommitUnknown("it may have happened")
        return answer

    def _before(self, trouble: str, *, writes: bool) -> None:
        match trouble:
            case "refused":
                raise StoreUnavailable("it did not happen")
            case "dies before":
                raise Died
            case "lost" if writes:
                raise CommitUnknown("it may have happened")
            case "full" if writes:
                self._refusals = self._random.randint(1, 20)
                raise StoreUnavailable("the disk is full")
            case "slow" if writes:
                self._clock.advance(self._random.choice([0.1, 3.0, 45.0]))
