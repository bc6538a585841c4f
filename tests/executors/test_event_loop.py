"""Coroutines in one loop: the contract of every executor for bodies in threads, and what only coroutines have."""

import asyncio
import contextvars
import threading
import time
import warnings
from pathlib import Path

import pytest

from flowweaver.core.events import Completed, Failed
from flowweaver.errors import InternalError
from flowweaver.executors.event_loop import EventLoopExecutor
from flowweaver.testing.executors import PATIENCE_SECONDS, Endings, ExecutorContract, WallClock, attempt_of


class TestEventLoopExecutor(ExecutorContract):
    """Bodies in threads."""

    def opened(self, run, workers):
        return EventLoopExecutor(run, no_coroutine, lambda _: False, workers, WallClock())


class TestEventLoopExecutorThatGoesOnInTheLoop(ExecutorContract):
    """Bodies that begin in a thread and end in the loop."""

    def opened(self, run, workers):
        def begin(attempt):
            outcome = run(attempt)

            async def rest():
                await asyncio.sleep(0)
                return outcome

            return rest()

        return EventLoopExecutor(begin, no_coroutine, lambda _: False, workers, WallClock())

    def test_closing_asks_running_bodies_to_stop_and_is_idempotent(self):
        """What is left of the body is cancelled in the loop, so that it ends otherwise."""


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def no_coroutine(attempt):
    raise AssertionError(f"{attempt.id} is no coroutine")


@pytest.fixture
def endings():
    return Endings()


@pytest.fixture
def executor_of():
    """Makes executors for coroutines, and sees that they leave nothing behind."""
    opened = []

    def executor_of(run_async, begin=no_coroutine, is_async=lambda _: True, **loop):
        opened.append(EventLoopExecutor(begin, run_async, is_async, 2, WallClock(), **loop))
        return opened[-1]

    threads, descriptors = set(threading.enumerate()), open_descriptors()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield executor_of
        for executor in opened:
            executor.close(PATIENCE_SECONDS)
    assert set(threading.enumerate()) <= threads
    assert open_descriptors() <= descriptors


def test_thousands_of_coroutines_are_there_at_once_in_one_thread(executor_of, endings):
    there, threads, gate = 0, set(), None

    async def run(_):
        nonlocal there, gate
        gate = gate or asyncio.Event()
        there += 1
        threads.add(threading.current_thread().name)
        if there == 3000:
            gate.set()
        await gate.wait()  # only when all are there
        return Completed()

    executor = executor_of(run)
    for number in range(3000):
        executor.start(attempt_of(number), endings)
    assert {told.outcome for told in endings.take(3000).values()} == {Completed()}
    assert threads == {"flowweaver-event-loop"}


def test_a_loop_in_which_nothing_runs_is_gone_after_a_close_without_any_grace(executor_of, endings):
    async def run(_):
        return Completed()

    before = set(threading.enumerate()), open_descriptors()
    for _ in range(10):
        executor = executor_of(run)
        executor.start(attempt_of(1), endings)
        endings.next()
        executor.close(0.0)
        assert (set(threading.enumerate()), open_descriptors()) == before


def test_there_is_no_thread_and_no_descriptor_before_the_first_coroutine(executor_of, endings):
    before = set(threading.enumerate()), open_descriptors()

    async def run(_):
        return Completed()

    executor = executor_of(run, begin=lambda _: Completed(), is_async=lambda attempt: attempt.id.number > 1)
    assert (set(threading.enumerate()), open_descriptors()) == before
    executor.start(attempt_of(1), endings)
    endings.next()
    assert "flowweaver-event-loop" not in {thread.name for thread in threading.enumerate()}
    executor.start(attempt_of(2), endings)
    endings.next()
    assert "flowweaver-event-loop" in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("exc", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError("own")])
