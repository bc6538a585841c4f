"""What a coroutine does that waits for an execution. Apart, because this needs asyncio and nothing else here does."""

from __future__ import annotations

import asyncio

from flowweaver.library.waiting import Work


class LoopInbox:
    """For a coroutine: the work is done in its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._stopped = loop.create_future()

    def post(self, work: Work) -> None:
        """See `Inbox`."""
        self._loop.call_soon_threadsafe(work)

    def stop(self) -> None:
        """See `Inbox`."""
        self._loop.call_soon_threadsafe(self._stop)

    async def serve(self) -> None:
        """Wait for `stop`; it can be called again after it was cancelled."""
        await asyncio.shield(self._stopped)

    def drain(self) -> None:
        """See `Inbox`: the loop does it."""

    def close(self) -> None:
        """See `Inbox`: there is nothing to give back."""

    def _stop(self) -> None:
        if not self._stopped.done():
            self._stopped.set_result(None)
