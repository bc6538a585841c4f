"""Callbacks: after the commit, in order, never twice, all before `execute` returns."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from flowweaver import (
    AsyncExecutor,
    RetryPolicy,
    Task,
    TaskStatus,
    ThreadedExecutor,
    Workflow,
    WorkflowExecutionError,
    WorkflowStatus,
)

AT_ONCE = RetryPolicy(delay=0.0)
PENDING, RUNNING, COMPLETED, FAILED = TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.COMPLETED, TaskStatus.FAILED


def test_each_change_is_told_once_and_in_order(executor):
    told = []
    workflow = Workflow("w")
    for number in range(50):
        task = Task(f"t{number}", lambda: None, on_status_change=lambda *each: told.append(each))
        workflow.add_task(task, [f"t{number - 1}"] if number % 5 else [])
    executor.execute(workflow)
    assert len(told) == 100
    for number in range(50):
        assert [status for name, status in told if name == f"t{number}"] == [RUNNING, COMPLETED]
    for number in range(1, 50):
        if number % 5:
            assert told.index((f"t{number - 1}", COMPLETED)) < told.index((f"t{number}", RUNNING))


def test_nothing_is_told_of_what_an_earlier_execution_has_done(executor):
    told = []
    workflow = Workflow("w")
    workflow.add_task(Task("a", lambda: None, on_status_change=lambda *each: told.append(each)))
    executor.execute(workflow)
    executor.execute(workflow)
    assert told == [("a", RUNNING), ("a", COMPLETED)]


def test_retries_are_told_between_one_start_and_one_end(executor):
    told = []
    task = Task(
        "a",
        lambda: 1 / 0,
        retries=2,
        retry=AT_ONCE,
        on_retry=lambda name, attempt: told.append(attempt),
        on_status_change=lambda name, status: told.append(status),
    )
    workflow = Workflow("w")
    workflow.add_task(task)
    with pytest.raises(WorkflowExecutionError):
        executor.execute(workflow)
    assert told == [RUNNING, 1, 2, FAILED]


def test_a_listener_hears_of_the_workflow_and_of_every_task(executor):
    events = []
    workflow = Workflow("w")
    workflow.add_listener(events.append)
    workflow.add_task(Task("good", lambda: 1))
    workflow.add_task(Task("bad", lambda good: 1 / 0), ["good"])
    workflow.add_task(Task("never", lambda bad: 1), ["bad"])
    with pytest.raises(WorkflowExecutionError):
        workflow.execute(executor, run_id="r")
    assert {(event.workflow, event.run_id) for event in events} == {("w", "r")}
    by_task = {
        name: [event.status for event in events if event.task == name] for name in ("good", "bad", "never", None)
    }
    assert by_task == {
        "good": [RUNNING, COMPLETED],
        "bad": [RUNNING, FAILED],
        "never": [],
        None: [WorkflowStatus.RUNNING, WorkflowStatus.FAILED],
    }
    failure = next(event for event in events if event.task == "bad" and event.status is FAILED)
    assert (failure.previous, failure.attempt, failure.error) == (RUNNING, 1, "division by zero")
    assert failure.at.utcoffset().total_seconds() == 0
    assert events[-1].status is WorkflowStatus.FAILED


def test_what_a_callback_raises_is_logged_and_counted_and_changes_nothing(executor, caplog):
    workflow = Workflow("w")
    workflow.add_task(Task("a", lambda: 1, on_status_change=lambda *_: 1 / 0))
    workflow.add_listener(lambda event: {}[event.status])
    with caplog.at_level(logging.ERROR, "flowweaver"):
        executor.execute(workflow)
    assert workflow.status is WorkflowStatus.COMPLETED
    assert executor.callback_errors == 6  # the task's two, and of four events each
    assert len([record for record in caplog.records if "callback of workflow 'w' failed" in record.message]) == 6


@pytest.mark.parametrize("executor_of", [ThreadedExecutor, AsyncExecutor])  # the other one has one thread for both
def test_a_slow_callback_holds_up_execute_and_nothing_else(executor_of):
    order, gate = [], threading.Event()

    def slow(name, status):
        if (name, status) == ("a", RUNNING):
            assert gate.wait(20), "the other task waited for a callback"
        order.append((name, status))

    workflow = Workflow("w")
    workflow.add_task(Task("a", lambda: 1, on_status_change=slow))
    workflow.add_task(Task("b", lambda a: gate.set(), on_status_change=slow), ["a"])
    executor_of().execute(workflow)
    assert order == [("a", RUNNING), ("a", COMPLETED), ("b", RUNNING), ("b", COMPLETED)]


def test_callbacks_are_called_in_the_thread_that_waits(executor):
    threads = set()
    workflow = Workflow("w")
    workflow.add_listener(lambda event: threads.add(threading.get_ident()))
    workflow.add_task(Task("a", lambda: time.sleep(0.01)))
    executor.execute(workflow)
    assert threads == {threading.get_ident()}


def test_a_callback_sees_what_it_is_told_of(executor):
    seen = []
    workflow = Workflow("w")
    task = workflow.add_task(Task("a", lambda: {"x": 1}))
    workflow.add_listener(lambda event: seen.append((event.status, task.result)) if event.status is COMPLETED else None)
    executor.execute(workflow)
    assert seen == [(COMPLETED, {"x": 1})]


def test_a_callback_may_execute_another_workflow_on_the_same_executor(executor):
    seen = []

    def execute_another(event):
        if event.task is not None and event.status is COMPLETED:
            inner = Workflow(f"inner-{event.task}")
            inner.add_task(Task("a", lambda: event.task))
            inner.add_task(Task("b", lambda a: a * 2), ["a"])
            executor.execute(inner)
            seen.append(inner.get_task_result("b"))

    workflow = Workflow("w")
    workflow.add_listener(execute_another)
    for name in ("x", "y", "z"):
        workflow.add_task(Task(name, lambda: None))
    executor.execute(workflow)
    assert sorted(seen) == ["xx", "yy", "zz"]
