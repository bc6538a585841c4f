"""The engine on real threads and a real file."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from flowweaver.core.events import Completed, Failed, RerunRequested, Shutdown, ShutdownRequested
from flowweaver.core.plan import RetryPolicy, RunPlan, TaskPlan
from flowweaver.engine import Engine, SystemClock
from flowweaver.errors import CommitUnknown, GraphError, InternalError, StoreUnavailable
from flowweaver.executors.threaded import ThreadedExecutor
from flowweaver.ports import RunName, RunNotice
from flowweaver.stores import MemoryStore, SQLiteStore
from flowweaver.testing.stores_disk import Disk, Effect
from tests.engine.conftest import task

LONG = 60.0  # seconds; nothing here takes so long unless it hangs


@pytest.fixture(params=[False, True], ids=["a thread of its own", "lent threads"], autouse=True)
def lent_threads(request, monkeypatch):
    """Everything here holds whoever takes the turns."""
    monkeypatch.setattr(sys.modules[__name__], "LENT_THREADS", request.param)
    return request.param


LENT_THREADS = False


@contextmanager
def engine_on(path: Path, run, *, workers: int = 4, vfs: str | None = None, **options):
    clock = SystemClock()
    store = SQLiteStore(path, clock=clock, vfs=vfs)
    executor = ThreadedExecutor(run, workers, clock)
    options = {"lender": executor if LENT_THREADS else None, **options}
    try:
        with Engine(store=store, executor=executor, clock=clock, workers=workers, **options) as engine:
            yield engine
    finally:
        executor.close()
        store.close()


def total(attempt) -> Completed:
    """One more than all its dependencies together."""
    values = [json.loads(dependency.result) for dependency in attempt.dependencies.values()]
    return Completed(json.dumps(1 + sum(values)).encode())


def until(condition) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def test_results_travel_along_the_graph(tmp_path):
    plan = RunPlan(tasks=(task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c")))
    with engine_on(tmp_path / "s.db", total) as engine:
        key = engine.submit(RunName("w"), plan)
        snapshot = engine.wait(key, LONG)
        assert snapshot.head.phase == "completed"
        assert engine.results(key, ["a", "d"]) == {"a": b"1", "d": b"5"}


def test_two_hundred_runs_share_the_workers_and_all_complete(tmp_path):
    plan = RunPlan(tasks=(task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c")))
    with engine_on(tmp_path / "s.db", total) as engine:
        keys = [engine.submit(RunName("w", str(n)), plan) for n in range(200)]
        assert {engine.wait(key, LONG).head.phase for key in keys} == {"completed"}
        assert engine.health().active_runs == 0
        assert {engine.results(key, ["d"])["d"] for key in keys} == {b"5"}


def test_submissions_from_many_threads_make_one_run(tmp_path):
    with engine_on(tmp_path / "s.db", total) as engine:
        keys = []
        threads = [
            threading.Thread(target=lambda: keys.append(engine.submit(RunName("w"), RunPlan(tasks=(task("a"),)))))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(keys)) == 1
        assert engine.wait(keys[0], LONG).tasks[0].attempts == 1


def test_a_plan_that_is_no_dag_is_the_submitters_error(tmp_path):
    with engine_on(tmp_path / "s.db", total) as engine:
        with pytest.raises(GraphError, match="a -> b -> a"):
            engine.submit(RunName("w"), RunPlan(tasks=(task("a", "b"), task("b", "a"))))
        assert engine.health().accepting


def test_a_second_engine_on_the_file_goes_on_where_the_first_one_stopped(tmp_path):
    plan = RunPlan(tasks=(task("a"), task("b", "a"), task("c", "b")))
    entered, ran = threading.Event(), []

    def first(attempt):
        ran.append(attempt.task.name)
        if attempt.task.name == "b":
            entered.set()
            attempt.cancellation.wait(LONG)
        return total(attempt)

    with engine_on(tmp_path / "s.db", first) as engine:
        key = engine.submit(RunName("w"), plan)
        assert entered.wait(LONG)
    with engine_on(tmp_path / "s.db", lambda attempt: ran.append(attempt.task.name) or total(attempt)) as engine:
        snapshot = engine.wait(key, LONG)
        assert engine.submit(RunName("w"), plan) == key
    assert snapshot.head.phase == "completed"
    assert [state.attempts for state in snapshot.tasks] == [1, 2, 1]
    assert [state.crashes for state in snapshot.tasks] == [0, 0, 0]
    assert ran == ["a", "b", "b", "c"]


def test_stop_lets_running_attempts_end_within_the_grace_period(tmp_path):
    go, entered = threading.Event(), threading.Event()

    def run(attempt):
        entered.set()
        go.wait(LONG)
        return Completed(b'"ended"')

    with engine_on(tmp_path / "s.db", run) as engine:
        key = engine.submit(RunName("w"), RunPlan(tasks=(task("a"), task("b", "a"))))
        assert entered.wait(LONG)
        threading.Timer(0.05, go.set).start()
        engine.stop(grace_seconds=LONG)
        snapshot = engine.snapshot(key)
    assert [state.phase for state in snapshot.tasks] == ["completed", "pending"]
    assert snapshot.head.phase == "running"


def test_a_stopped_engine_takes_no_more_and_says_so(tmp_path):
    with engine_on(tmp_path / "s.db", total) as engine:
        engine.stop()
        with pytest.raises(InternalError, match="the engine has stopped"):
            engine.submit(RunName("w"), RunPlan(tasks=(task("a"),)))


def test_terminate_frees_the_worker_of_a_body_that_does_not_listen(tmp_path):
    go = threading.Event()

    def run(attempt):
        if attempt.task.name == "deaf":
            go.wait(LONG)
        return total(attempt)

    with engine_on(tmp_path / "s.db", run, workers=1) as engine:
        deaf = engine.submit(RunName("deaf"), RunPlan(tasks=(task("deaf"),)))
        engine.request(ShutdownRequested(deaf, Shutdown.TERMINATE))
        assert engine.wait(deaf, LONG).head.phase == "cancelled"
        other = engine.submit(RunName("other"), RunPlan(tasks=(task("a"),)))
        assert engine.wait(other, LONG).head.phase == "completed"
        go.set()


def test_a_timed_out_thread_never_runs_beside_its_own_retry(tmp_path):
    lock, beside, bodies = threading.Lock(), [], []

    def run(attempt):
        bodies.append(attempt.id.number)
        if not lock.acquire(blocking=False):
            beside.append(attempt.id.number)
        try:
            if attempt.id.number == 1:
                attempt.cancellation.wait(LONG)
            return Completed()
        finally:
            lock.release()

    retry = RetryPolicy(limit=1, delay_seconds=0.0)
    with engine_on(tmp_path / "s.db", run) as engine:
        key = engine.submit(RunName("w"), RunPlan(tasks=(task("a", timeout_seconds=0.05, retry=retry),)))
        assert engine.wait(key, LONG).head.phase == "completed"
    assert (bodies, beside) == ([1, 2], [])


def test_a_failed_run_is_run_again_where_it_did_not_complete(tmp_path):
    fail = threading.Event()
    fail.set()

    def run(attempt):
        return Failed(message="not yet") if attempt.task.name == "b" and fail.is_set() else total(attempt)

    with engine_on(tmp_path / "s.db", run) as engine:
        key = engine.submit(RunName("w"), RunPlan(tasks=(task("a"), task("b", "a"))))
        assert engine.wait(key, LONG).head.phase == "failed"
        fail.clear()
        done = threading.Event()
        engine.add_listener(lambda notices: done.set() if any(n.run == key for n in notices) else None)
        engine.request(RerunRequested(key, "1"))
        assert done.wait(LONG)
        snapshot = engine.wait(key, LONG)
    assert [(str(state.phase), state.attempts) for state in snapshot.tasks] == [("completed", 1), ("completed", 2)]


def test_whoever_hears_of_the_end_sees_the_outputs(tmp_path):
    outputs = TaskPlan(name="(outputs)", kind="outputs", depends_on=("a",), internal=True)
    seen = []

    def run(attempt):
        return total(attempt) if attempt.task.name == "a" else Completed(b'[{"name": "sum", "value": 1}]')

    def listener(notices):
        if any(isinstance(notice, RunNotice) and notice.head.phase.finished for notice in notices):
            seen.append(engine.snapshot(notices[0].run))

    with engine_on(tmp_path / "s.db", run) as engine:
        engine.add_listener(listener)
        engine.wait(engine.submit(RunName("w"), RunPlan(tasks=(task("a"), outputs))), LONG)
    assert [(str(snapshot.head.phase), snapshot.outputs) for snapshot in seen] == [("completed", {"sum": 1})]


def test_an_attempt_is_not_given_more_results_than_memory_bears(tmp_path):
    plan = RunPlan(tasks=(task("a"), task("b"), task("small", "a"), task("large", "a", "b")))
    with engine_on(tmp_path / "s.db", lambda _attempt: Completed(b'"%s"' % (b"x" * 60)), given_bytes=100) as engine:
        snapshot = engine.wait(engine.submit(RunName("w"), plan), LONG)
    assert [(str(state.phase), state.reason) for state in snapshot.tasks[2:]] == [
        ("completed", ""),
        ("failed", "ResultTooLarge"),
    ]
    assert "let them give less" in snapshot.tasks[3].message


def test_a_finished_run_can_be_forgotten_and_an_active_one_can_not(tmp_path):
    go = threading.Event()

    def run(_attempt):
        go.wait(LONG)
        return Completed()

    with engine_on(tmp_path / "s.db", run) as engine:
        key = engine.submit(RunName("w"), RunPlan(tasks=(task("a"),)))
        engine.forget(key)
        assert engine.snapshot(key) is not None
        go.set()
        engine.wait(key, LONG)
        engine.forget(key)
        assert engine.snapshot(key) is None
        assert engine.find(RunName("w")) is None


def test_a_full_disk_stops_intake_loses_nothing_and_goes_on_by_itself(tmp_path):
    release = threading.Event()

    def run(attempt):
        if attempt.task.name == "a":
            release.wait(LONG)
        return total(attempt)

    with Disk() as disk, engine_on(tmp_path / "s.db", run, vfs=disk.name) as engine:
        key = engine.submit(RunName("w"), RunPlan(tasks=(task("a"), task("b", "a"))))
        disk.will(Effect.FILL, "write", times=-1)
        release.set()
        until(lambda: engine.health().store_error)
        assert not engine.health().accepting
        assert engine.snapshot(key).tasks[1].phase == "pending"
        disk.heal()
        assert engine.wait(key, LONG).head.phase == "completed"
        assert engine.health().accepting
        assert engine.results(key, ["b"]) == {"b": b"2"}


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_an_io_error_at_any_commit_is_survived(tmp_path, operation):
    with Disk() as disk, engine_on(tmp_path / "s.db", total, vfs=disk.name) as engine:
        for nth in range(1, 6):
            disk.will(Effect.FAIL, operation, nth=nth)
            key = engine.submit(RunName("w", str(nth)), RunPlan(tasks=(task("a"), task("b", "a"))))
            assert engine.wait(key, LONG).head.phase == "completed"
            disk.heal()
            assert engine.results(key, ["b"]) == {"b": b"2"}


CHILD = """
    import os, sys
    from flowweaver.core.events import Completed
    from flowweaver.core.plan import RunPlan, TaskPlan
    from flowweaver.engine import Engine, SystemClock
    from flowweaver.executors.threaded import ThreadedExecutor
    from flowweaver.ports import RunName
    from flowweaver.stores import SQLiteStore

    out = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def run(attempt):
        os.write(out, f"{attempt.task.name}\\n".encode())
        return Completed(b"1")

    size = int(sys.argv[3])
    clock = SystemClock()
    store = SQLiteStore(sys.argv[1], clock=clock)
    tasks = tuple(
        TaskPlan(name=f"t{n}", kind="value", depends_on=(f"t{n - 1}",) if n else ()) for n in range(size)
    )
    with Engine(store=store, executor=ThreadedExecutor(run, 4, clock), clock=clock) as engine:
        engine.wait(engine.submit(RunName("w"), RunPlan(tasks=tasks)))
    store.close()
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_sync_stands_between_a_completion_and_the_start_of_what_depends_on_it(tmp_path):
    trace, log = tmp_path / "trace", tmp_path / "log"
    calls = ["strace", "-f", "-e", "trace=fdatasync,fsync,write", "-s", "20", "-o", str(trace)]
    child = [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path / "s.db"), str(log), "5"]
    subprocess.run([*calls, *child], check=True, timeout=LONG)
    assert log.read_text().split() == ["t0", "t1", "t2", "t3", "t4"]
    # What the trace has of bodies and of syncs that ended well, in order; repeated syncs count once.
    found = re.findall(r'write\(\d+, "(t\d)\\n"|(f(?:data)?sync)(?:\(\d+\)| resumed>\)) += 0', trace.read_text())
    order = [name or "sync" for name, _ in found]
    order = [entry for place, entry in enumerate(order) if entry != "sync" or order[place - 1] != "sync"]
    bodies = order[order.index("t0") :]
    assert bodies == ["t0", "sync", "t1", "sync", "t2", "sync", "t3", "sync", "t4", "sync"]


