"""Callbacks of runs that are over in no time, and callbacks that give something to await."""

from __future__ import annotations

import asyncio
import logging
import threading

from flowweaver import SequentialExecutor, Task, TaskStatus, Workflow, WorkflowStatus
from flowweaver.library import engine_executor, executors


def following(told, *, timeout=None):
    workflow = Workflow("w")
    workflow.add_task(Task("a", lambda: 1, timeout=timeout, on_status_change=lambda _, status: told.append(status)))
    workflow.add_listener(lambda event: told.append((event.task, event.status)))
    return workflow


WHOLE = [
    (None, WorkflowStatus.RUNNING),
    TaskStatus.RUNNING,
    ("a", TaskStatus.RUNNING),
    TaskStatus.COMPLETED,
    ("a", TaskStatus.COMPLETED),
    (None, WorkflowStatus.COMPLETED),
]


def test_a_run_that_is_over_before_anybody_waits_is_told_of_whole(executor_of, monkeypatch):
    def opened_late(execution, opening, session, inbox_of):
        opened(execution, opening, session, inbox_of)
        while not execution.over and executor_of is not SequentialExecutor:
            pass  # the waiting thread is slow, and the engine is not

    opened = engine_executor.opened
    monkeypatch.setattr(engine_executor, "opened", opened_late)
    told = []
    following(told).execute(executor_of())
    assert told == WHOLE


def test_a_run_of_a_lent_thread_that_is_over_before_it_serves_is_told_of_whole(monkeypatch):
    def opened_late(execution, opening, session, inbox_of):
        opened(execution, opening, session, inbox_of)
        while not execution.over:
            pass

    opened = executors.opened
    monkeypatch.setattr(executors, "opened", opened_late)
    told = []
    following(told, timeout=60).execute(SequentialExecutor())  # with a timeout its body runs in a thread of its own
    assert told == WHOLE


def test_each_of_many_small_runs_is_told_of_whole(executor_of):
    for _ in range(50):
        told = []
        following(told).execute(executor_of())
        assert told == WHOLE


def test_a_callback_that_gives_a_coroutine_is_told_so(executor_of, caplog):
    async def later():
        raise AssertionError("nobody awaits it")

    workflow = Workflow("w")
    workflow.add_task(Task("a", lambda: 1, on_status_change=lambda *_: later()))
    executor = executor_of()
    with caplog.at_level(logging.ERROR, logger="flowweaver"):
        workflow.execute(executor)
    assert workflow.results == {"a": 1}
    assert executor.callback_errors == 2
    assert "gave a coroutine, which nobody awaits: use a plain function" in caplog.text


def test_a_callback_may_hand_a_coroutine_to_a_loop_itself(executor_of):
    told = []

    async def noted(status):
        told.append(status)

    async def main():
        loop, workflow = asyncio.get_running_loop(), Workflow("w")
        callback = lambda _, status: asyncio.run_coroutine_threadsafe(noted(status), loop) and None  # noqa: E731 - short
        workflow.add_task(Task("a", lambda: 1, on_status_change=callback))
        await workflow.execute_async(executor_of())
        await asyncio.sleep(0)

    asyncio.run(main())
    assert told == [TaskStatus.RUNNING, TaskStatus.COMPLETED]


def test_a_run_can_be_asked_for_before_the_thread_that_ran_it_has_cleared_up(store_of, monkeypatch):
    executor, asked = SequentialExecutor(state_store=store_of()), []
    serve = executors.serve

    def served(executions):
        serve(executions)
        if not asked:
            asked.append(threading.Thread(target=lambda: executor.execute(other)))
            asked[0].start()
            asked[0].join(30)

    monkeypatch.setattr(executors, "serve", served)
    ran = []
    one, other = Workflow("w"), Workflow("w")
    for workflow in (one, other):
        workflow.add_task(Task("a", lambda: ran.append(1)))
    executor.execute(one)
    assert not asked[0].is_alive()
    assert other.status is WorkflowStatus.COMPLETED
    assert ran == [1]
