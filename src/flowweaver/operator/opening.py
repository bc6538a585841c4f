"""The first step of the operator's start: take the state file, also where that is not possible yet.

Where the volume is full, read-only or broken, or the file damaged, ending would only have it started again, later each
time, with what is wrong in the log of a container that is gone. So it waits, says on its probes and in its metrics what
is wrong, and goes on by itself when it can: after `flowweaver state restore` for example.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

from flowweaver.assembly import Assembly, build_engine
from flowweaver.errors import StoreCorrupt, StoreLocked, StoreUnavailable
from flowweaver.operator.http import HttpServer
from flowweaver.operator.settings import Settings
from flowweaver.stores.soundness import clear, is_suspect, require_sound
from flowweaver.telemetry.metrics import Metrics

WAIT_SECONDS = 20.0
"""How long another process may still have the file. After a pod was deleted with no grace its container lives on for a
moment beside the next one's, and a container that gives up is started again ten seconds later, or minutes."""

POLL_SECONDS = 0.2
RETRY_SECONDS = 2.0
"""So often a file that can not be used now is tried again, or looked at where it is damaged."""

logger = logging.getLogger(__name__)


@contextmanager
def open_engine(settings: Settings, stopping: threading.Event, metrics: Metrics) -> Iterator[Assembly | None]:
    """The engine of these settings, not started; None where it was to stop before there was one.

    Raises `StoreLocked` where another process keeps the file, and other `StoreError`s that waiting can not mend.
    """
    with ExitStack() as stack:
        yield _take(settings, stopping, stack, metrics)


def _take(settings: Settings, stopping: threading.Event, stack: ExitStack, metrics: Metrics) -> Assembly | None:
    end = time.monotonic() + WAIT_SECONDS
    told = False
    with Waiting(settings, metrics) as waiting:
        while not stopping.is_set():
            try:
                return _opened(settings, stack)
            except StoreLocked as error:
                if time.monotonic() > end or stopping.wait(POLL_SECONDS):
                    raise
                if not told:
                    logger.warning("waiting up to %g s for the state file: %s", WAIT_SECONDS, error)
                told = True
            except (StoreUnavailable, StoreCorrupt) as error:
                waiting.say(error)
                stopping.wait(RETRY_SECONDS)
    return None


def _opened(settings: Settings, stack: ExitStack) -> Assembly:
    suspect = is_suspect(settings.state)
    if suspect:
        require_sound(settings.state)
    assembly = stack.enter_context(build_engine(settings.state, policy=settings.policy(), workers=settings.workers))
    if suspect:
        clear(settings.state)
    return assembly


class Waiting:
    """Serves probes and metrics while there is no engine. Nothing is served before there is something to say."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._server: HttpServer | None = None
        self._said = ""

    def say(self, error: StoreUnavailable | StoreCorrupt) -> None:
        """The state file can not be used now."""
        self._metrics.store_failed(error.kind if isinstance(error, StoreUnavailable) else "corrupt")
        if str(error) != self._said:
            self._said = str(error)
            logger.error("nothing runs until the state file can be used: %s", error)
        if self._server is None:
            for name in ("flowweaver_store_writable", "flowweaver_ready"):
                self._metrics.watch(name, lambda: 0.0)
            host, port = self._settings.http_address()
            self._server = HttpServer(
                host=host,
                port=port,
                healthy=dict,
                ready=lambda: {"store": self._said},
                metrics=self._metrics.exposition,
            )
            self._server.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.stop()
