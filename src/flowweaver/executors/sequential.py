"""Attempts in the threads of those who wait for them.

Whoever executes a run lends its thread to it: a *lane*. The bodies of that run are called there, one after the other,
so that objects which belong to one thread, such as connections to SQLite, can be used in all of them. An attempt with a
timeout runs in a thread of the executor's own, because the caller's thread could not be taken away from it, and so do
the attempts of runs without a lane.

How many attempts run at once is the engine's to say; this module keeps the order in which they came.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from flowweaver.core.events import AttemptEnded, AttemptId, Failed, Outcome
from flowweaver.core.phases import Reason
from flowweaver.errors import InternalError
from flowweaver.executors.jobs import UNWANTED, Job, failure, tell
from flowweaver.executors.threaded import ThreadedExecutor
from flowweaver.ports import Attempt, Clock

LONGEST_WAIT_SECONDS = 0.2
"""A signal that arrives right before a thread begins to wait does not wake it: so soon it is noticed all the same."""

_INTERRUPTED = Failed(reason=Reason.INTERRUPTED, message="interrupted in its body", error_type="KeyboardInterrupt")


class Lane:
    """A thread that is lent to one run: made by `SequentialExecutor.lend`, used as a context manager around `serve`.

    A `KeyboardInterrupt` that comes out of a body comes out of `serve`, and no end is told of that attempt: for the
    engine it is running. Release the run then (there is nothing to wait for), and close the lane after that. The end is
    told when the engine abandons the attempt, at the latest by `close`. In between `serve` may be called again, for
    what is posted.
    """

    def __init__(self, executor: SequentialExecutor, run: int) -> None:
        self.run = run
        self.jobs: dict[AttemptId, Job] = {}  # started and not ended; under the executor's lock
        self.server: threading.Thread | None = None  # who is serving; the same
        self._executor = executor
        self._items: SimpleQueue[Job | Callable[[], None] | None] = SimpleQueue()
        self.stopped = False  # written by `stop` alone

    def serve(self) -> None:
        """Run the attempts of the run, and call what is posted, in this thread and in order, until `stop`.

        Raises `KeyboardInterrupt`, and whatever a posted call raises; the rest is kept for the next `serve`.
        """
        self._executor.enter(self)
        try:
            while not (self.stopped and self._items.empty()):
                try:
                    item = self._items.get(timeout=LONGEST_WAIT_SECONDS)
                except Empty:
                    continue
                if isinstance(item, Job):
                    self._executor.serve(self, item)
                elif item is not None:
                    item()
                del item  # a thread that waits must not keep the last attempt in memory
        finally:
            self.server = None

    def drain(self) -> None:
        """Call what has been posted, and wait for nothing more. For a run that is over: none of its attempts begins."""
        with suppress(Empty):
            while True:
                item = self._items.get_nowait()
                if item is not None and not isinstance(item, Job):
                    item()

    def take(self, job: Job) -> None:
        """Have the serving thread run it. Under the executor's lock."""
        self.jobs[job.attempt.id] = job
        self._items.put(job)

    def post(self, call: Callable[[], None]) -> None:
        """Have the serving thread call it, after all that came before. From any thread, also out of a body."""
        self._items.put(call)

    def give_up(self, attempt: AttemptId) -> tuple[Job | None, bool]:
        """That attempt, if it is here, and whether it is over with that. Under the executor's lock."""
        if self.server is None:
            return self.jobs.pop(attempt, None), True
        return self.jobs.get(attempt), False

    def take_out(self) -> list[Job]:
        """All but the attempt that is running here. Under the executor's lock."""
        out = [job for job in self.jobs.values() if self.server is None or job.thread is None]
        for job in out:
            del self.jobs[job.attempt.id]
        return out

    def stop(self) -> None:
        """Let `serve` return when all that came before is done. From any thread. Idempotent."""
        self.stopped = True
        self._items.put(None)

    def close(self) -> None:
        """Take the thread back: what has not begun runs in a thread of the executor's own. Idempotent.

        Raises `InternalError` while it is being served.
        """
        self._executor.take_back(self)

    def __enter__(self) -> Self:
        """The lane itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the thread back."""
        self.close()


