"""The pool of threads: the contract of every executor, and what only threads have."""

import threading

import pytest

from flowweaver.core.events import Completed, Failed
from flowweaver.errors import InternalError
from flowweaver.executors import ThreadedExecutor
from flowweaver.testing.executors import PATIENCE_SECONDS, Endings, ExecutorContract, WallClock, attempt_of


class TestThreadedExecutor(ExecutorContract):
    def opened(self, run, workers):
        return ThreadedExecutor(run, workers, WallClock())


@pytest.fixture
def endings():
    return Endings()


def threads_of_workers():
    return {thread for thread in threading.enumerate() if thread.name.startswith("flowweaver-worker-")}


def test_no_thread_is_there_before_the_first_attempt_and_none_after_the_close(endings):
    before = threads_of_workers()
    executor = ThreadedExecutor(lambda _: Completed(), 3, WallClock())
    assert threads_of_workers() == before
    executor.start(attempt_of(1), endings)
    endings.next()
    assert len(threads_of_workers() - before) == 3
    executor.close(PATIENCE_SECONDS)
    assert threads_of_workers() == before


def test_the_thread_of_an_abandoned_attempt_ends_when_its_body_returns(endings):
    before = threads_of_workers()
    gate, of_the_body = threading.Event(), []

    def run(attempt):
        if attempt.id.number == 1:
            of_the_body.append(threading.current_thread())
            gate.wait(PATIENCE_SECONDS)
        return Completed()

    executor = ThreadedExecutor(run, 2, WallClock())
    executor.start(attempt_of(1), endings)
    executor.start(attempt_of(2), endings)
    assert endings.next().attempt.number == 2
    executor.abandon(attempt_of(1).id)
    assert len(threads_of_workers() - before) == 3
    gate.set()
    assert endings.next().attempt.number == 1
    of_the_body[0].join(PATIENCE_SECONDS)
    assert not of_the_body[0].is_alive()
    assert len(threads_of_workers() - before) == 2
    executor.close(PATIENCE_SECONDS)
    assert threads_of_workers() == before


def test_closing_does_not_wait_longer_than_its_grace_for_a_body_that_does_not_stop(endings):
    gate, begun = threading.Event(), threading.Event()

    def run(_):
        begun.set()
        gate.wait(PATIENCE_SECONDS)
        return Completed()

    executor = ThreadedExecutor(run, 1, WallClock())
    executor.start(attempt_of(1), endings)
    assert begun.wait(PATIENCE_SECONDS)
    executor.close(grace_seconds=0.01)
    assert endings.none_left()
    gate.set()
    assert endings.next().outcome == Completed()
    executor.close(PATIENCE_SECONDS)


def test_an_end_that_can_not_be_told_costs_no_worker(endings, caplog):
    def ended(_):
        raise RuntimeError("nobody listens")

    executor = ThreadedExecutor(lambda _: Completed(), 1, WallClock())
    executor.start(attempt_of(1), ended)
    executor.start(attempt_of(2), endings)
    assert endings.next().attempt.number == 2
    executor.close(PATIENCE_SECONDS)
    assert "the end of attempt" in caplog.text


def test_the_same_attempt_twice_at_once_is_a_bug_that_is_named(endings):
    gate = threading.Event()
    executor = ThreadedExecutor(lambda _: gate.wait(PATIENCE_SECONDS) and Completed(), 1, WallClock())
    executor.start(attempt_of(1), endings)
    with pytest.raises(InternalError, match="twice"):
        executor.start(attempt_of(1), endings)
    gate.set()
    endings.next()
    executor.close(PATIENCE_SECONDS)


@pytest.mark.parametrize("workers", [0, -1])
def test_a_pool_without_workers_is_refused(workers):
    with pytest.raises(ValueError, match="at least 1"):
        ThreadedExecutor(lambda _: Completed(), workers, WallClock())


@pytest.fixture
def no_threads(monkeypatch):
    """While this is set, the system gives no thread to a worker."""
    start, exhausted = threading.Thread.start, threading.Event()

    def scarce(thread):
        if thread.name.startswith("flowweaver-worker-") and exhausted.is_set():
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    return exhausted


def test_an_attempt_for_which_there_is_no_thread_at_all_fails_instead_of_waiting_for_ever(endings, no_threads):
    no_threads.set()
    executor = ThreadedExecutor(lambda _: Completed(), 2, WallClock())
    executor.start(attempt_of(1), endings)
    outcome = endings.next().outcome
    assert isinstance(outcome, Failed)
    assert outcome.retryable
    assert "no thread" in outcome.message
    no_threads.clear()
    executor.start(attempt_of(1), endings)
    assert endings.next().outcome == Completed()
    executor.close(PATIENCE_SECONDS)


def test_workers_that_were_missing_come_when_a_body_ends(endings, no_threads):
    entered, released = threading.Event(), threading.Event()

    def run(attempt):
        if attempt.id.number == 1:
            entered.set()
            assert released.wait(PATIENCE_SECONDS)
        return Completed()

    executor = ThreadedExecutor(run, 1, WallClock())
    executor.start(attempt_of(1), endings)
    assert entered.wait(PATIENCE_SECONDS)
    no_threads.set()
    executor.abandon(attempt_of(1).id)
    executor.start(attempt_of(2), endings)
    no_threads.clear()
    released.set()
    endings.take(2)
    executor.close(PATIENCE_SECONDS)
