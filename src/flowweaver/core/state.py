"""Where everything stands. Only `core.apply` changes it, and only with what has been committed."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from msgspec import Struct

from flowweaver.core.events import AttemptId, Shutdown
from flowweaver.core.graph import Graph
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.plan import RunPlan

CRASH_LIMIT = 3
"""So many starts of one task may end with the process's death; then it fails, reason `CrashLoop`."""

QUARANTINE_AT = 2
"""From so many crashes on, a task runs while no other such task does, so that the guilty one is found."""


class TaskState(Struct, frozen=True, gc=False):
    """Where one task stands. Replaced as a whole at each step."""

    phase: TaskPhase = TaskPhase.PENDING
    attempts: int = 0  # started ever; the newest attempt's number
    failures: int = 0  # since the last rerun: what `retry.limit` bounds
    crashes: int = 0  # since the last rerun: attempts that a dying process took along
    reason: str = ""
    message: str = ""
    error_type: str = ""
    not_before: float | None = None  # while waiting: when it is due
    started_at: float | None = None  # its first attempt's start
    finished_at: float | None = None


@dataclass(frozen=True, slots=True)
class RunHead:
    """What there is to say of a run as a whole. Replaced as a whole at each step."""

    phase: RunPhase = RunPhase.PENDING
    reason: str = ""
    message: str = ""
    created_at: float = 0.0
    started_at: float | None = None  # the first attempt's start
    finished_at: float | None = None
    deadline: float | None = None  # the run's own timeout as an instant; None: never
    shutdown: Shutdown | None = None
    failed_fast: bool = False  # a failure has stopped all further starts
    suspended: bool = False
    priority: int = 0
    parallelism: int | None = None
    rerun_token: str = ""  # the newest one that was carried out
    #: no attempt may start any more, whatever is ready: asked several times for each task, and so worked out once
    closed: bool = field(init=False)

    def __post_init__(self) -> None:
        closed = self.failed_fast or self.shutdown is not None or self.phase.finished
        object.__setattr__(self, "closed", closed)

    def has_room(self, running: int) -> bool:
        """Whether the run allows one more attempt beside so many."""
        if self.suspended or self.closed:
            return False
        return self.parallelism is None or running < self.parallelism


@dataclass(slots=True)
class RunState:
    """One unfinished run in memory, or a finished one that somebody looks at."""

    key: int  # in the store
    workflow: str  # with `run_id` and `generation`, which run it is
    run_id: str
    generation: int
    plan: RunPlan
    graph: Graph
    head: RunHead
    tasks: list[TaskState]
    unmet: list[int]  # dependencies that have not finished, for each task
    ready: deque[int]  # may start: pending, and the trigger rule is met
    running: int = 0
    unfinished: int = 0
    held: bool = False  # nothing more of it is started in this process, which is about to let it go

    @property
    def startable(self) -> bool:
        """An attempt could start now if there were a free worker."""
        return bool(self.ready) and not self.held and self.head.has_room(self.running)


@dataclass(slots=True)
class World:
    """All unfinished runs, and what they share."""

    workers: int
    runs: dict[int, RunState] = field(default_factory=dict)
    #: by priority, the startable runs, the one that waits longest first: exactly the runs whose `startable` is true
    rotation: dict[int, OrderedDict[int, None]] = field(default_factory=dict)
    running: int = 0  # attempts on workers, abandoned ones left out
    #: given up at a timeout or a cancel, bodies not yet returned
    abandoned: set[AttemptId] = field(default_factory=set)
    quarantined: AttemptId | None = None  # the one running attempt of a task that was there at two crashes
    draining: bool = False
