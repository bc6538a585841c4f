"""What a JSON store can be asked: by its engine while it is written, and by whoever only looks at its files."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence

from flowweaver.core.events import AttemptId
from flowweaver.core.plan import RunPlan, digest
from flowweaver.core.state import RunHead, TaskState
from flowweaver.errors import RunCorrupt
from flowweaver.ports import ChildProcess, Damaged, RunName, StoredRun, StorePosition
from flowweaver.stores import rows
from flowweaver.stores.history import AttemptRow, PastAttempt, with_results
from flowweaver.stores.json_contents import Contents, KeptRun
from flowweaver.stores.texts import storable, storable_name

_RUNNING = b', "running", '  # in the text of a run with an attempt that has not ended; a result may say it too


class JSONReading:
    """The reading half of `ports.Store`."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._guard = threading.RLock()  # held while something is looked at or changed

    def position(self) -> StorePosition:
        """See `ports.Store`."""
        with self._usable():
            return StorePosition(self._contents.id, self._contents.epoch, self._contents.sequence)

    def find_run(self, name: RunName) -> StoredRun | None:
        """See `ports.Store`."""
        with self._usable():
            key = self._contents.find(storable_name(name))
            return None if key is None else self._stored(self._contents.runs[key])

    def find_newest(self, workflow: str, run_id: str, plan: RunPlan | None = None) -> StoredRun | None:
        """See `ports.Store`."""
        with self._usable():
            key = self._contents.newest(storable(workflow), storable(run_id))
            return None if key is None else self._stored(self._contents.runs[key], plan)

    def task_named(self, name: str) -> tuple[int, int] | None:
        """See `ports.Store`."""
        name = storable(name)
        with self._usable():
            for key, run in reversed(self._contents.runs.items()):
                position = _position(run, name)
                if position is not None:
                    return key, position
        return None

    def read_run(self, run: int) -> StoredRun:
        """See `ports.Store`."""
        with self._usable():
            return self._stored(self._contents.runs[run])

    def unfinished_runs(self, damaged: Damaged | None = None) -> Iterator[StoredRun]:
        """See `ports.Store`. Each run is read when it is asked for."""
        with self._usable():
            found = [key for key, run in self._contents.runs.items() if not run.head.phase.finished]
        for key in found:
            with self._usable():
                run = self._contents.runs.get(key)
                try:
                    stored = self._stored(run) if run and not run.head.phase.finished else None
                except RunCorrupt as exc:
                    rows.tell(exc, key, damaged)
                    continue
            if stored:
                yield stored

    def list_runs(self, damaged: Damaged | None = None) -> Iterator[tuple[int, RunName, RunHead]]:
        """See `ports.Store`. All heads have been read with the file."""
        del damaged
        with self._usable():
            found = [(key, run.name, run.head) for key, run in self._contents.runs.items()]
        yield from found

    def read_results(self, run: int, tasks: Sequence[int]) -> dict[int, bytes]:
        """See `ports.Store`."""
        with self._usable():
            kept = self._contents.runs.get(run)
            results = kept.look().results if kept and tasks else {}
            return {task: results[task] for task in tasks if task in results}

    def read_processes(self) -> list[ChildProcess]:
        """See `ports.Store`."""
        with self._usable():
            return [
                ChildProcess(attempt=AttemptId(key, task, row.number), pid=row.pid, started=row.pid_started or 0)
                for key, run in self._contents.runs.items()
                if run.rows or not run.head.phase.finished or _RUNNING in (run.text or b"")
                for task, attempts in run.look().attempts.items()
                for row in attempts.values()
                if row.status == "running" and row.pid is not None
            ]

    def read_history(self, name: str, limit: int) -> list[PastAttempt]:
        """The newest attempts of all tasks of that name, newest first, at most so many."""
        name = storable(name)
        found: list[PastAttempt] = []
        with self._usable():
            for key, run in reversed(self._contents.runs.items()):
                position = _position(run, name)
                if position is not None:
                    found += _past_attempts(key, run, position)
                if len(found) >= limit:
                    break
        return found[:limit]

    def read_attempts(self, run: int) -> dict[int, list[AttemptRow]]:
        """The attempts of a run's tasks, by position, oldest first."""
        with self._usable():
            kept = self._contents.runs.get(run)
            attempts = kept.look().attempts if kept else {}
            return {task: sorted(rows.values()) for task, rows in attempts.items()}

    def keys_of_workflow(self, workflow: str) -> list[tuple[int, RunName]]:
        """The runs of one workflow, oldest first."""
        workflow = storable(workflow)
        with self._usable():
            return [(key, run.name) for key, run in self._contents.runs.items() if run.name.workflow == workflow]

    def _usable(self) -> threading.RLock:
        """The guard, once it is clear that this may be used here and now."""
        return self._guard

    def _stored(self, run: KeptRun, plan: RunPlan | None = None) -> StoredRun:
        found = run.look()
        same = plan is not None and run.digest == digest(plan).hex()
        read = plan if plan is not None and same else rows.plan_of(run.key, found.plan)
        return StoredRun(key=run.key, name=run.name, plan=read, head=run.head, tasks=tuple(found.tasks))


def _position(run: KeptRun, name: str) -> int | None:
    """Where the task of that name is in a run."""
    if run.rows is None and f"\n  {json.dumps(name, ensure_ascii=False)}: {{".encode() not in (run.text or b""):
        return None  # not read for nothing
    names = run.look().names
    return names.index(name) if name in names else None


def _past_attempts(key: int, run: KeptRun, position: int) -> list[PastAttempt]:
    found = run.look()
    result, state = found.results.get(position), found.tasks[position]
    attempts = sorted(found.attempts.get(position, {}).values(), reverse=True)
    if not attempts and not state.attempts and state.finished_at is not None:
        attempts = [_attempt_of(state)]
    return with_results(PastAttempt(key, run.name, row, result) for row in attempts)


def _attempt_of(state: TaskState) -> AttemptRow:
    """A task without an attempt tells of itself."""
    times = state.started_at, state.finished_at
    return AttemptRow(0, str(state.phase), *times, state.reason, state.message, state.error_type)
