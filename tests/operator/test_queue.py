"""The work queue: each key once, none on two threads, failures later each time."""

from __future__ import annotations

import threading

from flowweaver.operator.queue import WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def drain(queue: WorkQueue) -> list[str]:
    found = []
    while (key := queue.take(0)) is not None:
        found.append(key)
        queue.done(key)
    return found


def test_a_key_waits_once_however_often_it_is_added():
    queue = WorkQueue()
    for key in ("a", "b", "a", "a"):
        queue.add(key)
    assert drain(queue) == ["a", "b"]


def test_a_key_that_is_added_while_it_is_worked_on_comes_again_afterwards():
    queue = WorkQueue()
    queue.add("a")
    assert queue.take(0) == "a"
    queue.add("a")
    queue.add("a")
    assert queue.take(0) is None
    queue.done("a")
    assert drain(queue) == ["a"]


def test_a_delayed_key_comes_at_its_time_and_the_shortest_delay_counts():
    clock = Clock()
    queue = WorkQueue(clock=clock)
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 7)
    clock.now = 4.9
    assert drain(queue) == []
    clock.now = 5.0
    assert drain(queue) == ["a"]
    clock.now = 20.0
    assert drain(queue) == []


def test_a_key_that_fails_comes_later_each_time_up_to_a_limit_and_starts_anew_after_a_success():
    clock = Clock()
    queue = WorkQueue(clock=clock, first_backoff_seconds=1, longest_backoff_seconds=5)
    assert [queue.add_failed("a") for _ in range(5)] == [1, 2, 4, 5, 5]
    queue.succeeded("a")
    assert queue.add_failed("a") == 1


def test_a_closed_queue_gives_nothing_and_wakes_whoever_waits():
    queue = WorkQueue()
    taken: list[str | None] = []
    waiting = threading.Thread(target=lambda: taken.append(queue.take()))
    waiting.start()
    queue.close()
    waiting.join(30)
    queue.add("a")
    assert (taken, queue.take(0), waiting.is_alive()) == ([None], None, False)


def test_a_waiting_thread_is_woken_for_a_key_and_for_a_delayed_key():
    queue = WorkQueue()
    taken: list[str | None] = []

    def work() -> None:
        for _ in range(2):
            key = queue.take(30)
            taken.append(key)
            queue.done(key)

    waiting = threading.Thread(target=work)
    waiting.start()
    queue.add_after("late", 0.05)
    queue.add("now")
    waiting.join(30)
    assert taken == ["now", "late"]


def test_no_key_is_on_two_threads_at_once_and_none_is_lost():
    queue = WorkQueue()
    at_work: set[str] = set()
    clashes: list[str] = []
    done: set[str] = set()
    lock = threading.Lock()

    def work() -> None:
        while (key := queue.take()) is not None:
            with lock:
                if key in at_work:
                    clashes.append(key)
                at_work.add(key)
            with lock:
                at_work.discard(key)
                done.add(key)
            queue.done(key)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for number in range(2000):
        queue.add(str(number % 50))
    while len(done) < 50 or len(queue):
        threading.Event().wait(0.01)
    queue.close()
    for worker in workers:
        worker.join(30)
    assert clashes == []
    assert len(done) == 50
