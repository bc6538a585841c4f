"""What is measured, against whom, and how much it may be.

A contender is a call that makes one measurement and gives a number: seconds a task, seconds, bytes a task. Each case
has ours and those that it is compared with; all of them are measured in each round, in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import resuming
from children import Box, Program, bar_program, python
from environments import Peer

Measure = Callable[[Box], float]

THREADS = python("threads.py")
BY_HAND = python("by_hand.py")


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody to compare with. `limit`: ours may take so many times as long (or so much more, for a difference)."""

    name: str
    measure: Measure
    limit: float | None = None
    peer: bool = False  # measured in the first few rounds alone: peers are slow


@dataclass(frozen=True, slots=True)
class Case:
    """One workload. `unit` is what the numbers are, after they were multiplied by `scale`."""

    name: str
    title: str
    ours: Measure
    against: Sequence[Contender]
    unit: str = "ms a task"
    scale: float = 1000.0
    difference: bool = False  # ours minus theirs, in place of ours through theirs


def seconds_a_task(program: Program, *arguments: object, spin: bool = False) -> Measure:
    """Declaring the graph and running it, for each task."""

    def measure(box: Box) -> float:
        said = box.run(program, arguments, extra={"SPIN": "1"} if spin else None)
        return float((said["build_s"] + said["run_s"]) / said["tasks"])

    return measure


def bytes_a_task(program: Program, *before: object, small: int, large: int) -> Measure:
    """How much the peak of the memory grows from the small size to the large one, for each task more."""

    def measure(box: Box) -> float:
        less, more = (box.run(program, [*before, size]) for size in (small, large))
        return float((more["rss_kb"] - less["rss_kb"]) * 1024 / (more["tasks"] - less["tasks"]))

    return measure


def import_seconds(statement: str, program: Program) -> Measure:
    """In a fresh interpreter."""
    return lambda box: float(box.run(program, [statement])["seconds"])


QUICK = 10
"""So much smaller `--quick` makes everything."""

SLOW_DAG = {"luigi": 500, "prefect": 500}
"""Peers that would take minutes for all of it."""


