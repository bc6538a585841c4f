"""Coroutines by the thousand in one event loop, and everything else in threads.

The loop has a daemon thread of its own, which comes with the first coroutine and goes with `close`; nothing of it is
seen by the rest of the process. Where a loop is given, that one is used, and left as it is. A coroutine can be
cancelled where a thread can not, but it may refuse to go: then it stays abandoned until it returns, like a body in a
thread.

Import this module where it is needed: it loads asyncio.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any

from flowweaver.core.events import AttemptEnded, AttemptId, Completed, Deferred, Failed, Outcome
from flowweaver.errors import InternalError
from flowweaver.executors.jobs import NO_THREAD, SETTLE_SECONDS, UNWANTED, Job, failure, tell
from flowweaver.executors.threaded import ThreadedExecutor
from flowweaver.ports import Attempt, Clock

log = logging.getLogger(__name__)

Rest = Coroutine[Any, Any, Outcome]
"""What is left of a body that began in a thread and gave something to await."""

_OUTCOMES = (Completed, Failed, Deferred)
_CLOSED_LOOP = Failed(message="the event loop that this was to run in is closed", error_type="RuntimeError")
_GOES_ON = Completed()  # what a thread says of an attempt that goes on in the loop


class _LoopJob(Job, eq=False):
    """An attempt that may be in the loop."""

    rest: Rest | None = None
    task: asyncio.Task[None] | None = None  # the loop itself keeps no task alive


class EventLoopExecutor:
    """Runs coroutine functions in one event loop and other bodies in at most `workers` threads. Implements
    `ports.Executor`.

    `is_async` says which attempts `run_async` runs in the loop; the others are for `run`, which gives the outcome, or a
    coroutine that gives it: that one goes on in the loop, and leaves the thread to the next attempt. Whatever they
    raise is that attempt's failure. `ended` is called exactly once for each attempt, on the thread that it ended on.
    """

    def __init__(
        self,
        run: Callable[[Attempt], Outcome | Rest],
        run_async: Callable[[Attempt], Rest],
        is_async: Callable[[Attempt], bool],
        workers: int,
        clock: Clock,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    ) -> None:
        """`loop` is one that somebody else runs; None: one that `loop_factory` makes, in a thread of its own."""
        self._run = run
        self._run_async = run_async
        self._is_async = is_async
        self._clock = clock
        self._threads = ThreadedExecutor(self._run_in_thread, workers, clock)
        self._lock = threading.Condition()  # notified when the last attempt has ended after the close
        self._jobs: dict[AttemptId, _LoopJob] = {}  # started and not ended, also those in threads
        self._arrived: deque[_LoopJob] = deque()  # for the loop
        self._woken = False  # the loop is going to look at what has arrived
        self._loop = loop
        self._loop_factory = loop_factory
        self._is_lent = loop is not None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._stopping = False  # the loop has been told to stop

    def start(self, attempt: Attempt, ended: Callable[[AttemptEnded], None]) -> None:
        """Run it soon, without blocking. Raises `InternalError` once the executor is closed."""
        job = _LoopJob(attempt, ended)
        with self._lock:
            if self._closed:
                raise InternalError("an attempt was started on a closed executor")
            if attempt.id in self._jobs:
                raise InternalError(f"attempt {attempt.id} was started twice")
            self._jobs[attempt.id] = job
        try:
            if self._is_async(attempt):
                self._send(job)
            else:
                self._threads.start(attempt, partial(self._left_thread, job))
        except BaseException:  # closed meanwhile
            self._forget(job)
            raise

    def abandon(self, attempt: AttemptId) -> None:
        """Cancel that coroutine, or ask the body in a thread to stop and give its place away. Of one that has ended
        already there is nothing to do.
        """
        job = self._jobs.get(attempt)
        if job is not None:
            self._threads.abandon(attempt)
            job.attempt.cancellation.request()  # what is in the loop is cancelled by it

    def add_workers(self, count: int) -> None:
        """Let so many more attempts run at once in threads, fewer where it is negative."""
        self._threads.add_workers(count)

    def close(self, grace_seconds: float = 5.0) -> None:
        """Cancel every coroutine, ask every body in a thread to stop, and wait at most so long for them. Idempotent.

        What does not stop in time keeps its daemon thread or the loop's, and its end is still told when it comes.
        """
        until = self._clock.monotonic() + grace_seconds
        with self._lock:
            self._closed = True
            jobs = list(self._jobs.values())
        for job in jobs:
            job.attempt.cancellation.request()
        self._threads.close(grace_seconds)
        if self._is_lent:
            self._end_stranded()
            self._wait(until)
            return
        with self._lock:
            self._stop_if_over()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, until - self._clock.monotonic()))
            if self._over:
                thread.join(SETTLE_SECONDS)

    def _wait(self, until: float) -> None:
        """Wait for what is in a loop of somebody else, which must go on meanwhile; not where this is its thread."""
        with suppress(RuntimeError):
            if asyncio.get_running_loop() is self._loop:
                return
        with self._lock:
            while self._jobs and (left := until - self._clock.monotonic()) > 0:
                self._lock.wait(left)

    def _end_stranded(self) -> None:
        """End what a loop of somebody else has been closed before it took it."""
        assert self._loop is not None
        if self._loop.is_closed():
            with self._lock:
                stranded = list(self._arrived)
                self._arrived.clear()
            for job in stranded:
                self._end_outside(job, _CLOSED_LOOP)

    # ------------------------------------------------------------------------------------------------------ in threads

    def _run_in_thread(self, attempt: Attempt) -> Outcome:
        outcome = self._run(attempt)
        if isinstance(outcome, _OUTCOMES):
            return outcome
        self._jobs[attempt.id].rest = outcome
        return _GOES_ON

    def _left_thread(self, job: _LoopJob, ended: AttemptEnded) -> None:
        if job.rest is not None:
            self._send(job)
            return
        self._forget(job)
        job.ended(ended)

    # ----------------------------------------------------------------------------------------------------- in the loop

    def _send(self, job: _LoopJob) -> None:
        with self._lock:
            loop = self._loop or self._new_loop()
            if loop is not None:
                self._arrived.append(job)
                if self._woken and not loop.is_closed():
                    return
                with suppress(RuntimeError):  # one of somebody else has been closed
                    loop.call_soon_threadsafe(self._take_arrived)
                    self._woken = True
                    return
                self._arrived.remove(job)
        self._end_outside(job, NO_THREAD if loop is None else _CLOSED_LOOP)

    def _end_outside(self, job: _LoopJob, outcome: Outcome) -> None:
        """It can not come into the loop."""
        self._end(job, outcome if job.rest is None else _cancelled(job.rest))

    def _new_loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop in its thread; None where the system gives no thread or no descriptor for it. Under the lock."""
        try:
            loop = self._loop_factory()
        except OSError as exc:
            log.warning("no event loop could be made: %s", exc)
            return None
        thread = threading.Thread(target=self._serve, args=(loop,), name="flowweaver-event-loop", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            log.warning("no thread could be made for the event loop")
            loop.close()
            return None
        self._loop, self._thread = loop, thread
        return loop

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while not self._over:
                try:
                    loop.run_forever()
                except BaseException as exc:  # noqa: BLE001 - SystemExit of a task that a body has made ends the loop
                    log.warning("a task that a body has left in the event loop raised %s", type(exc).__name__)
            _wind_up(loop)
        finally:
            loop.close()

    def _take_arrived(self) -> None:
        with self._lock:
            self._woken = False
            jobs = list(self._arrived)
            self._arrived.clear()
        loop = asyncio.get_running_loop()
        for job in jobs:
            job.task = loop.create_task(self._drive(job), context=Context())  # not that of whoever has sent it

    async def _drive(self, job: _LoopJob) -> None:
        cancellation = job.attempt.cancellation
        if cancellation.requested and job.rest is None:
            self._end(job, UNWANTED)
            return
        # Not before: a coroutine that is cancelled before its first step is never run.
        cancellation.on_request(partial(self._cancel, job.attempt.id))
        try:
            outcome = await (self._run_async(job.attempt) if job.rest is None else job.rest)
        except BaseException as exc:  # noqa: BLE001 - a body must not end the loop, whatever it raises
            outcome = failure(exc)
        self._end(job, outcome)

    def _cancel(self, attempt: AttemptId) -> None:
        job = self._jobs.get(attempt)
        if job is not None and job.task is not None and self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: it has just ended
                self._loop.call_soon_threadsafe(job.task.cancel)

    def _end(self, job: _LoopJob, outcome: Outcome) -> None:
        self._forget(job)
        tell(job, outcome, self._clock)

    def _forget(self, job: _LoopJob) -> None:
        with self._lock:
            del self._jobs[job.attempt.id]
            self._stop_if_over()

    @property
    def _over(self) -> bool:
        return self._closed and not self._jobs

    def _stop_if_over(self) -> None:
        """Let the loop end with the last attempt, also where `close` waits no more. Under the lock."""
        if not self._over:
            return
        self._lock.notify_all()
        if self._loop is not None and not self._is_lent and not self._stopping:
            self._stopping = True
            self._loop.call_soon_threadsafe(self._loop.stop)


def _cancelled(rest: Rest) -> Outcome:
    """What becomes of a body that can not go on: it is cancelled where it awaits, in a loop for this alone."""

    async def cancelled() -> Outcome:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return await rest

    try:
        return asyncio.run(cancelled())
    except BaseException as exc:  # noqa: BLE001 - whatever a body raises is its attempt's failure
        return failure(exc)


def _wind_up(loop: asyncio.AbstractEventLoop) -> None:
    """End what bodies have left in the loop: tasks that nobody awaits, asynchronous generators, threads."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
