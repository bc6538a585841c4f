"""A real conductor whose clock, workers and store are played; after all that it does, the model says what is right.

A process that dies is a conductor that is dropped: the next one has what the store has.
"""

from __future__ import annotations

import random as global_random
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from flowweaver.core.changes import Changes, ResultRecorded
from flowweaver.core.events import AttemptEnded, AttemptId, Event, Failed
from flowweaver.core.invariants import violations
from flowweaver.core.state import RunState
from flowweaver.engine.conductor import Conductor
from flowweaver.errors import StoreUnavailable
from flowweaver.ports import Attempt, ChildProcess, Notice, Store, TaskNotice
from flowweaver.testing.simulation import ManualClock, ManualExecutor
from tests.simulation.disk import Died, TroubledStore
from tests.simulation.opening import OpeningModel

Fact = tuple[Any, ...]  # the name of one of the model's methods, and what it wants to know
SOON = 1e-6  # seconds that two ways of adding may differ by
GONE = "  the process died"


class WallClock(ManualClock):
    """A clock of which the wall time can be set, and that knows when it was asked first."""

    asked: float | None = None

    def now(self) -> float:
        self.asked = super().now() if self.asked is None else self.asked
        return super().now()

    def set_by(self, seconds: float) -> None:
        self._now += seconds


class Watcher:
    """Who opened a run, and is told of it."""

    wants_notices = True

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.has_ended = False

    def recorded(self, results: Sequence[ResultRecorded]) -> None:
        for run, task, result in results:
            assert self.watched.disk.read_results(run, [task]) == {task: result}, "a result that is not durable"

    def changed(self, notices: Sequence[Notice]) -> None:
        assert not self.has_ended
        self.watched.on_notices(notices)

    def ended(self, run: RunState) -> None:
        assert not self.has_ended, f"run {run.key} ends twice"
        self.has_ended = True

    def broke(self, why: str) -> None:
        raise AssertionError(why)