class SequentialExecutor:
    """Runs attempts in the lanes of their runs, and the others in threads of its own. Implements `ports.Executor`.

    `run` gives an attempt's outcome; whatever it raises is that attempt's failure, but for a `KeyboardInterrupt` in a
    lane. Outside of lanes one attempt runs at a time; `add_workers` is for bodies that wait for runs of their own.
    """

    def __init__(self, run: Callable[[Attempt], Outcome], clock: Clock) -> None:
        self._run = run
        self._clock = clock
        self._threads = ThreadedExecutor(run, 1, clock)
        self._lock = threading.Condition()  # notified when an attempt has ended in a lane
        self._lanes: dict[int, Lane] = {}
        self._closed = False

    def lend(self, run: int) -> Lane:
        """A lane for that run. Any one thread may serve it, at any time: what starts before that waits for it.

        One that has been stopped gives way. Raises `InternalError` where the run has another one, or the executor is
        closed.
        """
        with self._lock:
            if self._closed:
                raise InternalError("a lane was asked for on a closed executor")
            before = self._lanes.get(run)
            if before is not None and not before.stopped:
                raise InternalError(f"run {run} has a lane already")
            lane = self._lanes[run] = Lane(self, run)
        return lane

    def start(self, attempt: Attempt, ended: Callable[[AttemptEnded], None]) -> None:
        """Run it in its turn, without blocking. Raises `InternalError` once the executor is closed."""
        if attempt.task.timeout_seconds is None:
            with self._lock:
                lane = self._lanes.get(attempt.id.run)
                if lane is not None and not self._closed:
                    if attempt.id in lane.jobs:
                        raise InternalError(f"attempt {attempt.id} was started twice")
                    lane.take(Job(attempt, ended))
                    return
        self._threads.start(attempt, ended)

    def abandon(self, attempt: AttemptId) -> None:
        """Ask that attempt to stop. One that has ended already is no error.

        One in a lane keeps its thread until it returns; where nobody serves the lane it is over at once.
        """
        with self._lock:
            lane = self._lanes.get(attempt.run)
            job, over = (None, False) if lane is None else lane.give_up(attempt)
        if job is None:
            self._threads.abandon(attempt)
            return
        job.attempt.cancellation.request()
        if over:
            self._tell_over(job)

    def add_workers(self, count: int) -> None:
        """Let so many more attempts run at once outside of lanes, fewer where it is negative."""
        self._threads.add_workers(count)

    def close(self, grace_seconds: float = 5.0) -> None:
        """Ask every attempt to stop, stop the lanes, and wait at most so long for the bodies. Idempotent.

        A body that does not stop in time keeps its thread, and its end is still told when it comes.
        """
        until = self._clock.monotonic() + grace_seconds
        with self._lock:
            self._closed = True
            lanes = list(self._lanes.values())
            jobs = [job for lane in lanes for job in lane.jobs.values()]
            over = [job for lane in lanes for job in lane.take_out()]
        for lane in lanes:
            lane.stop()
        for job in jobs:
            job.attempt.cancellation.request()
        for job in over:
            self._tell_over(job)
        self._threads.close(grace_seconds)
        others = [lane for lane in lanes if lane.server is not threading.current_thread()]
        with self._lock:
            while any(lane.server and lane.jobs for lane in others) and (left := until - self._clock.monotonic()) > 0:
                self._lock.wait(left)

    # ------------------------------------------------------------------------------------------------------- for lanes

    def enter(self, lane: Lane) -> None:
        """Let the calling thread serve the lane from now on."""
        with self._lock:
            if lane.server is not None:
                raise InternalError(f"the lane of run {lane.run} is being served already")
            lane.server = threading.current_thread()

    def serve(self, lane: Lane, job: Job) -> None:
        """Run that attempt here, unless it is over already."""
        with self._lock:
            if job.attempt.id not in lane.jobs:
                return
            job.thread = threading.current_thread()
        outcome = self._outcome(job)
        # Told first: a KeyboardInterrupt in between must not leave an attempt of which nobody ever hears again.
        tell(job, outcome, self._clock)
        with self._lock:
            lane.jobs.pop(job.attempt.id, None)
            self._lock.notify_all()

    def take_back(self, lane: Lane) -> None:
        """The lane is there no more."""
        with self._lock:
            if lane.server is not None:
                raise InternalError(f"the lane of run {lane.run} is being served: stop it first")
            if self._lanes.get(lane.run) is lane:
                del self._lanes[lane.run]
            jobs, lane.jobs = lane.jobs, {}
        for job in jobs.values():
            if job.thread is not None:
                self._tell_over(job)
            else:
                self._threads.start(job.attempt, job.ended)

    def _outcome(self, job: Job) -> Outcome:
        if job.attempt.cancellation.requested:
            return UNWANTED
        try:
            return self._run(job.attempt)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # noqa: BLE001 - whatever a body raises is its attempt's failure
            return failure(exc)

    def _tell_over(self, job: Job) -> None:
        """It is not going to be run, or was interrupted while it was."""
        tell(job, UNWANTED if job.thread is None else _INTERRUPTED, self._clock)
