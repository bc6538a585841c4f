"""`wait`: a time until which a task has nothing to do. It waits as a row in the store, not in a thread."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

from flowweaver.core.events import Completed, Deferred, Outcome
from flowweaver.expressions import scope_of
from flowweaver.ports import Attempt
from flowweaver.runners.failures import Refused, failure_of
from flowweaver.runners.fields import bad_field, rendered

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_LONGEST_SECONDS = 10 * 366 * 86400.0
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)\Z")


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
    if isinstance(text, str) and text:
        parts = _PART.findall(text)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        if "".join(number + unit for number, unit in parts) == text and seconds <= _LONGEST_SECONDS:
            return seconds
    raise bad_field(
        "wait.duration", f"{text!r:.100} is no duration of at most ten years: write it as 90s, 5m, 1h30m or 250ms"
    )


def _instant(text: Any) -> float:
    if isinstance(text, str) and _INSTANT.match(text):
        try:
            return dt.datetime.fromisoformat(text.upper()).timestamp()
        except (ValueError, OverflowError):
            pass
    raise bad_field(
        "wait.until", f"{text!r:.100} is no instant: write it as RFC 3339 has it, such as 2030-01-31T08:00:00Z"
    )
