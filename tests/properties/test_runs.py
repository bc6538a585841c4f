"""Whatever happens to a handful of runs, in whatever order, what is promised of them holds.

The machine drives a real conductor over a store that keeps what was committed; a crash drops the conductor with all its
memory and starts another one. What it checks at each start it has noted itself, so that a bug in the core's own
bookkeeping shows too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flowweaver.core.changes import Changes
from flowweaver.core.events import (
    AttemptId,
    Completed,
    Deferred,
    Event,
    Failed,
    InterruptRequested,
    RerunRequested,
    SettingsRequested,
    Shutdown,
    ShutdownRequested,
)
from flowweaver.core.invariants import violations
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.plan import FailurePolicy, OnCrash, RetryPolicy, RunPlan, TaskPlan, TriggerRule
from flowweaver.core.state import RunHead
from flowweaver.engine.conductor import Conductor
from flowweaver.errors import CommitUnknown, StoreUnavailable
from flowweaver.ports import Attempt, ChildProcess, RunName
from flowweaver.stores import MemoryStore
from flowweaver.testing.simulation import ManualClock, ManualExecutor

T = TypeVar("T")
DELAY_SECONDS = 10.0
WORKERS = 3


@st.composite
def plans(draw: st.DrawFn) -> RunPlan:
    """Random graphs of up to eight tasks, with random policies; edges follow a random order of the tasks."""
    size = draw(st.integers(1, 8))
    order = draw(st.permutations(range(size)))
    tasks: dict[int, TaskPlan] = {}
    for place, task in enumerate(order):
        earlier = order[:place]
        wanted = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)) if earlier else []
        tasks[task] = TaskPlan(
            name=f"t{task}",
            kind="value",
            depends_on=tuple(f"t{other}" for other in wanted),
            trigger_rule=draw(st.sampled_from([TriggerRule.ALL_COMPLETED] * 3 + [TriggerRule.ALL_FINISHED])),
            retry=RetryPolicy(limit=draw(st.integers(0, 2)), delay_seconds=DELAY_SECONDS),
            timeout_seconds=draw(st.sampled_from([None, None, 30.0])),
            allow_failure=draw(st.integers(0, 4)) == 0,
            on_crash=draw(st.sampled_from([OnCrash.RERUN] * 4 + [OnCrash.FAIL])),
        )
    return RunPlan(
        tasks=tuple(tasks[task] for task in range(size)),
        failure_policy=draw(st.sampled_from(FailurePolicy)),
        parallelism=draw(st.sampled_from([None, None, 1, 2])),
        timeout_seconds=draw(st.sampled_from([None, None, None, 300.0])),
        priority=draw(st.integers(0, 1)),
    )


class Unreliable(MemoryStore):
    """A store of which the next write or read may fail: before it happened, or after, with nobody told."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: dict[str, str] = {}  # by operation

    def create_run(self, name: RunName, plan: RunPlan, head: RunHead) -> int:
        return self._failing("create_run", lambda: super(Unreliable, self).create_run(name, plan, head))

    def commit(self, changes: Changes, processes: Sequence[ChildProcess] = ()) -> None:
        self._failing("commit", lambda: super(Unreliable, self).commit(changes, processes))

    def read_results(self, run: int, tasks: Sequence[int]) -> dict[int, bytes]:
        return self._failing("read_results", lambda: super(Unreliable, self).read_results(run, tasks))

    def _failing(self, operation: str, call: Callable[[], T]) -> T:
        failure = self.failures.pop(operation, None)
        if failure == "before":
            raise StoreUnavailable("nothing happened")
        answer = call()
        if failure == "after":
            raise CommitUnknown("it may have happened")
        return answer


