"""Attempts in the threads of those who wait for them: the contract of every executor, and what only lanes have."""

import sqlite3
import threading

import pytest

from flowweaver.core.events import AttemptId, Completed, Failed
from flowweaver.core.records import replace
from flowweaver.errors import InternalError
from flowweaver.executors.sequential import SequentialExecutor
from flowweaver.testing.executors import PATIENCE_SECONDS, Endings, ExecutorContract, WallClock, attempt_of

RUN = attempt_of(1).id.run


class TestSequentialExecutor(ExecutorContract):
    """Outside of lanes it is like the others."""

    def opened(self, run, workers):
        executor = SequentialExecutor(run, WallClock())
        if workers > 1:
            executor.add_workers(workers - 1)
        return executor


@pytest.fixture
def endings():
    return Endings()


@pytest.fixture
def executor_of():
    opened = []

    def executor_of(run=lambda _: Completed()):
        opened.append(SequentialExecutor(run, WallClock()))
        return opened[-1]

    before = set(threading.enumerate())
    yield executor_of
    for executor in opened:
        executor.close(PATIENCE_SECONDS)
    assert set(threading.enumerate()) <= before


def stopping(lane, endings, last):
    """What is told, with the lane stopped after attempt `last`."""

    def ended(told):
        endings(told)
        if told.attempt.number == last:
            lane.stop()

    return ended


def serving(lane):
    thread = threading.Thread(target=lane.serve)
    thread.start()
    return thread


def test_bodies_run_in_the_thread_that_serves_and_in_order(executor_of, endings):
    threads, order = set(), []

    def run(attempt):
        threads.add(threading.current_thread())
        order.append(attempt.id.number)
        return Completed()

    executor = executor_of(run)
    with executor.lend(RUN) as lane:
        for number in range(1, 21):
            executor.start(attempt_of(number), stopping(lane, endings, 20))
        assert order == []
        lane.serve()
    assert threads == {threading.current_thread()}
    assert order == list(range(1, 21))
    assert set(endings.take(20)) == set(order)


def test_an_object_that_belongs_to_one_thread_can_be_used_in_every_body(executor_of, endings):
    connection = sqlite3.connect(":memory:")

    def run(attempt):
        return Completed(str(connection.execute("SELECT ?", [attempt.id.number]).fetchone()[0]).encode())

    executor = executor_of(run)
    with executor.lend(RUN) as lane:
        for number in (1, 2, 3):
            executor.start(attempt_of(number), stopping(lane, endings, 3))
        lane.serve()
    connection.close()
    assert {number: told.outcome for number, told in endings.take(3).items()} == {
        number: Completed(str(number).encode()) for number in (1, 2, 3)
    }


def test_what_is_posted_is_called_in_order_with_the_attempts(executor_of, endings):
    done = []

    def run(attempt):
        done.append((attempt.id.number, threading.current_thread()))
        lane.post(lambda: done.append(("from the body", threading.current_thread())))
        return Completed()

    executor = executor_of(run)
    with executor.lend(RUN) as lane:
        lane.post(lambda: done.append(("first", threading.current_thread())))
        executor.start(attempt_of(1), endings)
        lane.post(lambda: done.append(("second", threading.current_thread())))
        lane.post(lane.stop)
        lane.serve()
    assert [what for what, _ in done] == ["first", 1, "second", "from the body"]
    assert {thread for _, thread in done} == {threading.current_thread()}


def test_an_attempt_with_a_timeout_runs_in_another_thread_so_that_it_can_be_given_up(executor_of, endings):
    gate, begun, threads = threading.Event(), threading.Event(), {}

    def run(attempt):
        threads[attempt.id.number] = threading.current_thread()
        if attempt.id.number == 1:
            begun.set()
            gate.wait(PATIENCE_SECONDS)
        return Completed()

    executor = executor_of(run)
    with executor.lend(RUN) as lane:
        executor.start(attempt_of(1, timeout_seconds=9.0), endings)
        assert begun.wait(PATIENCE_SECONDS)
        executor.abandon(AttemptId(RUN, 0, 1))
        executor.start(attempt_of(2, timeout_seconds=9.0), endings)
        assert endings.next().attempt.number == 2, "nothing took its place"
        executor.start(attempt_of(3), stopping(lane, endings, 3))
        lane.serve()
        assert endings.next().attempt.number == 3
    gate.set()
    assert endings.next().attempt.number == 1
    assert threads[3] is threading.current_thread()
    assert len(set(threads.values())) == 3