class Cases:
    """All cases for some contenders: which program is ours, which the bar, which peers are there."""

    def __init__(
        self, *, engine: bool = False, source: Path | None = None, peers: Sequence[Peer] = (), quick: bool = False
    ) -> None:
        """`engine`: ours is the engine without the library's face; `source`: the folder that our package comes from."""
        self.engine = python("engine_alone.py", source=source)
        self.ours = self.engine if engine else python("ours.py", source=source)
        self.imports = python("imports.py", source=source)
        self.bar, self.bar_name = bar_program()
        self.peers = {peer.name: peer for peer in peers}
        self.divisor = QUICK if quick else 1

    def all(self) -> dict[str, Case]:
        """By name, in the order of the report."""
        cases = [
            self._plain("chain", "a chain of {}", 1000, 1.4, {"dbos": 0.1}),
            self._plain("fan", "one, {}, one", 1000, 1.0, sizes={"luigi": 200, "prefect": 200}),
            self._plain("dag", "{} in layers, three dependencies each", 5000, 1.25, {"dbos": 0.04}, SLOW_DAG),
            self._plain("multi", "{} workflows of ten", 200, 1.0, sizes={"luigi": 50, "prefect": 10}),
            self._io(),
            self._payload(),
            self._resume(),
            self._restart(),
            self._spin(),
            self._cost(),
            self._memory(),
            self._import(),
        ]
        return {case.name: case for case in cases}

    # ---------------------------------------------------------------------------------------------------------- plain

    def _plain(
        self,
        name: str,
        title: str,
        size: int,
        limit: float,
        limits: dict[str, float] | None = None,
        sizes: dict[str, int] | None = None,
    ) -> Case:
        size = self._sized(size)
        return Case(
            name,
            title.format(f"{size:,}"),
            seconds_a_task(self.ours, name, size),
            [
                Contender("the bar", seconds_a_task(self.bar, name, size), limit),
                Contender("bare threads", seconds_a_task(THREADS, name, size)),
                *self._engine(name, size),
                *self._peers(name, size, limits or {}, sizes or {}),
            ],
        )

    def _engine(self, name: str, size: int) -> list[Contender]:
        """Our own engine without the library's face, where that is not what is measured as ours."""
        if self.ours == self.engine:
            return []
        return [Contender("the engine alone", seconds_a_task(self.engine, name, size))]

    def _peers(self, name: str, size: int, limits: dict[str, float], sizes: dict[str, int]) -> list[Contender]:
        found = []
        for peer in self.peers.values():
            theirs = min(size, sizes.get(peer.name, size))
            label = peer.name if theirs == size else f"{peer.name} ({theirs:,})"
            measure = seconds_a_task(peer.contender(), name, theirs)
            found.append(Contender(label, measure, limits.get(peer.name), peer=True))
        return found

    def _io(self) -> Case:
        size = max(2, self._sized(20))
        return Case(
            "io",
            f"staggered sleeps, {size} chains of ten, 16 workers",
            seconds_a_task(self.ours, "io", size),
            [
                Contender("bare threads", seconds_a_task(THREADS, "io", size), 1.05),
                Contender("the bar", seconds_a_task(self.bar, "io", size)),
                *self._peers("io", size, {}, {"luigi": 4}),
            ],
        )

    def _payload(self) -> Case:
        size = self._sized(100)
        return Case(
            "payload",
            f"{size} results of 1 MB",
            seconds_a_task(self.ours, "payload", size),
            [
                Contender("SQLite by hand", seconds_a_task(BY_HAND, "payload", size), 2.5),
                Contender("the bar", seconds_a_task(self.bar, "payload", size)),
                *self._peers("payload", size, {}, {}),
            ],
        )

    def _spin(self) -> Case:
        size = self._sized(200)
        return Case(
            "spin",
            f"a chain of {size} beside a thread that computes",
            seconds_a_task(self.ours, "chain", size, spin=True),
            [
                Contender("the bar", seconds_a_task(self.bar, "chain", size, spin=True), 3.0),
                Contender("bare threads", seconds_a_task(THREADS, "chain", size, spin=True)),
            ],
        )

    # -------------------------------------------------------------------------------------------------------- resuming

    def _resume(self) -> Case:
        size = self._sized(5000)
        ours = resuming.Resume(self.ours, size)
        return Case(
            "resume",
            f"{size:,} in layers, killed half way: until the first new body",
            ours.seconds_to_first_body,
            [
                Contender("rows by hand", ours.seconds_by_hand, 3.0),
            ],
            unit="ms",
        )

    def _restart(self) -> Case:
        size = self._sized(5000)
        ours = resuming.Resume(self.ours, size)
        return Case(
            "restart",
            "the same from the start of the process",
            ours.seconds_of_process,
            [
                Contender("rows by hand", ours.seconds_by_hand_of_process),
                Contender("the bar", resuming.Resume(self.bar, size).seconds_of_process),
            ],
            unit="ms",
        )

    # ---------------------------------------------------------------------------------------------------- what grows

    def _cost(self) -> Case:
        small, large = self._sized(5000), self._sized(50_000)
        return Case(
            "cost",
            f"a task of {large:,}, in layers, beside one of {small:,}",
            seconds_a_task(self.ours, "dag", large),
            [Contender(f"of {small:,}", seconds_a_task(self.ours, "dag", small), 1.3)],
        )

    def _memory(self) -> Case:
        sizes = {"small": self._sized(5000), "large": self._sized(50_000)}
        return Case(
            "memory",
            f"peak memory a task, from {sizes['small']:,} to {sizes['large']:,}",
            bytes_a_task(self.ours, "dag", **sizes),
            [Contender("functions and results alone", bytes_a_task(BY_HAND, "hold", **sizes), 2048)],
            unit="bytes a task",
            scale=1.0,
            difference=True,
        )

    def _import(self) -> Case:
        old = self.peers.get("flowweaver-0.2.2")
        against = [Contender("nothing", import_seconds("pass", self.imports))]
        if old:
            program = python("imports.py", interpreter=old.interpreter)
            against.insert(0, Contender("0.2.2", import_seconds("import flowweaver", program), 1.5))
        names = "from flowweaver import SQLiteStateStore, Task, ThreadedExecutor, Workflow"
        against.append(Contender("with the names that a program uses", import_seconds(names, self.imports)))
        ours = import_seconds("import flowweaver", self.imports)
        return Case("import", "import flowweaver", ours, against, unit="ms")

    def _sized(self, size: int) -> int:
        return max(1, size // self.divisor)
