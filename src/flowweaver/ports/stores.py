"""What the engine needs of a store, and the values that a store keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from flowweaver.core.changes import Changes
from flowweaver.core.events import AttemptId
from flowweaver.core.plan import RunPlan
from flowweaver.core.state import RunHead, RunState, TaskState

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

Damaged = Callable[[int, str], None]
"""Is told the key of a run that can not be read, and why."""


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
    """Where runs are kept. One engine has it; writing calls come one at a time, reading calls from any thread.

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

    def unfinished_runs(self, damaged: Damaged | None = None) -> Iterator[StoredRun]:
        """Every run whose phase is not finished, oldest first. Of one that can not be read `damaged` is told; without
        it that raises `RunCorrupt`.
        """

    def list_runs(self, damaged: Damaged | None = None) -> Iterator[tuple[int, RunName, RunHead]]:
        """Every run without its plan and tasks, oldest first; `damaged` as for `unfinished_runs`."""

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
