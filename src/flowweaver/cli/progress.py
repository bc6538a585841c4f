"""A line for each task as it goes, and a table at the end.

It reads notices and snapshots and decides nothing. Colours only where a terminal is behind it and NO_COLOR is not set
(rich looks after both).
"""

from __future__ import annotations

import time
from datetime import datetime

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


class Progress:
    """Prints what happens in one run."""

    def __init__(self, console: Console, plan: RunPlan) -> None:
        """`console` is where the lines go; `plan` says which tasks are shown, and how wide their names are."""
        self._console = console
        self._shown = {task.name for task in plan.tasks if not task.internal}
        self._running: dict[str, float] = {}  # tasks without a line yet, since when they run
        self._width = max((len(name) for name in self._shown), default=0)

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
            self._line(notice.task, state.phase, _story(state), state.finished_at)

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
        took = f" in {_duration(head.started_at, head.finished_at)}" if head.started_at and head.finished_at else ""
        line = Text.assemble((head.phase.capitalize(), f"bold {COLOURS.get(head.phase, '')}"), took)
        if head.message:
            line.append(f": {plain(head.message)}")
        self._console.print(line, soft_wrap=True)


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
            took = _duration(state.started_at, state.finished_at)
            table.add_row(Text(task.name), phase, str(state.attempts), took, Text(_reason(state)))
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


def _due(at: float | None) -> str:
    """The time of day, with the date where that is not today."""
    if at is None:
        return "later"
    try:
        due = datetime.fromtimestamp(at)  # noqa: DTZ006 - the reader's own clock
    except (ValueError, OverflowError):  # after the year 9999
        return "later"
    today = datetime.now().date()  # noqa: DTZ005 - the reader's own clock
    return due.strftime("%H:%M:%S" if due.date() == today else "%Y-%m-%d %H:%M:%S")


def _story(state: TaskState) -> str:
    match state.phase:
        case TaskPhase.COMPLETED:
            tries = f", attempt {state.attempts}" if state.attempts > 1 else ""
            return f"in {_duration(state.started_at, state.finished_at)}{tries}"
        case TaskPhase.WAITING:
            return f"until {_due(state.not_before)}" + (f" ({_reason(state)})" if state.message else "")
        case _:
            return _reason(state)


def _reason(state: TaskState) -> str:
    return plain(
        f"{state.reason}: {state.message}" if state.reason and state.message else state.message or state.reason
    )


def plain(text: str) -> str:
    """In one line, and without what a terminal would obey: what a body or a server said is not ours."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(text.split()))


def _duration(started_at: float | None, finished_at: float | None) -> str:
    if started_at is None or finished_at is None:
        return ""
    seconds = max(0.0, finished_at - started_at)
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
