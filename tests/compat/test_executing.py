"""Executing a workflow, by each of the three executors."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import OrderedDict
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import pytest

from flowweaver import AsyncExecutor, SequentialExecutor, Task, TaskStatus, ThreadedExecutor, Workflow


class Point(NamedTuple):
    x: int
    y: int


def seven():
    return 7


class Odd:
    """Can be compared with nothing, and copied by nothing."""

    def __eq__(self, other):
        raise RuntimeError("do not compare me")

    __hash__ = None

    def __reduce__(self):
        raise RuntimeError("do not copy me")


class Recorder:
    """Functions that note that they ran."""

    def __init__(self):
        self.ran = []
        self._lock = threading.Lock()

    def __call__(self, name, result=None, error=None):
        def body():
            with self._lock:
                self.ran.append(name)
            if error is not None:
                raise error
            return result

        return body


@pytest.fixture
def body():
    return Recorder()


def test_results_go_to_the_parameters_with_the_names_of_the_dependencies(executor_class):
    workflow = Workflow("names")
    workflow.add_task(Task("left", lambda: 7))
    workflow.add_task(Task("right", lambda: 4))
    workflow.add_task(Task("difference", lambda left, right: left - right), depends_on=["right", "left"])
    workflow.add_task(Task("some", lambda right, unit="m": f"{right} {unit}"), depends_on=["right", "left"])
    workflow.add_task(Task("none", lambda: "nothing asked"), depends_on=["left"])
    workflow.add_task(Task("every", lambda **found: found), depends_on=["left", "difference"])

    executor_class().execute(workflow)

    assert {name: one.result for name, one in workflow.get_all_tasks().items()} == {
        "left": 7,
        "right": 4,
        "difference": 3,
        "some": "4 m",
        "none": "nothing asked",
        "every": {"left": 7, "difference": 3},
    }


def test_every_result_comes_under_the_name_of_its_task(executor_class):
    workflow = Workflow("names")
    for name in ("load-all", "count rows", "für"):
        workflow.add_task(Task(name, lambda name=name: len(name)))
    workflow.add_task(Task("every", lambda **found: found), depends_on=["load-all", "count rows", "für"])

    executor_class().execute(workflow)

    assert workflow.get_task_result("every") == {"load-all": 8, "count rows": 10, "für": 3}


@pytest.mark.parametrize("value", [0, "", [], {}, False, None, 0.0])
def test_what_is_false_is_handed_on_as_it_is(executor_class, value):
    workflow = Workflow("false")
    workflow.add_task(Task("value", lambda: value))
    workflow.add_task(Task("same", lambda value: [value]), depends_on=["value"])

    executor_class().execute(workflow)

    assert workflow.get_task_result("value") == value
    assert workflow.get_task_result("same") == [value]
    assert type(workflow.get_task_result("same")[0]) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {"pairs": (1, 2)},
        Point(1, 2),
        OrderedDict(b=1, a=2),
        {1: "one"},
        {1, 2},
        b"bytes",
        Decimal("1.10"),
        datetime(2026, 1, 2),
        2**80,
        float("inf"),
        1 + 2j,
    ],
    ids=repr,
)
def test_without_a_store_a_result_keeps_its_type(executor_class, value):
    workflow = Workflow("types")
    workflow.add_task(Task("value", lambda: value))
    workflow.add_task(Task("got", lambda value: (type(value), value)), depends_on=["value"])

    executor_class().execute(workflow)

    assert workflow.get_task_result("value") == value
    assert type(workflow.get_task_result("value")) is type(value)
    assert workflow.get_task_result("got") == (type(value), value)


@pytest.mark.parametrize("make", [object, threading.Lock, Odd, lambda: iter([1]), lambda: seven])
def test_without_a_store_a_result_that_no_format_carries_is_handed_on_itself(executor_class, make):
    made = make()
    workflow = Workflow("objects")
    workflow.add_task(Task("made", lambda: made))
    workflow.add_task(Task("same", lambda made, expected=made: made is expected), depends_on=["made"])

    executor_class().execute(workflow)

    assert workflow.get_task_result("made") is made
    assert workflow.get_task_result("same") is True


def test_every_task_says_what_became_of_it(executor_class):
    workflow = Workflow("fine")
    workflow.add_task(Task("a", lambda: 1))
    workflow.add_task(Task("b", lambda a: a + 1), depends_on=["a"])

    executor_class().execute(workflow)

    for name in ("a", "b"):
        done = workflow.get_task(name)
        assert (done.status, done.error) == (TaskStatus.COMPLETED, None)
        assert workflow.get_task_status(name) is TaskStatus.COMPLETED
        assert done.started_at.tzinfo is None
        assert done.started_at <= done.completed_at <= datetime.now()
    assert workflow.get_task("a").completed_at <= workflow.get_task("b").started_at


def test_a_failure_is_a_runtime_error_that_names_the_task(executor_class, outcome, body):
    workflow = Workflow("fails")
    workflow.add_task(Task("before", body("before", 1)))
    workflow.add_task(Task("risky", body("risky", error=ValueError("boom"))), depends_on=["before"])
    workflow.add_task(Task("after", body("after")), depends_on=["risky"])

    failure = outcome(executor_class(), workflow)

    assert isinstance(failure, RuntimeError)
    assert "risky" in str(failure)
    assert isinstance(failure.__cause__, RuntimeError)
    assert body.ran == ["before", "risky"]
    assert [one.status.name for one in workflow.get_all_tasks().values()] == ["COMPLETED", "FAILED", "PENDING"]
    risky = workflow.get_task("risky")
    assert (risky.result, risky.error) == (None, "boom")
    assert risky.started_at <= risky.completed_at
    after = workflow.get_task("after")
    assert (after.result, after.error, after.started_at, after.completed_at) == (None, None, None, None)
    stats = workflow.get_workflow_stats()
    assert [stats[key] for key in ("completed", "failed", "pending", "running")] == [1, 1, 1, 0]


@pytest.mark.parametrize(
    "error", [ValueError(), KeyError("name"), OSError(2, "No such file"), ValueError("a", 1)], ids=repr
)
def test_the_error_of_a_task_is_the_text_of_its_exception(executor_class, outcome, error, body):
    workflow = Workflow("fails")
    workflow.add_task(Task("risky", body("risky", error=error)))

    assert isinstance(outcome(executor_class(), workflow), RuntimeError)

    assert workflow.get_task("risky").error == str(error)


def test_failed_attempts_are_repeated_and_announced(executor_class):
    attempts, announced = [], []

    def flaky():
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError("not yet")
        return "done"

    workflow = Workflow("flaky")
    workflow.add_task(Task("flaky", flaky, retries=2, on_retry=lambda name, attempt: announced.append((name, attempt))))

    executor_class().execute(workflow)

    assert len(attempts) == 3
    assert announced == [("flaky", 1), ("flaky", 2)]
    assert (workflow.get_task_result("flaky"), workflow.get_task("flaky").error) == ("done", None)


def test_as_many_attempts_are_made_as_were_allowed(executor_class, outcome, body):
    announced = []
    workflow = Workflow("hopeless")
    workflow.add_task(
        Task("bad", body("bad", error=ValueError("no")), retries=2, on_retry=lambda name, n: announced.append(n))
    )

    assert isinstance(outcome(executor_class(), workflow), RuntimeError)

    assert body.ran == ["bad", "bad", "bad"]
    assert announced == [1, 2]


def test_status_changes_are_announced_in_order(executor_class, outcome):
    seen = []

    def note(name, status):
        seen.append((name, status.value))

    workflow = Workflow("announced")
    workflow.add_task(Task("a", lambda: 1, on_status_change=note))
    workflow.add_task(Task("b", lambda: 1 / 0, retries=1, on_status_change=note), depends_on=["a"])
    workflow.add_task(Task("c", lambda: 1, on_status_change=note), depends_on=["b"])

    outcome(executor_class(), workflow)

    assert seen == [("a", "running"), ("a", "completed"), ("b", "running"), ("b", "failed")]


def test_whoever_is_told_of_the_end_of_a_task_can_ask_for_its_result(executor_class):
    seen = {}

    def note(name, status):
        if status is TaskStatus.COMPLETED:
            seen[name] = (workflow.get_task_status(name), workflow.get_task_result(name))

    workflow = Workflow("asking")
    workflow.add_task(Task("a", lambda: [1], on_status_change=note))
    workflow.add_task(Task("b", lambda a: a[0] + 1, on_status_change=note), depends_on=["a"])

    executor_class().execute(workflow)

    assert seen == {"a": (TaskStatus.COMPLETED, [1]), "b": (TaskStatus.COMPLETED, 2)}


def test_a_task_may_be_changed_after_it_was_added(executor_class, body):
    workflow = Workflow("changed")
    workflow.add_task(Task("a", body("a", error=ValueError("not this one"))))

    workflow.get_task("a").fn = body("another", 1)
    executor_class().execute(workflow)

    assert body.ran == ["another"]
    assert workflow.get_task_result("a") == 1


def test_a_workflow_can_be_a_class_of_a_program_s_own(executor_class):
    class Nightly(Workflow):
        def __init__(self, number):
            super().__init__("nightly")
            self.add_task(Task("a", lambda: number))
            self.add_task(Task("b", self.double), depends_on=["a"])

        def double(self, a):
            return a * 2

    workflow = Nightly(4)
    executor_class().execute(workflow)

    assert workflow.get_task_result("b") == 8


def test_what_belongs_to_a_thread_goes_from_task_to_task_in_the_sequential_executor():
    workflow = Workflow("database")
    workflow.add_task(Task("connection", lambda: sqlite3.connect(":memory:")))
    workflow.add_task(
        Task("rows", lambda connection: connection.execute("SELECT 1").fetchall()), depends_on=["connection"]
    )

    SequentialExecutor().execute(workflow)

    workflow.get_task_result("connection").close()
    assert workflow.get_task_result("rows") == [(1,)]


def test_what_completed_is_not_run_again_by_another_execution(executor_class, body):
    workflow = Workflow("twice")
    workflow.add_task(Task("a", body("a", 1)))
    workflow.add_task(Task("b", body("b", 2)), depends_on=["a"])
    executor = executor_class()

    executor.execute(workflow)
    executor.execute(workflow)
    executor_class().execute(workflow)

    assert body.ran == ["a", "b"]
    assert (workflow.get_task_result("a"), workflow.get_task_result("b")) == (1, 2)
    assert workflow.get_workflow_stats()["completed"] == 2


@pytest.mark.parametrize("executor_class", [SequentialExecutor, ThreadedExecutor])  # 0.2.2's third one could not
def test_another_execution_after_a_failure_goes_on_where_it_stopped(executor_class, outcome, body):
    broken = [True]

    def risky(a):
        body.ran.append("risky")
        if broken:
            raise ValueError("boom")
        return a + 1

    workflow = Workflow("mended")
    workflow.add_task(Task("a", body("a", 1)))
    workflow.add_task(Task("risky", risky), depends_on=["a"])
    workflow.add_task(Task("last", lambda risky: risky + 1), depends_on=["risky"])
    executor = executor_class()
    assert isinstance(outcome(executor, workflow), RuntimeError)

    broken.clear()
    executor.execute(workflow)

    assert body.ran == ["a", "risky", "risky"]
    assert workflow.get_task_result("last") == 3
    assert workflow.get_task("risky").error is None


@pytest.mark.parametrize("executor_class", [SequentialExecutor, ThreadedExecutor])  # the same
def test_a_task_that_is_added_after_an_execution_runs_in_the_next_one(executor_class, body):
    workflow = Workflow("growing")
    workflow.add_task(Task("a", body("a", 1)))
    executor = executor_class()
    executor.execute(workflow)

    workflow.add_task(Task("b", lambda a: a + 1), depends_on=["a"])
    executor.execute(workflow)

    assert body.ran == ["a"]
    assert workflow.get_task_result("b") == 2


def test_a_new_workflow_of_the_same_name_runs_anew(executor_class, body):
    executor = executor_class()
    for result in (1, 2):
        workflow = Workflow("same name")
        workflow.add_task(Task("a", body("a", result)))
        executor.execute(workflow)
        assert workflow.get_task_result("a") == result

    assert body.ran == ["a", "a"]


@pytest.mark.parametrize("executor_class", [SequentialExecutor, ThreadedExecutor])  # 0.2.2's third one could not
def test_a_task_said_to_be_completed_does_not_run_and_hands_on_its_result(executor_class, body):
    workflow = Workflow("given")
    workflow.add_task(Task("a", body("a", 1)))
    workflow.add_task(Task("b", lambda a: a + 1), depends_on=["a"])
    given = workflow.get_task("a")
    given.status, given.result = TaskStatus.COMPLETED, 10

    executor_class().execute(workflow)

    assert body.ran == []
    assert workflow.get_task_result("b") == 11


def test_a_task_said_to_be_pending_again_runs_again(executor_class, body):
    workflow = Workflow("once more")
    workflow.add_task(Task("a", body("a", 1)))
    workflow.add_task(Task("b", body("b", 2)), depends_on=["a"])
    executor = executor_class()
    executor.execute(workflow)

    workflow.get_task("b").status = TaskStatus.PENDING
    executor.execute(workflow)

    assert body.ran == ["a", "b", "b"]
    assert workflow.get_task_status("b") is TaskStatus.COMPLETED


def test_a_task_that_two_workflows_share_completes_once(executor_class, body):
    shared = Task("shared", body("shared", 5))
    first, second = Workflow("first"), Workflow("second")
    first.add_task(shared)
    second.add_task(shared)

    executor_class().execute(first)
    executor_class().execute(second)

    assert body.ran == ["shared"]
    assert second.get_task_result("shared") == 5


def test_one_executor_serves_several_threads(executor_class):
    executor = executor_class()
    results = {}

    def execute(number):
        workflow = Workflow(f"of thread {number}")
        workflow.add_task(Task("a", lambda: number))
        workflow.add_task(Task("b", lambda a: a * 2), depends_on=["a"])
        executor.execute(workflow)
        results[number] = workflow.get_task_result("b")

    threads = [threading.Thread(target=execute, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == {number: number * 2 for number in range(8)}


def test_the_threaded_executor_runs_as_many_at_once_as_it_may(patience):
    meeting = threading.Barrier(3)
    running, most, lock = [0], [0], threading.Lock()

    def body():
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        meeting.wait(max(patience, 5))
        with lock:
            running[0] -= 1

    workflow = Workflow("wide")
    for number in range(9):
        workflow.add_task(Task(f"t{number}", body))

    ThreadedExecutor(max_workers=3).execute(workflow)

    assert most == [3]
    assert workflow.get_workflow_stats()["completed"] == 9


def test_the_number_of_threads_may_be_left_to_the_executor(body):
    workflow = Workflow("as many as it likes")
    workflow.add_task(Task("a", body("a", 1)))

    ThreadedExecutor(max_workers=None).execute(workflow)

    assert workflow.get_task_result("a") == 1


def test_the_asynchronous_executor_runs_coroutines_at_once_in_one_loop():
    loops, here, all_here = set(), [], asyncio.Event()

    async def meet(name):
        loops.add(asyncio.get_running_loop())
        here.append(name)
        if len(here) == 50:
            all_here.set()
        await all_here.wait()
        return name

    def named(name):
        async def body():
            return await meet(name)

        return body

    workflow = Workflow("many")
    for number in range(50):
        workflow.add_task(Task(f"t{number}", named(number)))

    AsyncExecutor().execute(workflow)

    assert len(loops) == 1
    assert sorted(one.result for one in workflow.get_all_tasks().values()) == list(range(50))


def test_the_asynchronous_executor_runs_other_functions_in_threads(patience):
    meeting = threading.Barrier(2)
    workflow = Workflow("both")
    for name in ("a", "b"):
        workflow.add_task(Task(name, lambda: meeting.wait(max(patience, 5)) is not None))

    AsyncExecutor().execute(workflow)

    assert [one.result for one in workflow.get_all_tasks().values()] == [True, True]


def test_coroutines_of_one_execution_can_share_what_belongs_to_a_loop():
    queue = asyncio.Queue()

    async def put():
        for number in range(3):
            await queue.put(number)

    async def take():
        return [await queue.get() for _ in range(3)]

    workflow = Workflow("queue")
    workflow.add_task(Task("take", take))
    workflow.add_task(Task("put", put))

    AsyncExecutor().execute(workflow)

    assert workflow.get_task_result("take") == [0, 1, 2]


def test_the_asynchronous_executor_keeps_to_timeouts(outcome):
    async def forever():
        await asyncio.Event().wait()

    workflow = Workflow("late")
    workflow.add_task(Task("forever", forever, timeout=0.1))

    failure = outcome(AsyncExecutor(), workflow)

    assert isinstance(failure, RuntimeError)
    assert "forever" in str(failure)
    late = workflow.get_task("forever")
    assert late.status is TaskStatus.FAILED
    assert "timeout" in late.error.lower()
    assert "0.1" in late.error


def test_a_faster_loop_may_be_asked_for_whether_it_is_installed_or_not(body):
    workflow = Workflow("faster")
    workflow.add_task(Task("a", body("a", 1)))

    executor = AsyncExecutor(use_uvloop=True)
    executor.execute(workflow)

    assert executor.use_uvloop is True
    assert workflow.get_task_result("a") == 1


def test_the_asynchronous_executor_does_not_block_a_loop_that_runs_already(body):
    workflow = Workflow("nested")
    workflow.add_task(Task("a", body("a", 1)))

    async def main():
        with pytest.raises(RuntimeError, match="loop"):
            AsyncExecutor().execute(workflow)

    asyncio.run(main())

    assert body.ran == []


def test_an_interrupt_in_the_caller_s_thread_comes_out_of_execute(body):
    workflow = Workflow("interrupted")
    workflow.add_task(Task("a", body("a", 1)))
    workflow.add_task(Task("b", body("b", error=KeyboardInterrupt())), depends_on=["a"])
    workflow.add_task(Task("c", body("c")), depends_on=["b"])

    with pytest.raises(KeyboardInterrupt):
        SequentialExecutor().execute(workflow)

    assert body.ran == ["a", "b"]
    assert workflow.get_task_status("a") is TaskStatus.COMPLETED


def test_an_executor_remembers_what_it_was_made_with(open_store):
    store = open_store()

    assert SequentialExecutor(store).storage is store
    assert SequentialExecutor().storage is None
    assert (ThreadedExecutor(7, store).max_workers, ThreadedExecutor(7, store).storage) == (7, store)
    assert ThreadedExecutor().max_workers == 4
    assert (AsyncExecutor(False, store).use_uvloop, AsyncExecutor(False, store).storage) == (False, store)


def test_the_log_names_the_workflow_that_is_executed(executor_class, body, caplog):
    caplog.set_level(logging.DEBUG, logger="flowweaver")
    workflow = Workflow("good one")
    workflow.add_task(Task("a", body("a", 1)))

    executor_class().execute(workflow)

    told = [record for record in caplog.records if record.name.partition(".")[0] == "flowweaver"]
    assert any(record.levelno == logging.INFO and "good one" in record.getMessage() for record in told)


def test_no_execution_leaves_a_thread_behind(executor_class, body):
    before = set(threading.enumerate())
    workflow = Workflow("tidy")
    for number in range(5):
        workflow.add_task(Task(f"t{number}", body(number)))

    executor_class().execute(workflow)

    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before
