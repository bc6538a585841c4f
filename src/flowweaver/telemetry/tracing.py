"""Which spans a run has: one for the run, and one for each attempt below it. Nothing of OpenTelemetry is imported here.

A run's trace and the number of its own span follow from the run itself, so that whoever goes on with it after a restart
tells of the same trace. A span is made when what it tells of has ended and is durable: there are no open ones to lose.
There is never a parameter, a result or a message in a span, only names, numbers and reasons.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

from flowweaver.core.changes import AttemptClosed, Changes
from flowweaver.core.events import AttemptId
from flowweaver.core.phases import RunPhase
from flowweaver.core.state import RunHead, RunState
from flowweaver.ports import run_origin

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_BAD = {"failed", "timed_out", "crashed"}  # how an attempt ends that is shown as an error
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What ended, as OpenTelemetry knows it. Times are seconds since the epoch."""

    trace: int  # 128 bits
    number: int  # 64 bits
    parent: int | None
    name: str
    started_at: float
    ended_at: float
    attributes: Mapping[str, Any]
    error: str | None = None  # the reason where it ended badly
    sampled: bool | None = None  # as whoever the run belongs to has decided; None: nobody has


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a run's spans belong."""

    trace: int
    parent: int | None = None
    sampled: bool | None = None


class Tracer:
    """A `ports.Meter` that makes the spans of what each turn has changed. Not thread-safe: one turn at a time."""

    def __init__(
        self, put: Callable[[Span], None], *, store: str, running: Mapping[AttemptId, float] | None = None
    ) -> None:
        """`put` takes a span and returns at once. `store` tells runs without a uid from those of other stores.

        `running` is when the attempts have started that an earlier life has left running.
        """
        self._put = put
        self._store = store
        self._running = dict(running or {})
        self._again: dict[int, float] = {}  # runs that are run again, and since when

    def __call__(self, changes: Changes, runs: Mapping[int, RunState], seconds: float) -> None:
        """Tell of what has ended; raises nothing."""
        del seconds
        try:
            for attempt, started_at in changes.started:
                self._running[attempt] = started_at
            for closed in changes.closed:
                self._attempt(closed, runs[closed.attempt.run])
            for key, head in changes.runs:
                self._run(runs[key], head)
        except Exception:
            logger.exception("a turn was not traced: please report this")

    def _attempt(self, closed: AttemptClosed, run: RunState) -> None:
        attempt = closed.attempt
        task = run.plan.tasks[attempt.task]
        started_at = self._running.pop(attempt, None)
        if task.internal:
            return
        if started_at is None:
            started_at = run.tasks[attempt.task].started_at or closed.ended_at
        if run.head.rerun_token:
            # The life that saw the rerun begin knows when; another one goes by the first attempt that it tells of.
            self._again[run.key] = min(started_at, self._again.get(run.key, started_at))
        place = self._place(run)
        attributes = {
            **_of_run(run),
            "flowweaver.task": task.name,
            "flowweaver.attempt": attempt.number,
            "flowweaver.body": task.kind,
            "flowweaver.outcome": closed.status,
        }
        if closed.reason:
            attributes["flowweaver.reason"] = closed.reason
        if closed.status in _BAD:
            attributes["error.type"] = closed.error_type or closed.reason or closed.status
        self._put(
            Span(
                trace=place.trace,
                number=_number(place.trace, "attempt", task.name, attempt.number, started_at),
                parent=_number(place.trace, "run", run.head.rerun_token),
                name=task.name,
                started_at=started_at,
                ended_at=max(closed.ended_at, started_at),
                attributes=attributes,
                error=(closed.reason or closed.status) if closed.status in _BAD else None,
                sampled=place.sampled,
            )
        )

    def _run(self, run: RunState, head: RunHead) -> None:
        before = run.head
        if before.phase.finished and not head.phase.finished:
            self._again[run.key] = time.time()
        if before.phase.finished or not head.phase.finished:
            return
        place = self._place(run)
        ended_at = head.finished_at if head.finished_at is not None else time.time()
        started_at = self._again.pop(run.key, None)
        if started_at is None:
            started_at = head.started_at if head.started_at is not None else head.created_at
        attributes = {**_of_run(run), "flowweaver.outcome": head.phase.value}
        if head.reason:
            attributes["flowweaver.reason"] = head.reason
        failed = head.phase is RunPhase.FAILED
        if failed:
            attributes["error.type"] = head.reason or "Failed"
        self._put(
            Span(
                trace=place.trace,
                number=_number(place.trace, "run", head.rerun_token),
                parent=place.parent,
                name=run.workflow,
                started_at=started_at,
                ended_at=max(ended_at, started_at),
                attributes=attributes,
                error=(head.reason or "Failed") if failed else None,
                sampled=place.sampled,
            )
        )

    def _place(self, run: RunState) -> _Place:
        plan = run.plan
        if plan.traceparent and (given := read_traceparent(plan.traceparent)) is not None:
            return given
        return _Place(trace_of(plan.uid or run_origin(self._store, run.workflow, run.run_id, run.generation)))


@lru_cache(maxsize=1000)
def trace_of(run: str) -> int:
    """The trace of the run that is known by that, its resource's UID for example."""
    return int.from_bytes(sha256(f"flowweaver trace {run}".encode()).digest()[:16]) or 1


@lru_cache(maxsize=1000)
def read_traceparent(text: str) -> _Place | None:
    """The place that a W3C `traceparent` names; None where it is none."""
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        return None
    trace, parent, flags = (int(part, 16) for part in found.groups())
    return _Place(trace, parent, bool(flags & 1))


def _number(trace: int, *parts: object) -> int:
    return int.from_bytes(sha256(repr((trace, *parts)).encode()).digest()[:8]) or 1


def _of_run(run: RunState) -> dict[str, Any]:
    namespace, separator, name = run.workflow.partition("/")
    found = {"flowweaver.workflow": name if separator else run.workflow, "flowweaver.run": run.run_id}
    if separator:
        found["flowweaver.namespace"] = namespace
    return found
