"""A pool of threads that takes attempts from one queue.

A thread can not be killed. An attempt that nobody waits for any more is asked to stop, its thread is written off, and a
new thread takes the place, so that as many attempts as before can run. When the body returns at last, its end is told
like any other, and the thread that ran it ends instead of taking more work.

This module does not decide what runs when, and does not know what a body is.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from flowweaver.core.events import AttemptEnded, AttemptId, Failed, Outcome
from flowweaver.core.phases import Reason
from flowweaver.errors import InternalError
from flowweaver.ports import Attempt, Clock

log = logging.getLogger(__name__)

_numbers = itertools.count(1)
_UNWANTED = Failed(reason=Reason.TERMINATED, message="stopped before its body was started", error_type="Cancelled")
_NO_THREAD = Failed(message="the system gives no thread to run this in: look at its limits on processes and memory")


class _Job:
    """One attempt on its way from `start` to its end. Its flags change under the executor's lock."""

    __slots__ = ("attempt", "ended", "lost", "running", "unwanted")

    def __init__(self, attempt: Attempt, ended: Callable[[AttemptEnded], None]) -> None:
        self.attempt = attempt
        self.ended = ended
        self.running = False  # a thread has taken it
        self.unwanted = False  # abandoned before a thread took it: its body is not run
        self.lost = False  # abandoned while it was running: its thread ends with it


class ThreadedExecutor:
    """Runs attempts in `workers` daemon threads, made when the first attempt comes. Implements `ports.Executor`.

    `run` gives an attempt's outcome; whatever it raises, `SystemExit` and the like too, is that attempt's failure.
    `ended` is called exactly once for each attempt, on the thread that ran it. With no thread to be had at all, an
    attempt fails; with fewer than `workers` it waits for one.
    """

    def __init__(self, run: Callable[[Attempt], Outcome], workers: int, clock: Clock) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self._run = run
        self._workers = workers
        self._clock = clock
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._jobs: dict[AttemptId, _Job] = {}  # started and not ended
        self._threads: set[threading.Thread] = set()
        self._lost = 0  # of these threads, how many will take no more work
        self._closed = False

    def start(self, attempt: Attempt, ended: Callable[[AttemptEnded], None]) -> None:
        """Run it as soon as a thread is free, without blocking. Raises `InternalError` once the executor is closed."""
        job = _Job(attempt, ended)
        with self._lock:
            if self._closed:
                raise InternalError("an attempt was started on a closed executor")
            if attempt.id in self._jobs:
                raise InternalError(f"attempt {attempt.id} was started twice")
            self._jobs[attempt.id] = job
            self._fill()
            if self._threads:
                self._queue.put(job)
                return
        self._end(job, _NO_THREAD)

    def abandon(self, attempt: AttemptId) -> None:
        """Ask that attempt to stop and give its place to a new thread. One that has ended already is no error."""
        with self._lock:
            job = self._jobs.get(attempt)
            if job is None:
                return
            if not job.running:
                job.unwanted = True
            elif not job.lost:
                job.lost = True
                self._lost += 1
                self._fill()
        job.attempt.cancellation.request()

    def close(self, grace_seconds: float = 5.0) -> None:
        """Ask every attempt to stop and wait at most so long for the threads. Idempotent.

        An attempt that no thread has taken yet ends here and now, without its body being run. A body that does not
        stop in time keeps its daemon thread, and its end is still told when it comes.
        """
        with self._lock:
            first, self._closed = not self._closed, True
            jobs, threads = list(self._jobs.values()), list(self._threads)
        for job in jobs:
            job.attempt.cancellation.request()
        if first:
            self._end_waiting()
            for _ in threads:
                self._queue.put(None)
        until = self._clock.monotonic() + grace_seconds
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - self._clock.monotonic()))

    def _fill(self) -> None:
        """Make the threads that are missing; under the lock."""
        while not self._closed and len(self._threads) - self._lost < self._workers:
            thread = threading.Thread(target=self._work, name=f"flowweaver-worker-{next(_numbers)}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads now; it is tried again whenever an attempt ends
                log.warning("no thread could be made for a worker; %d are at work", len(self._threads) - self._lost)
                return
            self._threads.add(thread)

    def _work(self) -> None:
        lost = False
        while not lost and (job := self._queue.get()) is not None:
            lost = self._end(job, self._outcome(job))
            del job  # a thread that waits must not keep the last attempt in memory
        with self._lock:
            self._threads.discard(threading.current_thread())
            self._lost -= lost

    def _end_waiting(self) -> None:
        with contextlib.suppress(Empty):
            while (job := self._queue.get_nowait()) is not None:
                self._end(job, _UNWANTED)

    def _outcome(self, job: _Job) -> Outcome:
        with self._lock:
            job.running = True
        if job.unwanted or job.attempt.cancellation.requested:
            return _UNWANTED
        try:
            return self._run(job.attempt)
        except BaseException as exc:  # noqa: BLE001 - a body must not end a thread of ours, whatever it raises
            return _failure(exc)

    def _end(self, job: _Job, outcome: Outcome) -> bool:
        """Tell the end; whether the thread was given up meanwhile."""
        with self._lock:
            del self._jobs[job.attempt.id]
            lost = job.lost
            self._fill()
        try:
            job.ended(AttemptEnded(job.attempt.id, outcome, self._clock.now(), random.random()))  # noqa: S311 - jitter
        except Exception:
            log.exception("the end of attempt %s could not be told", job.attempt.id)
        return lost


def _failure(exc: BaseException) -> Failed:
    # Runners translate what bodies raise; what arrives here has slipped through them.
    try:
        message = str(exc)
    except Exception:  # noqa: BLE001 - an error whose text can not be made is still an error
        message = "(its message can not be read)"
    return Failed(error_type=type(exc).__name__, message=message[:4096].encode("utf-8", "replace").decode())
