"""The thread around the conductor, and what others may ask of it. Every public method is safe from any thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from flowweaver.core.events import (
    DrainRequested,
    InterruptRequested,
    RerunRequested,
    SettingsRequested,
    ShutdownRequested,
    WorkersRequested,
)
from flowweaver.core.plan import RunPlan
from flowweaver.engine.arrivals import Call, Lender, Release
from flowweaver.engine.inputs import GIVEN_BYTES
from flowweaver.engine.intake import Submission, Wish
from flowweaver.engine.looking import PATIENCE_SECONDS, EngineHealth, Lookout
from flowweaver.engine.turns import LONGEST_SLEEP_SECONDS, Turns
from flowweaver.errors import FlowWeaverError, InternalError, StoreUnavailable
from flowweaver.ports import (
    Clock,
    Executor,
    Given,
    Listener,
    Meter,
    Opening,
    RunName,
    RunRequest,
    RunSnapshot,
    Store,
)

LOOK_SECONDS = 0.2
"""So often it looks whether what it waits for can still come."""

logger = logging.getLogger(__name__)


class SystemClock:
    """The machine's clocks."""

    #: seconds since the epoch
    now = staticmethod(time.time)
    #: seconds since some moment in this process
    monotonic = staticmethod(time.monotonic)


class Engine:
    """Runs workflows over one store. Use it as a context manager, or call `start` and `stop`."""

    def __init__(
        self,
        *,
        store: Store,
        executor: Executor,
        clock: Clock | None = None,
        workers: int = 4,
        given_bytes: int = GIVEN_BYTES,
        lender: Lender | None = None,
    ) -> None:
        """`store` and `executor` stay the caller's to close, after `stop`; `workers` attempts run at once.

        An attempt whose dependencies have more than `given_bytes` of results together fails. With a `lender`, which is
        the executor then, the thread that tells the end of an attempt takes the turn that follows from it, so that
        along a chain no thread waits for another one. It must be one that no signal interrupts, and `store` must not
        mind who calls it.
        """
        self._store = store
        self._turns = Turns(
            store=store,
            executor=executor,
            clock=clock or SystemClock(),
            workers=workers,
            given_bytes=given_bytes,
            lender=lender,
        )
        self._conductor = self._turns.conductor
        self._lookout = Lookout(self._conductor, store)

    # ------------------------------------------------------------------------------------------------------ running

    def start(self, *, recover: bool = True) -> Self:
        """Go on with every unfinished run of the store. Call it once.

        With `recover=False` those are left alone until `open_run` asks for them.
        """
        if recover:
            self._conductor.recover()
        else:
            self._conductor.skip()
        self._turns.start()
        return self

    def stop(self, grace_seconds: float = 0.0) -> None:
        """Start nothing new, let running attempts end for so long, note the others as interrupted, checkpoint.

        While the store can not be written no end of an attempt can be recorded, and after `PATIENCE_SECONDS` of that
        nobody waits for any. Nothing is lost: what was interrupted starts again with the next `start`. Idempotent.
        """
        if not self._turns.alive:
            return
        self.drain()
        self._wait_until_idle(grace_seconds)
        self._turns.put(InterruptRequested())
        self._turns.end()
        try:
            self._store.checkpoint()
        except StoreUnavailable as error:
            logger.warning("the store was not checkpointed: %s", error)

    def _wait_until_idle(self, grace_seconds: float) -> None:
        until = time.monotonic() + grace_seconds
        while (left := until - time.monotonic()) > 0 and not self._turns.idle.wait(min(left, LOOK_SECONDS)):
            if self._conductor.store_failing_seconds > PATIENCE_SECONDS:
                logger.warning("what is running is not waited for: its end can not be recorded")
                return

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop at once."""
        self.stop()

    # ------------------------------------------------------------------------------------------------------- asking

    def submit(self, name: RunName, plan: RunPlan, given: Given | None = None) -> int:
        """Record a run and start it; gives its key. Durable when it returns. A run that is there is left as it is.

        The tasks in `given` count as completed from the start, with the results that are given.
        Raises `GraphError` where the plan is no DAG, `InternalError` where the engine has stopped.
        """
        answer: Future[int] = Future()
        return int(self._turns.wait_for(Submission(name, plan, answer, given or {})))

    def open_run(self, request: RunRequest) -> Future[Opening]:
        """Begin a run, or go on with it; returns at once. What is asked for at one time is recorded together.

        Which run it is: the newest generation of (workflow, run_id), and a new one where there is none, or where the
        request says `fresh`. One that has completed is not run again; in one that has not, what did not complete runs.
        Where the plan has other tasks than before, a new generation keeps the results that still hold. The answer is
        given when that is durable and the observer has been made. It raises `WorkflowRunningError` where the run is
        active in this engine, `PlanChanged` where the request allows no change, `GraphError` where the plan is no DAG,
        `InternalError` where the engine has stopped.
        """
        answer: Future[Opening] = Future()
        self._turns.put(Wish(request, answer))
        return answer

    def release(self, key: int, grace_seconds: float = 0.0) -> None:
        """Let go of a run: start nothing more of it, let running attempts end for so long, note the others as
        interrupted. It stays unfinished, for `open_run` here or in another process. One that is not active is no error.
        """
        idle = self._turns.wait_for(Call(lambda: self._conductor.hold(key), Future()))
        idle.wait(grace_seconds)
        answer: Future[None] = Future()
        self._turns.wait_for(Release(key, answer))

    def add_workers(self, count: int) -> None:
        """Let so many more attempts run at once, or fewer where it is negative; returns at once. What runs goes on."""
        self._turns.put(WorkersRequested(count))

    def request(self, event: ShutdownRequested | SettingsRequested | RerunRequested) -> None:
        """Ask for something; returns at once. Requests keep their order; one that makes no sense is dropped."""
        self._turns.put(event)

    def ask_store(self, call: Callable[[], None]) -> Future[None]:
        """Have the engine's thread ask the store, and open the file anew where it can not answer, as for any commit;
        returns at once. Meanwhile nothing else is done. What `call` raises beside `StoreUnavailable` is the answer's.
        """
        answer: Future[None] = Future()
        self._turns.put(Call(lambda: self._conductor.ask_store(call), answer))
        return answer

    def give_up(self, why: FlowWeaverError) -> None:
        """End by itself, because of what somebody else has found: nothing more is written. Returns at once."""
        self._turns.give_up(why)

    def drain(self) -> None:
        """Start nothing new in any run; what runs goes on. Returns at once. Only `start` of another engine ends it."""
        self._turns.put(DrainRequested())

    def forget(self, key: int) -> None:
        """Delete a finished run and all that belongs to it; one that is active or not there stays as it is.

        Raises `StoreUnavailable` where the store can not be written now; ask again later then.
        """
        self._turns.wait_for(Call(lambda: self._conductor.forget(key), Future()))

    def add_listener(self, listener: Listener) -> None:
        """Have `listener` called after each commit, on the engine's thread. Before `start`, to miss nothing."""
        self._conductor.listeners.append(listener)

    def set_meter(self, meter: Meter) -> None:
        """Have `meter` count what each turn changes. Before `start`, to miss nothing."""
        self._conductor.meter = meter

    def ready_tasks(self) -> int:
        """How many tasks wait for nothing but a worker, or room in their run. Takes no lock that a turn holds."""
        return sum(len(run.ready) for run in list(self._conductor.world.runs.values()))

    def on_store_failure(self, failed: Callable[[str], None]) -> None:
        """Have `failed` called at each write or read of the store that fails, with what is wrong in one word: "full",
        "readonly", "io" or "corrupt". On the engine's own thread. Before `start`, to miss nothing.
        """
        self._turns.store_failed = failed
        self._conductor.on_store_failure(failed)

    @property
    def damaged(self) -> Mapping[int, str]:
        """The runs that can not be read from the store, by key, and why: they are left alone."""
        return dict(self._conductor.intake.damaged)

    def find(self, name: RunName) -> RunSnapshot | None:
        """That run as it stands; None where there is none."""
        return self._lookout.find(name)

    def snapshot(self, key: int) -> RunSnapshot | None:
        """The run of that key as it stands; None where there is none."""
        return self._lookout.snapshot(key)

    def wait(self, key: int, timeout_seconds: float | None = None) -> RunSnapshot:
        """Block until the run has finished. Raises `TimeoutError`, `KeyError`, `InternalError` if the engine fails."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            with self._turns.finished:
                snapshot = self.snapshot(key)
                if snapshot is None:
                    raise KeyError(key)
                if snapshot.head.phase.finished:
                    return snapshot
                if self._turns.failure or not self._turns.alive:
                    raise InternalError(self._turns.failure or "the engine has stopped")
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"the run has not finished in {timeout_seconds:g} s")
                self._turns.finished.wait(LONGEST_SLEEP_SECONDS if left is None else min(left, LONGEST_SLEEP_SECONDS))

    def results(self, key: int, names: Iterable[str]) -> Mapping[str, bytes]:
        """The results, JSON text, of those of the named tasks that completed. Raises `KeyError`."""
        return self._lookout.results(key, names)

    def health(self) -> EngineHealth:
        """How it is doing. Takes no lock that a turn holds."""
        return self._lookout.health(heartbeat_at=self._turns.heartbeat_at, failure=self._turns.failure)
