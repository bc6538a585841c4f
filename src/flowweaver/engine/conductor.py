"""One turn of the engine: what has arrived, what follows, commit, act.

A turn is a plain call, so that the engine's thread and a simulator with a fake clock drive the same code. Memory never
runs ahead of the disk: changes are applied when they are durable, and a store that can not be written keeps the turn
waiting with the same changes.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future

from flowweaver.core.apply import apply, dismiss, hold
from flowweaver.core.changes import Changes
from flowweaver.core.decide import decide
from flowweaver.core.events import AttemptEnded, AttemptTimedOut, Event, RunDue, TaskDue
from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import RunPlan
from flowweaver.core.state import RunState, World
from flowweaver.engine.durable import DurableStore
from flowweaver.engine.gathering import Gathering
from flowweaver.engine.inputs import GIVEN_BYTES, Inputs
from flowweaver.engine.intake import Intake, Submission
from flowweaver.engine.timers import NEVER, Timers
from flowweaver.ports import (
    Attempt,
    ChildProcess,
    Clock,
    Executor,
    Given,
    Listener,
    Meter,
    Notice,
    RunName,
    RunNotice,
    Store,
    StorePosition,
    TaskNotice,
    run_origin,
)

logger = logging.getLogger(__name__)


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
        given_bytes: int = GIVEN_BYTES,
    ) -> None:
        """`arrived` takes what attempts report, from any thread; `pause` waits before the store is tried again."""
        self.lock = threading.Lock()  # held while memory changes; take it to look at the world from another thread
        self.world = World(workers=workers)
        self.listeners: list[Listener] = []
        self.meter: Meter | None = None
        self.position: StorePosition = store.position()
        self.dismissed = 0  # runs that have left the world
        self._store = store
        self._executor = executor
        self._clock = clock
        self._arrived = arrived
        self._durable = durable = DurableStore(store, clock, pause)
        self._inputs = Inputs(lambda run, tasks: durable.ask(lambda: store.read_results(run, tasks)), given_bytes)
        self._due = Timers(self.world)  # wall time
        self._timeouts = Timers(self.world)  # monotonic
        self.gathering = Gathering(self.world)
        self._held: dict[int, threading.Event] = {}  # runs that are to be let go as soon as nothing of them runs
        self.intake = Intake(store=durable, clock=clock, world=self.world, lock=self.lock, due=self._due)

    @property
    def store_error(self) -> str:
        """Why the store can not be written now; empty: it can."""
        return self._durable.error

    @property
    def store_failing_seconds(self) -> float:
        """For how long it could not be written; 0: it can."""
        return self._durable.failing_seconds

    def on_store_failure(self, failed: Callable[[str], None]) -> None:
        """Have `failed` called with what is wrong ("full", "readonly", "io") at each try that fails."""
        self._durable.failed = failed

    def ask_store(self, call: Callable[[], None]) -> None:
        """Call until the store answers."""
        self._durable.ask(call)

    @property
    def commits(self) -> int:
        """How many there have been."""
        return self._durable.commits

    @property
    def commit_seconds(self) -> float:
        """How long the last one took."""
        return self._durable.commit_seconds

    # ---------------------------------------------------------------------------------------------- taking runs in

    def recover(self) -> None:
        """Take in every unfinished run that the store has. Once, before the first turn."""
        self.position = self._store.position()  # others may have written before the engine was started
        self.intake.recover()
        self.turn(())

    def skip(self) -> None:
        """In place of `recover`: what is unfinished is left alone until it is asked for."""
        self.position = self._store.position()

    def submit(self, name: RunName, plan: RunPlan, given: Given | None = None) -> int:
        """Record a run, or find it, and give its key. It starts with the next turn."""
        answer: Future[int] = Future()
        self.intake.take([Submission(name, plan, answer, given or {})])
        return answer.result()

    def forget(self, run: int) -> None:
        """Delete a run and all that belongs to it; one that is active or not there stays as it is."""
        submissions = self.intake.submissions
        if run in self.world.runs or submissions.is_new(run):
            return
        submissions.remove(run)
        self._store.delete_run(run)
        self.intake.damaged.pop(run, None)

    def hold(self, run: int) -> threading.Event:
        """Start nothing more of a run, which is to be let go; the event is set when nothing of it is running."""
        self.intake.withdraw(run)
        with self.lock:
            held = hold(self.world, run)
        idle = self._held.get(run) or threading.Event()
        if held is None or not held.running:
            idle.set()
        else:
            self._held[run] = idle
        return idle

    def let_go(self, run: int) -> None:
        """Take a run that is held, and of which nothing runs, out of the world as it is: it stays unfinished."""
        self.intake.submissions.remove(run)
        if (state := self.world.runs.get(run)) is not None:
            self._dismiss(state)

    # ------------------------------------------------------------------------------------------------------- a turn

    @property
    def has_work(self) -> bool:
        """Whether the next turn has something to do without anything arriving."""
        return self.intake.has_work

    def seconds_to_next_timer(self) -> float:
        """How long nothing happens by itself; infinity: for ever. From any thread."""
        due_at, timeout_at = self._due.next_due_at, self._timeouts.next_due_at
        if due_at == timeout_at == NEVER:
            return NEVER
        return max(0.0, min(due_at - self._clock.now(), timeout_at - self._clock.monotonic()))

    def turn(self, arrived: Iterable[Event], processes: Sequence[ChildProcess] = ()) -> None:
        """Decide on what has arrived and what is due, commit, then act."""
        now = self._clock.now()
        events = list(arrived)
        if self.intake.has_work:
            submissions = self.intake.submissions
            asked = [event for event in events if not submissions.keep(event)]
            # First come the runs that are new here: what is asked of them is asked of what is left of them.
            events = [*self.intake.take_events(), *asked]
        if self._timeouts.next_due_at != NEVER:
            events += self._timeouts.take_due(self._clock.monotonic())
        if self._due.next_due_at <= now:
            events += self._due.take_due(now)
        if not events and not processes:
            return
        changes = decide(self.world, events, now)
        position = self.position
        if changes or processes:
            position = self._durable.commit(changes, processes, position)
            self.gathering.committed(changes, self._durable.commit_seconds)
            if self.meter is not None:
                self.meter(changes, self.world.runs, self._durable.commit_seconds)
        notices = self._notices(changes) if self.listeners or self.intake.observers.noticed else []
        failed = self._failed(changes) if changes.troubled else []
        with self.lock:
            apply(self.world, changes)
            self.position = position
        self._remember(changes)
        self._act(changes)
        self._notify(notices, failed, changes)
        if changes.runs or self._held:
            self._dismiss_finished(changes)

    # ---------------------------------------------------------------------------------------------------------- act

    def _remember(self, changes: Changes) -> None:
        """What later turns need of this one: results for whoever depends on them, and timers."""
        runs, inputs = self.world.runs, self._inputs
        for key, task, state in changes.tasks:
            if state.phase.finished:
                inputs.finished(runs[key], task)
            elif state.not_before is not None and state.phase is TaskPhase.WAITING:
                self._due.add(state.not_before, TaskDue(key, task))
        # After the loop above: what finished in this batch is no reader of these any more.
        for key, task, result in changes.results:
            inputs.keep(runs[key], task, result)
        for key, head in changes.runs:
            if head.deadline is not None and not head.phase.finished:
                self._due.add(head.deadline, RunDue(key))

    def _act(self, changes: Changes) -> None:
        for attempt in changes.abandoned:
            self._executor.abandon(attempt)
        for attempt, _ in changes.started:
            key, position, _ = attempt
            run = self.world.runs[key]
            task = run.plan.tasks[position]
            if task.timeout_seconds is not None:
                due_at = self._clock.monotonic() + task.timeout_seconds
                self._timeouts.add(due_at, AttemptTimedOut(attempt, random.random()))  # noqa: S311 - no secret
            inputs = self._inputs.of(run, position)
            if inputs is None:
                self._arrived(AttemptEnded(attempt, self._inputs.too_much, self._clock.now()))
            else:
                head, plan = run.head, run.plan
                wanted = Attempt(
                    id=attempt,
                    task=task,
                    run=plan,
                    run_started_at=head.created_at if head.started_at is None else head.started_at,
                    dependencies=inputs,
                    rerun_token=head.rerun_token,
                    origin="" if plan.uid else self._origin(run),
                    on_process=self._arrived,
                )
                self._executor.start(wanted, self._arrived)

    def _origin(self, run: RunState) -> str:
        return run_origin(self.position.id, run.workflow, run.run_id, run.generation)

    def _notices(self, changes: Changes) -> list[Notice]:
        """What has changed, for whoever wants to know; before it is applied."""
        runs, wanted = self.world.runs, None if self.listeners else self.intake.observers.noticed
        notices: list[Notice] = []
        for key, task, state in changes.tasks:
            if wanted is None or key in wanted:
                run = runs[key]
                notices.append(TaskNotice(key, RunName.of(run), run.graph.names[task], run.tasks[task], state))
        for key, head in changes.runs:
            if wanted is None or key in wanted:
                run = runs[key]
                notices.append(RunNotice(key, RunName.of(run), run.head, head))
        return notices

    def _failed(self, changes: Changes) -> list[TaskNotice]:
        """The tasks of which an attempt has failed, for whoever watches their run; before it is applied."""
        places, notices = set(changes.troubled), []
        for key, task, state in changes.tasks:
            failed = state.phase is TaskPhase.WAITING or state.phase is TaskPhase.FAILED
            if failed and (key, task) in places and self.intake.observers.watch(key):
                run = self.world.runs[key]
                notices.append(TaskNotice(key, RunName.of(run), run.graph.names[task], run.tasks[task], state))
        return notices

    def _notify(self, notices: list[Notice], failed: list[TaskNotice], changes: Changes) -> None:
        for listener in self.listeners if notices else ():
            try:
                listener(notices)
            except Exception:
                logger.exception("a listener failed")
        self.intake.observers.recorded(changes.results)
        self.intake.observers.changed(notices)
        if failed:
            self.intake.observers.troubled(failed)

    def _dismiss_finished(self, changes: Changes) -> None:
        for key, head in changes.runs:
            if head.phase.finished:
                self._dismiss(self.world.runs[key])
        for key in [key for key in self._held if not self.world.runs[key].running]:
            self._held.pop(key).set()

    def _dismiss(self, run: RunState) -> None:
        with self.lock:
            dismiss(self.world, run.key)
            self.intake.names.pop(RunName.of(run), None)
        self._inputs.forget(run.key)
        self.dismissed += 1
        if (held := self._held.pop(run.key, None)) is not None:
            held.set()
        self.intake.observers.ended(run)
