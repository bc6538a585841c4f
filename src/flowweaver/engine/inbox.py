"""Where everything arrives: any thread puts, the engine's thread takes all that is there.

Unlike a queue it wakes its reader when as much has arrived as that is waiting for, and not once for each item: four
attempts that end together cost one change of threads and not four.
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
        self._items: deque[T] = deque()
        self._wanted = 1  # so many wake the reader
        self._bell = threading.Lock()  # released to wake it
        self._bell.acquire()

    def __len__(self) -> int:
        """How many are there."""
        return len(self._items)

    def put(self, item: T) -> None:
        """Add one. From any thread; never blocks."""
        self._items.append(item)
        if len(self._items) >= self._wanted and self._bell.locked():
            with suppress(RuntimeError):  # another thread has just rung it
                self._bell.release()

    def take(self, wanted: int = 1, seconds: float = 0.0) -> list[T]:
        """Everything that is there, after waiting until that is so many, or for so long. One thread may wait."""
        if seconds > 0:
            self._bell.acquire(blocking=False)  # what has rung before
            self._wanted = wanted
            # In this order: what is put after the look finds the new number and rings.
            if len(self._items) < wanted:
                self._bell.acquire(timeout=seconds)
        found: list[T] = []
        with suppress(IndexError):  # another thread may take too, when the engine is no more
            while self._items:
                found.append(self._items.popleft())
        return found
