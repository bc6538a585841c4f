"""Where everything arrives: any thread adds, whoever has the turn takes all that is there.

Unlike a queue it wakes nobody for each item: the engine's thread is woken by a bell, and who waits for attempts that
are about to end when they are all there, so that four that end together cost one change of threads and not four.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """Items in the order in which they came."""

    def __init__(self) -> None:
        self.items: deque[T] = deque()
        """What is there: to be looked at, and taken by `take` alone."""
        self._wanted = 0  # somebody waits for so many; 0: nobody does
        self._enough = _Bell()
        self._bell = _Bell()

    def add(self, item: T) -> None:
        """Add one for whoever looks next. From any thread; never blocks."""
        self.items.append(item)
        if 0 < self._wanted <= len(self.items):
            self._enough.ring()

    def put(self, item: T) -> None:
        """Add one and wake who waits. From any thread; never blocks."""
        self.add(item)
        self._bell.ring()

    def ring(self) -> None:
        """Wake who waits, also where there is nothing new."""
        self._bell.ring()

    def wait(self, seconds: float) -> None:
        """Wait until the bell rings, or for so long; not at all where it has rung since the last time. One may wait."""
        self._bell.wait(seconds)

    def take(self) -> list[T]:
        """Everything that is there."""
        items, found = self.items, []
        try:
            while items:
                found.append(items.popleft())
        except IndexError:  # another thread may take too, when the engine is no more
            pass
        return found

    def gather(self, wanted: int, seconds: float) -> list[T]:
        """Everything that is there, after waiting until that is so many, or for so long. One thread may do so."""
        self._enough.clear()
        self._wanted = wanted
        # In this order: what is added after the look finds the number and rings.
        if len(self.items) < wanted:
            self._enough.wait(seconds)
        self._wanted = 0
        return self.take()


class _Bell:
    """Rings for one who waits, at once or later; twice is the same as once. One lock: an event takes three."""

    def __init__(self) -> None:
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        if self._silence.locked():
            with suppress(RuntimeError):  # another thread has just rung it
                self._silence.release()

    def clear(self) -> None:
        self._silence.acquire(blocking=False)

    def wait(self, seconds: float) -> None:
        self._silence.acquire(timeout=max(0.0, seconds))
