"""A real conductor whose clock, workers and store are played; after all that it does, the model says what is right.

A process that dies is a conductor that is dropped: the next one has what the store has.
"""

from __future__ import annotations

import random as global_random
from collections.abc import Callable, Sequence
from random import Random

from flowweaver.core.changes import ResultRecorded
from flowweaver.core.events import AttemptEnded, Event
from flowweaver.core.state import RunState
from flowweaver.engine.conductor import Conductor
from flowweaver.errors import StoreUnavailable
from flowweaver.ports import ChildProcess, Notice, Store, TaskNotice
from flowweaver.testing.simulation import ManualClock, ManualExecutor
from tests.simulation.checks import Checks, Fact
from tests.simulation.disk import Died, TroubledStore
from tests.simulation.opening import OpeningModel

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

    def troubled(self, notices: Sequence[TaskNotice]) -> None:
        assert not self.has_ended
        assert all(notice.state.phase in {"waiting", "failed"} for notice in notices)

    def ended(self, run: RunState) -> None:
        assert not self.has_ended, f"run {run.key} ends twice"
        self.has_ended = True

    def broke(self, why: str) -> None:
        raise AssertionError(why)


class Watched(Checks):
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
        self.open_attempts = set()
        self.waiting: list[tuple[Event, Fact]] = []  # has arrived, for the next turn
        self.handed = []
        self.told = {}
        self.watchers = {}
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
