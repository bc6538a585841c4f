"""How a running body learns that nobody waits for it any more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Cancellation:
    """Tells a running body that nobody waits for its result any more. Safe from any thread; never unset.

    Every attempt has one and few use it: nothing is made before somebody waits or wants to be called.
    """

    __slots__ = ("_callbacks", "_event", "_requested")

    def __init__(self) -> None:
        self._requested = False
        self._event: threading.Event | None = None
        self._callbacks: list[Callable[[], None]] | None = None

    @property
    def requested(self) -> bool:
        """Whether it has been cancelled."""
        return self._requested

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Block until it is cancelled, at most so long; gives `requested`."""
        with _cancelling:
            if not self._requested and self._event is None:
                self._event = threading.Event()
        if self._event is not None:
            self._event.wait(timeout_seconds)
        return self._requested

    def on_request(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when it is cancelled, at once if it is already. It must not block.

        Whoever cancels must not suffer from what it raises, which is logged.
        """
        with _cancelling:
            if not self._requested:
                self._callbacks = [*(self._callbacks or ()), callback]
                return
        _call(callback)

    def request(self) -> None:
        """Cancel. Idempotent."""
        with _cancelling:
            if self._requested:
                return
            self._requested = True
            callbacks, self._callbacks = self._callbacks, None
        if self._event is not None:
            self._event.set()
        for callback in callbacks or ():
            _call(callback)


_cancelling = threading.Lock()  # one for all: it is held for a few instructions


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:
        logger.exception("what a body wanted to be called at its cancel has failed")
