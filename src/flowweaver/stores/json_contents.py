"""What a JSON store holds, in memory. It changes only by operations that are durable already, live as at a replay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from flowweaver.core.changes import Changes
from flowweaver.core.phases import Reason, RunPhase, TaskPhase
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead, TaskState
from flowweaver.errors import InternalError
from flowweaver.ports import ChildProcess, Given, RunName
from flowweaver.stores.history import AttemptRow
from flowweaver.stores.json_rows import Rows
from flowweaver.stores.json_text import rows_of, text_of

PENDING = TaskState()


@dataclass(slots=True)
class KeptRun:
    """A run: as values while it changes, as the text that stands in the snapshot when it does not."""

    key: int
    name: RunName
    head: RunHead
    digest: str  # of its plan, see `core.plan.digest`
    rows: Rows | None
    text: bytes | None = None  # its part of the snapshot, as long as that is true

    def look(self) -> Rows:
        """The rows, for reading."""
        return self.rows or rows_of(self.key, cast("bytes", self.text))

    def change(self) -> Rows:
        """The rows, for changing."""
        self.rows = self.look()
        self.text = None
        return self.rows

    def written(self) -> bytes:
        """Its part of a snapshot."""
        return self.text or text_of(self.key, self.name, self.head, self.digest, self.look())

    def rest(self, text: bytes) -> None:
        """Nothing changes for a while: hold it as text alone."""
        self.rows, self.text = None, text


# --------------------------------------------------------------------------------------------------------- operations


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """A new run. What it keeps of `source` is found there, so that results are written once."""

    key: int
    name: RunName
    head: RunHead
    plan: str
    digest: str
    names: tuple[str, ...]  # of the tasks, as they can be stored
    source: int | None = None
    kept: Mapping[int, int] = field(default_factory=dict)  # position here -> position in `source`
    given: Given = field(default_factory=dict)


class Creations(NamedTuple):
    """Runs that were created together."""

    runs: Sequence[Creation]


class Commit(NamedTuple):
    """One commit of an engine."""

    changes: Changes
    processes: Sequence[ChildProcess]


class Deletion(NamedTuple):
    """A run is no more."""

    run: int


class EpochBegun(NamedTuple):
    """An engine has opened the store."""

    epoch: int


Operation = Creations | Commit | Deletion | EpochBegun


# ----------------------------------------------------------------------------------------------------------- contents


@dataclass(slots=True)
class Contents:
    """All runs of a store, and where it is."""

    id: str
    epoch: int = 0
    sequence: int = 0
    newest_key: int = 0
    runs: dict[int, KeptRun] = field(default_factory=dict)  # oldest first
    keys: dict[tuple[str, str], dict[int, int]] = field(
        default_factory=dict
    )  # workflow and run id -> generation -> key

    def find(self, name: RunName) -> int | None:
        """The key of that run."""
        return self.keys.get((name.workflow, name.run_id), {}).get(name.generation)

    def newest(self, workflow: str, run_id: str) -> int | None:
        """The key of the newest generation."""
        generations = self.keys.get((workflow, run_id))
        return generations[max(generations)] if generations else None

    def add(self, run: KeptRun) -> None:
        """Take a run in, with the newest key so far."""
        self.runs[run.key] = run
        self.newest_key = max(self.newest_key, run.key)
        self.keys.setdefault((run.name.workflow, run.name.run_id), {})[run.name.generation] = run.key

    def check(self, operation: Operation) -> None:
        """Raise `InternalError` where it can not be applied as a whole; called before it is written."""
        match operation:
            case Creations(runs):
                names = [creation.name for creation in runs]
                for creation in runs:
                    if self.find(creation.name) is not None or names.count(creation.name) > 1:
                        raise InternalError(f"{creation.name} is there already")
                    self._check_kept(creation)
            case Commit(changes):
                for run, task, _ in (*changes.tasks, *changes.results):
                    self.check_task(run, task)
                for attempt, _ in changes.started:
                    self.check_task(attempt.run, attempt.task)
                for closed in changes.closed:
                    self.check_task(closed.attempt.run, closed.attempt.task)
                for run, _ in changes.runs:
                    self.check_task(run)

    def check_task(self, run: int, task: int = -1) -> None:
        """Raise `InternalError` where there is no such run or task."""
        kept = self.runs.get(run)
        if kept is None:
            raise InternalError(f"there is no run {run}")
        if task >= 0 and task >= (count := len(kept.change().tasks)):
            raise InternalError(f"run {run} has {count} tasks in its plan, and no task {task}")

    def _check_kept(self, creation: Creation) -> None:
        if creation.source is None:
            return
        self.check_task(creation.source)
        tasks = self.runs[creation.source].look().tasks
        for position in creation.kept.values():
            if position >= len(tasks) or tasks[position].phase is not TaskPhase.COMPLETED:
                raise InternalError(f"run {creation.source} has not completed its task {position}, which is to be kept")

    def apply(self, operation: Operation) -> None:
        """Change what is held. An operation that `check` lets pass is applied as a whole."""
        match operation:
            case Creations(runs):
                for creation in runs:
                    self._create(creation)
            case Commit(changes, processes):
                self._commit(changes, processes)
            case Deletion(run):
                self._delete(run)
            case EpochBegun(epoch):
                self.epoch = epoch

    def _create(self, creation: Creation) -> None:
        tasks = [PENDING] * len(creation.names)
        rows = Rows(plan=creation.plan, names=creation.names, tasks=tasks)
        for position, (state, result) in creation.given.items():
            tasks[position], rows.results[position] = state, result
        if creation.source is not None:
            source = self.runs[creation.source]
            before = source.look()
            for position, there in creation.kept.items():
                tasks[position] = before.tasks[there]
                if there in before.results:
                    rows.results[position] = before.results[there]
            _replace(source, creation.head.created_at)
        self.add(KeptRun(creation.key, creation.name, creation.head, creation.digest, rows))

    def _commit(self, changes: Changes, processes: Iterable[ChildProcess]) -> None:
        for run, task, state in changes.tasks:
            self.runs[run].change().tasks[task] = state
        for run, task, result in changes.results:
            self.runs[run].change().results[task] = result
        for (run, task, number), at in changes.started:
            self._attempts(run, task)[number] = AttemptRow(number, "running", at)
        for (run, task, number), status, at, reason, message, error_type in changes.closed:
            attempts = self._attempts(run, task)
            row = attempts.get(number)
            if row is not None:
                attempts[number] = AttemptRow(number, status, row.started_at, at, reason, message, error_type)
        for process in processes:
            run, task, number = process.attempt
            if run in self.runs and (row := self._attempts(run, task).get(number)) and row.status == "running":
                self._attempts(run, task)[number] = row._replace(pid=process.pid, pid_started=process.started)
        for run, head in changes.runs:
            self.runs[run].change()
            self.runs[run].head = head
        self.sequence += 1

    def _attempts(self, run: int, task: int) -> dict[int, AttemptRow]:
        return self.runs[run].change().attempts.setdefault(task, {})

    def _delete(self, run: int) -> None:
        kept = self.runs.pop(run, None)
        if kept:
            generations = self.keys[kept.name.workflow, kept.name.run_id]
            del generations[kept.name.generation]
            if not generations:
                del self.keys[kept.name.workflow, kept.name.run_id]


def _replace(source: KeptRun, now: float) -> None:
    """A newer generation takes its place: what has not finished never will."""
    if source.head.phase.finished:
        return
    rows = source.change()
    for task, state in enumerate(rows.tasks):
        if not state.phase.finished:
            rows.tasks[task] = replace(
                state, phase=TaskPhase.CANCELLED, reason=Reason.REPLACED, not_before=None, finished_at=now
            )
    for attempts in rows.attempts.values():
        for number, row in attempts.items():
            if row.status == "running":
                attempts[number] = row._replace(status="crashed", ended_at=now)
    source.head = replace(source.head, phase=RunPhase.CANCELLED, reason=Reason.REPLACED, finished_at=now)