def test_kill_minus_nine_repeats_at_most_what_was_running(tmp_path):
    """A chain has one attempt at a time: so many kills, so many lines too many at most."""
    log, size, kills = tmp_path / "log", 400, 0
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path / "s.db"), str(log), str(size)]
    while True:
        before = len(log.read_text().split()) if log.exists() else 0
        child = subprocess.Popen(command)
        while child.poll() is None and kills < 5:
            if log.exists() and len(log.read_text().split()) > before + 40:
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
                break
        if child.wait(LONG) == 0:
            break
    lines = log.read_text().split()
    assert kills == 5
    assert list(dict.fromkeys(lines)) == [f"t{n}" for n in range(size)]
    assert len(lines) <= size + kills


def test_a_body_whose_callback_raises_does_not_stop_the_engine(tmp_path):
    entered = threading.Event()

    def broken():
        raise ValueError("mine")

    def run(attempt):
        if attempt.task.name == "odd":
            attempt.cancellation.on_request(broken)
            entered.set()
            attempt.cancellation.wait(LONG)
        return Completed()

    with engine_on(tmp_path / "s.db", run) as engine:
        key = engine.submit(RunName("w", "odd"), RunPlan(tasks=(task("odd"),)))
        assert entered.wait(LONG)
        engine.request(ShutdownRequested(key, Shutdown.TERMINATE))
        assert engine.wait(key, LONG).head.phase == "cancelled"
        other = engine.submit(RunName("w", "other"), RunPlan(tasks=(task("a"),)))
        assert engine.wait(other, LONG).head.phase == "completed"


