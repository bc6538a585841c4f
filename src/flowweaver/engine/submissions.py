"""Runs whose task rows are still being written: a piece of one run at a time, so that a large one stalls nobody.

A new run comes into the world when its rows are all there, and with it what has been asked of it meanwhile. A run that
a restart found is in the world already; those of its rows that are missing are written beside its work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from flowweaver.core.events import Event, RerunRequested, SettingsRequested, ShutdownRequested
from flowweaver.core.state import RunState
from flowweaver.ports import ROWS_AT_ONCE


@dataclass(slots=True)
class _Submission:
    run: RunState
    events: list[Event]  # what is to be decided when the run comes into the world; none for one that is in it
    first: int = ROWS_AT_ONCE  # the next row: those before it came with the run


class Submissions:
    """What is still to be written, the run whose turn it is first."""

    def __init__(self, write: Callable[[int, int, Sequence[str]], None]) -> None:
        """`write` is `ports.Store.create_tasks`."""
        self.runs: dict[int, _Submission] = {}
        """Those that have rows to be written."""
        self._write = write

    def __contains__(self, run: int) -> bool:
        """Whether rows of that run are to be written."""
        return run in self.runs

    def add(self, run: RunState, events: Iterable[Event] = ()) -> None:
        """Have the rows of `run` written. With `events` it is a new one, which comes into the world with them."""
        self.runs[run.key] = _Submission(run, list(events))

    def is_new(self, run: int) -> bool:
        """Whether that run has not come into the world yet."""
        submission = self.runs.get(run)
        return submission is not None and bool(submission.events)

    def remove(self, run: int) -> RunState | None:
        """Write no more of that run, and give it; one that is not there is no error."""
        submission = self.runs.pop(run, None)
        return None if submission is None else submission.run

    def keep(self, event: Event) -> bool:
        """Whether it is a wish for a run that has not come into the world yet; then it is kept for that moment."""
        if not isinstance(event, (ShutdownRequested, SettingsRequested, RerunRequested)) or not self.is_new(event.run):
            return False
        self.runs[event.run].events.append(event)
        return True

    def write_next(self) -> tuple[RunState, list[Event]] | None:
        """Write one piece; gives the run that can come into the world now, and what is to be decided then."""
        if not self.runs:
            return None
        key = next(iter(self.runs))
        submission = self.runs.pop(key)
        names = submission.run.graph.names
        if piece := names[submission.first : submission.first + ROWS_AT_ONCE]:
            self._write(key, submission.first, piece)
        submission.first += ROWS_AT_ONCE
        if submission.first < len(names):
            self.runs[key] = submission
            return None
        return (submission.run, submission.events) if submission.events else None
