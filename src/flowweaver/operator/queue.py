"""The keys that wait to be reconciled: each at most once, none on two threads at a time.

The semantics are those of the work queue that Kubernetes controllers share: a key that is added while it is being
worked on is worked on again afterwards, a delayed key comes at its time, and a key that fails comes back later each
time.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol


class QueueMeter(Protocol):
    """Who counts. Called with the queue's lock held: it must return at once."""

    def depth(self, keys: int) -> None:
        """So many keys wait."""

    def added(self) -> None:
        """A key was added."""

    def started(self, waited_seconds: float) -> None:
        """A key was taken after so long."""

    def ended(self, worked_seconds: float) -> None:
        """A key was done after so long."""

    def retried(self) -> None:
        """A key comes back after a failure."""


class SilentMeter:
    """Counts nothing."""

    def depth(self, keys: int) -> None: ...

    def added(self) -> None: ...

    def started(self, waited_seconds: float) -> None: ...

    def ended(self, worked_seconds: float) -> None: ...

    def retried(self) -> None: ...


class WorkQueue:
    """A queue of keys, safe from any thread. Times are monotonic seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        meter: QueueMeter | None = None,
        first_backoff_seconds: float = 0.5,
        longest_backoff_seconds: float = 60.0,
    ) -> None:
        self._clock = clock
        self._meter = meter or SilentMeter()
        self._first_backoff = first_backoff_seconds
        self._longest_backoff = longest_backoff_seconds
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, float] = OrderedDict()  # key → since when
        self._working: dict[str, float] = {}  # key → since when
        self._again: set[str] = set()  # added while being worked on
        self._delayed: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}  # of each delayed key the earliest time; other entries in the heap are void
        self._failures: dict[str, int] = {}
        self._closed = False

    def add(self, key: str) -> None:
        """Have it worked on soon; a key that waits already stays where it is."""
        with self._changed:
            self._add(key)

    def add_after(self, key: str, seconds: float) -> None:
        """Have it worked on after so long; of several delays the shortest counts."""
        if seconds <= 0:
            self.add(key)
            return
        with self._changed:
            due = self._clock() + seconds
            if due < self._due.get(key, float("inf")):
                self._due[key] = due
                heapq.heappush(self._delayed, (due, key))
                self._changed.notify_all()  # whoever waits must reckon with the new time

    def add_failed(self, key: str) -> float:
        """Have it worked on again, later at each failure; gives the delay in seconds."""
        with self._changed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            self._meter.retried()
        delay = min(self._first_backoff * 2.0 ** min(failures - 1, 30), self._longest_backoff)
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: str) -> None:
        """Forget its failures."""
        with self._changed:
            self._failures.pop(key, None)

    def take(self, timeout_seconds: float | None = None) -> str | None:
        """The key that waits longest, which is then this thread's until `done`; None at the timeout, or when closed."""
        deadline = None if timeout_seconds is None else self._clock() + timeout_seconds
        with self._changed:
            while True:
                if self._closed:
                    return None
                now = self._clock()
                self._release_due(now)
                if self._waiting:
                    return self._start(now)
                if deadline is not None and now >= deadline:
                    return None
                self._changed.wait(self._pause(now, deadline))

    def done(self, key: str) -> None:
        """Whoever took it is through with it."""
        with self._changed:
            since = self._working.pop(key)
            self._meter.ended(self._clock() - since)
            if key in self._again:
                self._again.discard(key)
                self._add(key)

    def close(self) -> None:
        """Give out nothing more; whoever waits gets None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def oldest_work_seconds(self) -> float:
        """How long the longest piece of work in progress takes already."""
        with self._changed:
            return max((self._clock() - since for since in self._working.values()), default=0.0)

    def unfinished_work_seconds(self) -> float:
        """How long all pieces of work in progress take already, together."""
        with self._changed:
            now = self._clock()
            return sum(now - since for since in self._working.values())

    @property
    def working(self) -> int:
        """How many keys are being worked on."""
        return len(self._working)

    def __len__(self) -> int:
        return len(self._waiting)

    def _add(self, key: str) -> None:
        if self._closed or key in self._waiting or key in self._again:
            return
        self._meter.added()
        if key in self._working:
            self._again.add(key)
            return
        self._waiting[key] = self._clock()
        self._meter.depth(len(self._waiting))
        self._changed.notify()

    def _start(self, now: float) -> str:
        key, since = self._waiting.popitem(last=False)
        self._working[key] = now
        self._meter.started(now - since)
        self._meter.depth(len(self._waiting))
        return key

    def _release_due(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            due, key = heapq.heappop(self._delayed)
            if self._due.get(key) == due:
                del self._due[key]
                self._add(key)

    def _pause(self, now: float, deadline: float | None) -> float | None:
        ends = [end for end in (deadline, self._delayed[0][0] if self._delayed else None) if end is not None]
        return max(0.0, min(ends) - now) if ends else None
