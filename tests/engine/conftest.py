"""A conductor whose clock and workers do what the test says, over a store in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from flowweaver.core.events import AttemptId, Completed, Event, Outcome
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.core.state import RunHead, TaskState
from flowweaver.engine.conductor import Conductor
from flowweaver.ports import Attempt, Notice, RunName, Store
from flowweaver.stores import MemoryStore
from flowweaver.testing.simulation import ManualClock, ManualExecutor


def task(name: str, *depends_on: str, **fields: object) -> TaskPlan:
    return TaskPlan(name=name, kind="value", depends_on=depends_on, **fields)


@dataclass
class Bench:
    """One engine, driven by hand."""

    store: Store = field(default_factory=MemoryStore)
    workers: int = 4
    started: list[str] = field(default_factory=list)  # "task#attempt", in order
    attempts: list[Attempt] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    on_pause: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.clock = ManualClock()
        self.open()

    def open(self, *, recover: bool = True) -> None:
        """A new life over the same store."""
        self.executor = ManualExecutor(self.clock, self._on_start)
        self.conductor = Conductor(
            store=self.store,
            executor=self.executor,
            clock=self.clock,
            workers=self.workers,
            arrived=lambda event: None,
            pause=self._pause,
        )
        self.conductor.listeners.append(self.notices.extend)
        if recover:
            self.conductor.recover()
        else:
            self.conductor.skip()

    def _on_start(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        self.started.append(f"{attempt.task.name}#{attempt.id.number}")

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.on_pause()

    def submit(self, *tasks: TaskPlan, run_id: str = "r", **fields: object) -> int:
        key = self.conductor.submit(RunName("w", run_id), RunPlan(tasks=tasks, **fields))
        self.turn()
        return key

    def turn(self, *events: Event) -> None:
        self.conductor.turn(events)
        while self.conductor.has_work:
            self.conductor.turn(())

    def end(self, *names: str, outcome: Outcome | None = None, run: int | None = None) -> None:
        """Those running tasks end, in one batch."""
        attempts = [self.attempt(name, run) for name in names]
        self.turn(*(self.executor.end(attempt, outcome or Completed(b"1")) for attempt in attempts))

    def attempt(self, name: str, run: int | None = None) -> AttemptId:
        found = [
            key
            for key, attempt in {**self.executor.abandoned, **self.executor.running}.items()
            if attempt.task.name == name and run in (None, key.run)
        ]
        return found[-1]

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.turn()

    def take_started(self) -> list[str]:
        started, self.started = self.started, []
        return started

    def head(self, run: int = 1) -> RunHead:
        return self.store.read_run(run).head

    def states(self, run: int = 1) -> dict[str, TaskState]:
        stored = self.store.read_run(run)
        return {plan.name: state for plan, state in zip(stored.plan.tasks, stored.tasks, strict=True)}

    def phases(self, run: int = 1) -> dict[str, str]:
        return {name: str(state.phase) for name, state in self.states(run).items()}

    def reasons(self, run: int = 1) -> dict[str, str]:
        return {name: state.reason for name, state in self.states(run).items()}


@pytest.fixture
def bench() -> Bench:
    return Bench()
