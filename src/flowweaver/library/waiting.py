"""What a thread does that waits for executions: it calls the callbacks, in order, until all of them have ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Protocol

LONGEST_WAIT_SECONDS = 0.2
"""A signal that arrives right before a thread begins to wait does not wake it: so soon it is noticed all the same."""

Work = Callable[[], None]


class Inbox(Protocol):
    """Work for whoever waits. `post` and `stop` are called from other threads, and never block."""

    def post(self, work: Work) -> None:
        """Have `work` called by whoever waits, after what was posted before."""

    def stop(self) -> None:
        """Nothing more comes of one execution."""

    def serve(self) -> Any:
        """Do what is posted, until `stop`; a coroutine is awaited for that."""

    def drain(self) -> None:
        """Do what has been posted, and wait for nothing more."""

    def close(self) -> None:
        """Nobody waits here any more."""


class ThreadInbox:
    """For a thread that has nothing else to do.

    A KeyboardInterrupt may come between any two steps of the waiting thread, and none of them may lose what is posted:
    an item is taken out after it was done, and the end is a number and no item.
    """

    def __init__(self) -> None:
        self._items: deque[Work] = deque()
        self._news: SimpleQueue[None] = SimpleQueue()
        self._stops = 0  # written by the engine's thread
        self._served = 0  # of these

    def post(self, work: Work) -> None:
        """See `Inbox`."""
        self._items.append(work)
        self._news.put(None)

    def stop(self) -> None:
        """See `Inbox`."""
        self._stops += 1
        self._news.put(None)

    def serve(self) -> None:
        """Do what is posted, until `stop`. A KeyboardInterrupt comes out of here, and it can be called again."""
        while True:
            stops = self._stops  # before the items: what was posted before the stop is done before it
            self.drain()
            if stops > self._served:
                self._served = stops
                return
            with suppress(Empty):
                self._news.get(timeout=LONGEST_WAIT_SECONDS)

    def drain(self) -> None:
        """See `Inbox`."""
        while self._items:
            try:
                self._items[0]()
            finally:
                self._items.popleft()

    def close(self) -> None:
        """See `Inbox`: there is nothing to give back."""
