"""What the engine needs from the rooms around it, as protocols, and the values that pass between them.

A store, an executor and a runner never meet: the engine speaks with each through what is declared here, and
`flowweaver.testing` has a contract suite for every protocol.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any, Literal, NamedTuple, Protocol

from flowweaver.core.changes import Changes, ResultRecorded
from flowweaver.core.events import AttemptEnded, AttemptId, Outcome
from flowweaver.core.graph import Graph
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.core.state import RunHead, RunState, TaskState

logger = logging.getLogger(__name__)

# ---------------------------------------------------------------------------------------------------------------- time


class Clock(Protocol):
    """Two clocks: one that survives a restart, one that nobody can set back."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds since some moment in this process."""


# ---------------------------------------------------------------------------------------------------------------- store


ROWS_AT_ONCE = 1000
"""A submission of many tasks is written in pieces of so many rows, so that it stalls nobody."""


class RunName(NamedTuple):
    """Which run it is. In the operator `workflow` is "namespace/name" and `run_id` the resource's UID."""

    workflow: str
    run_id: str = "default"
    generation: int = 1

    @classmethod
    def of(cls, run: RunState) -> RunName:
        """The name of a run that is in memory."""
        return cls(run.workflow, run.run_id, run.generation)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run as it was read from the store."""

    key: int
    name: RunName
    plan: RunPlan
    head: RunHead
    tasks: tuple[TaskState, ...]  # by position; one whose row is not there yet is plainly pending


Given = Mapping[int, tuple[TaskState, bytes]]
"""By position, tasks that count as completed from the start, each with its state and its result (JSON text)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a new run has from the start."""

    #: key of an earlier generation, which this one replaces: what is unfinished there is cancelled, reason `Replaced`
    source: int | None = None
    tasks: Mapping[int, int] = field(default_factory=dict)  # position here -> position in `source`, of completed tasks
    given: Given = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run to be recorded."""

    name: RunName
    plan: RunPlan
    head: RunHead
    kept: Kept | None = None


@dataclass(frozen=True, slots=True)
class StorePosition:
    """Which volume, which life of an engine on it, which commit."""

    id: str  # a UUID, made with the file
    epoch: int  # grows by one each time that an engine opens the file
    sequence: int  # grows by one with each commit


@dataclass(frozen=True, slots=True)
class ChildProcess:
    """A process that an attempt runs in, so that a restart can end one that survived. `started` is its start time in
    clock ticks since boot (proc(5), field 22), which tells it from a later process of the same number.
    """

    attempt: AttemptId
    pid: int
    started: int


class Store(Protocol):
    """Where runs are kept. One engine has it; all writing calls come from one thread, reading calls from any.

    Every writing call is one transaction: it happened as a whole, and is durable when the call returns, or it raised
    `StoreUnavailable` and nothing happened, or `CommitUnknown` and `position().sequence` tells.
    """

    def position(self) -> StorePosition:
        """Where it is now, read afresh."""

    def create_run(self, name: RunName, plan: RunPlan, head: RunHead) -> int:
        """Record one new run, as `create_runs` does, and give its key."""

    def create_runs(self, runs: Sequence[NewRun]) -> list[int]:
        """Record new runs, all or none, each with the rows of its first `ROWS_AT_ONCE` tasks and all that it has kept;
        gives their keys.

        The other rows are for `create_tasks`, a piece at a time. Raises `InternalError` where one of them is there
        already, or a task that is to be kept has not completed in its source.
        """

    def create_tasks(self, run: int, first: int, names: Sequence[str]) -> None:
        """Write the pending rows of the tasks at `first`, `first + 1`, …; rows that are there already stay."""

    def commit(self, changes: Changes, processes: Sequence[ChildProcess] = ()) -> None:
        """Write all of `changes`, or nothing, and the processes of running attempts. Not called with nothing at all."""

    def find_run(self, name: RunName) -> StoredRun | None:
        """That run, as last committed."""

    def find_newest(self, workflow: str, run_id: str, plan: RunPlan | None = None) -> StoredRun | None:
        """The newest generation of that run, as last committed.

        Where its plan has the same tasks as `plan` (`core.plan.digest`), `plan` itself is given in its place, and what
        is stored is not even parsed.
        """

    def task_named(self, name: str) -> tuple[int, int] | None:
        """The run and the position of the task of that name, in the newest run that has one."""

    def read_run(self, run: int) -> StoredRun:
        """The run of that key, as last committed; raises `KeyError`."""

    def unfinished_runs(self) -> Iterator[StoredRun]:
        """Every run whose phase is not finished, oldest first."""

    def list_runs(self) -> Iterator[tuple[int, RunName, RunHead]]:
        """Every run without its plan and tasks, oldest first."""

    def read_results(self, run: int, tasks: Sequence[int]) -> dict[int, bytes]:
        """The results that are there, of the tasks at these positions."""

    def read_processes(self) -> list[ChildProcess]:
        """The processes of attempts that are recorded as running."""

    def delete_run(self, run: int) -> None:
        """Forget a finished run and all that belongs to it; one that is not there is no error."""

    def checkpoint(self) -> None:
        """Bring everything into the main file, as far as readers allow. Called when idle and at the end."""

    def reopen(self) -> None:
        """Drop the connection and open the file again: after an I/O error nothing on the old one can be trusted."""

    def close(self) -> None:
        """Checkpoint, let the lock go. Idempotent."""