def test_another_run_is_not_served_by_this_ones_lane(executor_of, endings):
    executor = executor_of(lambda _: Completed())
    with executor.lend(RUN + 1):
        executor.start(attempt_of(1), endings)
        assert endings.next().outcome == Completed()


def test_a_body_may_serve_a_run_of_its_own_in_its_thread(executor_of, endings):
    order = []

    def run(attempt):
        order.append((attempt.id, threading.current_thread()))
        if attempt.id.run == RUN:
            with executor.lend(RUN + 1) as inner:
                within = replace(attempt_of(1), id=AttemptId(RUN + 1, 0, 1))
                executor.start(within, lambda _: inner.stop())
                inner.serve()
        return Completed()

    executor = executor_of(run)
    with executor.lend(RUN) as lane:
        executor.start(attempt_of(1), stopping(lane, endings, 1))
        lane.serve()
    assert [attempt.run for attempt, _ in order] == [RUN, RUN + 1]
    assert {thread for _, thread in order} == {threading.current_thread()}


def interrupt(_):
    raise KeyboardInterrupt


def test_an_interrupt_in_a_body_comes_out_of_serve_and_the_attempt_goes_on_for_the_engine(executor_of, endings):
    executor = executor_of(interrupt)
    lane = executor.lend(RUN)
    attempt = attempt_of(1)
    executor.start(attempt, endings)
    with pytest.raises(KeyboardInterrupt):
        lane.serve()
    assert endings.none_left()
    executor.abandon(attempt.id)  # as the engine does when the run is released
    told = endings.next()
    assert isinstance(told.outcome, Failed)
    assert (told.outcome.reason, told.outcome.error_type) == ("Interrupted", "KeyboardInterrupt")
    assert attempt.cancellation.requested
    lane.close()
    assert endings.none_left()


def test_a_lane_can_be_served_again_after_an_interrupt(executor_of, endings):
    executor = executor_of(interrupt)
    lane = executor.lend(RUN)
    executor.start(attempt_of(1), endings)
    called = []
    lane.post(lambda: called.append(1))
    lane.post(lane.stop)
    with pytest.raises(KeyboardInterrupt):
        lane.serve()
    lane.serve()
    lane.close()
    assert called == [1]
    assert endings.next().outcome.reason == "Interrupted", "it was run again"


def test_an_interrupt_leaves_what_had_not_begun_to_the_executors_own_thread(executor_of, endings):
    executor = executor_of(lambda attempt: interrupt(attempt) if attempt.id.number == 1 else Completed())
    with executor.lend(RUN) as lane:
        executor.start(attempt_of(1), endings)
        executor.start(attempt_of(2), endings)
        with pytest.raises(KeyboardInterrupt):
            lane.serve()
    assert endings.take(2)[2].outcome == Completed()


def test_other_things_that_a_runner_raises_are_the_attempts_failure(executor_of, endings):
    def run(_):
        raise SystemExit(1)

    executor = executor_of(run)
    with executor.lend(RUN) as lane:
        executor.start(attempt_of(1), stopping(lane, endings, 1))
        lane.serve()
    assert endings.next().outcome.error_type == "SystemExit"


def test_what_a_posted_call_raises_comes_out_of_serve(executor_of):
    executor = executor_of()
    with executor.lend(RUN) as lane:
        lane.post({}.popitem)
        with pytest.raises(KeyError):
            lane.serve()


