"""A graph that is killed half way, and what the next process does until its first new body starts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from children import Box, Failed, Program, python

BY_HAND = python("by_hand.py")


@dataclass(frozen=True, slots=True)
class Killed:
    """What is there after the kill."""

    folder: Path
    log: Path
    environment: dict[str, str]
    started: frozenset[int]  # tasks whose bodies had been started


@dataclass(frozen=True, slots=True)
class Resume:
    """Kills a program after some bodies and measures the next process on the same files."""

    program: Program
    size: int
    workload: str = "dag"
    share: float = 0.5
    workers: int = 4

    @contextmanager
    def killed(self, box: Box) -> Iterator[Killed]:
        """Files of a process that was killed in the middle."""
        folder = box.new_folder()
        log = folder / "bodies"
        environment = {"FIXED_DIR": str(folder), "TASKLOG": str(log), "KEEP": "1"}
        try:
            crash = {**environment, "CRASH_AFTER": str(int(self.size * self.share))}
            box.run_until_killed(self.program, [self.workload, self.size], crash)
            yield Killed(folder, log, environment, frozenset(number for number, _ in bodies(log)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def again(self, box: Box, *, warm: bool = False) -> tuple[dict[str, Any], list[tuple[int, float]], frozenset[int]]:
        """What the second process tells, which bodies it ran when, and which of those the first one had started."""
        with self.killed(box) as killed:
            before = len(bodies(killed.log))
            extra = {**killed.environment, "WARM": "1"} if warm else killed.environment
            said = box.run(self.program, [self.workload, self.size], extra=extra)
            new = bodies(killed.log)[before:]
        twice = frozenset(number for number, _ in new) & killed.started
        if len(twice) > self.workers:
            raise Failed(f"{len(twice)} bodies that had run before the kill ran again, with {self.workers} workers")
        return said, new, twice

    def seconds_to_first_body(self, box: Box) -> float:
        """From `execute` until the first body of a task that had not been started before, with all modules loaded."""
        said, new, twice = self.again(box, warm=True)
        return _first_new(new, twice) - float(said["executed_at"])

    def seconds_of_process(self, box: Box) -> float:
        """The same from the start of the process: with its imports, and with declaring the graph."""
        said, new, twice = self.again(box)
        return _first_new(new, twice) - float(said["spawned_at"])

    def seconds_by_hand(self, box: Box) -> float:
        """Opening the same file, selecting every task row with its result, decoding the results."""
        return self._by_hand(box, lambda said: said["run_s"])

    def seconds_by_hand_of_process(self, box: Box) -> float:
        """The same from the start of the process."""
        return self._by_hand(box, lambda said: said["ended_at"] - said["spawned_at"])

    def _by_hand(self, box: Box, seconds: Callable[[dict[str, Any]], float]) -> float:
        with self.killed(box) as killed:
            said = box.run(BY_HAND, ["resume", killed.folder / "state.db"])
        if said["decoded"] < self.size * self.share - self.workers:
            raise Failed(f"{said['decoded']} results are in the file, and half of {self.size} had run")
        return float(seconds(said))


def bodies(log: Path) -> list[tuple[int, float]]:
    """The numbers of the bodies that were started, and when."""
    if not log.exists():
        return []
    pairs = (line.split() for line in log.read_text(encoding="ascii").splitlines())
    return [(int(number), float(at)) for number, at in pairs]


def _first_new(new: list[tuple[int, float]], twice: frozenset[int]) -> float:
    return min(at for number, at in new if number not in twice)
