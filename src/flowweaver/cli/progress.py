"""A line for each task as it goes, and a table at the end.

It reads notices and snapshots and decides nothing. Colours only where a terminal is behind it and NO_COLOR is not set
(rich looks after both). The table that is drawn while a run goes is in `progress_live`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import RunPlan
from flowweaver.core.state import RunHead, TaskState
from flowweaver.ports import RunSnapshot, TaskNotice

COLOURS = {
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
    "waiting": "yellow",
    "skipped": "bright_black",
    "running": "cyan",
    "suspended": "yellow",
}

TOLD_AFTER_SECONDS = 1.0
"""What ends sooner needs no line of its own that it has begun."""


class Progress(Protocol):
    """What is told of one run, in the order in which it happens."""

    def say(self, text: str) -> None:
        """One line about the run as a whole."""

    def begin(self, states: Sequence[TaskState]) -> None:
        """Where the tasks of the plan stand, where the run is older than this call."""

    def task(self, notice: TaskNotice) -> None:
        """A task's new state."""

    def tell_what_runs(self) -> None:
        """Some time has passed. Call it now and then."""

    def end(self, head: RunHead) -> None:
        """The run has ended."""


class Silence:
    """Says nothing of what happens; the result is printed all the same."""

    def say(self, text: str) -> None:
        """See `Progress`."""

    def begin(self, states: Sequence[TaskState]) -> None:
        """See `Progress`."""

    def task(self, notice: TaskNotice) -> None:
        """See `Progress`."""

    def tell_what_runs(self) -> None:
        """See `Progress`."""

    def end(self, head: RunHead) -> None:
        """See `Progress`."""


class Lines:
    """Prints a line for each step."""

    def __init__(self, console: Console, plan: RunPlan) -> None:
        """`console` is where the lines go; `plan` says which tasks are shown, and how wide their names are."""
        self._console = console
        self._shown = {task.name for task in plan.tasks if not task.internal}
        self._running: dict[str, float] = {}  # tasks without a line yet, since when they run
        self._width = max((len(name) for name in self._shown), default=0)

    def begin(self, states: Sequence[TaskState]) -> None:
        """What happened in an earlier call is not told again."""

    def say(self, text: str) -> None:
        """One line about the run as a whole."""
        self._console.print(Text(text), soft_wrap=True)

    def task(self, notice: TaskNotice) -> None:
        """A task's new state, where it says something new to a reader."""
        state = notice.state
        if notice.task not in self._shown:
            return
        self._running.pop(notice.task, None)
        if state.phase is TaskPhase.RUNNING:
            self._running[notice.task] = time.monotonic()
        elif state.phase is not TaskPhase.PENDING:
            self._line(notice.task, state.phase, story(state), state.finished_at)

    def tell_what_runs(self) -> None:
        """A line for each task that has been running for a while and has none yet. Call it now and then."""
        told = time.monotonic() - TOLD_AFTER_SECONDS
        for name in [name for name, since in self._running.items() if since <= told]:
            del self._running[name]
            self._line(name, TaskPhase.RUNNING, "")

    def _line(self, name: str, phase: TaskPhase, story: str, at: float | None = None) -> None:
        line = Text.assemble(
            (_clock(at), "bright_black"),
            "  ",
            name.ljust(self._width),
            "  ",
            (phase.capitalize().ljust(9), COLOURS.get(phase, "")),
        )
        if story:
            line.append(f"  {story}")
        self._console.print(line, soft_wrap=True)

    def end(self, head: RunHead) -> None:
        """How the run ended."""
        self._console.print(how_it_ended(head), soft_wrap=True)


def how_it_ended(head: RunHead) -> Text:
    """One line about a run that has finished."""
    took = f" in {duration(head.started_at, head.finished_at)}" if head.started_at and head.finished_at else ""
    line = Text.assemble((head.phase.capitalize(), f"bold {COLOURS.get(head.phase, '')}"), took)
    if head.message:
        line.append(f": {plain(head.message)}")
    return line


def print_table(console: Console, snapshot: RunSnapshot) -> None:
    """Every task of the run, and its outputs."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("TASK", no_wrap=True)
    table.add_column("PHASE", no_wrap=True)
    table.add_column("ATTEMPTS", justify="right")
    table.add_column("DURATION", justify="right", no_wrap=True)
    table.add_column("MESSAGE", overflow="fold")
    for task, state in zip(snapshot.plan.tasks, snapshot.tasks, strict=True):
        if not task.internal:
            phase = Text(state.phase.capitalize(), COLOURS.get(state.phase, ""))
            took = duration(state.started_at, state.finished_at)
            table.add_row(Text(task.name), phase, str(state.attempts), took, Text(why(state)))
    console.print()
    console.print(table)
    if snapshot.outputs:
        _print_outputs(console, snapshot)


def _print_outputs(console: Console, snapshot: RunSnapshot) -> None:
    import json

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("OUTPUT", no_wrap=True)
    table.add_column("VALUE", overflow="fold")
    for name, value in (snapshot.outputs or {}).items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        table.add_row(Text(name), Text(plain(shown)))
    console.print()
    console.print(table)


def _clock(at: float | None) -> str:
    return (datetime.fromtimestamp(at) if at is not None else datetime.now()).strftime("%H:%M:%S")  # noqa: DTZ005,DTZ006 - the reader's own clock


def clock(at: float | None) -> str:
    """The reader's time of day, with the date where that is not today; `later` where it is not known."""
    if at is None:
        return "later"
    try:
        due = datetime.fromtimestamp(at)  # noqa: DTZ006 - the reader's own clock
    except (ValueError, OverflowError):  # after the year 9999
        return "later"
    today = datetime.now().date()  # noqa: DTZ005 - the reader's own clock
    return due.strftime("%H:%M:%S" if due.date() == today else "%Y-%m-%d %H:%M:%S")


def story(state: TaskState) -> str:
    """What there is to say of a task beside its phase."""
    match state.phase:
        case TaskPhase.COMPLETED:
            tries = f", attempt {state.attempts}" if state.attempts > 1 else ""
            return f"in {duration(state.started_at, state.finished_at)}{tries}"
        case TaskPhase.WAITING:
            return f"until {clock(state.not_before)}" + (f" ({why(state)})" if state.message else "")
        case _:
            return why(state)


def why(state: TaskState) -> str:
    """Reason and message of a task, in one line."""
    return plain(
        f"{state.reason}: {state.message}" if state.reason and state.message else state.message or state.reason
    )


def plain(text: str) -> str:
    """In one line, and without what a terminal would obey: what a body or a server said is not ours."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(text.split()))


def duration(started_at: float | None, finished_at: float | None) -> str:
    """The time between two instants for a reader; empty where one of them is not known."""
    if started_at is None or finished_at is None:
        return ""
    seconds = max(0.0, finished_at - started_at)
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
