"""Opening, releasing and observing runs of a real engine, from several threads and lives."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

from flowweaver.core.events import Completed, Shutdown, ShutdownRequested
from flowweaver.core.phases import RunPhase
from flowweaver.core.plan import RetryPolicy, RunPlan
from flowweaver.engine import Engine, SystemClock
from flowweaver.errors import InternalError, StoreUnavailable, WorkflowRunningError
from flowweaver.executors.threaded import ThreadedExecutor
from flowweaver.ports import ROWS_AT_ONCE, RunName, RunRequest
from flowweaver.stores import MemoryStore
from tests.engine.conftest import task

LONG = 30


class Watcher:
    """Waits for the end of a run."""

    wants_notices = False

    def __init__(self):
        self.over = threading.Event()
        self.results = {}
        self.phase = self.why = None

    def observe(self, run, opening):
        self.key = opening.key
        return self

    def recorded(self, results):
        self.results.update({result.task: result.result for result in results})

    def changed(self, notices):
        raise AssertionError("nobody wants this")

    def troubled(self, notices):
        pass

    def ended(self, run):
        self.phase = run.head.phase
        self.over.set()

    def broke(self, why):
        self.why = why
        self.over.set()


class Bodies:
    """Bodies that wait at a gate; counts what runs."""

    def __init__(self, *, gate=True):
        self.gate = threading.Event()
        if gate:
            self.gate.set()
        self.entered = threading.Semaphore(0)
        self.names = []

    def __call__(self, attempt):
        self.names.append(attempt.task.name)
        self.entered.release()
        while not self.gate.wait(0.01) and not attempt.cancellation.requested:
            pass
        return Completed(b"1")


class Counting(MemoryStore):
    """Knows how many runs were recorded at a time."""

    def __init__(self):
        super().__init__()
        self.groups = []

    def create_runs(self, runs):
        self.groups.append(len(runs))
        return super().create_runs(runs)


@contextmanager
def engine_of(bodies, store=None, *, workers=4, recover=False):
    clock = SystemClock()
    executor = ThreadedExecutor(bodies, workers, clock)
    engine = Engine(store=store or MemoryStore(), executor=executor, clock=clock, workers=workers)
    engine.executor_of_test = executor
    try:
        engine.start(recover=recover)
        yield engine
    finally:
        engine.stop()
        executor.close()


def request(watcher, *tasks, run_id="r", **fields):
    return RunRequest(workflow="w", run_id=run_id, plan=RunPlan(tasks=tasks), observe=watcher.observe, **fields)


def opened(engine, watcher, *tasks, **fields):
    return engine.open_run(request(watcher, *tasks, **fields)).result(LONG)


def test_a_run_is_opened_and_its_results_are_told():
    watcher = Watcher()
    with engine_of(Bodies()) as engine:
        assert opened(engine, watcher, task("a"), task("b", "a")).outcome == "created"
        assert watcher.over.wait(LONG)
        assert (watcher.phase, watcher.results) == (RunPhase.COMPLETED, {0: b"1", 1: b"1"})
        again = Watcher()
        assert opened(engine, again, task("a"), task("b", "a")).outcome == "completed"
        assert again.over.is_set()


def test_runs_that_are_opened_at_one_time_are_recorded_together():
    store, watchers = Counting(), [Watcher() for _ in range(200)]
    bodies = Bodies(gate=False)
    with engine_of(bodies, store) as engine:
        hold, go = threading.Event(), threading.Event()

        def observe(run, opening):  # keeps the engine's thread until all others have arrived
            hold.set()
            assert go.wait(LONG)
            return Watcher()

        first = engine.open_run(RunRequest(workflow="w", run_id="first", plan=RunPlan(tasks=()), observe=observe))
        assert hold.wait(LONG)
        answers = [
            engine.open_run(request(watcher, *(task(f"t{n}") for n in range(10)), run_id=str(number)))
            for number, watcher in enumerate(watchers)
        ]
        go.set()
        assert first.result(LONG).outcome == "created"
        assert {answer.result(LONG).outcome for answer in answers} == {"created"}
        bodies.gate.set()
        assert all(watcher.over.wait(LONG) for watcher in watchers)
    assert store.groups == [1, ROWS_AT_ONCE // 10, ROWS_AT_ONCE // 10]


def test_one_request_that_can_not_be_met_harms_no_other():
    with engine_of(Bodies()) as engine:
        watchers = [Watcher() for _ in range(3)]
        plans = [(task("a"),), (task("a", "a"),), (task("a"),)]
        answers = [
            engine.open_run(request(watcher, *plan, run_id=str(number)))
            for number, (watcher, plan) in enumerate(zip(watchers, plans, strict=True))
        ]
        assert "depends on itself" in str(answers[1].exception(LONG))
        for number in (0, 2):
            assert answers[number].result(LONG).outcome == "created"
            assert watchers[number].over.wait(LONG)


def test_what_is_unfinished_is_left_alone_until_it_is_asked_for():
    store, bodies = MemoryStore(), Bodies(gate=False)
    with engine_of(bodies, store) as engine:
        opened(engine, Watcher(), task("a"), task("b", "a"))
        assert bodies.entered.acquire(timeout=LONG)
    bodies = Bodies()
    with engine_of(bodies, store) as engine:
        other, watcher = Watcher(), Watcher()
        opened(engine, other, task("x"), run_id="other")
        assert other.over.wait(LONG)
        assert bodies.names == ["x"]
        assert opened(engine, watcher, task("a"), task("b", "a")).outcome == "resumed"
        assert watcher.over.wait(LONG)
        assert bodies.names == ["x", "a", "b"]
    with engine_of(Bodies(), store, recover=True) as engine:
        assert engine.health().active_runs == 0


def test_a_large_run_is_opened_and_runs_to_its_end():
    watcher = Watcher()
    with engine_of(Bodies()) as engine:
        tasks = [task(f"t{n}") for n in range(2 * ROWS_AT_ONCE + 10)]
        opened(engine, watcher, *tasks)
        assert watcher.over.wait(LONG)
    assert len(watcher.results) == len(tasks)


# --------------------------------------------------------------------------------------------------------- releasing


def test_a_released_run_is_interrupted_without_a_crash_and_can_be_opened_again():
    store, bodies = MemoryStore(), Bodies(gate=False)
    with engine_of(bodies, store) as engine:
        watcher, other = Watcher(), Watcher()
        key = opened(engine, watcher, task("a"), task("b", "a")).key
        opened(engine, other, task("x"), run_id="other")
        for _ in range(2):
            assert bodies.entered.acquire(timeout=LONG)
        engine.release(key)
        assert (watcher.over.is_set(), watcher.phase) == (True, RunPhase.RUNNING)
        [a, b] = store.read_run(key).tasks
        assert (str(a.phase), a.crashes, a.attempts, str(b.phase)) == ("pending", 0, 1, "pending")
        assert engine.health().active_runs == 1
        bodies.gate.set()
        assert other.over.wait(LONG)
        again = Watcher()
        assert opened(engine, again, task("a"), task("b", "a")).outcome == "resumed"
        assert again.over.wait(LONG)
        assert store.read_run(key).tasks[0].attempts == 2
        assert store.read_run(key).head.phase == RunPhase.COMPLETED


def test_what_runs_may_end_within_the_grace_of_a_release_and_nothing_more_is_started():
    store, bodies = MemoryStore(), Bodies(gate=False)
    with engine_of(bodies, store) as engine:
        watcher = Watcher()
        key = opened(engine, watcher, task("a"), task("b", "a")).key
        assert bodies.entered.acquire(timeout=LONG)
        releasing = threading.Thread(target=engine.release, args=(key, LONG))
        releasing.start()
        while not (run := engine._conductor.world.runs.get(key)) or not run.held:
            pass
        bodies.gate.set()
        releasing.join(LONG)
        assert not releasing.is_alive()
    assert bodies.names == ["a"]
    assert [str(state.phase) for state in store.read_run(key).tasks] == ["completed", "pending"]


def test_a_run_may_finish_within_the_grace_of_a_release():
    store, bodies = MemoryStore(), Bodies(gate=False)
    with engine_of(bodies, store) as engine:
        watcher = Watcher()
        key = opened(engine, watcher, task("a")).key
        assert bodies.entered.acquire(timeout=LONG)
        releasing = threading.Thread(target=engine.release, args=(key, LONG))
        releasing.start()
        bodies.gate.set()
        releasing.join(LONG)
        assert watcher.over.wait(LONG)
        engine.release(key)  # it is not there any more
        engine.release(4711)
    assert store.read_run(key).head.phase == RunPhase.COMPLETED


def test_a_large_run_may_be_released_while_its_rows_are_written():
    store, bodies = MemoryStore(), Bodies()
    tasks = [task("t0"), *(task(f"t{n}", "t0") for n in range(1, 6 * ROWS_AT_ONCE))]
    with engine_of(bodies, store) as engine:
        watcher = Watcher()
        engine.release(opened(engine, watcher, *tasks).key)
        assert watcher.over.is_set()
        assert engine.health().active_runs == 0
        again = Watcher()
        assert opened(engine, again, *tasks).outcome == "resumed"
        assert again.over.wait(LONG)
        assert again.phase == RunPhase.COMPLETED


# ----------------------------------------------------------------------------------------------------------- workers


def test_more_attempts_run_when_there_are_more_workers_and_fewer_when_there_are_less():
    bodies = Bodies(gate=False)
    with engine_of(bodies, workers=1) as engine:
        watcher = Watcher()
        opened(engine, watcher, *(task(f"t{n}") for n in range(20)))
        assert bodies.entered.acquire(timeout=LONG)
        assert not bodies.entered.acquire(timeout=0.2)
        engine.executor_of_test.add_workers(2)
        engine.add_workers(2)
        for _ in range(2):
            assert bodies.entered.acquire(timeout=LONG)
        assert not bodies.entered.acquire(timeout=0.2)
        engine.add_workers(-2)
        bodies.gate.set()
        assert watcher.over.wait(LONG)
        assert engine.health().workers == 1


# ---------------------------------------------------------------------------------------------------- when it is over


def test_whoever_watches_a_run_is_told_when_the_engine_is_stopped():
    bodies, watcher = Bodies(gate=False), Watcher()
    with engine_of(bodies) as engine:
        opened(engine, watcher, task("a"))
        assert bodies.entered.acquire(timeout=LONG)
    assert (watcher.over.is_set(), watcher.why) == (True, "the engine was stopped")
    answer = engine.open_run(request(Watcher(), task("a")))
    with pytest.raises(InternalError, match="the engine has stopped"):
        answer.result(LONG)


def test_whoever_watches_or_waits_is_told_when_the_engine_breaks():
    class Breaking(MemoryStore):
        broken = False

        def commit(self, changes, processes=()):
            if self.broken:
                raise ValueError("no store of ours")
            super().commit(changes, processes)

    store, bodies, watcher, other = Breaking(), Bodies(gate=False), Watcher(), Watcher()
    with engine_of(bodies, store) as engine:
        key = opened(engine, watcher, task("a")).key
        assert bodies.entered.acquire(timeout=LONG)
        store.broken = True
        opened(engine, other, task("a"), run_id="other")  # it is recorded; its first attempt can not be
        assert watcher.over.wait(LONG)
        assert other.over.wait(LONG)
        assert watcher.why == other.why == "ValueError: no store of ours"
        with pytest.raises(InternalError, match="no store of ours"):
            engine.release(key)
        with pytest.raises(InternalError, match="no store of ours"):
            opened(engine, Watcher(), task("a"), run_id="third")


def test_a_store_that_can_not_be_written_is_said_to_all_that_wait_when_the_engine_is_stopped():
    class Unwritable(MemoryStore):
        entered = threading.Event()

        def create_runs(self, runs):
            self.entered.set()
            raise StoreUnavailable("database or disk is full")

    store = Unwritable()
    with engine_of(Bodies(), store) as engine:
        answers = [engine.open_run(request(Watcher(), task("a"), run_id=str(n))) for n in range(3)]
        assert store.entered.wait(LONG)
    for answer in answers:
        assert isinstance(answer.exception(LONG), (StoreUnavailable, InternalError))


def test_the_run_of_an_active_submission_can_not_be_opened():
    bodies = Bodies(gate=False)
    with engine_of(bodies) as engine:
        key = engine.submit(RunName("w", "r"), RunPlan(tasks=(task("a"),)))
        with pytest.raises(WorkflowRunningError):
            opened(engine, Watcher(), task("a"))
        engine.request(ShutdownRequested(key, Shutdown.TERMINATE))
        engine.wait(key, LONG)
        bodies.gate.set()
        assert opened(engine, Watcher(), task("a")).outcome == "resumed"
        assert engine.wait(key, LONG).head.phase == RunPhase.COMPLETED


def test_an_attempt_that_has_timed_out_is_not_repeated_where_the_policy_says_so():
    bodies, watcher = Bodies(gate=False), Watcher()
    with engine_of(bodies) as engine:
        once = task("a", timeout_seconds=0.05, retry=RetryPolicy(limit=5, delay_seconds=0, timeouts=False))
        key = opened(engine, watcher, once).key
        assert watcher.over.wait(LONG)
        assert (watcher.phase, engine.snapshot(key).tasks[0].reason) == (RunPhase.FAILED, "Timeout")
    assert bodies.names == ["a"]
