"""Kubernetes Events: best effort, bounded in rate and number, the same one not twice within ten minutes."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flowweaver.operator.actions import Post
from flowweaver.operator.api import Api, ApiError, ApiForbiddenError, ApiGoneError, ApiRefusedError
from flowweaver.operator.conditions import bounded
from flowweaver.operator.names import API_VERSION

MOST_WAITING = 1000
EVENTS_A_SECOND = 10.0
BURST = 50.0
SILENCE_SECONDS = 600.0
MOST_REMEMBERED = 10_000
TRIES = 3
LONGEST_NOTE = 1000  # the API allows 1024 bytes
CONTROLLER = "flowweaver.io/operator"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Event:
    namespace: str
    name: str
    uid: str
    post: Post
    at: float


class Recorder:
    """A thread that posts. `post` is safe from any thread and returns at once."""

    def __init__(self, api: Api, *, instance: str, posted: Callable[[str], None]) -> None:
        self._api = api
        self._instance = instance
        self._posted = posted
        self._changed = threading.Condition()
        self._waiting: deque[_Event] = deque()
        self._told: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._level, self._filled_at = BURST, time.monotonic()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="flowweaver-events", daemon=True)

    def start(self) -> None:
        """Begin to post."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 2.0) -> None:
        """Post what waits, at most so long."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def post(self, namespace: str, name: str, uid: str, post: Post) -> None:
        """Have it posted, unless the same was posted a short while ago or too many wait."""
        now = time.monotonic()
        with self._changed:
            told = self._told.get((uid, post.reason, post.note))
            if told is not None and now - told < SILENCE_SECONDS:
                return
            if len(self._waiting) >= MOST_WAITING:
                self._posted("dropped")
                return
            self._told[uid, post.reason, post.note] = now
            while len(self._told) > MOST_REMEMBERED:
                self._told.popitem(last=False)
            self._waiting.append(_Event(namespace, name, uid, post, time.time()))
            self._changed.notify()

    def _run(self) -> None:
        while (event := self._next()) is not None:
            self._posted(self._try(event))

    def _next(self) -> _Event | None:
        with self._changed:
            while True:
                if self._waiting and (self._stopping or self._permitted()):
                    return self._waiting.popleft()
                if self._stopping:
                    return None
                self._changed.wait(1.0 / EVENTS_A_SECOND if self._waiting else None)

    def _permitted(self) -> bool:
        now = time.monotonic()
        self._level = min(BURST, self._level + (now - self._filled_at) * EVENTS_A_SECOND)
        self._filled_at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True

    def _try(self, event: _Event) -> str:
        path = f"/apis/events.k8s.io/v1/namespaces/{event.namespace}/events"
        body = _body(event, self._instance)
        for attempt in range(1, TRIES + 1):
            try:
                self._api.call("POST", path, body)
            except (ApiForbiddenError, ApiGoneError, ApiRefusedError) as error:  # a namespace that is going away, too
                logger.debug("an Event was not accepted: %s", error)
                return "failed"
            except ApiError as error:
                logger.debug("an Event was not posted: %s", error)
                if attempt < TRIES and not self._stopping:
                    time.sleep(attempt)
            else:
                return "posted"
        return "failed"


def _body(event: _Event, instance: str) -> dict[str, Any]:
    regarding = {
        "apiVersion": API_VERSION,
        "kind": "Workflow",
        "namespace": event.namespace,
        "name": event.name,
        "uid": event.uid,
    }
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": event.namespace, "name": f"{event.name}.{secrets.token_hex(8)}"},
        "eventTime": datetime.fromtimestamp(event.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": event.post.type.value,
        "reason": event.post.reason,
        "note": _fitting(event.post.note),
        "action": "Reconcile",
        "reportingController": CONTROLLER,
        "reportingInstance": bounded(instance, 128),
        "regarding": regarding,
    }


def _fitting(note: str) -> str:
    """The API counts bytes."""
    if len(note.encode()) <= LONGEST_NOTE:
        return note
    return note.encode()[:LONGEST_NOTE].decode("utf-8", "ignore") + "…"
