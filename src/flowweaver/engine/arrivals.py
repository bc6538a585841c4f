"""What arrives at the engine, and from whom it may borrow a thread."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowweaver.core.events import Event
from flowweaver.engine.intake import Submission, Wish
from flowweaver.ports import ChildProcess


@dataclass(frozen=True, slots=True)
class Call:
    """Something to do between two turns."""

    call: Callable[[], Any]
    answer: Future[Any]


@dataclass(frozen=True, slots=True)
class Release:
    """A held run to be let go, in the turn that interrupts what still runs of it."""

    run: int
    answer: Future[None]


Item = Event | ChildProcess | Submission | Wish | Call | Release
Answered = Submission | Wish | Call | Release  # what somebody waits for


@dataclass(slots=True)
class Batch:
    """What has arrived, sorted."""

    events: list[Event] = field(default_factory=list)
    processes: list[ChildProcess] = field(default_factory=list)
    asked: list[Submission | Wish] = field(default_factory=list)
    released: list[Release] = field(default_factory=list)


class Lender(Protocol):
    """An executor whose threads may take turns, and which has a thread go on by itself with what that turn starts."""

    @property
    def quick(self) -> bool:
        """Whether bodies take less time than waking a thread: then one thread runs all that its turn has started."""

    @property
    def kept(self) -> Collection[object]:
        """What waits for the thread that has started it."""

    def share(self) -> None:
        """Let other threads have that."""
