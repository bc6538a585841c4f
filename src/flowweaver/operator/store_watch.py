"""Looks at the state file beside the engine, so that what is wrong with it is known before the next Workflow comes.

Once a second: whether it is there, whether its volume is writable and has room. Now and then, as often as it costs
little: whether its pages hold together.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from flowweaver.engine import Engine
from flowweaver.errors import StoreCorrupt, StoreUnavailable
from flowweaver.stores import SQLiteStore
from flowweaver.stores.soundness import note_damage, require_sound

LOOK_SECONDS = 1.0
CHECK_SECONDS = 3.0
MOST_BYTES = 1 << 30
"""The pages of a larger file are not checked beside an engine: its log could not be begun anew for too long."""

SHARE = 200
"""Pages are checked for this part of the time at most: a file of 100 MB every minute."""

logger = logging.getLogger(__name__)


class StoreWatch:
    """A thread that looks."""

    def __init__(self, store: SQLiteStore, engine: Engine, *, failed: Callable[[str], None]) -> None:
        """`failed` counts what is found, in one word."""
        self.trouble = ""  # why the store could not be written now; empty: it could, as far as one can see
        self._store = store
        self._engine = engine
        self._failed = failed
        self._check_at = time.monotonic() + CHECK_SECONDS
        self._asked: Future[None] = Future()  # the last question to the engine
        self._asked.set_result(None)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flowweaver-store-watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """End."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self._take_answer()
                self._store.look()
                self._check()
            except StoreUnavailable as error:
                if not self.trouble:
                    logger.error("no Workflow is accepted until the store can be written: %s", error)  # noqa: TRY400 - the sentence says it all
                    self._failed(error.kind)
                self.trouble = str(error)
                if error.kind == "io" and self._asked.done():  # an engine that has nothing to write would never know
                    self._asked = self._engine.ask_store(self._store.require_presence)
            except StoreCorrupt as error:
                self._give_up(error)
                return
            except Exception:
                logger.exception("the state file could not be looked at: please report this")
            else:
                self.trouble = ""

    def _take_answer(self) -> None:
        """Raise `StoreCorrupt` where the engine has found the file to be lost."""
        if self._asked.done() and isinstance(error := self._asked.exception(), StoreCorrupt):
            raise error

    def _give_up(self, error: StoreCorrupt) -> None:
        self.trouble = str(error)
        note_damage(self._store.path, str(error))
        self._engine.give_up(error)

    def _check(self) -> None:
        began = time.monotonic()
        if began < self._check_at or self._store.database_bytes() > MOST_BYTES:
            return
        require_sound(self._store.path)
        ended = time.monotonic()
        self._check_at = ended + max(CHECK_SECONDS, SHARE * (ended - began))
