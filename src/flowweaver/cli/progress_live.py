"""The table of `flowweaver run` on a terminal: what runs, what waits, what failed, and how far the run is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowweaver.cli.arguments import ProgressMode
from flowweaver.cli.progress import COLOURS, Lines, Progress, Silence, duration, how_it_ended, story, why
from flowweaver.cli.progress_board import Board
from flowweaver.cli.progress_capture import captured
from flowweaver.cli.progress_screen import Screen, is_terminal
from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import RunPlan
from flowweaver.core.state import RunHead, TaskState
from flowweaver.errors import UserError
from flowweaver.ports import TaskNotice

MOST_ROWS = 30
"""More tasks at once nobody reads, and drawing them takes time from those who run."""

DRAW_SECONDS = 0.12
"""Drawn at most so often."""

ORDER = (
    TaskPhase.FAILED,
    TaskPhase.RUNNING,
    TaskPhase.WAITING,
    TaskPhase.PENDING,
    TaskPhase.COMPLETED,
    TaskPhase.SKIPPED,
    TaskPhase.CANCELLED,
)
"""What a reader wants to know first stands first."""

OTHER_LINES = 4
"""Of the terminal's lines, so many are for what is not a task: the header, the rest, the summary, the cursor."""


@contextmanager
def following(mode: ProgressMode, stream: TextIO, plan: RunPlan) -> Iterator[Progress]:
    """What tells of the run on `stream` in that mode; at the end, a table that was drawn is gone again.

    Raises `UserError` where a table is asked for and no terminal is there.
    """
    if mode is ProgressMode.LIVE and not is_terminal(stream):
        raise UserError("--progress live draws on a terminal, and there is none here: use --progress auto or plain")
    if mode is ProgressMode.LIVE or (mode is ProgressMode.AUTO and is_terminal(stream) and _is_in_front(stream)):
        with _live(stream, plan) as live:
            yield live
    elif mode is ProgressMode.QUIET:
        yield Silence()
    else:
        yield Lines(Console(file=stream, highlight=False), plan)


def _is_in_front(stream: TextIO) -> bool:
    """Whether this is what the user looks at: started with & it would draw over what the shell writes."""
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except OSError:  # not the terminal of this session: nobody else is in front there
        return True


@contextmanager
def _live(stream: TextIO, plan: RunPlan) -> Iterator[Progress]:
    stream.flush()
    with open(os.dup(stream.fileno()), "w", encoding=stream.encoding, errors="replace") as terminal:  # noqa: PTH123 - of a descriptor there is no path
        screen = Screen(terminal)
        try:
            with captured(lambda line: screen.above(Text(line))), _drawn_again_after_a_stop(screen):
                yield LiveTable(screen, plan)
                screen.close()
        finally:
            screen.close()


@contextmanager
def _drawn_again_after_a_stop(screen: Screen) -> Iterator[None]:
    """After Ctrl-Z and fg, a shell has written below the table."""
    before = signal.signal(signal.SIGCONT, lambda _number, _frame: screen.forget())
    try:
        yield
    finally:
        signal.signal(signal.SIGCONT, before)


class LiveTable:
    """Follows one run on a screen."""

    def __init__(self, screen: Screen, plan: RunPlan) -> None:
        self._screen = screen
        self._name = plan.name
        self._board = Board(plan)
        self._began = time.monotonic()
        self._drawn_at = 0.0

    def say(self, text: str) -> None:
        """A line above the table."""
        self._screen.above(Text(text))

    def begin(self, states: Sequence[TaskState]) -> None:
        """See `Progress`."""
        self._board.begin(states)

    def task(self, notice: TaskNotice) -> None:
        """See `Progress`."""
        self._board.update(notice.task, notice.state)

    def tell_what_runs(self) -> None:
        """Draw, unless that was just done."""
        now = time.monotonic()
        if now - self._drawn_at >= DRAW_SECONDS:
            self._screen.show(self._content)
            self._drawn_at = time.monotonic()

    def end(self, head: RunHead) -> None:
        """How the run ended."""
        self._screen.above(how_it_ended(head))

    def _content(self, columns: int, lines: int) -> RenderableType:
        return picture(self._board, self._name, time.time(), time.monotonic() - self._began, columns, lines)


def picture(board: Board, name: str, now: float, passed: float, columns: int, lines: int) -> RenderableType:
    """The tasks that fit, how many more there are, and a summary.

    `now` is the time of day in seconds since the epoch, `passed` the seconds that this call has taken so far.
    """
    rows = board.rows(max(0, min(MOST_ROWS, lines - OTHER_LINES)))
    parts: list[RenderableType] = []
    if rows:
        parts.append(_table(rows, now, columns))
    if len(rows) < board.total and rows:
        parts.append(_line(f"… and {board.total - len(rows):,} more", "bright_black"))
    parts.append(_summary(board, name, passed, columns))
    return Group(*parts)


def _table(rows: Sequence[tuple[str, TaskState]], now: float, columns: int) -> Table:
    times = [duration(state.started_at, now if state.finished_at is None else state.finished_at) for _, state in rows]
    names = min(max(cell_len(name) for name, _ in rows), max(10, columns // 3))
    left = columns - max(names, len("TASK")) - max(map(len, [*times, "DURATION"])) - len("CANCELLED") - len("ATTEMPT")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("TASK", no_wrap=True, overflow="ellipsis", max_width=names)
    table.add_column("PHASE", no_wrap=True)
    table.add_column("ATTEMPT", justify="right", no_wrap=True)
    table.add_column("DURATION", justify="right", no_wrap=True)
    reasons = left - 4 * len("  ")
    if reasons >= len("REASON"):  # else the others have the room
        table.add_column("REASON", no_wrap=True, overflow="ellipsis", max_width=reasons)
    for (name, state), took in zip(rows, times, strict=True):
        reason = story(state) if state.phase is TaskPhase.WAITING else why(state)
        cells: list[RenderableType] = [
            Text(name),
            Text(state.phase.capitalize(), COLOURS.get(state.phase, "")),
            str(state.attempts or ""),
            took,
            Text(reason),
        ]
        table.add_row(*cells[: len(table.columns)])
    return table


def _summary(board: Board, name: str, passed: float, columns: int) -> Text:
    line = Text.assemble((name, "bold"), f"  {board.finished:,} of {board.total:,}  ")
    width = min(16, columns // 6)
    done = width * board.finished // board.total if board.total else width
    colour = "red" if board.counts[TaskPhase.FAILED] else "green"
    line.append("━" * done, colour).append("━" * (width - done), "bright_black").append(f"  {duration(0.0, passed)}  ")
    shown = [phase for phase in ORDER if board.counts[phase]]
    for place, phase in enumerate(shown):
        line.append(", " if place else "").append(f"{board.counts[phase]:,} {phase}", COLOURS.get(phase, ""))
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _line(text: str, style: str) -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")
