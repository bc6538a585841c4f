"""The store, asked until it answers: a disk that is full for an hour costs an hour, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from flowweaver.core.changes import Changes
from flowweaver.errors import CommitUnknown, StoreCorrupt, StoreUnavailable
from flowweaver.ports import ChildProcess, Clock, NewRun, Store, StorePosition

T = TypeVar("T")
logger = logging.getLogger(__name__)


def _ignore(kind: str) -> None:
    del kind


class DurableStore:
    """What an engine asks of its store. Every call returns when it has happened; `pause` may end that by raising."""

    def __init__(self, store: Store, clock: Clock, pause: Callable[[float], None]) -> None:
        """`pause` waits before the store is tried again."""
        self.store = store
        self.error = ""  # why the store can not be written now
        self.failed: Callable[[str], None] = _ignore  # is told of each try that fails: "full", "readonly" or "io"
        self.commits = 0
        self.commit_seconds = 0.0
        self._clock = clock
        self._pause = pause
        self._failing_since = 0.0  # monotonic, while there is an error

    @property
    def failing_seconds(self) -> float:
        """For how long the store could not be written; 0: it can."""
        return self._clock.monotonic() - self._failing_since if self.error else 0.0

    def commit(self, changes: Changes, processes: Sequence[ChildProcess], position: StorePosition) -> StorePosition:
        """Make it durable; `position` is where the store was before, and where it is then is given."""
        expected = position.sequence + 1
        began = self._clock.monotonic()
        while True:
            try:
                self.store.commit(changes, processes)
                break
            except StoreUnavailable as error:
                self._unavailable(error)
            # What raised may have happened, and nothing on the old connection can be trusted.
            now = self.ask(self.store.position, after_failure=True)
            if now.sequence == expected:
                break
            if now.sequence != expected - 1:
                raise StoreCorrupt(f"the store is at commit {now.sequence}, this engine at {expected - 1}")
        self._available()
        self.commits += 1
        self.commit_seconds = self._clock.monotonic() - began
        return StorePosition(position.id, position.epoch, expected)

    def create(self, runs: Sequence[NewRun]) -> list[int]:
        """Record new runs in one transaction; gives their keys."""
        while True:
            try:
                keys = self.store.create_runs(runs)
                break
            except StoreUnavailable as error:
                self._unavailable(error)
            # Whether it happened is for the store to say.
            known = self.ask(lambda: [self.store.find_run(run.name) for run in runs], after_failure=True)
            keys = [stored.key for stored in known if stored is not None]
            if len(keys) == len(runs):
                break
        self._available()
        return keys

    def ask(self, call: Callable[[], T], *, after_failure: bool = False) -> T:
        """Call until the store answers. `after_failure`: only to learn what became of a write, which is still to do."""
        reopen = after_failure
        while True:
            try:
                if reopen:
                    self.store.reopen()
                answer = call()
            except StoreUnavailable as error:
                self._unavailable(error)
                reopen = True
            else:
                if not after_failure:
                    self._available()
                return answer

    def _unavailable(self, error: StoreUnavailable) -> None:
        again = bool(self.error)
        if not again:
            logger.error("the store can not be used; nothing is started until it can: %s", error)
            self._failing_since = self._clock.monotonic()
        self.failed(error.kind)
        self.error = str(error) or type(error).__name__
        self._pause(0.0 if isinstance(error, CommitUnknown) and not again else 0.5)

    def _available(self) -> None:
        if self.error:
            logger.info("the store can be used again")
            self.error = ""
