"""What is another way now, and not by mistake. Each test says how it was and how it is."""

from __future__ import annotations

import asyncio
import threading

import pytest

import flowweaver
from flowweaver import SequentialExecutor, Task, ThreadedExecutor, Workflow

THEN = flowweaver.__version__ == "0.2.2"


def test_a_result_is_one_object_for_all_or_a_copy_for_each(executor_class):
    workflow = Workflow("copies")
    workflow.add_task(Task("rows", list))
    workflow.add_task(Task("spoil", lambda rows: rows.append("spoilt")), depends_on=["rows"])
    workflow.add_task(Task("count", lambda rows: len(rows)), depends_on=["rows", "spoil"])

    executor_class().execute(workflow)

    assert workflow.get_task_result("count") == (1 if THEN else 0)


@pytest.mark.parametrize("executor_class", [SequentialExecutor, ThreadedExecutor])
def test_where_an_event_loop_runs_execute_names_what_to_await(executor_class):
    ran = []
    workflow = Workflow("notebook")
    workflow.add_task(Task("a", lambda: ran.append(1)))

    async def cell():
        executor_class().execute(workflow)

    if THEN:
        asyncio.run(cell())
        assert ran == [1]
    else:
        with pytest.raises(RuntimeError, match="await workflow.execute_async"):
            asyncio.run(cell())
        assert ran == []


def test_one_at_a_time_runs_in_the_caller_s_thread_and_what_is_ready_in_an_order_of_its_own():
    needed = {"z": [], "a": [], "y": ["z"], "b": ["a"], "m": ["a", "z"], "end": ["y"], "lone": []}
    orders = []
    for _ in range(2):
        ran = []
        workflow = Workflow("in order")
        for name, depends_on in needed.items():
            run = lambda name=name, ran=ran: ran.append((name, threading.current_thread()))  # noqa: E731 - as programs write it
            workflow.add_task(Task(name, run), depends_on=depends_on)
        SequentialExecutor().execute(workflow)
        assert {thread for _, thread in ran} == {threading.current_thread()}
        orders.append([name for name, _ in ran])

    order = orders[0]
    assert orders[1] == order
    assert all(order.index(one) < order.index(name) for name, ones in needed.items() for one in ones)
    if THEN:
        assert order == [one.name for layer in workflow.get_execution_plan() for one in layer]


def test_workflows_that_share_a_file_need_names_of_their_own(open_store):
    ran = []
    for which in ("first", "second", "first", "second"):
        workflow = Workflow()
        workflow.add_task(Task(which, lambda which=which: ran.append(which) or which))
        SequentialExecutor(storage=open_store()).execute(workflow)
        assert workflow.get_task_result(which) == which

    assert ran == ["first", "second"] * (1 if THEN else 2)
