"""What the system says about processes: this one and others."""

from __future__ import annotations

import os
from typing import NamedTuple


class Stat(NamedTuple):
    """Of /proc/PID/stat, what tells processes apart."""

    state: str  # "Z": dead and not reaped
    session: int
    started: int  # clock ticks since boot


def read_stat(pid: int) -> Stat:
    """Of that process; raises `ProcessLookupError`."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 - this is read for every process that is started
            text = stat.read()
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    fields = text[text.rindex(b")") + 2 :].split()  # the name before may contain anything
    return Stat(fields[0].decode(), int(fields[3]), int(fields[19]))


def children_of_this_process() -> list[int]:
    """Every child of this process's main thread, zombies too."""
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as children:  # noqa: PTH123 - as above
            return [int(child) for child in children.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return [child for child in all_processes() if _parent_of(child) == pid]


def open_descriptors() -> list[int]:
    """The numbers of this process's descriptors; the one that they were listed with, closed again, is among them."""
    return [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - as above


def all_processes() -> list[int]:
    """Every process that can be seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - as above


def _parent_of(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 - as above
            text = stat.read()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return int(text[text.rindex(b")") + 2 :].split()[1])


def directory() -> str:
    """Where this process is, or / where that is gone."""
    try:
        return os.getcwd()  # noqa: PTH109 - a text is wanted
    except FileNotFoundError:
        return "/"
