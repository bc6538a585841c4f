"""Executions that are stopped from another thread: nothing more starts, what runs may end, and all of it can go on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import weakref

import pytest

from flowweaver import (
    AsyncExecutor,
    SequentialExecutor,
    Task,
    TaskStatus,
    ThreadedExecutor,
    Workflow,
    WorkflowExecutionError,
    WorkflowStatus,
)
from flowweaver.library.executions import Execution

PATIENCE = 60.0


class Body:
    """Waits until it may end; then the next task would come."""

    def __init__(self):
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.ran = []

    def workflow(self, name="stopped"):
        def first():
            self.ran.append("first")
            self.begun.set()
            assert self.may_end.wait(PATIENCE)
            return 1

        workflow = Workflow(name)
        workflow.add_task(Task("first", first))
        workflow.add_task(Task("second", lambda: self.ran.append("second")), depends_on=["first"])
        return workflow


@pytest.fixture
def body():
    made = Body()
    yield made
    made.may_end.set()


@contextlib.contextmanager
def in_thread(call):
    """Call it beside the test; gives what it raised."""
    raised = []

    def run():
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield raised
    finally:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_what_is_running_may_end_and_nothing_more_starts(executor, body):
    workflow = body.workflow()

    with in_thread(lambda: executor.execute(workflow)) as raised:
        assert body.begun.wait(PATIENCE)
        with in_thread(lambda: executor.stop(PATIENCE)):
            time.sleep(0.05)
            body.may_end.set()

    (error,) = raised
    assert isinstance(error, WorkflowExecutionError)
    assert "was stopped before its end: executing it again goes on with it" in str(error)
    assert body.ran == ["first"]
    assert workflow.get_task("first").status is TaskStatus.COMPLETED
    assert workflow.status is WorkflowStatus.PENDING
    executor.execute(workflow)
    assert body.ran == ["first", "second"]


def test_what_does_not_end_in_time_is_not_waited_for(body, store_of):
    executor = ThreadedExecutor(state_store=store_of())
    workflow = body.workflow()

    with in_thread(lambda: executor.execute(workflow)) as raised:
        assert body.begun.wait(PATIENCE)
        executor.stop(0.01)

    assert len(raised) == 1
    assert workflow.get_task("first").status is TaskStatus.PENDING
    body.may_end.set()
    ThreadedExecutor(state_store=store_of()).execute(workflow)
    assert body.ran == ["first", "first", "second"]


def test_all_that_is_executed_at_once_is_stopped(body):
    executor = ThreadedExecutor(2)
    workflows = [body.workflow(f"w{number}") for number in range(20)]

    with in_thread(lambda: executor.execute_all(workflows)) as raised:
        assert body.begun.wait(PATIENCE)
        with in_thread(lambda: executor.stop(PATIENCE)):
            time.sleep(0.05)
            body.may_end.set()

    assert len(raised) == 1
    assert "second" not in body.ran
    assert body.ran.count("first") <= 4  # two that were running, and those that came before the stop did


def test_a_stop_while_the_run_is_being_opened_is_not_lost(body, executor, monkeypatch):
    request = Execution.request

    def stopped_first(execution, inbox_of):
        with in_thread(executor.stop):
            pass
        return request(execution, inbox_of)

    monkeypatch.setattr(Execution, "request", stopped_first)
    workflow = body.workflow()
    body.may_end.set()

    with pytest.raises(WorkflowExecutionError, match="was stopped before its end"):
        executor.execute(workflow)

    assert "second" not in body.ran
    monkeypatch.undo()
    assert executor.execute(workflow).status is WorkflowStatus.COMPLETED


def test_an_execution_that_is_awaited_is_stopped_too(body):
    executor = AsyncExecutor()
    workflow = body.workflow()

    async def main():
        execution = asyncio.ensure_future(workflow.execute_async(executor))
        await asyncio.to_thread(body.begun.wait, PATIENCE)
        stopping = asyncio.ensure_future(asyncio.to_thread(executor.stop, PATIENCE))
        await asyncio.sleep(0.05)
        body.may_end.set()
        await stopping
        await execution

    with pytest.raises(WorkflowExecutionError, match="was stopped before its end"):
        asyncio.run(main())

    assert body.ran == ["first"]


def test_with_nothing_to_stop_it_returns_at_once(executor):
    executor.stop(PATIENCE)

    assert executor.execute(Workflow("after")).status is WorkflowStatus.COMPLETED


def test_whoever_watches_is_told_before_execute_returns_and_only_within(executor):
    seen = []
    workflow = Workflow("watched")
    workflow.add_task(Task("a", lambda: 1))

    with workflow.watched(seen.extend):
        executor.execute(workflow)
    within = len(seen)
    executor.execute(workflow, fresh=True)

    assert [notice.task for notice in seen if hasattr(notice, "task")] == ["a", "a"]
    assert len(seen) == within


def test_whoever_watches_is_told_at_once_also_while_a_body_has_the_thread():
    told = threading.Event()
    workflow = Workflow("watched")
    workflow.add_task(Task("a", lambda: told.wait(PATIENCE)))

    with workflow.watched(lambda notices: any(getattr(each, "task", "") == "a" for each in notices) and told.set()):
        SequentialExecutor().execute(workflow)

    assert workflow.results == {"a": True}


def test_an_executor_keeps_nothing_of_what_it_has_executed(executor):
    workflow = Workflow("gone")
    workflow.add_task(Task("a", lambda: 1))
    gone = weakref.ref(workflow)
    executor.execute(workflow)

    del workflow
    gc.collect()

    assert gone() is None


def test_what_goes_wrong_while_a_run_is_opened_is_raised_and_leaves_nothing_behind(executor):
    class Odd(Workflow):
        def attach(self, board):
            if self.is_odd:
                raise ZeroDivisionError
            super().attach(board)

    workflow = Odd("odd")
    workflow.add_task(Task("a", lambda: 1))
    workflow.is_odd = True
    with pytest.raises(ZeroDivisionError):
        executor.execute(workflow)
    workflow.is_odd = False

    assert executor.execute(workflow).results == {"a": 1}
