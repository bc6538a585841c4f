"""Takes runs into the world: those that were left unfinished, and those that are asked for.

What arrives together is recorded together, in transactions of up to `ROWS_AT_ONCE` rows.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from flowweaver.core.apply import admit, open_run
from flowweaver.core.events import Event, RerunRequested, RunAdmitted, RunDue, RunTakenUp, TaskDue
from flowweaver.core.graph import Graph
from flowweaver.core.plan import RunPlan
from flowweaver.core.state import RunState, TaskState, World
from flowweaver.engine.durable import DurableStore
from flowweaver.engine.observers import Observers
from flowweaver.engine.openings import Way, new_head, way, with_states
from flowweaver.engine.submissions import Submissions
from flowweaver.engine.timers import Timers
from flowweaver.errors import GraphError, RunCorrupt, WorkflowRunningError
from flowweaver.ports import ROWS_AT_ONCE, Clock, Given, Kept, NewRun, Opening, RunName, RunRequest, StoredRun

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Submission:
    """A run to be recorded under that very name, unless it is there."""

    name: RunName
    plan: RunPlan
    answer: Future[int]
    given: Given = field(default_factory=dict)  # tasks that count as completed from the start


@dataclass(frozen=True, slots=True)
class Wish:
    """A run to be opened."""

    request: RunRequest
    answer: Future[Opening]


@dataclass(frozen=True, slots=True)
class _Recording:
    """A new run that goes into the next transaction."""

    asked: Submission | Wish
    new: NewRun
    graph: Graph
    way: Way | None = None  # of a wish


class Intake:
    """Knows how runs come into the world. Used by the conductor, on its thread."""

    def __init__(self, *, store: DurableStore, clock: Clock, world: World, lock: threading.Lock, due: Timers) -> None:
        """`lock` is held while the world changes; `due` gets the timers of runs that are taken in."""
        self.names: dict[RunName, int] = {}  # of the runs in the world, and of those about to come into it
        self.submissions = Submissions(lambda *piece: store.ask(lambda: store.store.create_tasks(*piece)))
        self.observers = Observers()
        self.damaged: dict[int, str] = {}  # runs that can not be read, and why: they are left alone
        self._store = store
        self._clock = clock
        self._world = world
        self._lock = lock
        self._due = due
        self._events: list[Event] = []

    @property
    def has_work(self) -> bool:
        """Whether there is something for the next turn."""
        return bool(self._events or self.submissions.runs)

    def take_events(self) -> list[Event]:
        """What the next turn has to decide for runs that came in; writes one more piece of a large one."""
        events, self._events = self._events, []
        written = self.submissions.write_next()
        if written is not None:
            run, more = written
            self._admit(run)
            events += more
        return events

    # ------------------------------------------------------------------------------------------ after a restart

    def recover(self) -> None:
        """Take in every unfinished run that the store has, but for those that can not be read."""
        for stored in self._store.store.unfinished_runs(self._damaged):
            try:
                run = self._state(stored)
            except GraphError as error:
                self._damaged(stored.key, f"run {stored.key}: {error}")
                continue
            self._take_in(run)
            self._events.append(RunAdmitted(run.key, recovered=True))

    def rerun(self, request: RerunRequested) -> Event | None:
        """Have the run of a request in the world; gives the request to be decided, None where it would change nothing.

        One that is not finished is left alone: it was let go of, or left by a process that is gone.
        """
        if request.run in self._world.runs or request.run in self.submissions:
            return request
        try:
            stored = self._store.ask(lambda: self._store.store.read_run(request.run))
        except KeyError:
            return None
        except RunCorrupt as error:
            self._damaged(request.run, str(error))
            return None
        if not stored.head.phase.finished or stored.head.rerun_token == request.token:
            return None
        self._take_in(self._state(stored), whole=True)
        return request

    def _damaged(self, run: int, why: str) -> None:
        """It is held as it is, and the others go on."""
        if run not in self.damaged:
            logger.error("a run is left alone, because what the store has of it can not be read: %s", why)
        self.damaged[run] = why

    # ----------------------------------------------------------------------------------------------- what is asked

    def take(self, asked: Iterable[Submission | Wish]) -> None:
        """Answer all of them; new runs are recorded together. Every answer is given, also where the store fails."""
        group: list[_Recording] = []
        names: set[tuple[str, str]] = set()  # of the runs of the group
        rows = 0
        for each in asked:
            if not each.answer.set_running_or_notify_cancel():
                continue
            try:
                name = _name_of(each)
                if name in names:  # it can only be answered when that run has been recorded
                    self._record(group)
                    group, names, rows = [], set(), 0
                recording = self._submission(each) if isinstance(each, Submission) else self._wish(each)
            except Exception as error:  # noqa: BLE001 - it is the caller's to see
                each.answer.set_exception(error)
                continue
            if recording is not None:
                size = min(len(recording.new.plan.tasks), ROWS_AT_ONCE)
                if group and rows + size > ROWS_AT_ONCE:
                    self._record(group)
                    group, names, rows = [], set(), 0
                group.append(recording)
                names.add(name)
                rows += size
        self._record(group)

    def _submission(self, asked: Submission) -> _Recording | None:
        key = self.names.get(asked.name)
        if key is None:
            known = self._store.ask(lambda: self._store.store.find_run(asked.name))
            key = None if known is None else known.key
        if key is not None:
            asked.answer.set_result(key)
            return None
        # The graph comes first, so that nothing is recorded of what is no DAG.
        graph = asked.plan.graph()
        head = new_head(asked.plan, self._clock.now())
        kept = Kept(given=asked.given) if asked.given else None
        return _Recording(asked, NewRun(name=asked.name, plan=asked.plan, head=head, kept=kept), graph)

    def _wish(self, asked: Wish) -> _Recording | None:
        request = asked.request
        stored = self._store.ask(lambda: self._store.store.find_newest(request.workflow, request.run_id, request.plan))
        if stored is not None and (stored.key in self._world.runs or stored.key in self.submissions):
            raise WorkflowRunningError(
                f'workflow "{request.workflow}", run "{request.run_id}", is running: wait for it, or name another one'
            )
        graph = request.graph or request.plan.graph()
        found = way(request, graph, stored, self._clock.now())
        if found.new is not None:
            return _Recording(asked, found.new, graph, found)
        assert found.stored is not None
        self._open(asked, found, self._state(found.stored, graph))
        return None

    def _record(self, group: Sequence[_Recording]) -> None:
        if not group:
            return
        try:
            keys = self._store.create([recording.new for recording in group])
        except Exception as error:  # noqa: BLE001 - it is the callers' to see
            for recording in group:
                recording.asked.answer.set_exception(error)
            return
        for key, recording in zip(keys, group, strict=True):
            new = recording.new
            tasks = recording.way.tasks if recording.way else _given(new)
            run = open_run(key=key, name=new.name, plan=new.plan, head=new.head, tasks=tasks, graph=recording.graph)
            if isinstance(recording.asked, Wish):
                assert recording.way is not None
                self._open(recording.asked, recording.way, run)
            else:
                self._begin(run)
                recording.asked.answer.set_result(key)

    def withdraw(self, run: int) -> None:
        """Have a run that has not come into the world yet stay out of it; it stays unfinished."""
        if self.submissions.is_new(run) and (state := self.submissions.remove(run)) is not None:
            self.names.pop(RunName.of(state), None)
            self.observers.ended(state)

    # ------------------------------------------------------------------------------------------- into the world

    def _open(self, asked: Wish, found: Way, run: RunState) -> None:
        """Have the run watched, and into the world where something of it is to be done."""
        opening = Opening(run.key, RunName.of(run), found.outcome, found.change)
        try:
            self.observers.add(run.key, asked.request.observe(run, opening))
        except Exception as error:  # noqa: BLE001 - it is the caller's to see
            asked.answer.set_exception(error)
            return
        if found.outcome == "completed":
            self.observers.ended(run)
        elif found.stored is not None:
            self._take_in(run)
            self._events.append(RunTakenUp(run.key))
        else:
            self._begin(run)
        asked.answer.set_result(opening)

    def _begin(self, run: RunState) -> None:
        """A new run: at once, or when all its rows are there."""
        self.names[RunName.of(run)] = run.key
        if len(run.tasks) > ROWS_AT_ONCE:
            self.submissions.add(run, [RunAdmitted(run.key)])
        else:
            self._admit(run)
            self._events.append(RunAdmitted(run.key))

    def _take_in(self, run: RunState, *, whole: bool = False) -> None:
        """A run that was there before, with the timers that it had. Where not `whole`, rows of it may be missing."""
        self._admit(run)
        self.names[RunName.of(run)] = run.key
        for task, state in enumerate(run.tasks):
            if state.not_before is not None:
                self._due.add(state.not_before, TaskDue(run.key, task))
        if run.head.deadline is not None:
            self._due.add(run.head.deadline, RunDue(run.key))
        if not whole and len(run.tasks) > ROWS_AT_ONCE:  # those that are there stay
            self.submissions.add(run)

    def _admit(self, run: RunState) -> None:
        with self._lock:
            admit(self._world, run)

    def _state(self, stored: StoredRun, graph: Graph | None = None) -> RunState:
        return open_run(
            key=stored.key,
            name=stored.name,
            plan=stored.plan,
            head=stored.head,
            tasks=list(stored.tasks),
            graph=graph,
        )


def _given(new: NewRun) -> list[TaskState] | None:
    """The states of a submission's tasks, where not all are pending."""
    if new.kept is None:
        return None
    return with_states({task: state for task, (state, _) in new.kept.given.items()}, new.plan)


def _name_of(asked: Submission | Wish) -> tuple[str, str]:
    """The workflow and the run that it is about, of whatever generation."""
    name = asked.name if isinstance(asked, Submission) else asked.request
    return name.workflow, name.run_id
