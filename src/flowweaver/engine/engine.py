"""The thread around the conductor, and what others may ask of it. Every public method is safe from any thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from flowweaver.core.events import (
    AttemptEnded,
    DrainRequested,
    Event,
    InterruptRequested,
    RerunRequested,
    SettingsRequested,
    ShutdownRequested,
    WorkersRequested,
)
from flowweaver.core.plan import RunPlan
from flowweaver.engine.arrivals import Answered, Batch, Call, Item, Lender, Release
from flowweaver.engine.conductor import Conductor
from flowweaver.engine.inbox import Inbox
from flowweaver.engine.inputs import GIVEN_BYTES
from flowweaver.engine.intake import Submission, Wish
from flowweaver.engine.looking import PATIENCE_SECONDS, EngineHealth, Lookout
from flowweaver.errors import FlowWeaverError, InternalError, StoreCorrupt, StoreUnavailable
from flowweaver.ports import (
    ChildProcess,
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

WATCH_SECONDS = 0.005
"""So often the engine's thread looks whether quick attempts, which wait for one thread, have met one that is not."""

LONGEST_SLEEP_SECONDS = 1.0
"""So often the engine shows that it lives, and looks at the wall clock, which may have been set."""

LOOK_SECONDS = 0.2
"""So often it looks whether what it waits for can still come."""

