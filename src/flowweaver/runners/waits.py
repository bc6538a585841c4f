"""`wait`: a time until which a task has nothing to do. It waits as a row in the store, not in a thread."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

from flowweaver.core.events import Completed, Deferred, Outcome
from flowweaver.expressions import scope_of
from flowweaver.manifest import durations
from flowweaver.ports import Attempt
from flowweaver.runners.failures import Refused, failure_of
from flowweaver.runners.fields import bad_field, rendered

_LONGEST_SECONDS = 10 * 366 * 86400.0
_FRACTION = re.compile(r"\d{1,12}\.\d{1,9}s\Z")


def run_wait(attempt: Attempt, now: Callable[[], float]) -> Outcome:
    """Done at once where the time is past already; a `duration` counts from this attempt's start."""
    body, scope = attempt.task.body, scope_of(attempt)
    started_at = now()
    try:
        if body.get("until") is not None:
            until = _instant(rendered(body["until"], scope, "wait.until"))
        else:
            until = started_at + _seconds(rendered(body.get("duration"), scope, "wait.duration"))
    except Refused as exc:
        return failure_of(exc)
    return Deferred(until=until) if until > started_at else Completed()


def _seconds(text: Any) -> float:
    if not isinstance(text, str):
        raise bad_field("wait.duration", f"{text!r:.100} is no duration: {durations.HINT}")
    try:
        # What an expression calculates comes with a fraction: 0.25s.
        seconds = float(text[:-1]) if _FRACTION.match(text) else durations.seconds(text)
    except ValueError as exc:
        raise bad_field("wait.duration", str(exc)) from exc
    if seconds > _LONGEST_SECONDS:
        raise bad_field("wait.duration", f"{durations.quoted(text)} is longer than ten years")
    return seconds


def _instant(text: Any) -> float:
    try:
        instant = dt.datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.timestamp()
    except (TypeError, ValueError, OverflowError):
        pass
    raise bad_field("wait.until", f"{text!r:.100} is no instant in RFC 3339: write one such as 2030-01-01T00:00:00Z")
