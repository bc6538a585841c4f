"""The pool of threads: the contract of every executor, and what only threads have."""

import threading
import time

import pytest

from flowweaver.core.events import Completed, Failed
from flowweaver.errors import InternalError
from flowweaver.executors import threaded
from flowweaver.executors.threaded import ThreadedExecutor
from flowweaver.testing.executors import PATIENCE_SECONDS, Endings, ExecutorContract, WallClock, attempt_of


class TestThreadedExecutor(ExecutorContract):
    def opened(self, run, workers):
        return ThreadedExecutor(run, workers, WallClock())


@pytest.fixture
def endings():
    return Endings()


def threads_of_workers():
    return {thread for thread in threading.enumerate() if thread.name.startswith("flowweaver-worker-")}


def test_a_thread_is_made_only_for_an_attempt_that_finds_none_free(endings):
    before = threads_of_workers()
    gate = threading.Event()
    executor = ThreadedExecutor(lambda attempt: attempt.id.number < 10 or gate.wait(PATIENCE_SECONDS), 3, WallClock())
    assert threads_of_workers() == before
    for number in range(10):
        executor.start(attempt_of(number), endings)
        endings.next()
        assert len(threads_of_workers() - before) == 1
    for number in range(10, 20):
        executor.start(attempt_of(number), endings)
    assert len(threads_of_workers() - before) == 3
    gate.set()
    endings.take(10)
    executor.close(PATIENCE_SECONDS)
    assert threads_of_workers() == before


def test_the_thread_of_an_abandoned_attempt_ends_when_its_body_returns(endings):
    before = threads_of_workers()
    gate, begun, of_the_body = threading.Event(), threading.Event(), []

    def run(attempt):
        if attempt.id.number == 1:
            of_the_body.append(threading.current_thread())
            begun.set()
            gate.wait(PATIENCE_SECONDS)
        return Completed()

    executor = ThreadedExecutor(run, 1, WallClock())
    executor.start(attempt_of(1), endings)
    executor.start(attempt_of(2), endings)
    assert begun.wait(PATIENCE_SECONDS)
    executor.abandon(attempt_of(1).id)
    assert endings.next().attempt.number == 2
    assert len(threads_of_workers() - before) == 2
    gate.set()
    assert endings.next().attempt.number == 1
    of_the_body[0].join(PATIENCE_SECONDS)
    assert not of_the_body[0].is_alive()
    assert len(threads_of_workers() - before) == 1
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


def test_a_worker_that_is_added_takes_what_waits(endings):
    gate = threading.Event()

    def run(attempt):
        if attempt.id.number == 1:
            gate.wait(PATIENCE_SECONDS)
        return Completed()

    executor = ThreadedExecutor(run, 1, WallClock())
    executor.start(attempt_of(1), endings)
    executor.start(attempt_of(2), endings)
    executor.add_workers(1)
    assert endings.next().attempt.number == 2
    gate.set()
    assert endings.next().attempt.number == 1
    executor.close(PATIENCE_SECONDS)


def test_no_more_attempts_than_workers_run_at_once_after_workers_were_taken_back(endings):
    running, most, lock, meeting = 0, 0, threading.Lock(), threading.Barrier(4)

    def run(attempt):
        nonlocal running, most
        if attempt.id.number < 4:
            meeting.wait(PATIENCE_SECONDS)
            return Completed()
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)  # so that others would come in
        with lock:
            running -= 1
        return Completed()

    executor = ThreadedExecutor(run, 2, WallClock())
    executor.add_workers(2)
    for number in range(4):
        executor.start(attempt_of(number), endings)
    endings.take(4)
    executor.add_workers(-3)
    for number in range(4, 20):
        executor.start(attempt_of(number), endings)
    endings.take(16)
    executor.close(PATIENCE_SECONDS)
    assert most == 1


def test_the_last_worker_can_not_be_taken_back():
    executor = ThreadedExecutor(lambda _: Completed(), 2, WallClock())
    with pytest.raises(ValueError, match="at least 1"):
        executor.add_workers(-2)


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


def two_that_one_starts(endings, first_body, after_it=lambda executor: None):
    """The threads of three attempts. The end of the first one starts the others, and the second waits for the third."""
    threads = {}
    gate, both_there = threading.Event(), threading.Barrier(2)

    def run(attempt):
        threads[attempt.id.number] = threading.current_thread()
        if attempt.id.number >= 10:
            both_there.wait(PATIENCE_SECONDS)
        if attempt.id.number == 1:
            first_body()
        if attempt.id.number == 3:
            gate.set()
        return Completed() if gate.wait(PATIENCE_SECONDS if attempt.id.number == 2 else 0) else Failed()

    executor = ThreadedExecutor(run, 2, WallClock())
    for number in (10, 11):  # so that both threads are there
        executor.start(attempt_of(number), endings)
    endings.take(2)

    def ended(event):
        if event.attempt.number == 1:
            executor.start(attempt_of(2), ended)
            executor.start(attempt_of(3), ended)
        endings(event)

    executor.start(attempt_of(1), ended)
    endings.next()
    after_it(executor)
    ends = endings.take(2)
    executor.close(PATIENCE_SECONDS)
    assert ends[2].outcome == Completed()
    return threads


def test_the_thread_that_tells_an_end_goes_on_with_what_that_starts_first(endings):
    threads = two_that_one_starts(endings, lambda: time.sleep(0.01))
    assert threads[1] is threads[2]
    assert threads[3] is not threads[1]


def test_what_waits_for_a_thread_that_was_thought_to_be_quick_can_be_shared(endings, monkeypatch):
    monkeypatch.setattr(threaded, "QUICK_SECONDS", 60.0)
    threads = two_that_one_starts(endings, lambda: None, ThreadedExecutor.share)
    assert threads[3] is not threads[2]


def test_quick_bodies_that_one_end_starts_are_run_by_one_thread(endings, monkeypatch):
    monkeypatch.setattr(threaded, "QUICK_SECONDS", 60.0)
    threads = {}
    all_there = threading.Barrier(4)

    def run(attempt):
        threads[attempt.id.number] = threading.current_thread()
        if attempt.id.number >= 10:
            all_there.wait(PATIENCE_SECONDS)
        return Completed()

    executor = ThreadedExecutor(run, 4, WallClock())
    for number in range(10, 14):  # so that all threads are there
        executor.start(attempt_of(number), endings)
    endings.take(4)

    def ended(event):
        if event.attempt.number == 1:
            for number in range(2, 6):
                executor.start(attempt_of(number), ended)
        endings(event)

    executor.start(attempt_of(1), ended)
    endings.take(5)
    executor.close(PATIENCE_SECONDS)
    assert len({threads[number] for number in range(1, 6)}) == 1
    assert len({threads[number] for number in range(10, 14)}) == 4