# ------------------------------------------------------------------------------------------------------------- attempts


class Cancellation:
    """Tells a running body that nobody waits for its result any more. Safe from any thread; never unset.

    Every attempt has one and few use it: nothing is made before somebody waits or wants to be called.
    """

    __slots__ = ("_callbacks", "_event", "_requested")

    def __init__(self) -> None:
        self._requested = False
        self._event: threading.Event | None = None
        self._callbacks: list[Callable[[], None]] | None = None

    @property
    def requested(self) -> bool:
        """Whether it has been cancelled."""
        return self._requested

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Block until it is cancelled, at most so long; gives `requested`."""
        with _cancelling:
            if not self._requested and self._event is None:
                self._event = threading.Event()
        if self._event is not None:
            self._event.wait(timeout_seconds)
        return self._requested

    def on_request(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when it is cancelled, at once if it is already. It must not block.

        Whoever cancels must not suffer from what it raises, which is logged.
        """
        with _cancelling:
            if not self._requested:
                self._callbacks = [*(self._callbacks or ()), callback]
                return
        _call(callback)

    def request(self) -> None:
        """Cancel. Idempotent."""
        with _cancelling:
            if self._requested:
                return
            self._requested = True
            callbacks, self._callbacks = self._callbacks, None
        if self._event is not None:
            self._event.set()
        for callback in callbacks or ():
            _call(callback)


_cancelling = threading.Lock()  # one for all: it is held for a few instructions


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:
        logger.exception("what a body wanted to be called at its cancel has failed")


class Dependency(NamedTuple):
    """What an attempt may know of a task that it depends on."""

    phase: str  # CamelCase, as expressions see it: "Completed", "Failed", "Skipped", "Cancelled"
    result: bytes | None  # JSON text; None where it did not complete
    error_type: str
    message: str
    attempts: int


