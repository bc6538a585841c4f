"""The first step of the operator's start: take the state file, also where an earlier life has not quite left it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from flowweaver.assembly import Assembly, build_engine
from flowweaver.errors import StoreLocked
from flowweaver.operator.settings import Settings

WAIT_SECONDS = 20.0
"""How long another process may still have the file. After a pod was deleted with no grace its container lives on for a
moment beside the next one's, and a container that gives up is started again ten seconds later, or minutes."""

POLL_SECONDS = 0.2
logger = logging.getLogger(__name__)


@contextmanager
def open_engine(settings: Settings, stopping: threading.Event) -> Iterator[Assembly]:
    """The engine of these settings, not started.

    Raises `StoreLocked` where another process keeps the file, and the other `StoreError`s at once.
    """
    with ExitStack() as stack:
        yield _take(settings, stopping, stack)


def _take(settings: Settings, stopping: threading.Event, stack: ExitStack) -> Assembly:
    end = time.monotonic() + WAIT_SECONDS
    told = False
    while True:
        try:
            return stack.enter_context(build_engine(settings.state, policy=settings.policy(), workers=settings.workers))
        except StoreLocked as error:
            if time.monotonic() > end or stopping.wait(POLL_SECONDS):
                raise
            if not told:
                logger.warning("waiting up to %g s for the state file: %s", WAIT_SECONDS, error)
            told = True