class Watched:
    """One engine after the other over one store."""

    def __init__(self, seed: int, disk: Store) -> None:
        self.random = Random(seed)
        global_random.seed(seed)  # the engine draws from it too
        self.clock = WallClock()
        self.disk = disk
        self.store = TroubledStore(disk, self.random, self.clock)
        self.model = OpeningModel()
        self.story: list[str] = []
        self.workers = self.random.choice([1, 2, 3, 5])
        self.trouble = self.random.choice([0.0, 0.0, 0.02, 0.1, 0.3])  # of the store
        self.recovers = self.random.random() < 0.5  # a new process takes in all that is unfinished
        self.listens = self.random.random() < 0.7
        self.open_attempts: set[AttemptId] = set()  # recorded as started, not as ended
        self.waiting: list[tuple[Event, Fact]] = []  # has arrived, for the next turn
        self.handed: list[tuple[Attempt, float]] = []
        self.told: dict[tuple[int, int], object] = {}  # by task, what a listener was told last
        self.watchers: dict[int, Watcher] = {}
        self.taken_up: set[int] = set()  # runs that were let go by this process, and opened again
        self.open()

    def tell(self, sentence: str) -> None:
        self.story.append(f"{self.clock.monotonic():8.1f}  {sentence}")

    # ------------------------------------------------------------------------------------------ one process, the next

    def open(self) -> None:
        """A process begins; it may die before it is at work."""
        while True:
            self.waiting.clear()
            self.told.clear()
            self.watchers.clear()
            self.taken_up.clear()
            self.store.trouble = self.trouble
            self.executor = ManualExecutor(self.clock, lambda it: self.handed.append((it, self.clock.monotonic())))
            if self.observe([], self.start, new=True):
                return
            self.tell("  it died at its start")

    def start(self) -> None:
        try:
            self.conductor = Conductor(
                store=self.store,
                executor=self.executor,
                clock=self.clock,
                workers=self.workers,
                arrived=self.arrived,
                pause=self.store.pause,
            )
            if self.listens:
                self.conductor.listeners.append(self.on_notices)
            if self.recovers:
                self.conductor.recover()
            else:
                self.conductor.skip()
                self.clock.now()
        except StoreUnavailable as error:  # a start that fails is for whoever starts it
            raise Died from error

    def arrived(self, event: AttemptEnded | ChildProcess) -> None:
        raise AssertionError(f"nobody else says {event}")

    def on_notices(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            stored = self.disk.read_run(notice.run)
            if isinstance(notice, TaskNotice):
                place = (notice.run, [task.name for task in stored.plan.tasks].index(notice.task))
                assert stored.tasks[place[1]] == notice.state, "a notice of what is not durable"
                assert self.told.get(place, notice.before) in {notice.before, notice.state}, "a notice is missing"
                self.told[place] = notice.state
            else:
                assert stored.head == notice.head, "a notice of what is not durable"

    # -------------------------------------------------------------------------------------------------------- a turn

    def turn(self, *more: tuple[Event, Fact]) -> None:
        """The engine looks at what has arrived, and goes on until it has nothing to do by itself."""
        pairs = [*self.waiting, *more]
        self.waiting.clear()
        events, facts = [event for event, _ in pairs], [fact for _, fact in pairs if fact]
        about_runs = {"ended", "changed", "rerun"}
        facts = [fact for fact in facts if fact[0] not in about_runs or fact[1] in self.model.runs]  # not yet forgotten
        if self.observe(facts, lambda: self.conductor.turn(events)):
            self.settle()
        else:
            self.died()

    def settle(self) -> None:
        """What the engine has to do by itself."""
        while self.conductor.has_work or self.conductor.seconds_to_next_timer() == 0.0:
            if not self.observe([], lambda: self.conductor.turn(())):
                self.died()
                return
        late = [task.place for task in self.model.tasks("waiting") if self.model.may_wake(task)]
        assert not late, f"{late} could be tried again"

    def died(self) -> None:
        self.tell(GONE)
        self.open()

    def observe(self, facts: list[Fact], call: Callable[[], object], *, new: bool = False) -> bool:
        """Let the engine do one thing, then the model; whether the process is still alive."""
        monotonic = self.clock.monotonic()
        self.clock.asked = None
        self.store.committed.clear()
        self.handed.clear()
        alive = True
        try:
            call()
        except Died:
            alive = False
        if alive or self.store.committed:
            if new:
                self.begin()
            assert self.clock.asked is not None
            self.model.turn(facts, self.clock.asked, monotonic)  # a slow store lets time pass before the turn too
            self.check_retries()
            self.check_starts()
            for changes in self.store.committed:
                self.check_ends(changes, facts, new=new)
            self.check_what_is_stored()
            if alive:
                self.check_the_process()
        return alive

    def begin(self) -> None:
        """What a new process makes of what the last one left."""
        model = self.model
        model.given_up.clear()
        model.workers = self.workers
        for run in model.runs.values():
            run.held = False
        if self.recovers:
            model.lost(True)
        else:
            model.away.update(model.runs)
            model.runs.clear()

    # ------------------------------------------------------------------------------------------------- what is right

    def check_retries(self) -> None:
        """A task that waited for its next attempt waits no longer: its delay is over and its body has returned."""
        for changes in self.store.committed:
            for key, position, state in changes.tasks:
                task = self.model.runs[key].tasks[position]
                if task.phase == "waiting" and state.phase in {"pending", "running"}:
                    due = task.due <= self.model.now if task.run.key in self.taken_up else self.model.may_wake(task)
                    assert due, f"{task.place} is tried again too early"
                    self.model.put(task, "pending")

    def check_starts(self) -> None:
        """Each start that was recorded was allowed, the most urgent one, and fair; none is missing."""
        served: dict[int, int] = {}
        for attempt, at in [start for changes in self.store.committed for start in changes.started]:
            permitted = self.model.permitted()
            found = [task for task in permitted if task.place == attempt[:2]]
            assert found, f"{attempt} must not start, {self.about(attempt)}"
            run = found[0].run
            assert run.priority == max(other.run.priority for other in permitted), f"{attempt} is not the most urgent"
            peers = {other.run.key for other in permitted if other.run.priority == run.priority}
            assert all(served.get(peer, 0) >= served.get(run.key, 0) for peer in peers), f"{attempt} is out of turn"
            assert at == self.model.now
            assert attempt.number == found[0].attempts + 1, f"{attempt} has a wrong number"
            served[run.key] = served.get(run.key, 0) + 1
            self.model.started(found[0])
        idle = [task.place for task in self.model.permitted()]
        assert not idle, f"{idle} could start"

    def about(self, attempt: AttemptId) -> dict[str, Any]:
        run = self.model.runs[attempt.run]
        hidden = {"run", "tasks", "plan", "result"}
        both = vars(run) | vars(run.tasks[attempt.task])
        return {name: value for name, value in both.items() if name not in hidden}

    def check_ends(self, changes: Changes, facts: list[Fact], *, new: bool) -> None:
        """Each attempt is started once, ended once, and as what it was ended."""
        self.open_attempts.update(attempt for attempt, _ in changes.started)
        for closed in changes.closed:
            assert closed.attempt in self.open_attempts, f"{closed.attempt} is ended twice"
            self.open_attempts.remove(closed.attempt)
            right = self.right_status(closed.attempt, facts, new=new)
            assert closed.status in right, f"{closed.attempt} is recorded as {closed.status}, should be {right}"

    def right_status(self, attempt: AttemptId, facts: list[Fact], *, new: bool) -> Sequence[str]:
        for fact in facts:
            if fact[0] == "returned" and fact[1] == attempt:
                return ["failed" if isinstance(fact[2], Failed) else "completed"]
        run = self.model.runs[attempt.run]
        if new or ("lost", False) in facts or ("lost", False, run) in facts:
            return ["crashed" if new else "interrupted"]
        if attempt not in self.executor.running and attempt not in self.model.given_up:
            return ["crashed"]  # of a process before, in a run that was opened now
        return ["timed_out", "cancelled"] if run.tasks[attempt.task].phase == "cancelled" else ["timed_out"]

    def check_what_is_stored(self) -> None:
        """The store has what the model has, for every task of every run."""
        for key, run in (self.model.runs | self.model.away).items():
            stored = self.disk.read_run(key)
            for task, state in zip(run.tasks, stored.tasks, strict=True):
                self.check_task(task, state)
                if task.phase == "completed":
                    result = self.disk.read_results(key, [task.place[1]]).get(task.place[1])
                    assert result == task.result, f"{task.place} has {result!r}, should have {task.result!r}"
            head = stored.head
            phase = head.phase if head.phase in {"completed", "failed", "cancelled"} else "active"
            assert phase == run.phase, f"run {key} is {head.phase}, should be {run.phase}"
            assert (head.phase == "suspended") == (run.phase == "active" and run.suspended)
            found = (head.suspended, head.priority, head.parallelism)
            assert phase != "active" or found == (run.suspended, run.priority, run.parallelism), f"run {key}: {head}"

    def check_task(self, task: Any, state: Any) -> None:
        still_there = task.reason == "Backoff" and self.model.body_is_there(task)
        reason = "AttemptStillRunning" if still_there else task.reason
        crashes = state.crashes if task.phase == "cancelled" else task.crashes  # of those nobody counts the last one
        if state.phase == "waiting" and (task.run.key in self.model.away or task.run.key in self.taken_up):
            reason = state.reason  # of a body that the run has left behind nobody says whether it has returned
        found = (state.phase, state.reason, state.attempts, state.failures, state.crashes)
        right = (task.phase, reason, task.attempts, task.failures, crashes)
        assert found == right, f"{task.place} is {found}, should be {right}"
        assert (state.not_before is None) == (task.phase != "waiting"), f"{task.place}: {state}"
        if task.phase == "waiting":
            assert task.due - SOON <= state.not_before <= task.latest + SOON, f"{task.place} is due {state.not_before}"
            task.due = task.latest = state.not_before

    def check_the_process(self) -> None:
        """Exactly what runs is with the workers, and was given what is recorded; what was given up is told so."""
        model = self.model
        for attempt, at in self.handed:
            task = model.runs[attempt.id.run].tasks[attempt.id.task]
            task.too_long_at = at + (task.plan.timeout_seconds or float("inf"))
            given = {name: (it.phase.lower(), it.result) for name, it in attempt.dependencies.items()}
            right = {
                needed.plan.name: (needed.phase, needed.result if needed.phase == "completed" else None)
                for needed in model.needed(task)
            }
            assert given == right, f"{attempt.id} was given {given}, should be {right}"
        running = {AttemptId(*task.place, task.attempts) for task in model.tasks("running")}
        assert set(self.executor.running) == running
        elsewhere = {AttemptId(*task.place, task.attempts) for task in model.tasks("running", of=model.away.values())}
        assert self.open_attempts == running | (elsewhere if model.away else set())
        assert set(self.executor.abandoned) == model.given_up
        # With fewer workers or retries than before more may run, or have failed: here each start was checked.
        broken = [it for it in violations(self.conductor.world) if not it.endswith((" workers", " retries"))]
        assert not broken, broken
        active = {key for key, run in model.runs.items() if run.phase == "active"}
        world = set(self.conductor.world.runs)
        assert world == active, f"in memory are {world}, active are {active}"
        assert {key for key, watcher in self.watchers.items() if not watcher.has_ended} <= active
        for place, state in self.told.items() if self.listens else ():
            if place[0] in model.runs:
                assert self.disk.read_run(place[0]).tasks[place[1]] == state, "nobody was told"
