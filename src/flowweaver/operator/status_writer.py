"""Writes statuses: the newest wanted one of each Workflow, the ends first, the rest as often as the API server can
bear.

A status patch costs the API server time in proportion to the whole object (half a second at 1,000 tasks), so that a
Workflow whose last write took long waits twenty times as long for its next. What is written is composed at the moment
of writing: everything that happened meanwhile costs nothing. The engine never waits for any of this.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from flowweaver.operator.api import (
    ApiBusyError,
    ApiConflictError,
    ApiError,
    ApiForbiddenError,
    ApiGoneError,
    ApiRefusedError,
    ApiTooLargeError,
    ApiUnreachableError,
)
from flowweaver.operator.budgets import Budget
from flowweaver.operator.subjects import Composed, Subject

FIRST_DELAY_SECONDS = 0.05
"""A run that ends so soon is written once, not twice."""

LEAST_INTERVAL_SECONDS = 1.0
LATENCIES_BETWEEN_WRITES = 20
OUTAGE_PAUSE_SECONDS = 1.0
"""While the API server can not be reached, one write tries so often; none counts as failed."""

LEAST_BYTES = 8 * 1024
TOO_MANY_REQUESTS = 429
logger = logging.getLogger(__name__)


class StatusMeter(Protocol):
    """Who counts status writes."""

    def status_written(self, result: str, seconds: float, size: int) -> None:
        """One was tried: "written", "refused", "gone", "busy", "unreachable", "too_large", "forbidden"."""

    def status_shown(self, lag_seconds: float) -> None:
        """One was written so long after the first change that it shows."""

    def status_coalesced(self) -> None:
        """A newer picture took the place of one that was not written yet."""


@dataclass(slots=True)
class _Entry:
    subject: Subject
    dirty: bool = False
    urgent: bool = False
    since: float | None = None  # of the first change that no write has taken up
    shows_since: float | None = None  # of the first change that the write under way, or the last one, shows
    due: float = 0.0
    writing: bool = False
    written_at: float | None = None
    latency: float = 0.0
    failures: int = 0
    not_before: float = 0.0
    limit: int | None = None
    conditions: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    fingerprint: bytes = b""
    forced: bool = False  # write it even if it says what was written last: somebody else may have written since


class StatusWriter:
    """Threads that write. Every public method is safe from any thread and returns at once, but for `stop`."""

    def __init__(
        self,
        *,
        compose: Callable[[Subject, int | None], Composed | None],
        send: Callable[[Subject, Composed, bytes], None],
        meter: StatusMeter,
        budget: Budget | None = None,
        threads: int = 4,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`compose` builds the status that is true now (None: there is nothing to say any more), in at most so many
        bytes where a number is given; `send` applies an encoded JSON patch and raises `ApiError`.
        """
        self._compose = compose
        self._send = send
        self._meter = meter
        self._clock = clock
        self._budget = budget or Budget(
            writes_a_second=200, bytes_a_second=8 * 1024 * 1024, burst_seconds=2, now=clock()
        )
        self._changed = threading.Condition()
        self._entries: dict[str, _Entry] = {}
        self._heaps: tuple[list[tuple[float, str]], list[tuple[float, str]]] = ([], [])  # urgent ones, others
        self._paused_until = 0.0
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, name=f"flowweaver-status-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Begin to write."""
        for thread in self._threads:
            thread.start()

    def want(self, subject: Subject, *, urgent: bool = False) -> None:
        """Have this status written; an earlier wish for the same Workflow is replaced."""
        with self._changed:
            entry = self._entries.get(subject.uid)
            if entry is None:
                entry = self._entries[subject.uid] = _Entry(subject)
            entry.subject = subject
            entry.forced = True
            self._schedule(entry, urgent=urgent)

    def touch(self, uid: str, *, urgent: bool = False) -> None:
        """There is something new to say about it; one that nobody wants written is left alone."""
        with self._changed:
            entry = self._entries.get(uid)
            if entry is not None:
                self._schedule(entry, urgent=urgent)

    def drop(self, uid: str) -> None:
        """It is gone."""
        with self._changed:
            self._entries.pop(uid, None)

    def stop(self, timeout_seconds: float) -> bool:
        """Write all that is wanted now, at most so long, and end; gives whether everything was written."""
        deadline = self._clock() + timeout_seconds
        with self._changed:
            for entry in self._entries.values():
                if entry.dirty:
                    self._schedule(entry, urgent=True)
            while any(entry.dirty or entry.writing for entry in self._entries.values()):
                left = deadline - self._clock()
                if left <= 0:
                    break
                self._changed.wait(min(left, 0.5))
            complete = not any(entry.dirty for entry in self._entries.values())
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - self._clock()) + 1.0)
        return complete

    def __len__(self) -> int:
        """How many wait to be written."""
        with self._changed:
            return sum(entry.dirty for entry in self._entries.values())

    def oldest_wait_seconds(self) -> float:
        """How long the status that waits longest has been waiting; 0 where none does."""
        with self._changed:
            waiting = [entry.shows_since if entry.writing else entry.since for entry in self._entries.values()]
            now = self._clock()
            return now - min(filter(None, waiting), default=now)

    # --------------------------------------------------------------------------------------------------- scheduling

    def _schedule(self, entry: _Entry, *, urgent: bool) -> None:
        if entry.dirty:
            self._meter.status_coalesced()
            if entry.urgent or not urgent:
                return  # it has its time already
        entry.dirty = True
        entry.since = self._clock() if entry.since is None else entry.since
        entry.urgent = urgent
        entry.due = self._due(entry)
        if not entry.writing:
            heapq.heappush(self._heaps[0 if entry.urgent else 1], (entry.due, entry.subject.uid))
            self._changed.notify()

    def _due(self, entry: _Entry) -> float:
        now = self._clock()
        if entry.urgent:
            due = now
        elif entry.written_at is None:
            due = now + FIRST_DELAY_SECONDS
        else:
            due = entry.written_at + max(LEAST_INTERVAL_SECONDS, LATENCIES_BETWEEN_WRITES * entry.latency)
        return max(due, entry.not_before)

    def _take(self) -> _Entry | None:
        """The next entry that is due, marked as being written; None when stopping."""
        with self._changed:
            while not self._stopping:
                now = self._clock()
                held = max(self._paused_until - now, self._budget.seconds_to_wait(now))
                if held <= 0:
                    for heap in self._heaps:
                        entry = self._pop_due(heap, now)
                        if entry is not None:
                            entry.writing, entry.dirty, entry.urgent = True, False, False
                            entry.shows_since, entry.since = entry.since, None
                            return entry
                dues = [heap[0][0] for heap in self._heaps if heap]
                self._changed.wait(max(held, min(dues) - now, 0.001) if dues else None)
            return None

    def _pop_due(self, heap: list[tuple[float, str]], now: float) -> _Entry | None:
        while heap and heap[0][0] <= now:
            due, uid = heapq.heappop(heap)
            entry = self._entries.get(uid)
            if entry is not None and entry.dirty and not entry.writing and entry.due == due:
                return entry
        return None

    # ------------------------------------------------------------------------------------------------------ writing

    def _run(self) -> None:
        while (entry := self._take()) is not None:
            try:
                final = self._write(entry)
            except Exception:
                logger.exception("a status could not be written: please report this")
                final = True
            with self._changed:
                entry.writing = False
                if self._entries.get(entry.subject.uid) is not entry:
                    pass  # dropped meanwhile
                elif entry.dirty:  # something new came while it was being written, or it failed
                    entry.due = self._due(entry)
                    heapq.heappush(self._heaps[0 if entry.urgent else 1], (entry.due, entry.subject.uid))
                elif final:
                    del self._entries[entry.subject.uid]
                self._changed.notify_all()

    def _write(self, entry: _Entry) -> bool:
        """One try; gives whether there is nothing left to say."""
        subject = replace(entry.subject, previous=entry.conditions) if entry.conditions else entry.subject
        try:
            composed = self._compose(subject, entry.limit)
        except ApiError as error:
            return self._failed(entry, error, 0)
        if composed is None:
            return True
        fingerprint = _fingerprint(composed.status)
        if fingerprint == entry.fingerprint and not entry.forced:
            return composed.final
        entry.forced = False
        body = _patch(subject.uid, composed.status)
        began = self._clock()
        with self._changed:
            self._budget.spend(len(body), began)
        try:
            self._send(subject, composed, body)
        except ApiError as error:
            return self._failed(entry, error, len(body))
        seconds = self._clock() - began
        self._meter.status_written("written", seconds, len(body))
        with self._changed:
            self._budget.answered(seconds)
            entry.written_at, entry.latency, entry.failures, entry.not_before = self._clock(), seconds, 0, 0.0
            entry.fingerprint = fingerprint
            entry.conditions = composed.status.get("conditions", ())
            lag = entry.written_at - (entry.written_at if entry.shows_since is None else entry.shows_since)
        self._meter.status_shown(lag)
        return composed.final

    def _failed(self, entry: _Entry, error: ApiError, size: int) -> bool:
        subject = entry.subject
        self._meter.status_written(_result(error), 0.0, size)
        with self._changed:
            now = self._clock()
            match error:
                case ApiGoneError():  # with the object, or with the whole kind
                    self._entries.pop(subject.uid, None)
                    return True
                case ApiRefusedError():
                    if "/metadata/uid" not in str(error) and "testing" not in str(error):
                        logger.error("the API server refuses the status of %s: %s", _called(subject), error)
                    self._entries.pop(subject.uid, None)
                    return True
                case ApiTooLargeError():
                    if entry.limit is not None and entry.limit <= LEAST_BYTES:
                        logger.error("even a small status of %s is too large: %s", _called(subject), error)
                        return True
                    entry.limit = max(LEAST_BYTES, size // 2)
                case ApiUnreachableError():
                    logger.debug("the API server can not be reached; statuses wait: %s", error)
                    self._paused_until = now + OUTAGE_PAUSE_SECONDS
                case _:
                    entry.failures += 1
                    if isinstance(error, ApiBusyError):
                        self._budget.strained()
                    delay = _delay(entry.failures, error)
                    entry.not_before = now + delay
                    level = logging.WARNING if isinstance(error, ApiForbiddenError) else logging.INFO
                    logger.log(level, "the status of %s is tried again in %.1f s: %s", _called(subject), delay, error)
            entry.dirty = entry.urgent = True
            entry.since = entry.shows_since
        return False


def _delay(failures: int, error: ApiError) -> float:
    """Seconds to the next try. A server that has too much to do is believed; one that is just starting exaggerates."""
    asked = error.retry_after_seconds if error.status == TOO_MANY_REQUESTS else min(1.0, error.retry_after_seconds)
    return max(asked, min(60.0, 0.25 * 2.0 ** min(failures, 10)))


def _result(error: ApiError) -> str:
    names = {
        ApiGoneError: "gone",
        ApiRefusedError: "refused",
        ApiTooLargeError: "too_large",
        ApiUnreachableError: "unreachable",
        ApiForbiddenError: "forbidden",
        ApiConflictError: "conflict",
    }
    return names.get(type(error), "busy")


def _called(subject: Subject) -> str:
    return f"{subject.namespace}/{subject.name}"


def _patch(uid: str, status: Mapping[str, Any]) -> bytes:
    """`add` replaces what is there, and needs nothing to be there."""
    operations = [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "add", "path": "/status", "value": status},
    ]
    return json.dumps(operations, ensure_ascii=False, separators=(",", ":")).encode()


def _fingerprint(status: Mapping[str, Any]) -> bytes:
    """The status without what changes by itself: the store's sequence grows with every commit of any run."""
    store = {**status.get("store", {}), "sequence": 0}
    text = json.dumps({**status, "store": store}, sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
