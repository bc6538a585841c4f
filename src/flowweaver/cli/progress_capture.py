"""What bodies and libraries write to this process's terminal while a table is drawn there, taken line by line.

It is taken where it is written, at the file descriptors: a child process, a log handler that was made before and
`print` all write there, and each of them would tear the table.
"""

from __future__ import annotations

import os
import re
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LONGEST_LINE = 16 * 1024
"""In bytes. What is longer is shown in pieces."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")


@contextmanager
def captured(tell: Callable[[str], None], descriptors: tuple[int, ...] = (1, 2)) -> Iterator[None]:
    """Those of the descriptors that are a terminal go to `tell`, a line at a time and from a thread of its own.

    At the end all that was written has been told, and they are as they were.
    """
    taken = {number: os.dup(number) for number in descriptors if os.isatty(number)}
    reading, writing = os.pipe()
    ending, end = os.pipe()
    _flush()
    for number in taken:
        os.dup2(writing, number)
    os.close(writing)
    thread = threading.Thread(target=_read, args=(reading, ending, tell), name="flowweaver-output", daemon=True)
    thread.start()
    try:
        yield
    finally:
        _flush()
        for number, kept in taken.items():
            os.dup2(kept, number)
            os.close(kept)
        os.close(end)
        thread.join()
        os.close(reading)
        os.close(ending)


def _read(reading: int, ending: int, tell: Callable[[str], None]) -> None:
    """Until the end is told, and nothing is left; a child that lives on may hold the other side for ever."""
    rest = b""
    while True:
        ready, _, _ = select.select([reading, ending], [], [])
        if reading in ready:
            part = os.read(reading, 64 * 1024)
            rest = _told(rest + part, tell)
            if part:
                continue
        break
    if rest:
        tell(legible(rest))


def _told(text: bytes, tell: Callable[[str], None]) -> bytes:
    *lines, rest = text.split(b"\n")
    for line in lines:
        tell(legible(line))
    while len(rest) > LONGEST_LINE:
        tell(legible(rest[:LONGEST_LINE]))
        rest = rest[LONGEST_LINE:]
    return rest


def legible(line: bytes) -> str:
    """What a terminal would show of a line, without what it would obey."""
    text = line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2].expandtabs()
    text = _ESCAPES.sub("", text)
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