def test_a_listener_that_submits_is_told_so_instead_of_waiting_for_itself(tmp_path):
    told = []
    with engine_on(tmp_path / "s.db", total) as engine:

        def listen(_notices):
            try:
                engine.submit(RunName("w", "more"), RunPlan(tasks=(task("a"),)))
            except InternalError as error:
                told.append(str(error))

        engine.add_listener(listen)
        engine.wait(engine.submit(RunName("w"), RunPlan(tasks=(task("a"),))), LONG)
        until(lambda: told)
    assert "the engine's own thread" in told[0]


@pytest.mark.parametrize(
    "error", [StoreUnavailable("database or disk is full"), CommitUnknown("disk I/O error")], ids=["full", "ambiguous"]
)
def test_an_engine_can_be_stopped_while_its_store_can_not_be_written(error):
    class Unwritable(MemoryStore):
        full = False

        def commit(self, changes, processes=()):
            if self.full:
                raise error
            super().commit(changes, processes)

    store, clock, entered = Unwritable(), SystemClock(), threading.Event()

    def run(attempt):
        entered.set()
        attempt.cancellation.wait(LONG)
        return Completed()

    executor = ThreadedExecutor(run, 2, clock)
    engine = Engine(store=store, executor=executor, clock=clock, workers=2).start()
    key = engine.submit(RunName("w"), RunPlan(tasks=(task("a"),)))
    assert entered.wait(LONG)
    store.full = True
    engine.request(ShutdownRequested(key, Shutdown.TERMINATE))
    until(lambda: engine.health().store_error)
    assert not engine.health().accepting
    engine.stop()  # hangs here where it waits for the store
    executor.close()
    assert "stopped while the store could not be written" in engine.health().failure
    assert store.read_run(key).tasks[0].phase == "running"  # the next start takes it up


