"""Requirement by requirement: that threads do not get into each other's way, and that they do not under load either."""

from __future__ import annotations

import gc
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowweaver import AsyncExecutor, Task, TaskStatus, ThreadedExecutor, Workflow, WorkflowRunningError

PATIENCE = 30.0


@pytest.fixture(params=["usual", pytest.param("always switching", marks=pytest.mark.slow)])
def switching(request) -> Iterator[None]:
    """How often the interpreter lets another thread go on."""
    usual = sys.getswitchinterval()
    if request.param != "usual":
        sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """What each call returned, or raised, when a thread each made them at the same moment."""
    start = threading.Barrier(len(calls))
    ended: list[Any] = [None] * len(calls)

    def run(index: int) -> None:
        start.wait(PATIENCE)
        try:
            ended[index] = calls[index]()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            ended[index] = error

    threads = [threading.Thread(target=run, args=[index]) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    return ended


@pytest.mark.parametrize(
    "make", [lambda store: ThreadedExecutor(10, store), lambda store: AsyncExecutor(state_store=store)]
)
def test_tasks_that_are_inside_at_the_same_moment_all_leave_their_results(make, store_of):
    meeting = threading.Barrier(10)

    def body(number):
        meeting.wait(PATIENCE)
        return {"number": number}

    workflow = Workflow("ten")
    for number in range(10):
        workflow.add_task(Task(f"t{number}", lambda number=number: body(number)))
    workflow.add_task(
        Task("all", lambda **found: sorted(one["number"] for one in found.values())), list(workflow.tasks)
    )

    make(store_of()).execute(workflow)

    assert workflow.get_task_result("all") == list(range(10))


def test_each_of_many_bodies_runs_once(executor_of, switching):
    ran: Counter[int] = Counter()
    lock = threading.Lock()

    def body(number):
        with lock:
            ran[number] += 1
        return number

    workflow = Workflow("many")
    for number in range(1_500):
        workflow.add_task(
            Task(f"t{number}", lambda number=number: body(number)), [f"t{number // 2}"] if number > 1 else []
        )

    executor_of().execute(workflow)

    assert ran == dict.fromkeys(range(1_500), 1)
    assert [one.result for one in workflow.tasks.values()] == list(range(1_500))


def test_others_may_look_while_it_is_executed(executor, switching):
    workflow = Workflow("watched")
    for number in range(200):
        workflow.add_task(Task(f"t{number}", lambda number=number: number), [f"t{number - 4}"] if number > 3 else [])
    over = threading.Event()
    looks: list[int] = []

    def execute():
        try:
            executor.execute(workflow)
        finally:
            over.set()

    def look():
        seen = 0
        while True:
            last = over.wait(0.001)
            stats = workflow.get_workflow_stats()
            assert sum(stats[key] for key in ("completed", "failed", "pending", "running")) == 200
            assert stats["completed"] >= seen
            seen = stats["completed"]
            for number in (0, seen // 2, 199):
                one = workflow.get_task(f"t{number}")
                if one.status is TaskStatus.COMPLETED:
                    assert one.result == number
                    assert one.started_at <= one.completed_at
            looks.append(seen)
            if last:
                return

    assert at_once([execute, look, look, look]) == [None] * 4
    assert looks.count(200) >= 3


def test_threads_share_one_executor_and_ask_for_each_others_workflows(executor_of, store_of, switching):
    executor = executor_of(state_store=store_of())
    ran: Counter[str] = Counter()
    lock = threading.Lock()
    executed = [threading.Event() for _ in range(8)]

    def build(owner):
        def body(name):
            with lock:
                ran[name] += 1
            return name

        workflow = Workflow(f"of {owner}")
        for number in range(12):
            name = f"t{number}"
            run = lambda owner=owner, name=name, **_: body(f"{owner} {name}")  # noqa: E731 - a task of its own each time
            workflow.add_task(Task(name, run), [f"t{number - 3}"] if number > 2 else [])
        return workflow

    def work(owner):
        mine = build(owner)
        executor.execute(mine)
        executed[owner].set()
        other = (owner + 1) % 8
        assert executed[other].wait(PATIENCE)
        theirs = build(other)
        executor.execute(theirs)
        return [[one.result for one in workflow.tasks.values()] for workflow in (mine, theirs)]

    results = at_once([lambda owner=owner: work(owner) for owner in range(8)])

    of = [[f"{owner} t{number}" for number in range(12)] for owner in range(8)]
    assert results == [[of[owner], of[(owner + 1) % 8]] for owner in range(8)]
    assert set(ran.values()) == {1}
    assert len(ran) == 96


def test_of_several_threads_that_execute_one_object_at_once_one_does(executor):
    inside, go_on = threading.Event(), threading.Event()
    ran = []

    def body():
        ran.append(1)
        inside.set()
        go_on.wait(PATIENCE)

    workflow = Workflow("one object")
    workflow.add_task(Task("t", body))

    def first():
        executor.execute(workflow)

    def later():
        assert inside.wait(PATIENCE)
        try:
            executor.execute(workflow)
        finally:
            refused.append(1)
            if len(refused) == 3:
                go_on.set()

    refused: list[int] = []
    ended = at_once([first, later, later, later])

    assert ended[0] is None
    assert [type(error) for error in ended[1:]] == [WorkflowRunningError] * 3
    assert ran == [1]


def test_every_change_is_told_in_order_when_hundreds_change_at_once(executor, switching):
    told: defaultdict[str, list[TaskStatus]] = defaultdict(list)
    workflow = Workflow("told")
    for number in range(150):
        workflow.add_task(
            Task(f"t{number}", lambda: None, on_status_change=lambda name, status: told[name].append(status)),
            [f"t{number - 10}"] if number >= 10 else [],
        )

    executor.execute(workflow)

    assert dict(told) == {name: [TaskStatus.RUNNING, TaskStatus.COMPLETED] for name in workflow.tasks}


def test_bodies_execute_workflows_on_their_own_executor_when_all_workers_do(executor):
    def build(name, depth):
        workflow = Workflow(name)
        for number in range(4):
            below = f"{name}.{number}"
            body = (lambda below=below: run(below, depth - 1)) if depth else (lambda: 1)
            workflow.add_task(Task(f"t{number}", body))
        return workflow

    def run(name, depth):
        return sum(one.result for one in executor.execute(build(name, depth)).tasks.values())

    assert run("root", 2) == 64


def test_a_store_serves_several_threads_by_several_objects(store_of):
    stores = [store_of(), store_of()]

    def save(owner):
        for number in range(10):
            stores[owner % 2].save_task_state(f"{owner} {number}", TaskStatus.COMPLETED, result=[owner, number])

    assert at_once([lambda owner=owner: save(owner) for owner in range(6)]) == [None] * 6

    names = [f"{owner} {number}" for owner in range(6) for number in range(10)]
    assert sorted(store_of().list_task_states()) == sorted(names)
    assert [store_of().load_task_state(name)["result"] for name in names[::7]] == [
        [int(part) for part in name.split()] for name in names[::7]
    ]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux lists a process's descriptors")
def test_after_many_executions_threads_and_descriptors_are_back_where_they_were(executor):
    def execute(number):
        workflow = Workflow(f"w{number}")
        for name in ("a", "b", "c"):
            workflow.add_task(Task(name, lambda: number))
        executor.execute(workflow)

    def count():
        gc.collect()
        return threading.active_count(), sum(1 for _ in Path("/proc/self/fd").iterdir())

    execute(0)
    before = count()

    for number in range(1, 15):
        execute(number)

    assert count() == before
