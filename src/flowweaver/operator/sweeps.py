"""Compares what is there with what the watch has shown: rarely, and by metadata alone.

A watch loses deletions when its history has expired, and an operator that was down has seen none. What a sweep finds is
put on the queue; it decides nothing itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from flowweaver.operator.api import Api, ApiError, ApiGoneError, ApiKindMissingError
from flowweaver.operator.names import workflow_key
from flowweaver.operator.objects import ObjectCache, parse
from flowweaver.operator.queue import WorkQueue
from flowweaver.operator.run_index import RunIndex
from flowweaver.operator.watcher import Watcher

INTERVAL_SECONDS = 600.0
RETRY_SECONDS = 2.0
LAG_SECONDS = 5.0
"""What a list shows and the watch has not shown so long after is missing from the watch."""

FIRST_PATIENCE_SECONDS = 2.0
LONGEST_PATIENCE_SECONDS = 60.0
"""At the start a large list takes its time."""

POLL_SECONDS = 0.1
logger = logging.getLogger(__name__)


class Sweeper:
    """A thread that sweeps at the start, after each new start of the watch, and every ten minutes."""

    def __init__(
        self,
        *,
        api: Api,
        namespaces: tuple[str, ...],
        cache: ObjectCache,
        runs: RunIndex,
        queue: WorkQueue,
        watcher: Watcher,
        drifted: Callable[[str], None],
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self._api = api
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._cache = cache
        self._runs = runs
        self._queue = queue
        self._watcher = watcher
        self._drifted = drifted
        self._interval_seconds = interval_seconds
        self._wake = threading.Event()
        self._stopping = False
        self._patience = FIRST_PATIENCE_SECONDS
        self._thread = threading.Thread(target=self._run, name="flowweaver-sweeper", daemon=True)
        self.synced = False  # the watch has shown everything that a list showed, at least once
        self.agreed_at: float | None = None  # monotonic: when a list last showed nothing that the watch had not
        self.kind_missing = False  # the CRD was not there when it was looked for last

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """End."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def soon(self) -> None:
        """Sweep again now: the watch may have missed something."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                pause = self._interval_seconds if self._sweep() else 0.0
                self.kind_missing = False
            except ApiError as error:
                self.kind_missing = isinstance(error, ApiKindMissingError)
                if self.kind_missing:
                    self.synced = False
                logger.debug("the sweep is tried again: %s", error)
                pause = RETRY_SECONDS
            except Exception:
                logger.exception("the sweep failed: please report this")
                pause = self._interval_seconds
            self._wake.wait(pause)

    def _sweep(self) -> bool:
        self._api.require_kind()
        listed: dict[str, tuple[str, str]] = {}
        for namespace in self._namespaces:
            for metadata in self._api.list_metadata(namespace):
                key = workflow_key(metadata["namespace"], metadata["name"])
                listed[key] = (metadata["uid"], metadata["resourceVersion"])
        self._look_for_gone(listed)
        return self._look_for_unseen(listed)

    def _look_for_gone(self, listed: dict[str, tuple[str, str]]) -> None:
        """Objects that we know, and runs of objects, that the list does not have."""
        for found in self._cache:
            if listed.get(found.key, ("", ""))[0] == found.uid:
                continue
            try:
                newer = parse(self._api.read_workflow(found.namespace, found.name))
            except ApiGoneError:
                newer = None
            if newer is None or newer.uid != found.uid:
                self._cache.remove(found.key, found.uid)
                self._drifted("gone")
                self._queue.add(found.key)
        for workflow, uid in self._runs.workflows():
            if listed.get(workflow, ("", ""))[0] != uid and self._watches(workflow):
                self._queue.add(workflow)

    def _watches(self, workflow: str) -> bool:
        """Whether it is in a namespace that we look at: of the others we know nothing."""
        return self._namespaces == (None,) or workflow.partition("/")[0] in self._namespaces

    def _look_for_unseen(self, listed: dict[str, tuple[str, str]]) -> bool:
        """Objects that the watch has not shown, or not so new: give it time; gives whether it has shown all."""
        patience = LAG_SECONDS if self.synced else self._patience
        deadline = time.monotonic() + patience
        while unseen := self._unseen(listed):
            if time.monotonic() > deadline or self._stopping:
                break
            time.sleep(POLL_SECONDS)
        if unseen and self.synced:
            self._fetch(unseen)
            logger.warning("the watch has missed %d Workflows and starts again", len(unseen))
            self._watcher.restart()
        elif unseen:  # it may be slow, or they may be gone by now: the next list tells
            self._patience = min(LONGEST_PATIENCE_SECONDS, 2 * self._patience)
        else:
            self.synced = True
            self.agreed_at = time.monotonic()
        return not unseen

    def _fetch(self, keys: list[str]) -> None:
        for key in keys:
            namespace, _, name = key.partition("/")
            try:
                self._cache.put(parse(self._api.read_workflow(namespace, name)))
            except ApiGoneError:
                continue
            self._drifted("unseen")
            self._queue.add(key)

    def _unseen(self, listed: dict[str, tuple[str, str]]) -> list[str]:
        found = []
        for key, (uid, version) in listed.items():
            known = self._cache.get(key)
            if known is None or known.uid != uid or _older(known.resource_version, version):
                found.append(key)
        return found


def _older(one: str, other: str) -> bool:
    return one.isdecimal() and other.isdecimal() and int(one) < int(other)
