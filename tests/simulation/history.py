"""One history: a seed says what happens to a few runs, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from flowweaver.core.events import (
    AttemptId,
    Completed,
    Deferred,
    DrainRequested,
    Event,
    Failed,
    InterruptRequested,
    Outcome,
    RerunRequested,
    SettingsRequested,
    Shutdown,
    ShutdownRequested,
    WorkersRequested,
)
from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import RunPlan
from flowweaver.core.state import TaskState
from flowweaver.engine.intake import Submission, Wish
from flowweaver.errors import PlanChanged, StoreUnavailable, WorkflowRunningError
from flowweaver.ports import Opening, RunName, RunRequest, Store
from flowweaver.stores import MemoryStore
from tests.simulation.disk import Died
from tests.simulation.opening import expected, is_changed
from tests.simulation.plans import random_change, random_plan
from tests.simulation.watched import Watched, Watcher

NAMES = 4
ROUNDS = 400  # after so many in which all goes well every run has ended


def settings_of(plan: RunPlan) -> dict[str, object]:
    return {"suspended": plan.suspended, "priority": plan.priority, "parallelism": plan.parallelism}


class History(Watched):
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

    def arrives(self, event: Event, *fact: object) -> None:
        """Something arrives, to be looked at in the next turn with all that has."""
        self.tell(f"{event}")
        self.waiting.append((event, fact))

    def perhaps_turn(self) -> None:
        if self.random.random() < 0.7:
            self.turn()

    def some_run(self) -> int | None:
        return self.random.choice(list(self.model.runs)) if self.model.runs else None

    # --------------------------------------------------------------------------------------------------- runs begin

    def submit(self) -> None:
        """One run or two, new ones mostly."""
        asked = []
        for _ in range(self.random.choice([1, 1, 2])):
            again = self.submitted and self.random.random() < 0.1
            name = self.random.choice(self.submitted) if again else RunName("w", f"run-{len(self.submitted)}")
            if again or len(self.submitted) < NAMES:
                asked.append(Submission(name, random_plan(self.random), Future()))
                self.tell(f"submit {name.run_id}: {asked[-1].plan}")
                self.submitted += [] if again else [name]
        alive = self.take(asked)
        for each in asked:
            stored = self.disk.find_run(each.name)
            if stored is None:
                assert not alive, "submitted, and not there"
            elif stored.key not in self.model.runs:
                self.model.submitted(stored.key, each.plan, settings_of(each.plan))
            assert not alive or each.answer.result(0) == stored.key
        self.submitted = [name for name in self.submitted if self.disk.find_run(name)]
        if not alive:
            self.died()
            return
        if self.random.random() < 0.2:
            self.end_run()
        self.turn()

    def take(self, asked: list[Submission] | list[Wish]) -> bool:
        """Whether the process lives on."""
        self.turn()
        try:
            self.conductor.intake.take(asked)
        except Died:
            return False
        return True

    def open_run(self) -> None:
        """A run is opened by its name: a new one, or one that was there before, with the same tasks or others."""
        self.turn()
        model = self.model
        run_id = f"run-{self.random.randrange(NAMES)}"
        stored = self.disk.find_newest("w", run_id)
        old = (model.runs | model.away)[stored.key] if stored else None
        plan = random_change(self.random, old.plan) if old else random_plan(self.random)
        given = self.some_given(plan) if self.random.random() < 0.2 else {}
        watcher = Watcher(self)
        request = RunRequest(
            workflow="w",
            run_id=run_id,
            plan=plan,
            observe=lambda run, opening: watcher,
            fresh=self.random.random() < 0.1,
            allow_change=self.random.random() < 0.8,
            given=given,
        )
        self.tell(f"open {run_id} (fresh {request.fresh}, change {request.allow_change}, given {[*given]}): {plan}")
        wish = Wish(request, Future())
        alive = self.take([wish])
        if old and old.phase == "active" and old.key in model.runs:
            assert not alive or isinstance(wish.answer.exception(0), WorkflowRunningError)
        elif old and not request.fresh and not request.allow_change and is_changed(old, plan):
            assert not alive or isinstance(wish.answer.exception(0), PlanChanged)
        else:
            self.opened(request, old, watcher, wish.answer.result(0) if alive else None)
            return
        self.lives_on(alive=alive)

    def some_given(self, plan: RunPlan) -> dict[int, tuple[TaskState, bytes]]:
        """Some tasks, with all that they depend on."""
        names = {task.name: position for position, task in enumerate(plan.tasks)}
        given = {self.random.randrange(len(plan.tasks))}
        for _ in plan.tasks:
            given |= {names[wanted] for position in given for wanted in plan.tasks[position].depends_on}
        state = TaskState(phase=TaskPhase.COMPLETED, finished_at=self.clock.now())
        return dict.fromkeys(given, (state, b'"given"'))

    def opened(self, request: RunRequest, old: Any, watcher: Watcher, opening: Opening | None) -> None:
        """What there is now; no `opening`: the process has died, and with a new run in the store perhaps."""
        model, plan, settings = self.model, request.plan, settings_of(request.plan)
        outcome, new, kept = expected(old, plan, fresh=request.fresh)
        stored = self.disk.find_newest("w", request.run_id)
        key = stored.key if stored else 0
        if new and stored and (old is None or key != old.key):
            model.created(key, plan, settings, old, kept)
            model.given(key, {} if old else {position: result for position, (_, result) in request.given.items()})
            if outcome == "completed":
                model.runs[key].phase = "completed"
            if old is not None:
                self.open_attempts = {attempt for attempt in self.open_attempts if attempt.run != old.key}
        if opening is None:
            self.died()
            return
        assert (opening.key, opening.outcome) == (key, outcome), f"{opening}, should be {outcome}"
        assert new == (old is None or key != old.key)
        change = opening.change
        assert (change is not None) == (old is not None and not request.fresh and is_changed(old, plan))
        if change is not None:
            assert change.kept == kept
            assert change.rerun == tuple(task.name for task in plan.tasks if task.name not in kept)
            assert set(change.removed) == {task.plan.name for task in old.tasks} - {task.name for task in plan.tasks}
        self.watchers[key] = watcher
        if outcome == "completed":
            assert watcher.has_ended
            return
        if not new:
            model.comes_back(old, plan)
            self.taken_up.add(key)
        facts = [] if new else [("taken_up", key, settings)]
        if self.observe(facts, lambda: self.conductor.turn(())):
            self.settle()
        else:
            self.died()

    def release(self) -> None:
        """The engine lets go of a run, at once or when a few of its bodies have returned."""
        self.turn()
        process, model, key = self.conductor, self.model, self.some_run()
        if key is None or model.runs[key].phase != "active":
            return
        self.tell(f"release {key}")
        self.conductor.hold(key)
        model.runs[key].held = True
        if self.random.random() < 0.5:
            self.bodies_return()
        if self.conductor is process:
            self.conductor.hold(key)
            self.turn((InterruptRequested(key), ("lost", False, model.runs[key])))
        if self.conductor is process:
            self.conductor.let_go(key)
            if model.runs[key].phase == "active":
                model.leaves(key)

    def rerun(self) -> None:
        self.turn()
        if (key := self.some_run()) is None:
            return
        new = str(len(self.story))
        last = self.disk.read_run(key).head.rerun_token
        tokens = self.random.choice([[new], [new], [new, new], [new, f"{new} again"], [last], [last, new]])
        for token in tokens:
            known = self.disk.read_run(key).head.rerun_token == token
            try:
                request = self.conductor.intake.rerun(RerunRequested(key, token))
            except Died:
                self.died()
                return
            if request is None:
                assert known
            else:
                self.arrives(request, *(() if known else ("rerun", key)))
        self.turn()

    def forget(self) -> None:
        """A run is to be deleted; one that is active stays."""
        self.turn()
        if (key := self.some_run()) is None:
            return
        self.tell(f"forget {key}")
        alive = True
        try:
            self.conductor.forget(key)
        except StoreUnavailable:
            self.tell("  that can not be now")
        except Died:
            alive = False
        if key not in {run for run, _, _ in self.disk.list_runs()}:
            assert self.model.runs.pop(key).phase != "active", "an active run is gone"
        self.lives_on(alive=alive)

    def lives_on(self, *, alive: bool) -> None:
        if not alive:
            self.died()

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
        near = [] if wait is None else [wait, wait, wait + 0.5]
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