def test_what_a_coroutine_raises_is_its_attempts_failure_and_the_loop_goes_on(executor_of, endings, exc):
    async def run(attempt):
        await asyncio.sleep(0)
        if attempt.id.number == 1:
            raise exc
        return Completed()

    executor = executor_of(run)
    executor.start(attempt_of(1), endings)
    outcome = endings.next().outcome
    assert isinstance(outcome, Failed)
    assert outcome.error_type == type(exc).__name__
    executor.start(attempt_of(2), endings)
    assert endings.next().outcome == Completed()


def test_a_task_of_a_body_that_ends_the_interpreter_does_not_end_the_other_bodies(executor_of, endings, caplog):
    async def leave():
        raise SystemExit(1)

    async def run(attempt):
        if attempt.id.number == 1:
            await asyncio.get_running_loop().create_task(leave())
        await asyncio.sleep(0.01)
        return Completed()

    executor = executor_of(run)
    for number in (1, 2, 3):
        executor.start(attempt_of(number), endings)
    taken = endings.take(3)
    assert taken[1].outcome.error_type == "SystemExit"
    assert taken[2].outcome == taken[3].outcome == Completed()
    assert "SystemExit" in caplog.text


def test_an_abandoned_coroutine_is_cancelled(executor_of, endings):
    begun, cancelled = threading.Event(), threading.Event()

    async def run(_):
        begun.set()
        try:
            await asyncio.sleep(PATIENCE_SECONDS)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return Completed()

    executor = executor_of(run)
    attempt = attempt_of(1)
    executor.start(attempt, endings)
    assert begun.wait(PATIENCE_SECONDS)
    executor.abandon(attempt.id)
    executor.abandon(attempt.id)
    assert isinstance(endings.next().outcome, Failed)
    assert cancelled.is_set()
    assert attempt.cancellation.requested
    executor.abandon(attempt.id)
    assert endings.none_left()


def test_one_that_swallows_its_cancel_stays_until_it_returns(executor_of, endings):
    begun, swallowed, gate = threading.Event(), threading.Event(), threading.Event()

    async def run(attempt):
        begun.set()
        while not gate.is_set():
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                swallowed.set()
        return Completed(str(attempt.id.number).encode())

    executor = executor_of(run)
    executor.start(attempt_of(1), endings)
    assert begun.wait(PATIENCE_SECONDS)
    executor.abandon(attempt_of(1).id)
    assert swallowed.wait(PATIENCE_SECONDS)
    executor.close(grace_seconds=0.05)
    assert endings.none_left()
    gate.set()
    assert endings.next().outcome == Completed(b"1")


def test_closing_cancels_every_coroutine_and_waits_for_it(executor_of, endings):
    begun = threading.Event()

    async def run(attempt):
        if attempt.id.number == 9:
            begun.set()
        try:
            await asyncio.sleep(PATIENCE_SECONDS)
        finally:
            await asyncio.sleep(0.01)  # cleaning up may take its time
        return Completed()

    executor = executor_of(run)
    for number in range(10):
        executor.start(attempt_of(number), endings)
    assert begun.wait(PATIENCE_SECONDS)
    executor.close(PATIENCE_SECONDS)
    taken = endings.take(10)
    assert all(isinstance(told.outcome, Failed) for told in taken.values())
    with pytest.raises(InternalError, match="closed"):
        executor.start(attempt_of(11), endings)


def test_a_body_that_blocks_the_loop_blocks_nobody_who_starts_and_abandons(executor_of, endings):
    begun, gate, ran = threading.Event(), threading.Event(), []

    async def run(attempt):
        ran.append(attempt.id.number)
        begun.set()
        gate.wait(PATIENCE_SECONDS)  # not awaited: nothing else in the loop goes on
        return Completed()

    executor = executor_of(run)
    executor.start(attempt_of(1), endings)
    assert begun.wait(PATIENCE_SECONDS)
    for number in (2, 3):
        executor.start(attempt_of(number), endings)
    executor.abandon(attempt_of(1).id)
    executor.abandon(attempt_of(2).id)
    assert endings.none_left()
    gate.set()
    taken = endings.take(3)
    assert taken[2].outcome.reason == "Terminated"
    assert taken[3].outcome == Completed()
    assert ran == [1, 3]