logger = logging.getLogger(__name__)


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment in this process."""
        return time.monotonic()


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
        self._clock = clock or SystemClock()
        self._store = store
        self._executor = executor
        self._inbox: Inbox[Item] = Inbox()
        self._finished = threading.Condition()
        self._stopping = threading.Event()
        self._idle = threading.Event()
        self._failure = ""
        self._store_failed: Callable[[str], None] = lambda _: None
        self._over = False  # nothing is taken from the inbox any more
        self._in_hand: list[Item] = []  # taken from it for the turn that is on
        self._lender = lender
        self._turns = threading.Lock()  # held by whoever takes a turn
        self._turning = 0  # the thread that does
        self._broken: BaseException | None = None  # what came out of a turn in a lent thread
        self._sleeps_until = 0.0  # monotonic: when the engine's thread wakes up by itself
        self._heartbeat_at = self._clock.monotonic()
        self._thread = threading.Thread(target=self._run, name="flowweaver-conductor", daemon=True)
        self._conductor = Conductor(
            store=store,
            executor=executor,
            clock=self._clock,
            workers=workers,
            arrived=self._arrived,
            pause=self._pause,
            given_bytes=given_bytes,
        )
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
        self._thread.start()
        return self

    def stop(self, grace_seconds: float = 0.0) -> None:
        """Start nothing new, let running attempts end for so long, note the others as interrupted, checkpoint.

        While the store can not be written no end of an attempt can be recorded, and after `PATIENCE_SECONDS` of that
        nobody waits for any. Nothing is lost: what was interrupted starts again with the next `start`. Idempotent.
        """
        if not self._thread.is_alive():
            return
        self.drain()
        self._wait_until_idle(grace_seconds)
        self._inbox.put(InterruptRequested())
        self._stopping.set()
        self._inbox.put(DrainRequested())  # wakes it up
        self._thread.join()
        try:
            self._store.checkpoint()
        except StoreUnavailable as error:
            logger.warning("the store was not checkpointed: %s", error)

    def _wait_until_idle(self, grace_seconds: float) -> None:
        until = time.monotonic() + grace_seconds
        while (left := until - time.monotonic()) > 0 and not self._idle.wait(min(left, LOOK_SECONDS)):
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
        return int(self._wait_for(Submission(name, plan, answer, given or {})))

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
        self._inbox.put(Wish(request, answer))
        if self._over:
            self._refuse_what_waits()
        return answer

    def release(self, key: int, grace_seconds: float = 0.0) -> None:
        """Let go of a run: start nothing more of it, let running attempts end for so long, note the others as
        interrupted. It stays unfinished, for `open_run` here or in another process. One that is not active is no error.
        """
        idle = self._call(lambda: self._conductor.hold(key))
        idle.wait(grace_seconds)
        answer: Future[None] = Future()
        self._wait_for(Release(key, answer))

    def add_workers(self, count: int) -> None:
        """Let so many more attempts run at once, or fewer where it is negative; returns at once. What runs goes on."""
        self._inbox.put(WorkersRequested(count))

    def request(self, event: ShutdownRequested | SettingsRequested | RerunRequested) -> None:
        """Ask for something; returns at once. Requests keep their order; one that makes no sense is dropped."""
        self._inbox.put(event)

    def ask_store(self, call: Callable[[], None]) -> Future[None]:
        """Have the engine's thread ask the store, and open the file anew where it can not answer, as for any commit;
        returns at once. Meanwhile nothing else is done. What `call` raises beside `StoreUnavailable` is the answer's.
        """
        answer: Future[None] = Future()
        self._inbox.put(Call(lambda: self._conductor.ask_store(call), answer))
        if self._over:
            self._refuse_what_waits()
        return answer

    def give_up(self, why: FlowWeaverError) -> None:
        """End by itself, because of what somebody else has found: nothing more is written. Returns at once."""
        self._broken = why
        self._inbox.ring()

    def drain(self) -> None:
        """Start nothing new in any run; what runs goes on. Returns at once. Only `start` of another engine ends it."""
        self._inbox.put(DrainRequested())

    def forget(self, key: int) -> None:
        """Delete a finished run and all that belongs to it; one that is active or not there stays as it is.

        Raises `StoreUnavailable` where the store can not be written now; ask again later then.
        """
        self._call(lambda: self._conductor.forget(key))

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
        self._store_failed = failed
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
            with self._finished:
                snapshot = self.snapshot(key)
                if snapshot is None:
                    raise KeyError(key)
                if snapshot.head.phase.finished:
                    return snapshot
                if self._failure or not self._thread.is_alive():
                    raise InternalError(self._failure or "the engine has stopped")
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"the run has not finished in {timeout_seconds:g} s")
                self._finished.wait(LONGEST_SLEEP_SECONDS if left is None else min(left, LONGEST_SLEEP_SECONDS))

    def results(self, key: int, names: Iterable[str]) -> Mapping[str, bytes]:
        """The results, JSON text, of those of the named tasks that completed. Raises `KeyError`."""
        return self._lookout.results(key, names)

    def health(self) -> EngineHealth:
        """How it is doing. Takes no lock that a turn holds."""
        return self._lookout.health(heartbeat_at=self._heartbeat_at, failure=self._failure)

    # ------------------------------------------------------------------------------------------------------- inside

    def _call(self, call: Callable[[], Any]) -> Any:
        return self._wait_for(Call(call, Future()))

    def _wait_for(self, item: Answered) -> Any:
        if self._turning == threading.get_ident():
            raise InternalError("this is the engine's own thread, which can not wait for itself: ask from another one")
        self._inbox.put(item)
        while True:
            try:
                return item.answer.result(LONGEST_SLEEP_SECONDS)
            except TimeoutError:
                if item.answer.done():
                    raise
                if self._failure or not self._thread.is_alive():
                    raise InternalError(self._failure or "the engine is not running") from None

    def _run(self) -> None:
        try:
            while not (self._stopping.is_set() and not len(self._inbox)):
                self._sleep()
                if not self._take_turn():
                    # Whoever has the turn rings afterwards where something is left.
                    self._inbox.wait(LONGEST_SLEEP_SECONDS)
        except Exception as error:
            self._failure = f"{type(error).__name__}: {error}"
            if isinstance(error, StoreCorrupt):
                self._store_failed("corrupt")
            if isinstance(error, FlowWeaverError):
                logger.critical("the engine has stopped: %s", self._failure)
            else:
                logger.critical("the engine has stopped: please report this", exc_info=error)
        finally:
            with self._turns:
                self._over = True
            self._idle.set()
            self._conductor.intake.observers.broke(self._failure or "the engine was stopped")
            self._refuse_what_waits()
            with self._finished:
                self._finished.notify_all()

    def _sleep(self) -> None:
        """Until something arrives that nobody else takes care of, or a timer is due."""
        # Said before it is known, so that who adds a timer meanwhile rings.
        self._sleeps_until = time.monotonic() + LONGEST_SLEEP_SECONDS
        left = self._seconds_to_next_turn()
        self._sleeps_until = time.monotonic() + left
        if left:
            self._inbox.wait(left)
        self._sleeps_until = time.monotonic() + LONGEST_SLEEP_SECONDS
        if self._lender is not None:
            self._lender.share()

    def _seconds_to_next_turn(self) -> float:
        """From any thread."""
        if len(self._inbox) or self._conductor.has_work or self._stopping.is_set() or self._broken is not None:
            return 0.0
        left = self._conductor.seconds_to_next_timer()
        most = LONGEST_SLEEP_SECONDS
        if self._lender is not None and self._lender.quick and self._conductor.world.running > 1:
            most = WATCH_SECONDS
        return most if left is None else min(left, most)

    def _arrived(self, item: AttemptEnded | ChildProcess) -> None:
        """What attempts report, from any thread."""
        if self._lender is None or not isinstance(item, AttemptEnded):
            self._inbox.put(item)
            return
        self._inbox.add(item)
        if self._lender.keeps:
            if self._lender.quick:
                return  # the thread runs that first, and takes one turn for all
            self._lender.share()
        self._lead()

    def _lead(self) -> None:
        """Take one turn in this thread; where another one has it, that one looks afterwards what has come meanwhile."""
        try:
            if self._over or not self._take_turn():
                return
        except BaseException as error:  # noqa: BLE001 - it ends the engine, and not the thread of another one
            self._broken = error
        if time.monotonic() + self._seconds_to_next_turn() < self._sleeps_until:
            self._inbox.ring()

    def _refuse_what_waits(self) -> None:
        """Tell everybody whose question will not be answered any more."""
        items, self._in_hand = self._in_hand, []
        for item in [*items, *self._inbox.take()]:
            if isinstance(item, Answered) and not item.answer.done():
                with suppress(InvalidStateError):
                    item.answer.set_exception(InternalError(self._failure or "the engine has stopped"))

    def _next_items(self) -> list[Item]:
        """Everything that has arrived, and what is worth waiting for."""
        conductor, inbox = self._conductor, self._inbox
        items = inbox.take()
        if items and (seconds := conductor.gathering.seconds(len(items))):
            more = inbox.gather(conductor.world.running - len(items), seconds)
            conductor.gathering.waited(len(more))
            items += more
        return items

    def _take_turn(self) -> bool:
        """Take care of everything that has arrived; False where another thread has the turn."""
        if not self._turns.acquire(blocking=False):
            return False
        self._turning = threading.get_ident()
        try:
            if self._broken is not None:
                raise self._broken
            self._heartbeat_at = self._clock.monotonic()
            self._in_hand = items = self._next_items()
            self._take_care(items)
        finally:
            self._turning = 0
            self._turns.release()
        return True

    def _take_care(self, items: list[Item]) -> None:
        batch = Batch()
        for item in items:
            if isinstance(item, AttemptEnded):  # most are
                batch.events.append(item)
            elif isinstance(item, ChildProcess):
                batch.processes.append(item)
            elif isinstance(item, RerunRequested):
                if (event := self._conductor.intake.rerun(item)) is not None:
                    batch.events.append(event)
            elif isinstance(item, Answered):
                self._take(item, batch)
            else:
                batch.events.append(item)
        if batch.asked:
            self._conductor.intake.take(batch.asked)
        self._decide(batch.events, batch.processes)
        for release in batch.released:
            self._conductor.let_go(release.run)
            release.answer.set_result(None)
        world = self._conductor.world
        if world.draining and not world.running:
            self._idle.set()

    def _take(self, item: Answered, batch: Batch) -> None:
        """What somebody waits for: at once, or with this turn."""
        if isinstance(item, Call):
            self._answer(item)
        elif isinstance(item, Release):
            self._conductor.hold(item.run)
            batch.released.append(item)
            batch.events.append(InterruptRequested(item.run))
        else:
            batch.asked.append(item)

    def _decide(self, events: list[Event], processes: list[ChildProcess]) -> None:
        dismissed = self._conductor.dismissed
        self._conductor.turn(events, processes)
        if self._conductor.dismissed > dismissed:
            with self._finished:
                self._finished.notify_all()

    def _answer(self, item: Call) -> None:
        try:
            item.answer.set_result(item.call())
        except Exception as error:  # noqa: BLE001 - it is the caller's to see
            item.answer.set_exception(error)

    def _pause(self, seconds: float) -> None:
        """Wait before the store is tried again, and show that the engine lives."""
        self._heartbeat_at = self._clock.monotonic()
        if self._stopping.wait(seconds):
            raise StoreUnavailable(f"stopped while the store could not be written: {self._conductor.store_error}")
