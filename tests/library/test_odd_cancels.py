"""Waiting coroutines that are cancelled at odd moments: nothing stays open, and the run can be gone on with."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flowweaver import Task, Workflow


def chain(ran, length=6):
    async def awaited(**_):
        await asyncio.sleep(0.001)
        ran.append(1)
        return 1

    def called(**_):
        ran.append(1)
        return 1

    workflow = Workflow("w")
    for number in range(length):
        workflow.add_task(Task(f"t{number}", awaited if number % 2 else called), [f"t{number - 1}"] if number else [])
    return workflow


def test_a_loop_that_ends_while_the_store_is_opened_leaves_nothing_open(executor_of, store_of, monkeypatch):
    executor, opening, go_on = executor_of(state_store=store_of()), threading.Event(), threading.Event()
    enter = executor.sessions.enter

    def enter_slowly():
        opening.set()
        assert go_on.wait(30)
        return enter()

    monkeypatch.setattr(executor.sessions, "enter", enter_slowly)

    async def main():
        waiting = asyncio.create_task(chain([]).execute_async(executor))
        await asyncio.to_thread(opening.wait, 30)
        waiting.cancel()
        threading.Timer(0.2, go_on.set).start()  # the loop has cancelled whatever it runs by then

    asyncio.run(main())
    ran = []
    executor_of(state_store=store_of()).execute(chain(ran))  # nobody holds the file any more
    assert len(ran) == 6


@pytest.mark.parametrize("moment", [0, 1, 2, 3, 5, 10, 0.001, 0.003, 0.006, 0.01, 0.015, 0.02, 0.03, 0.05])
def test_a_cancel_at_any_moment_leaves_a_run_to_go_on_with(executor_of, store_of, moment):
    ran = []

    async def main():
        waiting = asyncio.create_task(chain(ran).execute_async(executor_of(state_store=store_of())))
        if isinstance(moment, int):
            for _ in range(moment):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(moment)
        waiting.cancel()
        await asyncio.wait([waiting])

    asyncio.run(main())
    workflow = chain(ran)
    executor_of(state_store=store_of()).execute(workflow)
    assert len(workflow.results) == 6
    assert len(ran) <= 7, "more than what was running ran again"


def test_a_loop_ends_in_the_midst_of_many_executions(executor_of, store_of):
    executor = executor_of(state_store=store_of())

    async def main():
        for number in range(20):
            asyncio.create_task(Workflow(f"w{number}").execute_async(executor))  # noqa: RUF006 - they are left alone on purpose
        await asyncio.sleep(0.005)

    asyncio.run(main())
    ran = []
    executor_of(state_store=store_of()).execute(chain(ran))
    assert len(ran) == 6