def test_closing_does_not_wait_longer_than_its_grace_for_a_body_that_blocks_the_loop(executor_of, endings):
    begun, gate = threading.Event(), threading.Event()

    async def run(_):
        begun.set()
        gate.wait(PATIENCE_SECONDS)
        return Completed()

    executor = executor_of(run)
    executor.start(attempt_of(1), endings)
    assert begun.wait(PATIENCE_SECONDS)
    executor.start(attempt_of(2), endings)
    executor.close(grace_seconds=0.01)
    assert endings.none_left()
    gate.set()
    assert endings.take(2)[1].outcome == Completed()


def test_what_begins_in_a_thread_leaves_it_to_the_next_one_when_it_awaits(executor_of, endings):
    there = 0

    def begin(attempt):
        async def rest():
            nonlocal there
            there += 1
            while there < 10:
                await asyncio.sleep(0.001)
            return Completed()

        return rest()

    executor = executor_of(no_coroutine, begin, lambda _: False)
    for number in range(10):
        executor.start(attempt_of(number), endings)
    assert {told.outcome for told in endings.take(10).values()} == {Completed()}


def test_what_is_abandoned_on_its_way_from_a_thread_to_the_loop_is_cancelled_there(executor_of, endings):
    begun, gate = threading.Event(), threading.Event()

    def begin(_):
        async def rest():
            await asyncio.sleep(PATIENCE_SECONDS)
            return Completed()

        begun.set()
        gate.wait(PATIENCE_SECONDS)
        return rest()

    executor = executor_of(no_coroutine, begin, lambda _: False)
    executor.start(attempt_of(1), endings)
    assert begun.wait(PATIENCE_SECONDS)
    executor.abandon(attempt_of(1).id)
    gate.set()
    assert endings.next().outcome.error_type == "CancelledError"


def test_what_bodies_leave_in_the_loop_is_ended_at_the_close(executor_of, endings):
    left, ended = [], threading.Event()

    async def linger():
        try:
            await asyncio.sleep(PATIENCE_SECONDS)
        finally:
            ended.set()

    async def numbers():
        try:
            for number in range(9):
                yield number
        finally:
            await asyncio.sleep(0)
            left.append("generator")

    async def run(_):
        kept.append(asyncio.get_running_loop().create_task(linger()))
        generator = numbers()
        kept.append(generator)
        await anext(generator)
        await asyncio.to_thread(time.sleep, 0)
        return Completed()

    kept = []
    executor = executor_of(run)
    executor.start(attempt_of(1), endings)
    assert endings.next().outcome == Completed()
    assert not ended.is_set()
    executor.close(PATIENCE_SECONDS)
    assert ended.is_set()
    assert left == ["generator"]


def test_coroutines_do_not_see_the_context_of_whoever_starts_them_nor_that_of_each_other(executor_of, endings):
    variable = contextvars.ContextVar("variable", default=b"none")

    async def run(attempt):
        seen = variable.get()
        variable.set(b"of a body")
        return Completed(seen)

    variable.set(b"of the caller")
    executor = executor_of(run)
    for number in (1, 2):
        executor.start(attempt_of(number), endings)
    assert {told.outcome for told in endings.take(2).values()} == {Completed(b"none")}


def test_the_policy_and_the_loop_of_the_caller_stay_as_they_were(executor_of, endings):
    async def run(_):
        return Completed()

    async def caller():
        loop, policy = asyncio.get_running_loop(), asyncio.get_event_loop_policy()
        executor = executor_of(run)
        executor.start(attempt_of(1), endings)
        endings.next()
        executor.close(PATIENCE_SECONDS)
        assert asyncio.get_running_loop() is loop
        assert asyncio.get_event_loop_policy() is policy

    asyncio.run(caller())


def test_the_same_attempt_twice_at_once_is_a_bug_that_is_named(executor_of, endings):
    gate = threading.Event()

    async def run(_):
        while not gate.is_set():
            await asyncio.sleep(0.001)
        return Completed()

    executor = executor_of(run)
    executor.start(attempt_of(1), endings)
    with pytest.raises(InternalError, match="twice"):
        executor.start(attempt_of(1), endings)
    gate.set()
    assert endings.next().outcome == Completed()