class Runs(RuleBasedStateMachine):
    """A few runs on one engine, and what the test itself has seen of them."""

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock()
        self.store = Unreliable()
        self.starts: dict[tuple[int, int], int] = {}
        self.completed: set[tuple[int, int]] = set()
        self.closed: set[int] = set()
        self.once: set[tuple[int, int]] = set()  # tasks that must not be started again before a rerun
        self.not_before: dict[tuple[int, int], float] = {}
        self.keys: list[int] = []
        self.tokens = 0
        self.open()

    def open(self) -> None:
        self.executor = ManualExecutor(self.clock, self.on_start)
        self.conductor = Conductor(
            store=self.store,
            executor=self.executor,
            clock=self.clock,
            workers=WORKERS,
            arrived=lambda event: pytest.fail(f"nobody else says {event}"),
            pause=lambda _seconds: None,
        )
        self.conductor.recover()

    # ------------------------------------------------------------------------------------------------ what must hold

    def on_start(self, attempt: Attempt) -> None:
        """An attempt is handed out: it must be one that may start, and the next one of its task."""
        run, task, number = attempt.id
        place = (run, task)
        self.starts[place] = self.starts.get(place, 0) + 1
        state = self.conductor.world.runs[run]
        world = self.conductor.world
        assert world.running <= world.workers, f"{world.running} attempts on {world.workers} workers"
        failures, retries = state.tasks[task].failures, attempt.task.retry.limit
        assert failures <= retries, f"{attempt.task.name} failed {failures} times and is tried again"
        assert number == self.starts[place], f"{attempt.task.name}: start {self.starts[place]} is called {number}"
        assert place not in self.completed, f"{attempt.task.name} completed before and starts again"
        assert run not in self.closed, f"{attempt.task.name} starts after a cancel"
        assert place not in self.once, f"{attempt.task.name} was interrupted, must not be repeated, and starts again"
        assert self.clock.now() >= self.not_before.get(place, 0.0), f"{attempt.task.name} is retried without delay"
        assert not any(other[:2] == place for other in self.executor.running), "two attempts of one task"
        assert not any(other[:2] == place for other in self.executor.abandoned), "an attempt beside a given-up one"
        positions = {task.name: position for position, task in enumerate(attempt.run.tasks)}
        for name in attempt.task.depends_on:
            phase = state.tasks[positions[name]].phase
            needs_all = attempt.task.trigger_rule is TriggerRule.ALL_COMPLETED
            met = phase is TaskPhase.COMPLETED if needs_all else phase.finished
            assert met, f"{attempt.task.name} starts while {name} is {phase}"

    @invariant()
    def nothing_is_violated(self) -> None:
        if hasattr(self, "conductor"):
            assert violations(self.conductor.world) == []

    @invariant()
    def no_worker_idles_while_something_could_start(self) -> None:
        if not hasattr(self, "conductor"):
            return
        world = self.conductor.world
        if world.running < world.workers and len(world.abandoned) <= world.workers:
            given_up = {attempt[:2] for attempt in world.abandoned}
            free = [
                (run, task)
                for keys in world.rotation.values()
                for run in keys
                for task in world.runs[run].ready
                if world.runs[run].tasks[task].crashes < 2 and (run, task) not in given_up
            ]
            assert not free, f"{free} could start and a worker is free"

    @invariant()
    def what_completed_is_recorded(self) -> None:
        if hasattr(self, "store"):
            for run in {run for run, _ in self.completed}:
                tasks = self.store.read_run(run).tasks
                for task in (task for other, task in self.completed if other == run):
                    assert tasks[task].phase is TaskPhase.COMPLETED

    # --------------------------------------------------------------------------------------------- what may happen

    def turn(self, *events: Event) -> None:
        self.conductor.turn(events)
        while self.conductor.has_work:
            self.conductor.turn(())

    @rule(plan=plans(), mode=st.sampled_from([None, None, None, *Shutdown]))
    def submit(self, plan: RunPlan, mode: Shutdown | None) -> None:
        """A run is submitted, and may be ended before the engine has looked at it."""
        if len(self.keys) < 3:
            key = self.conductor.submit(RunName("w", f"run-{len(self.keys)}"), plan)
            self.keys.append(key)
            if mode is not None:
                self.closed.add(key)
                self.turn(ShutdownRequested(key, mode))
            self.turn()

    @precondition(lambda self: hasattr(self, "executor") and self.executor.running)
    @rule(data=st.data())
    def attempts_end(self, data: st.DataObject) -> None:
        """Some running attempts end at once, each in its own way."""
        ended = data.draw(st.lists(st.sampled_from(sorted(self.executor.running)), unique=True, min_size=1))
        self.turn(*(self.end(attempt, data) for attempt in ended))

    def end(self, attempt: AttemptId, data: st.DataObject) -> Event:
        place = attempt[:2]
        match data.draw(st.sampled_from(["completed", "completed", "completed", "failed", "hopeless", "deferred"])):
            case "completed":
                self.completed.add(place)
                return self.executor.end(attempt, Completed(b"1"))
            case "failed":
                state = self.conductor.world.runs[attempt.run].tasks[attempt.task]
                self.not_before[place] = self.clock.now() + DELAY_SECONDS * 2.0**state.failures
                return self.executor.end(attempt, Failed(message="it broke"))
            case "hopeless":
                return self.executor.end(attempt, Failed(message="it is wrong", retryable=False))
            case _:
                return self.executor.end(attempt, Deferred(until=self.clock.now() + 20.0))

    @precondition(lambda self: hasattr(self, "executor") and self.executor.abandoned)
    @rule(data=st.data())
    def abandoned_body_returns(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.executor.abandoned)))
        self.turn(self.executor.end(attempt, Completed(b'"too late"')))

    @rule(seconds=st.sampled_from([1.0, 10.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.turn()

    @precondition(lambda self: getattr(self, "keys", None))
    @rule(data=st.data(), mode=st.sampled_from(Shutdown))
    def shut_down(self, data: st.DataObject, mode: Shutdown) -> None:
        key = data.draw(st.sampled_from(self.keys))
        if key in self.conductor.world.runs:
            self.closed.add(key)
        self.turn(ShutdownRequested(key, mode))

    @precondition(lambda self: getattr(self, "keys", None))
    @rule(data=st.data(), suspended=st.booleans())
    def suspend_or_resume(self, data: st.DataObject, suspended: bool) -> None:  # noqa: FBT001 - drawn
        self.turn(SettingsRequested(data.draw(st.sampled_from(self.keys)), suspended=suspended))

    @precondition(lambda self: getattr(self, "keys", None))
    @rule(data=st.data(), priority=st.integers(0, 2), parallelism=st.sampled_from([None, 1, 2]))
    def change_settings(self, data: st.DataObject, priority: int, parallelism: int | None) -> None:
        key = data.draw(st.sampled_from(self.keys))
        self.turn(
            SettingsRequested(key, priority=priority, parallelism=parallelism, clear_parallelism=parallelism is None)
        )

    @precondition(lambda self: getattr(self, "keys", None))
    @rule(data=st.data())
    def rerun(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.keys))
        self.tokens += 1
        request = self.conductor.intake.rerun(RerunRequested(key, str(self.tokens)))
        assert request is not None
        if key in self.conductor.world.runs and self.conductor.world.runs[key].head.phase.finished:
            self.closed.discard(key)
            self.once = {place for place in self.once if place[0] != key}
            self.not_before = {place: due for place, due in self.not_before.items() if place[0] != key}
        self.turn(request)

    @rule(
        operation=st.sampled_from(["create_run", "commit", "read_results"]), when=st.sampled_from(["before", "after"])
    )
    def the_store_is_about_to_fail(self, operation: str, when: str) -> None:
        self.store.failures[operation] = when

    @rule()
    def crash(self) -> None:
        """The process dies: what is in memory is gone, what was committed is not."""
        self.note_what_is_interrupted()
        self.open()

    @rule()
    def stop(self) -> None:
        """The engine is stopped before its attempts have ended, and started again."""
        self.note_what_is_interrupted()
        self.turn(InterruptRequested())
        assert self.conductor.world.running == 0
        self.open()

    def note_what_is_interrupted(self) -> None:
        for attempt, running in self.executor.running.items():
            if running.task.on_crash is OnCrash.FAIL:
                self.once.add(attempt[:2])

    def teardown(self) -> None:
        """When nothing holds it up any more, every run comes to an end."""
        if not hasattr(self, "conductor"):
            return
        self.turn(*(SettingsRequested(key, suspended=False) for key in self.keys))
        for _ in range(200):
            if not self.conductor.world.runs:
                break
            attempts = [*self.executor.running, *self.executor.abandoned]
            self.completed.update(attempt[:2] for attempt in self.executor.running)
            self.turn(*(self.executor.end(attempt, Completed(b"1")) for attempt in attempts))
            self.clock.advance(31.0)
            self.turn()
        assert not self.conductor.world.runs, "a run never ends"
        for key in self.keys:
            stored = self.store.read_run(key)
            failed = [t for t, s in zip(stored.plan.tasks, stored.tasks, strict=True) if s.phase is TaskPhase.FAILED]
            if any(not task.allow_failure for task in failed):
                assert stored.head.phase is RunPhase.FAILED


Runs.TestCase.settings = settings(
    max_examples=int(os.environ.get("FLOWWEAVER_EXAMPLES", "60")),
    stateful_step_count=int(os.environ.get("FLOWWEAVER_STEPS", "30")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    phases=[Phase.generate] if os.environ.get("FLOWWEAVER_NO_SHRINK") else list(Phase),
    print_blob=True,
)
TestRuns = Runs.TestCase
TestRuns.pytestmark = [pytest.mark.timeout(900)]
