"""A pool of threads that takes attempts from one queue.

A thread can not be killed. An attempt that nobody waits for any more is asked to stop, its thread is written off, and a
new thread may take the place, so that as many attempts as before can run. When the body returns at last, its end is
told like any other, and the thread that ran it ends instead of taking more work.

A thread is made when an attempt comes for which none is free. Where the end of one attempt starts others in the same
call, the thread that told it goes on with the first of them without waking another one, and with all of them where
bodies are so quick that waking takes longer. Who watches it calls `share` where one is not.

This module does not decide what runs when, and does not know what a body is.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from time import monotonic

from flowweaver.core.events import AttemptEnded, AttemptId, Outcome
from flowweaver.errors import InternalError
from flowweaver.executors.jobs import NO_THREAD, SETTLE_SECONDS, UNWANTED, Job, failure, tell
from flowweaver.ports import Attempt, Clock

QUICK_SECONDS = 0.0001
"""Waking a thread takes about as long: bodies that are quicker than that are run one after the other."""

log = logging.getLogger(__name__)

_numbers = itertools.count(1)


class _Hand(threading.local):
    """What is known of a thread of the pool."""

    telling = False  # the end of an attempt: what is started now, it can go on with


class ThreadedExecutor:
    """Runs at most `workers` attempts at once, each in a daemon thread. Implements `ports.Executor`.

    `run` gives an attempt's outcome; whatever it raises, `SystemExit` and the like too, is that attempt's failure.
    `ended` is called exactly once for each attempt, on the thread that ran it. With no thread to be had at all, an
    attempt fails; with fewer than are needed it waits for one.
    """

    def __init__(self, run: Callable[[Attempt], Outcome], workers: int, clock: Clock) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self._run = run
        self._workers = workers
        self._clock = clock
        self._queue: SimpleQueue[Job | None] = SimpleQueue()  # None: a thread ends
        self._hand = _Hand()
        self.kept: deque[Job] = deque()  # for the thread that has started them while it told an end
        self.quick = False  # the last body took less time than waking a thread
        self._lock = threading.Lock()
        self._jobs: dict[AttemptId, Job] = {}  # started and not ended
        self._threads: set[threading.Thread] = set()
        self._ready = 0  # of these threads, how many will take more work
        self._lost = 0  # of these jobs, how many were abandoned while they were running
        self._closed = False

    def start(self, attempt: Attempt, ended: Callable[[AttemptEnded], None]) -> None:
        """Run it as soon as a thread is free, without blocking. Raises `InternalError` once the executor is closed."""
        job = Job(attempt, ended)
        with self._lock:
            if self._closed:
                raise InternalError("an attempt was started on a closed executor")
            if attempt.id in self._jobs:
                raise InternalError(f"attempt {attempt.id} was started twice")
            self._jobs[attempt.id] = job
            if self._ready < self._workers:
                self._fill()
            if self._ready or self._lost:  # the end of one that is lost makes another thread
                if self._hand.telling and (self.quick or not self.kept):
                    self.kept.append(job)
                else:
                    self._queue.put(job)
                return
        self._end(job, NO_THREAD)

    def share(self) -> None:
        """Let any thread have what waits for one: a body that was thought to be quick is not."""
        with contextlib.suppress(IndexError):
            while self.kept:
                self._queue.put(self.kept.popleft())

    def abandon(self, attempt: AttemptId) -> None:
        """Ask that attempt to stop and give its place away. One that has ended already is no error."""
        with self._lock:
            job = self._jobs.get(attempt)
            if job is None:
                return
            if job.thread is None:
                job.unwanted = True
            elif not job.lost:
                job.lost = True
                self._lost += 1
                self._ready -= 1
                self._fill()
        job.attempt.cancellation.request()

    def add_workers(self, count: int) -> None:
        """Let so many more attempts run at once, fewer where it is negative. What has been started is run in any case.

        Raises `ValueError` where none would be left.
        """
        with self._lock:
            if self._workers + count < 1:
                raise ValueError(f"workers must be at least 1, not {self._workers + count}")
            self._workers += count
            self._fill()
            while self._ready > self._workers:
                self._ready -= 1
                self._queue.put(None)

    def close(self, grace_seconds: float = 5.0) -> None:
        """Ask every attempt to stop and wait at most so long for the bodies. Idempotent.

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
        self._join([thread for thread in threads if thread is not threading.current_thread()], grace_seconds)

    def _join(self, threads: Sequence[threading.Thread], grace_seconds: float) -> None:
        until = self._clock.monotonic() + grace_seconds
        for thread in threads:
            thread.join(max(0.0, until - self._clock.monotonic()))
        with self._lock:
            busy = {job.thread for job in self._jobs.values()}
        for thread in threads:
            if thread not in busy:
                thread.join(SETTLE_SECONDS)

    def _fill(self) -> None:
        """Make the threads that are missing for the attempts that are there; under the lock."""
        while self._ready < len(self._jobs) - self._lost and self._ready < self._workers and not self._closed:
            thread = threading.Thread(target=self._work, name=f"flowweaver-worker-{next(_numbers)}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads now; it is tried again whenever an attempt ends
                log.warning("no thread could be made for a worker; %d are at work", self._ready)
                return
            self._threads.add(thread)
            self._ready += 1

    def _work(self) -> None:
        thread, hand, lost = threading.current_thread(), self._hand, False
        while not lost and (job := self._next()) is not None:
            outcome = self._outcome(job, thread)
            lost = self._close(job)
            hand.telling = not lost
            tell(job, outcome, self._clock)
            hand.telling = False
            del job, outcome  # a thread that waits must not keep the last attempt in memory
        with self._lock:
            self._threads.discard(thread)

    def _next(self) -> Job | None:
        try:
            return self.kept.popleft()
        except IndexError:
            return self._queue.get()

    def _end_waiting(self) -> None:
        self.share()
        with contextlib.suppress(Empty):
            while True:
                if (job := self._queue.get_nowait()) is not None:
                    self._end(job, UNWANTED)

    def _outcome(self, job: Job, thread: threading.Thread) -> Outcome:
        with self._lock:
            job.thread = thread
        if job.unwanted or job.attempt.cancellation.requested:
            return UNWANTED
        began = monotonic()
        try:
            return self._run(job.attempt)
        except BaseException as exc:  # noqa: BLE001 - a body must not end a thread of ours, whatever it raises
            return failure(exc)
        finally:
            self.quick = monotonic() - began < QUICK_SECONDS

    def _end(self, job: Job, outcome: Outcome) -> None:
        """Tell the end of one that no thread has run."""
        self._close(job)
        tell(job, outcome, self._clock)

    def _close(self, job: Job) -> bool:
        """It is not at work any more; whether its thread was given up meanwhile."""
        with self._lock:
            del self._jobs[job.attempt.id]
            lost = job.lost
            self._lost -= lost
            if self._ready < self._workers:
                self._fill()
        return lost
