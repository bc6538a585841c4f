"""The contract of `ports.Executor` as tests: every executor passes them, ours and anybody else's.

    class TestMyExecutor(ExecutorContract):
        def opened(self, run, workers):
            return MyExecutor(run, workers)

It needs no test framework but one that calls `test_…` methods. An executor that runs attempts in the thread that calls
`start` sets `concurrent = False`, and the sentences about attempts beside each other are left out.
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from flowweaver.core.events import AttemptEnded, AttemptId, Completed, Failed, Outcome
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.errors import InternalError
from flowweaver.ports import Attempt, Executor

PATIENCE_SECONDS = 30.0
"""How long a test waits for what must come: generous, because a machine may be busy."""


class WallClock:
    """The system's clocks."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()


def attempt_of(number: int, name: str = "t", *, timeout_seconds: float | None = None) -> Attempt:
    """An attempt of a run with one task."""
    task = TaskPlan(name=name, kind="value", body={"value": number}, timeout_seconds=timeout_seconds)
    return Attempt(id=AttemptId(1, 0, number), task=task, run=RunPlan(tasks=(task,), name="w"), run_started_at=0.0)


class Endings:
    """What an executor tells: pass it as `ended`."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[AttemptEnded] = SimpleQueue()

    def __call__(self, ended: AttemptEnded) -> None:
        """Take one."""
        self._queue.put(ended)

    def next(self) -> AttemptEnded:
        """The next one, in the order of their coming; raises `queue.Empty` where none comes."""
        return self._queue.get(timeout=PATIENCE_SECONDS)

    def take(self, count: int) -> dict[int, AttemptEnded]:
        """The next so many, by the attempts' numbers."""
        taken = [self.next() for _ in range(count)]
        assert len({ended.attempt for ended in taken}) == count, "an attempt ended twice"
        return {ended.attempt.number: ended for ended in taken}

    def none_left(self) -> bool:
        """Whether all that came were taken."""
        return self._queue.empty()


