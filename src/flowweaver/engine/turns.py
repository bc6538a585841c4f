"""Who takes the engine's turns, and when: its own thread, or one that tells the end of an attempt.

Everything that the engine learns or is asked arrives in one inbox; a turn takes care of all that is there. One turn is
taken at a time, by whichever thread has it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import InvalidStateError
from contextlib import suppress
from typing import Any

from flowweaver.core.events import AttemptEnded, DrainRequested, Event, InterruptRequested, RerunRequested
from flowweaver.engine.arrivals import Answered, Batch, Call, Item, Lender, Release
from flowweaver.engine.conductor import Conductor
from flowweaver.engine.inbox import Inbox
from flowweaver.engine.inputs import GIVEN_BYTES
from flowweaver.errors import FlowWeaverError, InternalError, StoreCorrupt, StoreUnavailable
from flowweaver.ports import ChildProcess, Clock, Executor, Store

WATCH_SECONDS = 0.005
"""So often the engine's thread looks whether quick attempts, which wait for one thread, have met one that is not: then
there has been no turn since the last look.
"""

LONGEST_SLEEP_SECONDS = 1.0
"""So often the engine shows that it lives, and looks at the wall clock, which may have been set."""

logger = logging.getLogger(__name__)


class Turns:
    """The conductor and the thread around it. Every public method is safe from any thread."""

    def __init__(
        self,
        *,
        store: Store,
        executor: Executor,
        clock: Clock,
        workers: int,
        given_bytes: int = GIVEN_BYTES,
        lender: Lender | None = None,
    ) -> None:
        """See `Engine`."""
        self.finished = threading.Condition()  # told when a run has left the world, and at the end
        self.idle = threading.Event()  # nothing runs any more, and nothing is started
        self.failure = ""  # why they have ended by themselves
        self.heartbeat_at = clock.monotonic()
        self.store_failed: Callable[[str], None] = lambda _: None
        self._clock = clock
        self._inbox: Inbox[Item] = Inbox()
        self._stopping = threading.Event()
        self._ends = False  # the same, looked at after each turn
        self._over = False  # nothing is taken from the inbox any more
        self._in_hand: list[Item] = []  # taken from it for the turn that is on
        self._lender = lender
        self._turn = threading.Lock()  # held by whoever takes a turn
        self._turning = 0  # the thread that does
        self._turns = 0  # so many have been taken
        self._broken: BaseException | None = None  # what came out of a turn in a lent thread
        self._sleeps_until = 0.0  # monotonic: when the engine's thread wakes up by itself
        self._thread = threading.Thread(target=self._run, name="flowweaver-conductor", daemon=True)
        self.conductor = Conductor(
            store=store,
            executor=executor,
            clock=clock,
            workers=workers,
            arrived=self._arrived,
            pause=self._pause,
            given_bytes=given_bytes,
        )

    @property
    def alive(self) -> bool:
        """Whether somebody takes turns."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin. Once."""
        self._thread.start()

    def end(self) -> None:
        """Take care of what has arrived, and end; returns when that is done."""
        self._ends = True
        self._stopping.set()
        self._inbox.put(DrainRequested())  # wakes it up
        self._thread.join()

    def put(self, item: Item) -> None:
        """Have it taken care of; returns at once. What somebody waits for is answered also when it comes too late."""
        self._inbox.put(item)
        if self._over and isinstance(item, Answered):
            self._refuse_what_waits()

    def give_up(self, why: BaseException) -> None:
        """Fail with that instead of the next turn. Returns at once."""
        self._broken = why
        self._inbox.ring()

    def wait_for(self, item: Answered) -> Any:
        """Put it, and wait for its answer, which may raise; `InternalError` where nothing takes turns any more."""
        if self._turning == threading.get_ident():
            raise InternalError("this is the engine's own thread, which can not wait for itself: ask from another one")
        self.put(item)
        while True:
            try:
                return item.answer.result(LONGEST_SLEEP_SECONDS)
            except TimeoutError:
                if item.answer.done():
                    raise
                if self.failure or not self.alive:
                    raise InternalError(self.failure or "the engine is not running") from None

    def _run(self) -> None:
        try:
            while not (self._ends and not self._inbox.items):
                self._sleep()
                if not self._take_turn():
                    # Whoever has the turn rings afterwards where something is left.
                    self._inbox.wait(LONGEST_SLEEP_SECONDS)
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
            if isinstance(error, StoreCorrupt):
                self.store_failed("corrupt")
            if isinstance(error, FlowWeaverError):
                logger.critical("the engine has stopped: %s", self.failure)
            else:
                logger.critical("the engine has stopped: please report this", exc_info=error)
        finally:
            with self._turn:
                self._over = True
            self.idle.set()
            self.conductor.intake.observers.broke(self.failure or "the engine was stopped")
            self._refuse_what_waits()
            with self.finished:
                self.finished.notify_all()

    def _sleep(self) -> None:
        """Until something arrives that nobody else takes care of, or a timer is due."""
        # Said before it is known, so that who adds a timer meanwhile rings.
        self._sleeps_until = time.monotonic() + LONGEST_SLEEP_SECONDS
        left = self._seconds_to_next_turn()
        self._sleeps_until = time.monotonic() + left
        turns = self._turns
        if left:
            self._inbox.wait(left)
        self._sleeps_until = time.monotonic() + LONGEST_SLEEP_SECONDS
        if self._lender is not None and turns == self._turns:  # else bodies go on being quick
            self._lender.share()

    def _seconds_to_next_turn(self) -> float:
        """From any thread."""
        conductor, lender = self.conductor, self._lender
        if self._inbox.items or conductor.has_work or self._ends or self._broken is not None:
            return 0.0
        watches = lender is not None and lender.quick and conductor.world.running > 1
        return min(conductor.seconds_to_next_timer(), WATCH_SECONDS if watches else LONGEST_SLEEP_SECONDS)

    def _arrived(self, item: AttemptEnded | ChildProcess) -> None:
        """What attempts report, from any thread."""
        lender = self._lender
        if lender is None or not isinstance(item, AttemptEnded):
            self._inbox.put(item)
            return
        self._inbox.add(item)
        if lender.kept:
            if lender.quick:
                return  # the thread runs that first, and takes one turn for all
            lender.share()
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
                    item.answer.set_exception(InternalError(self.failure or "the engine has stopped"))

    def _next_items(self) -> list[Item]:
        """Everything that has arrived, and what is worth waiting for."""
        conductor, inbox = self.conductor, self._inbox
        items = inbox.take()
        if items and (seconds := conductor.gathering.seconds(len(items))):
            more = inbox.gather(conductor.world.running - len(items), seconds)
            conductor.gathering.waited(len(more))
            items += more
        return items

    def _take_turn(self) -> bool:
        """Take care of everything that has arrived; False where another thread has the turn."""
        if not self._turn.acquire(blocking=False):
            return False
        self._turning = threading.get_ident()
        self._turns += 1
        try:
            if self._broken is not None:
                raise self._broken
            self.heartbeat_at = self._clock.monotonic()
            self._in_hand = items = self._next_items()
            self._take_care(items)
        finally:
            self._turning = 0
            self._turn.release()
        return True

    def _take_care(self, items: list[Item]) -> None:
        ended: list[Event] = [item for item in items if isinstance(item, AttemptEnded)]
        if len(ended) == len(items):  # most of the time
            self._decide(ended, ())
        else:
            self._take_all(items)
        world = self.conductor.world
        if world.draining and not world.running:
            self.idle.set()

    def _take_all(self, items: list[Item]) -> None:
        batch = Batch()
        for item in items:
            if isinstance(item, ChildProcess):
                batch.processes.append(item)
            elif isinstance(item, RerunRequested):
                if (event := self.conductor.intake.rerun(item)) is not None:
                    batch.events.append(event)
            elif isinstance(item, Answered):
                self._take(item, batch)
            else:
                batch.events.append(item)
        if batch.asked:
            self.conductor.intake.take(batch.asked)
        self._decide(batch.events, batch.processes)
        for release in batch.released:
            self.conductor.let_go(release.run)
            release.answer.set_result(None)

    def _take(self, item: Answered, batch: Batch) -> None:
        """What somebody waits for: at once, or with this turn."""
        if isinstance(item, Call):
            self._answer(item)
        elif isinstance(item, Release):
            self.conductor.hold(item.run)
            batch.released.append(item)
            batch.events.append(InterruptRequested(item.run))
        else:
            batch.asked.append(item)

    def _decide(self, events: Sequence[Event], processes: Sequence[ChildProcess]) -> None:
        dismissed = self.conductor.dismissed
        self.conductor.turn(events, processes)
        if self.conductor.dismissed > dismissed:
            with self.finished:
                self.finished.notify_all()

    def _answer(self, item: Call) -> None:
        try:
            item.answer.set_result(item.call())
        except Exception as error:  # noqa: BLE001 - it is the caller's to see
            item.answer.set_exception(error)

    def _pause(self, seconds: float) -> None:
        """Wait before the store is tried again, and show that the engine lives."""
        self.heartbeat_at = self._clock.monotonic()
        if self._stopping.wait(seconds):
            raise StoreUnavailable(f"stopped while the store could not be written: {self.conductor.store_error}")