def test_a_submitter_is_told_when_the_engine_stops_before_the_store_can_be_written():
    class Unwritable(MemoryStore):
        def create_runs(self, runs):
            raise StoreUnavailable("database or disk is full")

    clock, told = SystemClock(), []
    executor = ThreadedExecutor(total, 1, clock)
    engine = Engine(store=Unwritable(), executor=executor, clock=clock, workers=1).start()

    def submit():
        try:
            engine.submit(RunName("w"), RunPlan(tasks=(task("a"),)))
        except StoreUnavailable as error:
            told.append(str(error))

    submitter = threading.Thread(target=submit)
    submitter.start()
    until(lambda: engine.health().store_error)
    engine.stop()
    submitter.join(LONG)
    executor.close()
    assert "database or disk is full" in told[0]


def test_along_a_chain_the_thread_that_ends_an_attempt_takes_the_turn_and_goes_on(tmp_path, lent_threads):
    turns, bodies = set(), []

    def run(attempt):
        bodies.append(threading.current_thread())
        return total(attempt)

    plan = RunPlan(tasks=(task("t0"), *[task(f"t{number}", f"t{number - 1}") for number in range(1, 50)]))
    with engine_on(tmp_path / "s.db", run) as engine:
        engine.add_listener(lambda _notices: turns.add(threading.current_thread()))
        engine.wait(engine.submit(RunName("w"), plan), LONG)
    assert len(bodies) == 50
    if lent_threads:
        assert len(set(bodies)) == 1
        assert set(bodies) < turns
    else:
        assert not turns & set(bodies)