class ExecutorContract(ABC):
    """What every executor does."""

    concurrent = True  # whether attempts run beside the caller and beside each other

    @abstractmethod
    def opened(self, run: Callable[[Attempt], Outcome], workers: int) -> Executor:
        """An executor that runs attempts with `run`, so many at once."""

    @contextmanager
    def _executor(self, run: Callable[[Attempt], Outcome], workers: int = 2) -> Iterator[Executor]:
        executor = self.opened(run, workers)
        try:
            yield executor
        finally:
            executor.close(PATIENCE_SECONDS)

    def test_every_attempt_ends_once_with_its_own_outcome(self) -> None:
        def run(attempt: Attempt) -> Outcome:
            return Completed(str(attempt.id.number).encode())

        endings = Endings()
        with self._executor(run) as executor:
            for number in range(100):
                executor.start(attempt_of(number), endings)
            taken = endings.take(100)
        assert {number: ended.outcome for number, ended in taken.items()} == {
            number: Completed(str(number).encode()) for number in range(100)
        }
        assert endings.none_left()

    def test_an_end_says_when_it_was_and_carries_a_random_number(self) -> None:
        endings = Endings()
        before = time.time()
        with self._executor(lambda _: Completed()) as executor:
            for number in range(20):
                executor.start(attempt_of(number), endings)
            taken = list(endings.take(20).values())
        assert all(before <= ended.ended_at <= time.time() for ended in taken)
        assert all(0.0 <= ended.random < 1.0 for ended in taken)
        assert len({ended.random for ended in taken}) > 1

    def test_whatever_a_body_raises_is_its_attempts_failure_and_nothing_elses(self) -> None:
        raised: list[BaseException] = [
            ValueError("wrong"),
            SystemExit(3),
            KeyboardInterrupt(),
            GeneratorExit(),
            asyncio.CancelledError(),
            _Unprintable(),
        ]

        def run(attempt: Attempt) -> Outcome:
            if attempt.id.number < len(raised):
                raise raised[attempt.id.number]
            return Completed()

        endings = Endings()
        with self._executor(run) as executor:
            for number in range(len(raised) + 1):
                executor.start(attempt_of(number), endings)
            taken = endings.take(len(raised) + 1)
        assert taken.pop(len(raised)).outcome == Completed()
        for number, exc in enumerate(raised):
            outcome = taken[number].outcome
            assert isinstance(outcome, Failed)
            assert outcome.error_type == type(exc).__name__

    def test_an_error_with_a_lone_surrogate_can_be_stored(self) -> None:
        def run(_: Attempt) -> Outcome:
            raise ValueError("broken \ud800 text")

        endings = Endings()
        with self._executor(run) as executor:
            executor.start(attempt_of(1), endings)
            outcome = endings.next().outcome
        assert isinstance(outcome, Failed)
        assert outcome.message.encode().startswith(b"broken")

    def test_closing_asks_running_bodies_to_stop_and_is_idempotent(self) -> None:
        if not self.concurrent:
            return
        endings = Endings()
        running = threading.Event()
        executor = self.opened(lambda attempt: _until_cancelled(attempt, running), 1)
        executor.start(attempt_of(1), endings)
        assert running.wait(PATIENCE_SECONDS)
        executor.close(PATIENCE_SECONDS)
        executor.close(PATIENCE_SECONDS)
        assert endings.next().outcome == Completed(b'"cancelled"')

    def test_closing_ends_attempts_that_nothing_has_begun_without_running_them(self) -> None:
        if not self.concurrent:
            return
        endings = Endings()
        running = threading.Event()
        ran: list[int] = []

        def run(attempt: Attempt) -> Outcome:
            ran.append(attempt.id.number)
            return _until_cancelled(attempt, running)

        executor = self.opened(run, 1)
        executor.start(attempt_of(1), endings)
        assert running.wait(PATIENCE_SECONDS)
        executor.start(attempt_of(2), endings)
        executor.close(PATIENCE_SECONDS)
        taken = endings.take(2)
        assert isinstance(taken[2].outcome, Failed)
        assert ran == [1]

    def test_closing_ends_attempts_that_wait_behind_a_body_that_does_not_stop(self) -> None:
        if not self.concurrent:
            return
        endings, running, gate = Endings(), threading.Event(), threading.Event()

        def run(_: Attempt) -> Outcome:
            running.set()
            return _after(gate)

        executor = self.opened(run, 1)
        executor.start(attempt_of(1), endings)
        assert running.wait(PATIENCE_SECONDS)
        executor.start(attempt_of(2), endings)
        executor.close(grace_seconds=0.01)
        assert endings.next().attempt.number == 2
        gate.set()
        assert endings.next().attempt.number == 1
        executor.close(PATIENCE_SECONDS)

    def test_nothing_can_be_started_on_a_closed_executor(self) -> None:
        executor = self.opened(lambda _: Completed(), 1)
        executor.close()
        try:
            executor.start(attempt_of(1), Endings())
        except InternalError:
            return
        raise AssertionError("an attempt was taken")

    def test_start_does_not_wait_for_a_place(self) -> None:
        if not self.concurrent:
            return
        endings, gate = Endings(), threading.Event()
        with self._executor(lambda _: _after(gate), workers=1) as executor:
            for number in range(10):
                executor.start(attempt_of(number), endings)
            assert endings.none_left()
            gate.set()
            endings.take(10)

    def test_as_many_attempts_as_there_are_workers_run_at_once(self) -> None:
        if not self.concurrent:
            return
        endings, meeting = Endings(), threading.Barrier(3)

        def run(_: Attempt) -> Outcome:
            meeting.wait(PATIENCE_SECONDS)  # only when all three are there
            return Completed()

        with self._executor(run, workers=3) as executor:
            for number in range(3):
                executor.start(attempt_of(number), endings)
            assert {ended.outcome for ended in endings.take(3).values()} == {Completed()}

    def test_the_next_attempt_can_be_started_by_whoever_is_told_of_an_end(self) -> None:
        endings = Endings()
        with self._executor(lambda _: Completed(), workers=1) as executor:

            def next_one(ended: AttemptEnded) -> None:
                endings(ended)
                if ended.attempt.number < 100:
                    executor.start(attempt_of(ended.attempt.number + 1), next_one)

            executor.start(attempt_of(1), next_one)
            assert set(endings.take(100)) == set(range(1, 101))

    def test_no_thread_is_left_after_closing(self) -> None:
        before = set(threading.enumerate())
        endings, running = Endings(), threading.Event()
        executor = self.opened(lambda attempt: _until_cancelled(attempt, running), 3)
        for number in range(10):
            executor.start(attempt_of(number), endings)
        executor.close(PATIENCE_SECONDS)
        endings.take(10)
        assert set(threading.enumerate()) <= before

    def test_threads_that_run_nothing_are_gone_after_a_close_without_any_grace(self) -> None:
        before = set(threading.enumerate())
        for _ in range(10):
            endings = Endings()
            executor = self.opened(lambda _: Completed(), 3)
            for number in range(10):
                executor.start(attempt_of(number), endings)
            endings.take(10)
            executor.close(0.0)
            assert set(threading.enumerate()) <= before

    def test_an_abandoned_attempt_gives_its_place_away_and_still_ends_once(self) -> None:
        if not self.concurrent:
            return
        endings, stuck, gate = Endings(), threading.Event(), threading.Event()

        def run(attempt: Attempt) -> Outcome:
            if attempt.id.number == 1:
                stuck.set()
                return _after(gate)
            return Completed()

        abandoned = attempt_of(1)
        with self._executor(run, workers=1) as executor:
            executor.start(abandoned, endings)
            assert stuck.wait(PATIENCE_SECONDS)
            executor.abandon(abandoned.id)
            executor.abandon(abandoned.id)
            assert abandoned.cancellation.requested
            executor.start(attempt_of(2), endings)
            assert endings.next().attempt.number == 2, "nothing took the place"
            assert endings.none_left()
            gate.set()
            assert endings.next().attempt.number == 1
            executor.start(attempt_of(3), endings)
            assert endings.next().attempt.number == 3
        assert endings.none_left()

    def test_abandoning_an_attempt_that_is_unknown_or_has_ended_changes_nothing(self) -> None:
        endings = Endings()
        with self._executor(lambda _: Completed()) as executor:
            executor.abandon(AttemptId(9, 9, 9))
            executor.start(attempt_of(1), endings)
            endings.next()
            executor.abandon(attempt_of(1).id)
            executor.start(attempt_of(2), endings)
            assert endings.next().outcome == Completed()

    def test_an_attempt_that_is_abandoned_before_anything_began_is_not_run(self) -> None:
        if not self.concurrent:
            return
        endings, running, gate = Endings(), threading.Event(), threading.Event()
        ran: list[int] = []

        def run(attempt: Attempt) -> Outcome:
            ran.append(attempt.id.number)
            running.set()
            return _after(gate)

        with self._executor(run, workers=1) as executor:
            executor.start(attempt_of(1), endings)
            assert running.wait(PATIENCE_SECONDS)
            executor.start(attempt_of(2), endings)
            executor.abandon(AttemptId(1, 0, 2))
            gate.set()
            taken = endings.take(2)
        assert isinstance(taken[2].outcome, Failed)
        assert ran == [1]


class _Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def _until_cancelled(attempt: Attempt, running: threading.Event) -> Outcome:
    running.set()
    return Completed(b'"cancelled"' if attempt.cancellation.wait(PATIENCE_SECONDS) else b'"never"')


def _after(gate: threading.Event) -> Outcome:
    gate.wait(PATIENCE_SECONDS)
    return Completed()
