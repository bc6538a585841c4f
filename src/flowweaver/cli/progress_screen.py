"""A few lines that stay at the bottom of a terminal while other lines scroll above them.

Nothing of the terminal is switched: the cursor stays visible, no mode is set, so that whatever ends this process leaves
it as it was. `rich.live` would hide the cursor, and lose its place when the window is made narrower.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleRenderable, RenderableType, RenderHook
from rich.control import Control
from rich.segment import ControlType, Segment, Segments
from rich.text import Text

SMALLEST = (20, 4)
"""Columns and lines that are assumed where a terminal does not tell them or tells less."""

USUAL = (80, 24)


class Screen(RenderHook):
    """Draws on one terminal. Safe from any thread. A terminal that has gone is no error: nobody reads it."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._console = Console(file=terminal, force_terminal=True, highlight=False)
        self._guard = threading.RLock()
        self._content: Callable[[int, int], RenderableType] | None = None
        self._drawn: list[int] = []  # the widths of the lines that stand there now
        self._console.push_render_hook(self)

    def show(self, content: Callable[[int, int], RenderableType]) -> None:
        """Draw this in place of what was there. It is called with the columns and lines that there are."""
        with self._guard:
            self._content = content
            self._print(Control())

    def above(self, line: Text) -> None:
        """Print a line above."""
        with self._guard:
            self._print(line)

    def forget(self) -> None:
        """Others have written meanwhile: draw below that, the next time."""
        with self._guard:
            self._drawn = []

    def close(self) -> None:
        """Take away what is drawn; the cursor is where it was. Idempotent."""
        with self._guard:
            self._content = None
            self._print(Control())
            self._drawn = []

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Between taking away what stands there and drawing it again, with what is to be printed in between."""
        erasing = self._erasing()
        return [erasing, *renderables, Segments(self._lines())]

    def _print(self, what: ConsoleRenderable) -> None:
        self._console.size = size = _size(self._terminal)
        self._width, self._height = size
        with suppress(OSError, ValueError):
            self._console.print(what, soft_wrap=True)

    def _erasing(self) -> Control:
        # Where the window was made narrower, the terminal has broken lines that were longer than it is now.
        lines = sum(max(1, -(-width // self._width)) for width in self._drawn)
        if not lines:
            return Control()
        up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
        return Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *up * (lines - 1))

    def _lines(self) -> list[Segment]:
        if self._content is None:
            return []
        # The last column stays free: some terminals go on to the next line with the letter in it, and others do not.
        options = self._console.options.update_dimensions(self._width - 1, self._height)
        content = self._content(self._width - 1, self._height)
        lines = self._console.render_lines(content, options.update(height=None), pad=False)
        drawn = [_stripped(line) for line in lines][: self._height - 1]
        self._drawn = [sum(cell_len(segment.text) for segment in line) for line in drawn]
        shown: list[Segment] = []
        for line in drawn:
            shown += [*line, Segment.line()]
        return shown[:-1]


def is_terminal(stream: TextIO) -> bool:
    """Whether a cursor can be moved there."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in {"dumb", "unknown"}


def _stripped(line: list[Segment]) -> list[Segment]:
    """Without blanks at its end, which a terminal would count as letters when it breaks lines."""
    found = list(line)
    while found and not found[-1].text.strip():
        found.pop()
    if found:
        found[-1] = Segment(found[-1].text.rstrip(), found[-1].style)
    return found


def _size(terminal: TextIO) -> tuple[int, int]:
    try:
        columns, lines = os.get_terminal_size(terminal.fileno())
    except (OSError, ValueError):
        return USUAL
    return max(columns or USUAL[0], SMALLEST[0]), max(lines or USUAL[1], SMALLEST[1])