@lru_cache(maxsize=1000)
def run_origin(store_id: str, workflow: str, run_id: str, generation: int) -> str:
    """The same for one generation of a run, whoever goes on with it, and for no other in any store."""
    return sha256(repr((store_id, workflow, run_id, generation)).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of one task, with everything that it may know. What a runner gets."""

    id: AttemptId
    task: TaskPlan
    run: RunPlan
    run_started_at: float
    dependencies: Mapping[str, Dependency] = field(default_factory=dict)  # by task name
    rerun_token: str = ""
    origin: str = ""  # tells the run from all others where its plan has no uid: see `run_origin`
    cancellation: Cancellation = field(default_factory=Cancellation)
    #: call it with (pid, start time) as soon as a child process exists
    on_process: Callable[[int, int], None] = lambda _pid, _started: None

    @property
    def idempotency_key(self) -> str:
        """The same over retries and restarts, another one for another task or rerun."""
        run = self.run.uid or self.origin or f"{self.run.namespace}/{self.run.name}"
        parts = (run, self.task.name, self.rerun_token)
        return ":".join(part for part in parts if part)


class Runner(Protocol):
    """Does what one kind of body says."""

    def __call__(self, attempt: Attempt) -> Outcome:
        """Run the body in the calling thread and give its outcome. What the body raises comes back as `Failed`; an
        exception out of here is a bug, and the executor turns it into a `Failed` too.
        """


class Executor(Protocol):
    """Runs attempts beside the engine."""

    def start(self, attempt: Attempt, ended: Callable[[AttemptEnded], None]) -> None:
        """Run it soon, without blocking. `ended` is called once, from any thread, when the body has returned."""

    def abandon(self, attempt: AttemptId) -> None:
        """Nobody waits for this attempt: ask its body to stop, and give its place to another one meanwhile."""

    def close(self, grace_seconds: float = 5.0) -> None:
        """Ask every body to stop, wait at most so long for their threads, leave nothing behind that can be ended."""


# ------------------------------------------------------------------------------------------------------------ listeners


@dataclass(frozen=True, slots=True)
class TaskNotice:
    """A task has a new state; it is durable already."""

    run: int
    name: RunName
    task: str
    before: TaskState
    state: TaskState


@dataclass(frozen=True, slots=True)
class RunNotice:
    """A run has a new head; it is durable already."""

    run: int
    name: RunName
    before: RunHead
    head: RunHead


Notice = TaskNotice | RunNotice
Listener = Callable[[Sequence[Notice]], None]
"""Called on the engine's own thread after each commit, in order; it must return at once. What it raises is logged."""


# ------------------------------------------------------------------------------------------------------ opening runs


@dataclass(frozen=True, slots=True)
class PlanChange:
    """How a plan differs from the one that the newest generation of its run has, by task names in the plans' order."""

    kept: tuple[str, ...]  # completed, and its result holds
    rerun: tuple[str, ...]  # new, or it or something that it depends on was changed, or it had not completed
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Opening:
    """What became of a `RunRequest`."""

    key: int
    name: RunName
    outcome: Literal["created", "resumed", "completed"]
    change: PlanChange | None = None  # None: a new run, or the plan has the same tasks as before


OpenedRun = Opening


class RunObserver(Protocol):
    """Told of one run, on the engine's thread, after the commit. It must return at once; what it raises is logged."""

    @property
    def wants_notices(self) -> bool:
        """False: `changed` is never called, and no notice is made for this run. Asked once."""

    def recorded(self, results: Sequence[ResultRecorded]) -> None:
        """These results are durable."""

    def changed(self, notices: Sequence[Notice]) -> None:
        """All that has changed in the run, in order."""

    def troubled(self, notices: Sequence[TaskNotice]) -> None:
        """Attempts of these tasks have failed, in order: the task waits for its next one, or has failed for good.

        Called whatever `wants_notices` says, after `recorded` and `changed` of the same turn.
        """

    def ended(self, run: RunState) -> None:
        """The run has finished, or was released. The last call."""

    def broke(self, why: str) -> None:
        """The engine is no more, and the run has not ended. The last call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Asks for a run to be begun, or to be gone on with: see `Engine.open_run`."""

    workflow: str
    run_id: str
    plan: RunPlan
    #: called once the run is open, before any attempt of it starts, and also where nothing will run; positions are
    #: those of `plan`. What it raises is raised to whoever opened the run, which stays as it is then.
    observe: Callable[[RunState, Opening], RunObserver]
    graph: Graph | None = None  # the plan's, where there is one already
    fresh: bool = False  # begin a new generation, whatever is there
    given: Given = field(default_factory=dict)  # only where there is no generation yet
    allow_change: bool = True  # False: where the plan has other tasks than before, `PlanChanged` is raised


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSnapshot:
    """A consistent picture of one run: what a status is written from. Internal tasks are among `tasks`."""

    key: int
    name: RunName
    plan: RunPlan
    head: RunHead
    tasks: tuple[TaskState, ...]  # by position in the plan
    position: StorePosition
    outputs: Mapping[str, Any] | None = None  # of a run that has evaluated them
