"""Whatever storm of requests there was: when nothing is left to do, the engine's books are empty."""

from __future__ import annotations

import os
from random import Random

import pytest

from flowweaver.core.events import (
    Event,
    InterruptRequested,
    RerunRequested,
    SettingsRequested,
    Shutdown,
    ShutdownRequested,
    WorkersRequested,
)
from flowweaver.core.plan import RunPlan
from flowweaver.errors import WorkflowRunningError
from tests.properties.playing import Playground
from tests.simulation.plans import random_change, random_plan

SEEDS = int(os.environ.get("FLOWWEAVER_EXAMPLES", "60")) * 4
RUNS = [f"r{number}" for number in range(4)]


class Storm(Playground):
    """Several runs, and all that may be asked of them, some of it at one time."""

    def play(self, plans: list[RunPlan], random: Random) -> None:
        """One turn in which several things arrive."""
        self.random, self.plans = random, plans
        arrived, let_go = [], []
        many = [self.opens, self.ends, self.ends, self.reruns, self.workers_change, self.shuts_down, self.is_set]
        for arrives in random.choices(many, k=random.randint(1, 5)):
            arrived += arrives()
        if random.random() < 0.3 and (keys := list(self.conductor.world.runs)):
            let_go = random.choices(keys, k=2)
            for key in let_go:
                self.conductor.hold(key)
            arrived += map(InterruptRequested, let_go)
        self.turn(*arrived)
        for key in let_go:
            self.conductor.let_go(key)
        if random.random() < 0.1:
            self.executor.close()
            self.open(recover=random.random() < 0.5)
        if random.random() < 0.4:
            self.pass_time(random.choice([5.0, 40.0]))

    def opens(self) -> list[Event]:
        answer = self.ask(
            self.random.choice(self.plans), run_id=self.random.choice(RUNS), fresh=self.random.random() < 0.2
        )
        assert isinstance(answer.exception(0), WorkflowRunningError | None)
        return []

    def ends(self) -> list[Event]:
        bodies = [*self.executor.running, *self.executor.abandoned]
        return [self.body_ends(attempt) for attempt in bodies if self.random.random() < 0.5]

    def reruns(self) -> list[Event]:
        keys = [key for key, _, _ in self.store.list_runs()]
        asked = [RerunRequested(self.random.choice(keys), self.random.choice("xy")) for _ in range(2)] if keys else []
        return [event for event in map(self.conductor.intake.rerun, asked) if event is not None]

    def workers_change(self) -> list[Event]:
        return [WorkersRequested(self.random.choice([-3, -1, 1, 2]))]

    def shuts_down(self) -> list[Event]:
        keys = list(self.conductor.world.runs)
        return [ShutdownRequested(self.random.choice(keys), self.random.choice(list(Shutdown)))] if keys else []

    def is_set(self) -> list[Event]:
        keys = list(self.conductor.world.runs)
        suspended = self.random.random() < 0.3
        priority = self.random.randrange(3)
        return [SettingsRequested(self.random.choice(keys), suspended=suspended, priority=priority)] if keys else []

    def calm_down(self) -> None:
        """Nothing is asked for any more, and nothing holds anything up."""
        world = self.conductor.world
        self.turn(WorkersRequested(2 - world.workers), *(SettingsRequested(key, suspended=False) for key in world.runs))
        self.finish()


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS // 4))
def test_after_a_storm_of_requests_nothing_is_left_in_the_books(first):
    for seed in range(first, first + SEEDS // 4):
        random = Random(seed)
        plan = random_plan(random)
        storm = Storm(workers=3)
        storm.broken = frozenset(random.choices([task.name for task in plan.tasks], k=2))
        plans = [plan, plan, random_change(random, plan), random_change(random, plan)]
        for _ in range(random.randint(1, 40)):
            storm.play(plans, random)
        storm.calm_down()
        world, conductor = storm.conductor.world, storm.conductor
        assert (world.runs, world.running, world.rotation) == ({}, 0, {}), seed
        assert (world.quarantined, world.abandoned, world.draining, world.workers) == (None, set(), False, 2), seed
        assert (conductor.intake.names, conductor._held, conductor.has_work) == ({}, {}, False), seed
        assert (conductor.intake.observers._of, conductor.intake.observers.noticed) == ({}, set()), seed
