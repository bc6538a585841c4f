"""The thread around the conductor, and what others may ask of it. Every public method is safe from any thread."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from flowweaver.core.events import (
    DrainRequested,
    Event,
    InterruptRequested,
    RerunRequested,
    SettingsRequested,
    ShutdownRequested,
)
from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import RunPlan
from flowweaver.core.state import RunHead
from flowweaver.engine.conductor import Conductor
from flowweaver.errors import FlowWeaverError, InternalError, StoreUnavailable
from flowweaver.ports import ChildProcess, Clock, Executor, Listener, RunName, RunSnapshot, Store, StoredRun

LONGEST_SLEEP_SECONDS = 1.0
"""So often the engine shows that it lives, and looks at the wall clock, which may have been set."""

logger = logging.getLogger(__name__)


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment in this process."""
        return time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHealth:
    """How the engine is doing."""

    heartbeat_at: float  # monotonic
    accepting: bool  # it starts what is submitted
    store_error: str  # why the store can not be written now; empty: it can
    failure: str  # why the engine has stopped by itself; empty: it has not
    active_runs: int
    running: int
    workers: int
    abandoned: int
    commits: int
    commit_seconds: float  # of the last commit


@dataclass(frozen=True, slots=True)
class _Call:
    """Something to do on the engine's thread, between two turns."""

    call: Callable[[], Any]
    answer: Future[Any]


_Item = Event | ChildProcess | _Call


