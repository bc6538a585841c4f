"""What a thread does that waits for executions: it calls the callbacks, in order, until all of them have ended."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

Work = Callable[[], None]


class Inbox(Protocol):
    """Work for whoever waits. `post` and `stop` are called from other threads, and never block."""

    def post(self, work: Work) -> None:
        """Have `work` called by whoever waits, after what was posted before."""

    def stop(self) -> None:
        """Nothing more comes of one execution."""

    def serve(self) -> Any:
        """Do what is posted, until `stop`; a coroutine is awaited for that."""

    def close(self) -> None:
        """Nobody waits here any more."""


class ThreadInbox:
    """For a thread that has nothing else to do."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Work | None] = SimpleQueue()

    def post(self, work: Work) -> None:
        """See `Inbox`."""
        self._queue.put(work)

    def stop(self) -> None:
        """See `Inbox`."""
        self._queue.put(None)

    def serve(self) -> None:
        """Do what is posted, until `stop`. A KeyboardInterrupt comes out of here, and it can be called again."""
        while (work := self._queue.get()) is not None:
            work()

    def close(self) -> None:
        """See `Inbox`: there is nothing to give back."""
