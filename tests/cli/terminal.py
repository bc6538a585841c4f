"""A terminal as a program sees it: a real pty, and what would stand on its screen.

It knows the few sequences that a line at the bottom needs; any other one fails the test, because it would switch
something that a process that is killed could not switch back.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

DEADLINE_SECONDS = 90
_PARTS = re.compile(r"\x1b\[(?P<numbers>[0-9;]*)(?P<letter>[A-Za-z])|(?P<escape>\x1b.?)|(?P<text>.)", re.DOTALL)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-9;]*)?\Z")


class Screen:
    """Lines and a cursor. Lines that scroll away stay in `lines`."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines: list[str] = [""]
        self.row = self.column = 0
        self.colours: set[str] = set()
        self._rest = ""

    def feed(self, text: str) -> None:
        text = self._rest + text
        unfinished = _UNFINISHED.search(text)
        self._rest = unfinished[0] if unfinished else ""
        for part in _PARTS.finditer(text[: len(text) - len(self._rest)]):
            if part["text"]:
                self._letter(part["text"])
            else:
                self._sequence(part)

    def _sequence(self, part: re.Match[str]) -> None:
        number = int(part["numbers"] or 0) if (part["numbers"] or "0").isdecimal() else 0
        match part["letter"]:
            case "m":
                self.colours.add(part["numbers"])
            case "A":
                self.row = max(0, len(self.lines) - self.rows, self.row - (number or 1))
            case "K" if number == 2:
                self.lines[self.row] = ""
            case _:
                raise AssertionError(f"{part[0]!r} switches something or is not known")

    def _letter(self, letter: str) -> None:
        if letter == "\r":
            self.column = 0
        elif letter == "\n":
            self._down()
        elif letter == "\x07":
            raise AssertionError("it rings")
        else:
            assert letter.isprintable(), f"{letter!r} is for the terminal and not for a reader"
            if self.column == self.columns:
                self._down()
                self.column = 0
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + letter + line[self.column + 1 :]
            self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")

    def resize(self, columns: int, rows: int) -> None:
        """Break lines that are too long now, as terminals do. The cursor is at the end."""
        self.columns, self.rows = columns, rows
        self.lines = [
            line[start : start + columns] for line in self.lines for start in range(0, max(1, len(line)), columns)
        ]
        self.row, self.column = len(self.lines) - 1, len(self.lines[-1])

    @property
    def shown(self) -> list[str]:
        """What can be seen now."""
        return [line.rstrip() for line in self.lines[-self.rows :]]

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines)


class Terminal:
    """A program on a pty of its own, in a session of its own."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: dict[str, str], columns: int, rows: int, **streams: int
    ) -> None:
        self.master, self.slave = pty.openpty()
        self.screen = Screen(columns, rows)
        self._settings = termios.tcgetattr(self.slave)
        self._resize(columns, rows)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            cwd=folder,
            env={**environment, "TERM": environment.get("TERM", "xterm-256color")},
            **{"stdin": self.slave, "stdout": self.slave, "stderr": self.slave, **streams},
        )

    def await_(self, what: str, holds: Callable[[], object]) -> None:
        """Read until `holds()`."""
        end = time.monotonic() + DEADLINE_SECONDS
        while not holds():
            assert time.monotonic() < end, f"{what}: not within {DEADLINE_SECONDS} s\n{self.screen.text}"
            self._pump(0.1)
            if self.process.poll() is not None and not self._pump(0.1) and not holds():
                raise AssertionError(f"{what}: it has ended before\n{self.screen.text}")

    def await_text(self, text: str) -> None:
        """Read until that can be seen."""
        self.await_(f"{text!r} is shown", lambda: text in "\n".join(self.screen.shown))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def resize(self, columns: int, rows: int) -> None:
        """As when a window is dragged: the program gets SIGWINCH."""
        self.screen.resize(columns, rows)
        self._resize(columns, rows)

    def _resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self) -> int:
        """Read to its end; gives its status. What it leaves of the terminal's settings must be what was there."""
        end = time.monotonic() + DEADLINE_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end\n{self.screen.text}"
            self._pump(0.1)
        while self._pump(0.1):
            pass
        assert termios.tcgetattr(self.slave) == self._settings, "the terminal is not as it was"
        return self.process.wait()

    def _pump(self, seconds: float) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        self.screen.feed(os.read(self.master, 65536).decode())
        return True

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)