class Engine:
    """Runs workflows over one store. Use it as a context manager, or call `start` and `stop`."""

    def __init__(self, *, store: Store, executor: Executor, clock: Clock | None = None, workers: int = 4) -> None:
        """`store` and `executor` stay the caller's to close, after `stop`; `workers` attempts run at once."""
        self._clock = clock or SystemClock()
        self._store = store
        self._executor = executor
        self._inbox: SimpleQueue[_Item] = SimpleQueue()
        self._finished = threading.Condition()
        self._stopping = threading.Event()
        self._idle = threading.Event()
        self._failure = ""
        self._heartbeat_at = self._clock.monotonic()
        self._thread = threading.Thread(target=self._run, name="flowweaver-conductor", daemon=True)
        self._conductor = Conductor(
            store=store,
            executor=executor,
            clock=self._clock,
            workers=workers,
            arrived=self._inbox.put,
            pause=self._pause,
        )

    # ------------------------------------------------------------------------------------------------------ running

    def start(self) -> Self:
        """Recover every unfinished run and go on with it. Call it once."""
        self._conductor.recover()
        self._thread.start()
        return self

    def stop(self, grace_seconds: float = 0.0) -> None:
        """Start nothing new, let running attempts end for so long, note the others as interrupted, checkpoint.

        Nothing is lost: what was interrupted starts again with the next `start`. Idempotent.
        """
        if not self._thread.is_alive():
            return
        self.drain()
        self._idle.wait(grace_seconds)
        self._inbox.put(InterruptRequested())
        self._stopping.set()
        self._inbox.put(DrainRequested())  # wakes it up
        self._thread.join()
        try:
            self._store.checkpoint()
        except StoreUnavailable as error:
            logger.warning("the store was not checkpointed: %s", error)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop at once."""
        self.stop()

    # ------------------------------------------------------------------------------------------------------- asking

    def submit(self, name: RunName, plan: RunPlan) -> int:
        """Record a run and start it; gives its key. Durable when it returns. A run that is there is left as it is.

        Raises `GraphError` where the plan is no DAG, `InternalError` where the engine has stopped.
        """
        return int(self._call(lambda: self._conductor.submit(name, plan)))

    def request(self, event: ShutdownRequested | SettingsRequested | RerunRequested) -> None:
        """Ask for something; returns at once. Requests keep their order; one that makes no sense is dropped."""
        self._inbox.put(event)

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

    def find(self, name: RunName) -> RunSnapshot | None:
        """That run as it stands; None where there is none."""
        with self._conductor.lock:
            key = self._conductor.names.get(name)
        if key is not None and (snapshot := self.snapshot(key)) is not None:
            return snapshot
        stored = self._store.find_run(name)
        return None if stored is None else self._stored_snapshot(stored)

    def snapshot(self, key: int) -> RunSnapshot | None:
        """The run of that key as it stands; None where there is none."""
        with self._conductor.lock:
            run = self._conductor.world.runs.get(key)
            # One that has just finished is read from the store, which has its outputs too.
            if run is not None and not run.head.phase.finished:
                name = RunName.of(run)
                return self._snapshot(key, name, run.plan, run.head, run.tasks)
        try:
            return self._stored_snapshot(self._store.read_run(key))
        except KeyError:
            return None

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
        """The results, JSON text, of those of the named tasks that completed."""
        snapshot = self.snapshot(key)
        if snapshot is None:
            raise KeyError(key)
        positions = {task.name: position for position, task in enumerate(snapshot.plan.tasks)}
        wanted = {positions[name]: name for name in names if snapshot.tasks[positions[name]].phase == "completed"}
        found = self._store.read_results(key, list(wanted))
        return {wanted[position]: result for position, result in found.items()}

    def health(self) -> EngineHealth:
        """How it is doing. Takes no lock that a turn holds."""
        conductor, world = self._conductor, self._conductor.world
        crowded = len(world.abandoned) > world.workers
        return EngineHealth(
            heartbeat_at=self._heartbeat_at,
            accepting=not (world.draining or conductor.store_error or self._failure or crowded),
            store_error=conductor.store_error,
            failure=self._failure,
            active_runs=len(world.runs),
            running=world.running,
            workers=world.workers,
            abandoned=len(world.abandoned),
            commits=conductor.commits,
            commit_seconds=conductor.commit_seconds,
        )

    # ------------------------------------------------------------------------------------------------------- inside

    def _call(self, call: Callable[[], Any]) -> Any:
        if threading.current_thread() is self._thread:
            raise InternalError("this is the engine's own thread, which can not wait for itself: ask from another one")
        answer: Future[Any] = Future()
        self._inbox.put(_Call(call, answer))
        while True:
            try:
                return answer.result(LONGEST_SLEEP_SECONDS)
            except TimeoutError:
                if answer.done():
                    raise
                if self._failure or not self._thread.is_alive():
                    raise InternalError(self._failure or "the engine is not running") from None

    def _snapshot(self, key: int, name: RunName, plan: RunPlan, head: RunHead, tasks: Iterable[Any]) -> RunSnapshot:
        return RunSnapshot(
            key=key, name=name, plan=plan, head=head, tasks=tuple(tasks), position=self._conductor.position
        )

    def _stored_snapshot(self, stored: StoredRun) -> RunSnapshot:
        outputs = None
        last = len(stored.tasks) - 1
        if last >= 0 and stored.plan.tasks[last].internal and stored.tasks[last].phase is TaskPhase.COMPLETED:
            found = self._store.read_results(stored.key, [last])
            outputs = {output["name"]: output["value"] for output in json.loads(found[last])}
        return RunSnapshot(
            key=stored.key,
            name=stored.name,
            plan=stored.plan,
            head=stored.head,
            tasks=stored.tasks,
            position=self._conductor.position,
            outputs=outputs,
        )

    def _run(self) -> None:
        try:
            while not (self._stopping.is_set() and self._inbox.empty()):
                self._turn(self._next_items())
        except Exception as error:
            self._failure = f"{type(error).__name__}: {error}"
            if isinstance(error, FlowWeaverError):
                logger.critical("the engine has stopped: %s", self._failure)
            else:
                logger.critical("the engine has stopped: please report this", exc_info=True)
        finally:
            self._idle.set()
            with self._finished:
                self._finished.notify_all()

    def _next_items(self) -> list[_Item]:
        """Everything that has arrived; waits for something when there is nothing to do."""
        conductor, inbox = self._conductor, self._inbox
        items: list[_Item] = []
        try:
            if conductor.has_work:
                items.append(inbox.get_nowait())
            else:
                left = conductor.seconds_to_next_timer()
                items.append(inbox.get(timeout=LONGEST_SLEEP_SECONDS if left is None else min(left, 1.0)))
            while True:
                items.append(inbox.get_nowait())
        except Empty:
            return items

    def _turn(self, items: list[_Item]) -> None:
        self._heartbeat_at = self._clock.monotonic()
        events: list[Event] = []
        processes: list[ChildProcess] = []
        for item in items:
            if isinstance(item, ChildProcess):
                processes.append(item)
            elif isinstance(item, _Call):
                self._answer(item)
            elif isinstance(item, RerunRequested):
                if (event := self._conductor.rerun(item)) is not None:
                    events.append(event)
            else:
                events.append(item)
        self._take_turn(events, processes)
        world = self._conductor.world
        if world.draining and not world.running:
            self._idle.set()

    def _take_turn(self, events: list[Event], processes: list[ChildProcess]) -> None:
        dismissed = self._conductor.dismissed
        self._conductor.turn(events, processes)
        if self._conductor.dismissed > dismissed:
            with self._finished:
                self._finished.notify_all()

    def _answer(self, item: _Call) -> None:
        try:
            item.answer.set_result(item.call())
        except Exception as error:  # noqa: BLE001 - it is the caller's to see
            item.answer.set_exception(error)

    def _pause(self, seconds: float) -> None:
        """Wait before the store is tried again, and show that the engine lives."""
        self._heartbeat_at = self._clock.monotonic()
        if self._stopping.wait(seconds):
            raise StoreUnavailable(f"stopped while the store could not be written: {self._conductor.store_error}")
