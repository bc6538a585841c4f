"""One turn of the engine: what has arrived, what follows, commit, act.

A turn is a plain call, so that the engine's thread and a simulator with a fake clock drive the same code. Memory never
runs ahead of the disk: changes are applied when they are durable, and a store that can not be written keeps the turn
waiting with the same changes.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from flowweaver.core.apply import admit, apply, dismiss, open_run
from flowweaver.core.changes import Changes
from flowweaver.core.decide import decide
from flowweaver.core.events import (
    AttemptEnded,
    AttemptId,
    AttemptTimedOut,
    Event,
    Failed,
    RerunRequested,
    RunAdmitted,
    RunDue,
    TaskDue,
)
from flowweaver.core.phases import Reason, RunPhase, TaskPhase
from flowweaver.core.plan import RunPlan
from flowweaver.core.state import RunHead, RunState, World
from flowweaver.engine.inputs import GIVEN_BYTES, Inputs
from flowweaver.engine.submissions import Submissions
from flowweaver.engine.timers import Timers
from flowweaver.errors import CommitUnknown, StoreCorrupt, StoreUnavailable
from flowweaver.ports import (
    ROWS_AT_ONCE,
    Attempt,
    ChildProcess,
    Clock,
    Dependency,
    Executor,
    Listener,
    Notice,
    RunName,
    RunNotice,
    Store,
    StoredRun,
    StorePosition,
    TaskNotice,
)

T = TypeVar("T")
logger = logging.getLogger(__name__)

_TOO_MUCH = Failed(
    reason=Reason.RESULT_TOO_LARGE,
    message=f"the tasks that it depends on have more than {GIVEN_BYTES >> 20} MiB of results together: "
    "let them give less, or gather them in several steps",
    error_type="ResultTooLarge",
    retryable=False,
)


class Conductor:
    """Runs the world of one store. Not thread-safe: its caller takes turns and asks from one thread."""

    def __init__(
        self,
        *,
        store: Store,
        executor: Executor,
        clock: Clock,
        workers: int,
        arrived: Callable[[AttemptEnded | ChildProcess], None],
        pause: Callable[[float], None],
    ) -> None:
        """`arrived` takes what attempts report, from any thread; `pause` waits before the store is tried again."""
        self.lock = threading.Lock()  # held while memory changes; take it to look at the world from another thread
        self.world = World(workers=workers)
        self.listeners: list[Listener] = []
        self.store_error = ""  # why the store can not be written now
        self.names: dict[RunName, int] = {}  # of the runs in the world
        self.position: StorePosition = store.position()
        self.commits = 0
        self.dismissed = 0  # runs that have finished and left the world
        self.commit_seconds = 0.0
        self._store = store
        self._executor = executor
        self._clock = clock
        self._arrived = arrived
        self._pause = pause
        self._inputs = Inputs(lambda run, tasks: self._insist(lambda: store.read_results(run, tasks)))
        self._due = Timers(self.world)  # wall time
        self._timeouts = Timers(self.world)  # monotonic
        self._submissions = Submissions(lambda *piece: self._insist(lambda: store.create_tasks(*piece)))

    # ---------------------------------------------------------------------------------------------- taking runs in

    def recover(self) -> None:
        """Take in every unfinished run that the store has. Once, before the first turn."""
        self.position = self._store.position()  # others may have written before the engine was started
        events: list[Event] = []
        for stored in self._store.unfinished_runs():
            run = self._open(stored)
            events.append(RunAdmitted(run.key, recovered=True))
            if len(run.tasks) > ROWS_AT_ONCE:  # some may be missing; those that are there stay
                self._submissions.add(run)
        self.turn(events)

    def submit(self, name: RunName, plan: RunPlan) -> int:
        """Record a run, or find it, and give its key. It starts with the next turns."""
        key = self.names.get(name)
        if key is not None:
            return key
        known = self._insist(lambda: self._store.find_run(name))
        if known is not None:
            return known.key
        head = RunHead(
            phase=RunPhase.SUSPENDED if plan.suspended else RunPhase.PENDING,
            created_at=self._clock.now(),
            suspended=plan.suspended,
            priority=plan.priority,
            parallelism=plan.parallelism,
        )
        run = open_run(key=0, name=name, plan=plan, head=head)  # first, so that nothing is recorded of what is no DAG
        run.key = self.names[name] = self._create(name, plan, head)
        self._submissions.add(run, [RunAdmitted(run.key)])
        return run.key

    def forget(self, run: int) -> None:
        """Delete a run and all that belongs to it; one that is active or not there stays as it is."""
        if run in self.world.runs or self._submissions.is_new(run):
            return
        self._submissions.remove(run)
        self._store.delete_run(run)

    def rerun(self, request: RerunRequested) -> Event | None:
        """Have the run of a request in the world; gives the request to be decided, None where there is no such run."""
        if request.run in self.world.runs or request.run in self._submissions:
            return request
        try:
            stored = self._insist(lambda: self._store.read_run(request.run))
        except KeyError:
            return None
        if stored.head.rerun_token == request.token:
            return None
        self._open(stored)
        return request

    def _create(self, name: RunName, plan: RunPlan, head: RunHead) -> int:
        key: int | None = None
        while key is None:
            try:
                key = self._store.create_run(name, plan, head)
            except StoreUnavailable as error:
                self._unavailable(error)
                # Whether it happened is for the store to say.
                known = self._insist(lambda: self._store.find_run(name), after_failure=True)
                key = None if known is None else known.key
        self._available()
        return key

    def _open(self, stored: StoredRun) -> RunState:
        run = open_run(key=stored.key, name=stored.name, plan=stored.plan, head=stored.head, tasks=list(stored.tasks))
        with self.lock:
            admit(self.world, run)
            self.names[stored.name] = run.key
        for task, state in enumerate(run.tasks):
            if state.not_before is not None:
                self._due.add(state.not_before, TaskDue(run.key, task))
        if run.head.deadline is not None:
            self._due.add(run.head.deadline, RunDue(run.key))
        return run

    # ------------------------------------------------------------------------------------------------------- a turn

    @property
    def has_work(self) -> bool:
        """Whether the next turn has something to do without anything arriving."""
        return len(self._submissions) > 0

    def seconds_to_next_timer(self) -> float | None:
        """How long nothing happens by itself; None: for ever."""
        waits = []
        if (due_at := self._due.next_due_at()) is not None:
            waits.append(due_at - self._clock.now())
        if (due_at := self._timeouts.next_due_at()) is not None:
            waits.append(due_at - self._clock.monotonic())
        return max(0.0, min(waits)) if waits else None

    def turn(self, arrived: Iterable[Event], processes: Sequence[ChildProcess] = ()) -> None:
        """Decide on what has arrived and what is due, commit, then act."""
        now = self._clock.now()
        events = [event for event in arrived if not self._submissions.keep(event)]
        events += self._next_submitted()
        events += self._timeouts.take_due(self._clock.monotonic())
        events += self._due.take_due(now)
        if not events and not processes:
            return
        changes = decide(self.world, events, now)
        position = self._commit(changes, processes) if changes or processes else self.position
        notices = self._notices(changes) if self.listeners else []
        with self.lock:
            apply(self.world, changes)
            self.position = position
        self._remember(changes)
        self._act(changes)
        self._notify(notices)
        self._dismiss_finished(changes)

    def _next_submitted(self) -> list[Event]:
        """Write one piece of what was submitted; a run comes into the world with its last one."""
        written = self._submissions.write_next()
        if written is None:
            return []
        run, events = written
        with self.lock:
            admit(self.world, run)
        return events

    # ------------------------------------------------------------------------------------------------------- commit

    def _commit(self, changes: Changes, processes: Sequence[ChildProcess]) -> StorePosition:
        """Make it durable, however long that takes; gives where the store is then."""
        expected = self.position.sequence + 1
        began = self._clock.monotonic()
        while True:
            try:
                self._store.commit(changes, processes)
                break
            except StoreUnavailable as error:
                self._unavailable(error)
            # What raised may have happened, and nothing on the old connection can be trusted.
            position = self._insist(self._store.position, after_failure=True)
            if position.sequence == expected:
                break
            if position.sequence != expected - 1:
                raise StoreCorrupt(f"the store is at commit {position.sequence}, this engine at {expected - 1}")
        self._available()
        self.commits += 1
        self.commit_seconds = self._clock.monotonic() - began
        return StorePosition(self.position.id, self.position.epoch, expected)

    def _insist(self, call: Callable[[], T], *, after_failure: bool = False) -> T:
        """Call until the store answers. `after_failure`: only to learn what became of a write, which is still to do."""
        reopen = after_failure
        while True:
            try:
                if reopen:
                    self._store.reopen()
                answer = call()
            except StoreUnavailable as error:
                self._unavailable(error)
                reopen = True
            else:
                if not after_failure:
                    self._available()
                return answer

    def _unavailable(self, error: StoreUnavailable) -> None:
        again = bool(self.store_error)
        if not again:
            logger.error("the store can not be used; nothing is started until it can: %s", error)
        self.store_error = str(error) or type(error).__name__
        self._pause(0.0 if isinstance(error, CommitUnknown) and not again else 0.5)

    def _available(self) -> None:
        if self.store_error:
            logger.info("the store can be used again")
            self.store_error = ""

    # ---------------------------------------------------------------------------------------------------------- act

    def _remember(self, changes: Changes) -> None:
        """What later turns need of this one: results for whoever depends on them, and timers."""
        runs = self.world.runs
        for key, task, state in changes.tasks:
            if state.phase.finished:
                self._inputs.finished(runs[key], task)
            elif state.phase is TaskPhase.WAITING and state.not_before is not None:
                self._due.add(state.not_before, TaskDue(key, task))
        # After the loop above: what finished in this batch is no reader of these any more.
        for key, task, result in changes.results:
            self._inputs.keep(runs[key], task, result)
        for key, head in changes.runs:
            if head.deadline is not None and not head.phase.finished:
                self._due.add(head.deadline, RunDue(key))

    def _act(self, changes: Changes) -> None:
        for attempt in changes.abandoned:
            self._executor.abandon(attempt)
        for attempt, _ in changes.started:
            run = self.world.runs[attempt.run]
            limit = run.plan.tasks[attempt.task].timeout_seconds
            if limit is not None:
                due_at = self._clock.monotonic() + limit
                self._timeouts.add(due_at, AttemptTimedOut(attempt, random.random()))  # noqa: S311 - no secret
            inputs = self._inputs.of(run, attempt.task)
            if inputs is None:
                self._arrived(AttemptEnded(attempt, _TOO_MUCH, self._clock.now()))
            else:
                self._executor.start(self._attempt(run, attempt, inputs), self._arrived)

    def _attempt(self, run: RunState, attempt: AttemptId, inputs: Mapping[str, Dependency]) -> Attempt:
        head = run.head
        return Attempt(
            id=attempt,
            task=run.plan.tasks[attempt.task],
            run=run.plan,
            run_started_at=head.started_at if head.started_at is not None else head.created_at,
            dependencies=inputs,
            rerun_token=head.rerun_token,
            on_process=lambda pid, started: self._arrived(ChildProcess(attempt, pid, started)),
        )

    def _notices(self, changes: Changes) -> list[Notice]:
        notices: list[Notice] = []
        for key, task, state in changes.tasks:
            run = self.world.runs[key]
            name = RunName.of(run)
            notices.append(TaskNotice(key, name, run.graph.names[task], run.tasks[task], state))
        for key, head in changes.runs:
            run = self.world.runs[key]
            notices.append(RunNotice(key, RunName.of(run), run.head, head))
        return notices

    def _notify(self, notices: list[Notice]) -> None:
        if not notices:
            return
        for listener in self.listeners:
            try:
                listener(notices)
            except Exception:
                logger.exception("a listener failed")

    def _dismiss_finished(self, changes: Changes) -> None:
        for key, head in changes.runs:
            if head.phase.finished:
                run = self.world.runs[key]
                with self.lock:
                    dismiss(self.world, key)
                    self.names.pop(RunName.of(run), None)
                self._inputs.forget(key)
                self.dismissed += 1