def test_what_goes_wrong_in_a_turn_stops_the_engine_whichever_thread_takes_it(tmp_path):
    class Broken(MemoryStore):
        def commit(self, changes, processes=()):
            if changes.results:
                raise ValueError("a store that raises what no store may")
            super().commit(changes, processes)

    clock, store = SystemClock(), Broken()
    executor = ThreadedExecutor(total, 2, clock)
    try:
        lender = executor if LENT_THREADS else None
        with Engine(store=store, executor=executor, clock=clock, workers=2, lender=lender) as engine:
            with pytest.raises(InternalError, match="what no store may"):
                engine.wait(engine.submit(RunName("w"), RunPlan(tasks=(task("a"),))), LONG)
            with pytest.raises(InternalError, match="what no store may"):
                engine.submit(RunName("w", "other"), RunPlan(tasks=(task("a"),)))
    finally:
        executor.close()


# Four threads are made, and then one of them is quick for a while.
TOGETHER = [task(f"together{number}") for number in range(4)]
CHAIN = [task("q0", *[each.name for each in TOGETHER]), *[task(f"q{n}", f"q{n - 1}") for n in range(1, 20)]]
QUICK = [*TOGETHER, *CHAIN]


def test_bodies_that_are_not_quick_after_many_that_were_run_beside_each_other(tmp_path):
    threads, together = threading.Barrier(4), threading.Barrier(3)

    def run(attempt):
        if attempt.task.name.startswith("together"):
            threads.wait(LONG)
        if attempt.task.name.startswith("slow"):
            together.wait(LONG)  # raises where the others do not come
        return Completed()

    plan = RunPlan(tasks=(*QUICK, *[task(f"slow{number}", "q19") for number in range(3)]))
    with engine_on(tmp_path / "s.db", run) as engine:
        assert engine.wait(engine.submit(RunName("w"), plan), LONG).head.phase == "completed"


def test_the_end_of_a_quick_body_is_committed_while_the_next_one_in_that_thread_goes_on(tmp_path):
    threads, after = threading.Barrier(4), threading.Event()

    def run(attempt):
        if attempt.task.name.startswith("together"):
            threads.wait(LONG)
        if attempt.task.name == "after":
            after.set()
        if attempt.task.name == "slow" and not after.wait(LONG):
            return Failed()
        return Completed()

    plan = RunPlan(tasks=(*QUICK, task("quick", "q19"), task("slow", "q19"), task("after", "quick")))
    with engine_on(tmp_path / "s.db", run) as engine:
        assert engine.wait(engine.submit(RunName("w"), plan), LONG).head.phase == "completed"
