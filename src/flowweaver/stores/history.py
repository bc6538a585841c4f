"""What a store that is kept in a file can tell of the attempts of a task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from flowweaver.ports import RunName


class AttemptRow(NamedTuple):
    """What is known of one attempt. Times are seconds since the epoch."""

    number: int
    status: str
    started_at: float | None = None
    ended_at: float | None = None
    reason: str = ""
    message: str = ""
    error_type: str = ""
    pid: int | None = None
    pid_started: int | None = None


class PastAttempt(NamedTuple):
    """One attempt of a task; number 0 is its state where that was given, or came without an attempt."""

    run: int
    name: RunName
    attempt: AttemptRow
    result: bytes | None  # what this attempt has made


def with_results(history: Iterable[PastAttempt]) -> list[PastAttempt]:
    """The same, newest first, where each has its task's result: only the newest that completed has made it."""
    made: set[int] = set()
    kept = []
    for past in history:
        ours = not past.attempt.number or (past.attempt.status == "completed" and past.run not in made)
        kept.append(past if ours else past._replace(result=None))
        if ours:
            made.add(past.run)
    return kept