@pytest.mark.parametrize("missing", ["thread", "descriptor"])
def test_without_a_thread_or_a_descriptor_for_the_loop_an_attempt_fails_and_the_next_may_not(
    executor_of, endings, monkeypatch, missing
):
    async def run(_):
        return Completed()

    def none(*_):
        if missing == "thread":
            raise RuntimeError("can't start new thread")
        raise OSError(24, "Too many open files")

    executor = executor_of(run, loop_factory=lambda: none() if missing == "descriptor" else asyncio.new_event_loop())
    with monkeypatch.context() as scarce:
        scarce.setattr(threading.Thread, "start", none)
        executor.start(attempt_of(1), endings)
    missing = ""
    assert "look at its limits" in endings.next().outcome.message
    executor.start(attempt_of(2), endings)
    assert endings.next().outcome == Completed()


def test_a_coroutine_may_close_the_executor_that_runs_it(executor_of, endings):
    async def run(_):
        executor.close(PATIENCE_SECONDS)
        return Completed(b"1")

    executor = executor_of(run)
    executor.start(attempt_of(1), endings)
    assert endings.next().outcome == Completed(b"1")


def test_coroutines_can_run_in_a_loop_of_somebody_else_which_stays_as_it_is(executor_of, endings):
    seen = []

    async def run(attempt):
        seen.append(asyncio.get_running_loop())
        try:
            await asyncio.sleep(0 if attempt.id.number == 1 else PATIENCE_SECONDS)
        finally:
            await asyncio.sleep(0.05)
        return Completed()

    async def rest():
        return await run(attempt_of(1))

    async def caller():
        loop = asyncio.get_running_loop()
        executor = executor_of(run, lambda _: rest(), lambda attempt: attempt.id.number != 3, loop=loop)
        for number in (1, 2, 3):
            executor.start(attempt_of(number), endings)
        ends = await asyncio.to_thread(lambda: [endings.next(), endings.next()])
        assert {told.attempt.number for told in ends} == {1, 3}
        await asyncio.to_thread(executor.close, PATIENCE_SECONDS)
        assert not endings.none_left(), "closing did not wait"
        assert endings.next().attempt.number == 2
        await asyncio.sleep(0)
        assert set(seen) == {loop}

    asyncio.run(caller())


def test_closing_in_the_thread_of_somebody_elses_loop_does_not_wait_for_it(executor_of, endings):
    async def run(_):
        await asyncio.sleep(PATIENCE_SECONDS)
        return Completed()

    async def caller():
        executor = executor_of(run, loop=asyncio.get_running_loop())
        executor.start(attempt_of(1), endings)
        await asyncio.sleep(0.01)
        executor.close(PATIENCE_SECONDS)
        assert endings.none_left()
        await asyncio.to_thread(endings.next)

    asyncio.run(caller())


def test_where_the_loop_of_somebody_else_is_closed_attempts_fail(executor_of, endings):
    loop = asyncio.new_event_loop()
    loop.close()
    cleaned = []

    async def rest():
        try:
            await asyncio.sleep(PATIENCE_SECONDS)
        finally:
            cleaned.append(True)
        return Completed()

    executor = executor_of(no_coroutine, lambda _: rest(), lambda attempt: attempt.id.number == 1, loop=loop)
    executor.start(attempt_of(1), endings)
    assert "closed" in endings.next().outcome.message
    executor.start(attempt_of(2), endings)
    assert endings.next().outcome.error_type == "CancelledError"
    assert cleaned == [True]


def test_what_the_loop_of_somebody_else_never_took_ends_with_the_close(executor_of, endings):
    loop = asyncio.new_event_loop()
    executor = executor_of(no_coroutine, loop=loop)
    executor.start(attempt_of(1), endings)
    loop.close()
    executor.start(attempt_of(2), endings)
    assert endings.next().attempt.number == 2
    executor.close(PATIENCE_SECONDS)
    assert "closed" in endings.next().outcome.message