def test_an_attempt_that_is_abandoned_before_anybody_serves_is_over_at_once_and_never_run(executor_of, endings):
    ran = []
    executor = executor_of(ran.append)
    with executor.lend(RUN) as lane:
        executor.start(attempt_of(1), endings)
        executor.abandon(AttemptId(RUN, 0, 1))
        assert endings.next().outcome.reason == "Terminated"
        lane.stop()
        lane.serve()
    assert ran == []
    assert endings.none_left()


def test_an_abandoned_body_in_a_lane_is_asked_to_stop_and_its_end_is_told_when_it_returns(executor_of, endings):
    begun = threading.Event()

    def run(attempt):
        begun.set()
        attempt.cancellation.wait(PATIENCE_SECONDS)
        return Completed(b"1")

    executor = executor_of(run)
    with executor.lend(RUN) as lane:
        server = serving(lane)
        executor.start(attempt_of(1), endings)
        assert begun.wait(PATIENCE_SECONDS)
        executor.abandon(AttemptId(RUN, 0, 1))
        assert endings.next().outcome == Completed(b"1")
        lane.stop()
        server.join(PATIENCE_SECONDS)


def test_closing_stops_the_lanes_and_waits_for_what_runs_in_them(executor_of, endings):
    begun = threading.Event()

    def run(attempt):
        begun.set()
        attempt.cancellation.wait(PATIENCE_SECONDS)
        return Completed(b"1")

    executor = executor_of(run)
    lane = executor.lend(RUN)
    server = serving(lane)
    executor.start(attempt_of(1), endings)
    assert begun.wait(PATIENCE_SECONDS)
    executor.start(attempt_of(2), endings)
    executor.close(PATIENCE_SECONDS)
    taken = endings.take(2)
    assert taken[1].outcome == Completed(b"1")
    assert taken[2].outcome.reason == "Terminated"
    server.join(PATIENCE_SECONDS)
    assert not server.is_alive()
    lane.close()
    with pytest.raises(InternalError, match="closed"):
        executor.start(attempt_of(3), endings)
    with pytest.raises(InternalError, match="closed"):
        executor.lend(RUN)


def test_closing_does_not_wait_longer_than_its_grace_for_a_body_in_a_lane(executor_of, endings):
    begun, gate = threading.Event(), threading.Event()

    def run(_):
        begun.set()
        gate.wait(PATIENCE_SECONDS)
        return Completed()

    executor = executor_of(run)
    lane = executor.lend(RUN)
    server = serving(lane)
    executor.start(attempt_of(1), endings)
    assert begun.wait(PATIENCE_SECONDS)
    executor.close(grace_seconds=0.01)
    assert endings.none_left()
    gate.set()
    assert endings.next().outcome == Completed()
    server.join(PATIENCE_SECONDS)


def test_a_body_may_close_the_executor_that_runs_it(executor_of, endings):
    def run(_):
        executor.close(PATIENCE_SECONDS)
        return Completed(b"1")

    executor = executor_of(run)
    with executor.lend(RUN) as lane:
        executor.start(attempt_of(1), endings)
        lane.serve()
    assert endings.next().outcome == Completed(b"1")


def test_bugs_of_a_caller_are_named(executor_of, endings):
    gate = threading.Event()
    executor = executor_of(lambda _: gate.wait(PATIENCE_SECONDS) and Completed())
    lane = executor.lend(RUN)
    with pytest.raises(InternalError, match="has a lane"):
        executor.lend(RUN)
    executor.start(attempt_of(1), stopping(lane, endings, 1))
    with pytest.raises(InternalError, match="twice"):
        executor.start(attempt_of(1), endings)
    server = serving(lane)
    while lane.server is None:
        threading.Event().wait(0.001)
    with pytest.raises(InternalError, match="being served"):
        lane.serve()
    with pytest.raises(InternalError, match="being served"):
        lane.close()
    gate.set()
    endings.next()
    server.join(PATIENCE_SECONDS)
    lane.close()
    lane.close()
