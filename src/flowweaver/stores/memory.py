"""A store that forgets with its process: the public fake, and what a run without a state file uses.

It passes the same contract suite as the one on disk, so that whatever is tested with it holds there too.
"""

from __future__ import annotations

import threading
import uuid
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flowweaver.core.changes import Changes
from flowweaver.core.events import AttemptId
from flowweaver.core.phases import Reason, RunPhase, TaskPhase
from flowweaver.core.plan import RunPlan, digest
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead, TaskState
from flowweaver.errors import InternalError, StoreError
from flowweaver.ports import ChildProcess, Damaged, Kept, NewRun, RunName, StoredRun, StorePosition
from flowweaver.stores.texts import storable, storable_changes, storable_head, storable_name, storable_task


@dataclass(slots=True)
class _Run:
    """A run and all that belongs to it."""

    name: RunName
    plan: RunPlan
    head: RunHead
    tasks: list[TaskState]
    results: dict[int, bytes] = field(default_factory=dict)
    running: dict[AttemptId, ChildProcess | None] = field(default_factory=dict)


class MemoryStore:
    """`ports.Store` in memory."""

    def __init__(self) -> None:
        self._guard = threading.RLock()
        self._runs: dict[int, _Run] = {}  # in the order of their creation
        self._keys: dict[RunName, int] = {}
        self._newest: dict[tuple[str, str], list[int]] = {}  # by workflow and run id, by generation
        self._newest_key = 0
        self._position = StorePosition(str(uuid.uuid4()), 1, 0)
        self._closed = False

    # -------------------------------------------------------------------------------------------------------- writing

    def create_run(self, name: RunName, plan: RunPlan, head: RunHead) -> int:
        """See `ports.Store`."""
        return self.create_runs([NewRun(name=name, plan=plan, head=head)])[0]

    def create_runs(self, runs: Sequence[NewRun]) -> list[int]:
        """See `ports.Store`. Raises `InternalError` where one of them is there already."""
        with self._open():
            names = [storable_name(run.name) for run in runs]
            for name in names:
                if name in self._keys or names.count(name) > 1:
                    raise InternalError(f"{name} is there already")
            made = [self._made(name, run) for name, run in zip(names, runs, strict=True)]
            return [self._add(run, new) for run, new in zip(made, runs, strict=True)]

    def create_tasks(self, run: int, first: int, names: Sequence[str]) -> None:
        """See `ports.Store`."""
        with self._open():
            if names:
                self._kept(run, first + len(names) - 1)

    def commit(self, changes: Changes, processes: Sequence[ChildProcess] = ()) -> None:
        """See `ports.Store`."""
        with self._open():
            changes = storable_changes(changes)
            self._check(changes)
            for run, task, state in changes.tasks:
                self._runs[run].tasks[task] = state
            for run, task, result in changes.results:
                self._runs[run].results[task] = result
            for attempt, _ in changes.started:
                self._runs[attempt.run].running[attempt] = None
            for closed in changes.closed:
                self._runs[closed.attempt.run].running.pop(closed.attempt, None)
            for process in processes:
                running = self._runs[process.attempt.run].running if process.attempt.run in self._runs else {}
                if process.attempt in running:
                    running[process.attempt] = process
            for run, head in changes.runs:
                self._runs[run].head = head
            self._position = replace(self._position, sequence=self._position.sequence + 1)

    def delete_run(self, run: int) -> None:
        """See `ports.Store`."""
        with self._open():
            kept = self._runs.pop(run, None)
            if kept:
                del self._keys[kept.name]
                self._newest[kept.name[:2]].remove(run)

    # -------------------------------------------------------------------------------------------------------- reading

    def position(self) -> StorePosition:
        """See `ports.Store`."""
        with self._open():
            return self._position

    def find_run(self, name: RunName) -> StoredRun | None:
        """See `ports.Store`."""
        with self._open():
            key = self._keys.get(storable_name(name))
            return None if key is None else self.read_run(key)

    def find_newest(self, workflow: str, run_id: str, plan: RunPlan | None = None) -> StoredRun | None:
        """See `ports.Store`."""
        with self._open():
            name = storable_name(RunName(workflow, run_id))
            found = self._newest.get(name[:2])
            if not found:
                return None
            stored = self.read_run(found[-1])
            if plan is not None and (stored.plan is plan or digest(stored.plan) == digest(plan)):
                return replace(stored, plan=plan)
            return stored

    def task_named(self, name: str) -> tuple[int, int] | None:
        """See `ports.Store`."""
        name = storable(name)
        with self._open():
            for key, run in reversed(self._runs.items()):
                for position, task in enumerate(run.plan.tasks):
                    if storable(task.name) == name:
                        return key, position
        return None

    def read_run(self, run: int) -> StoredRun:
        """See `ports.Store`."""
        with self._open():
            kept = self._runs[run]
            return StoredRun(key=run, name=kept.name, plan=kept.plan, head=kept.head, tasks=tuple(kept.tasks))

    def unfinished_runs(self, damaged: Damaged | None = None) -> Iterator[StoredRun]:
        """See `ports.Store`. All can be read."""
        del damaged
        with self._open():
            found = [self.read_run(run) for run, kept in self._runs.items() if not kept.head.phase.finished]
        yield from found

    def list_runs(self, damaged: Damaged | None = None) -> Iterator[tuple[int, RunName, RunHead]]:
        """See `ports.Store`. All can be read."""
        del damaged
        with self._open():
            found = [(run, kept.name, kept.head) for run, kept in self._runs.items()]
        yield from found

    def read_results(self, run: int, tasks: Sequence[int]) -> dict[int, bytes]:
        """See `ports.Store`."""
        with self._open():
            results = self._runs[run].results if run in self._runs else {}
            return {task: results[task] for task in tasks if task in results}

    def read_processes(self) -> list[ChildProcess]:
        """See `ports.Store`."""
        with self._open():
            return [process for kept in self._runs.values() for process in kept.running.values() if process]

    # ------------------------------------------------------------------------------------------------ opening, closing

    def checkpoint(self) -> None:
        """See `ports.Store`: there is nothing to bring anywhere."""
        with self._open():
            pass

    def reopen(self) -> None:
        """See `ports.Store`: what was committed is there."""
        with self._open():
            pass

    def close(self) -> None:
        """See `ports.Store`."""
        self._closed = True

    def begin_epoch(self) -> None:
        """Play the part of another process that opens the same file: a new epoch, and open again if it was closed."""
        self._closed = False
        self._position = replace(self._position, epoch=self._position.epoch + 1)

    def _open(self) -> threading.RLock:
        if self._closed:
            raise StoreError("the store is closed")
        return self._guard

    def _made(self, name: RunName, new: NewRun) -> _Run:
        """A new run with all that it has kept; nothing is changed yet."""
        run = _Run(name, new.plan, storable_head(new.head), [TaskState()] * len(new.plan.tasks))
        kept = new.kept or Kept()
        for task, (state, result) in kept.given.items():
            run.tasks[task], run.results[task] = storable_task(state), result
        for task, position in kept.tasks.items():
            source = self._kept(kept.source or 0, position)
            if source.tasks[position].phase is not TaskPhase.COMPLETED or position not in source.results:
                raise InternalError(f"task {position} of run {kept.source} has not completed, and can not be kept")
            run.tasks[task], run.results[task] = source.tasks[position], source.results[position]
        return run

    def _add(self, run: _Run, new: NewRun) -> int:
        if new.kept and new.kept.source in self._runs:
            _cancel(self._runs[new.kept.source], new.head.created_at)
        key = self._newest_key = self._newest_key + 1
        self._runs[key] = run
        self._keys[run.name] = key
        insort(self._newest.setdefault(run.name[:2], []), key, key=lambda other: self._runs[other].name.generation)
        return key

    def _check(self, changes: Changes) -> None:
        """Before anything is changed: all of it or nothing."""
        for run, task, _ in (*changes.tasks, *changes.results):
            self._kept(run, task)
        attempts = [change.attempt for change in changes.started] + [change.attempt for change in changes.closed]
        for run, task, _ in attempts:
            self._kept(run, task)
        for run, _ in changes.runs:
            self._kept(run)

    def _kept(self, run: int, task: int = -1) -> _Run:
        kept = self._runs.get(run)
        if kept is None:
            raise InternalError(f"there is no run {run}")
        if task >= len(kept.tasks):
            raise InternalError(f"run {run} has {len(kept.tasks)} tasks in its plan, and no task {task}")
        return kept


def _cancel(run: _Run, now: float) -> None:
    """Another generation takes its place: what has not finished never will."""
    if run.head.phase.finished:
        return
    run.head = replace(run.head, phase=RunPhase.CANCELLED, reason=Reason.REPLACED, finished_at=now)
    run.running.clear()
    for task, state in enumerate(run.tasks):
        if not state.phase.finished:
            run.tasks[task] = replace(
                state, phase=TaskPhase.CANCELLED, reason=Reason.REPLACED, not_before=None, finished_at=now
            )
