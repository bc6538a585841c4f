"""One history: a seed says what happens to a few runs, and in which order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flowweaver.core.events import (
    AttemptId,
    Completed,
    Deferred,
    DrainRequested,
    Failed,
    InterruptRequested,
    Outcome,
    SettingsRequested,
    Shutdown,
    ShutdownRequested,
    WorkersRequested,
)
from flowweaver.ports import RunName, Store
from flowweaver.stores import MemoryStore
from tests.simulation.runs import Runs

ROUNDS = 400  # after so many in which all goes well every run has ended


class History(Runs):
    """What happens."""

    def __init__(self, seed: int, disk: Store | None = None) -> None:
        super().__init__(seed, disk or MemoryStore())
        self.badness = self.random.choice([0.1, 0.3, 0.6])  # of bodies
        self.deaths = self.random.choice([0.0, 1.0, 6.0])
        self.submitted: list[RunName] = []

    def play(self) -> None:
        """As many things as the seed wants, then an end to all of it."""
        begin, other = (self.submit, self.rerun) if self.recovers else (self.open_run, self.release)
        actions: dict[Callable[[], None], float] = {
            begin: 3,
            other: 2,
            self.bodies_return: 12,
            self.given_up_bodies_return: 4,
            self.time_passes: 8,
            self.clock_is_set: 0.5,
            self.end_run: 0.8,
            self.change_settings: 2,
            self.change_workers: 0.5,
            self.forget: 0.3,
            self.die: self.deaths,
            self.stop: self.deaths / 4,
            self.turn: 1,
        }
        begin()
        for _ in range(self.random.randint(10, 60)):
            self.random.choices(list(actions), list(actions.values()))[0]()
        self.finish()

    def finish(self) -> None:
        """When nothing holds them up any more, all runs come to an end."""
        self.tell("from here on all goes well")
        self.trouble = self.store.trouble = 0.0
        self.badness = 0.1
        self.turn((WorkersRequested(1), ("hired", 1)))
        for key in self.model.runs:
            self.arrives(SettingsRequested(key, suspended=False), "changed", key, {"suspended": False})
        for _ in range(ROUNDS):
            self.turn()
            if not self.conductor.world.runs:
                return
            for attempt in [*self.executor.running, *self.executor.abandoned]:
                self.body_returns(attempt)
            self.clock.advance(20.0)
        raise AssertionError("a run never ends")

    # ------------------------------------------------------------------------------------------------- bodies, time

    def bodies_return(self) -> None:
        running = sorted(self.executor.running)
        for attempt in self.random.sample(running, min(len(running), self.random.choice([1, 1, 2, 5]))):
            self.body_returns(attempt)
        self.perhaps_turn()

    def given_up_bodies_return(self) -> None:
        given_up = sorted(self.executor.abandoned)
        for attempt in self.random.sample(given_up, min(len(given_up), self.random.choice([1, 1, 5]))):
            self.body_returns(attempt)
        self.perhaps_turn()

    def body_returns(self, attempt: AttemptId) -> None:
        outcome = self.outcome(attempt)
        event = self.executor.end(attempt, outcome, self.random.random())
        self.arrives(event, "returned", attempt, outcome, event.ended_at)

    def outcome(self, attempt: AttemptId) -> Outcome:
        result = f'"{attempt.run}.{attempt.task}.{attempt.number}"'.encode()
        if self.random.random() < self.badness:
            hopeless = self.random.random() < 0.2
            reason = "ResultTooLarge" if hopeless else "TaskFailed"
            return Failed(message="it broke", reason=reason, retryable=not hopeless)
        if self.random.random() < 0.15:
            return Deferred(until=self.clock.now() + self.random.uniform(-5.0, 60.0), result=result)
        return Completed(result)

    def time_passes(self) -> None:
        wait = self.conductor.seconds_to_next_timer()
        near = [] if wait == math.inf else [wait, wait, wait + 0.5]
        seconds = self.random.choice([*near, self.random.uniform(0.0, 3.0), self.random.uniform(0.0, 60.0)])
        self.tell(f"{seconds:.1f} s pass")
        self.clock.advance(seconds)
        self.perhaps_turn()

    def clock_is_set(self) -> None:
        seconds = self.random.uniform(-40.0, 40.0)
        self.tell(f"the wall clock is set by {seconds:.1f} s")
        self.clock.set_by(seconds)

    # ------------------------------------------------------------------------------------------------ what is asked

    def end_run(self) -> None:
        if (key := self.some_run()) is not None:
            mode = self.random.choice(list(Shutdown))
            why = "Stopped" if mode is Shutdown.STOP else "Terminated"
            self.arrives(ShutdownRequested(key, mode), "ended", key, why)
            self.perhaps_turn()

    def change_settings(self) -> None:
        if (key := self.some_run()) is None:
            return
        settings: dict[str, Any] = {}
        if self.random.random() < 0.5:
            settings["suspended"] = self.random.random() < 0.4
        if self.random.random() < 0.5:
            settings["priority"] = self.random.randint(0, 2)
        if self.random.random() < 0.5:
            settings["parallelism"] = self.random.choice([None, 1, 2, 3])
        clear = settings.get("parallelism", 0) is None
        self.arrives(SettingsRequested(key, **settings, clear_parallelism=clear), "changed", key, settings)
        self.perhaps_turn()

    def change_workers(self) -> None:
        more = self.random.choice([1, 1, -1])
        self.arrives(WorkersRequested(more), "hired", more)
        self.perhaps_turn()

    # --------------------------------------------------------------------------------------------- processes that end

    def die(self) -> None:
        """Once, or so soon again that the same tasks are there."""
        for _ in range(self.random.choice([1, 1, 1, 2, 3])):
            self.tell("the process is killed")
            self.open()

    def stop(self) -> None:
        """The process is ended with care."""
        self.turn()
        self.tell("the process is told to end")
        process = self.conductor
        self.model.workers = 0
        self.turn((DrainRequested(), ()))
        if self.conductor is process:
            self.bodies_return()
        if self.conductor is process:
            self.turn((InterruptRequested(), ("lost", False)))
        if self.conductor is process:
            self.open()
