"""The reading half of a SQLite store: what is in the file, whoever writes to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flowweaver.core.events import AttemptId
from flowweaver.core.plan import RunPlan, digest
from flowweaver.core.state import RunHead
from flowweaver.errors import InternalError, RunCorrupt
from flowweaver.ports import ChildProcess, Damaged, RunName, StoredRun, StorePosition
from flowweaver.stores import rows
from flowweaver.stores.connections import Readers
from flowweaver.stores.texts import storable, storable_name

PAGE_OF_RUNS = 500  # heads that `list_runs` reads at once


class SQLiteReading:
    """Answers from a file, each from one snapshot of it. Whoever builds on it sets these three and says `_check`."""

    path: Path  # without links
    _sql: Mapping[str, str]
    _readers: Readers

    def _check(self) -> None:
        """Raise `StoreError` where nothing can be read now."""
        raise NotImplementedError

    def position(self) -> StorePosition:
        """See `ports.Store`."""
        return StorePosition(*self._rows("read_position")[0])

    def find_run(self, name: RunName) -> StoredRun | None:
        """See `ports.Store`."""
        found = self._rows("find_run", tuple(storable_name(name)))
        return self._read_run(found[0][0]) if found else None

    def find_newest(self, workflow: str, run_id: str, plan: RunPlan | None = None) -> StoredRun | None:
        """See `ports.Store`."""
        name = storable_name(RunName(workflow, run_id))
        found = self._rows("find_newest", (name.workflow, name.run_id))
        return self._read_run(found[0][0], plan) if found else None

    def keys_of_workflow(self, workflow: str) -> list[tuple[int, RunName]]:
        """The runs of one workflow, oldest first."""
        return [(key, RunName(*name)) for key, *name in self._rows("keys_of_workflow", (workflow,))]

    def task_named(self, name: str) -> tuple[int, int] | None:
        """See `ports.Store`."""
        found = self._rows("task_named", (storable(name),))
        return rows.task_of(found[0][0]) if found else None

    def read_run(self, run: int) -> StoredRun:
        """See `ports.Store`."""
        stored = self._read_run(run)
        if stored is None:
            raise KeyError(run)
        return stored

    def unfinished_runs(self, damaged: Damaged | None = None) -> Iterator[StoredRun]:
        """See `ports.Store`. Each run is read when it is asked for."""
        for (run,) in self._rows("unfinished_runs"):
            try:
                stored = self._read_run(run)
            except RunCorrupt as exc:
                rows.tell(exc, run, damaged)
                continue
            if stored and not stored.head.phase.finished:
                yield stored

    def list_runs(self, damaged: Damaged | None = None) -> Iterator[tuple[int, RunName, RunHead]]:
        """See `ports.Store`."""
        after = 0
        while page := self._rows("list_heads", (after, PAGE_OF_RUNS)):
            for row in page:
                after = row[rows.KEY_OF_HEAD]
                try:
                    found = rows.head_of(row)
                except RunCorrupt as exc:
                    rows.tell(exc, after, damaged)
                    continue
                yield found

    def read_results(self, run: int, tasks: Sequence[int]) -> dict[int, bytes]:
        """See `ports.Store`."""
        self._check()
        with self._readers.snapshot() as connection:
            found = connection.executemany(self._sql["read_result"], [(rows.task_key(run, task),) for task in tasks])
            return {rows.task_of(key)[1]: result for key, result in found if result is not None}

    def read_processes(self) -> list[ChildProcess]:
        """See `ports.Store`."""
        return [
            ChildProcess(attempt=rows.attempt_of(task, number), pid=pid, started=started)
            for task, number, pid, started in self._rows("read_processes")
        ]

    def read_running(self) -> dict[AttemptId, float]:
        """When the attempts have started that are recorded as running."""
        return {rows.attempt_of(task, number): at for task, number, at in self._rows("read_running")}

    def _read_run(self, run: int, expected: RunPlan | None = None) -> StoredRun | None:
        """That run; where its plan has the tasks of `expected`, with that in its place. Raises `RunCorrupt`."""
        self._check()
        try:
            return self._read_whole_run(run, expected)
        except UnicodeDecodeError as exc:
            raise RunCorrupt(f"run {run}: it holds text that is none: {exc.reason}") from exc

    def _read_whole_run(self, run: int, expected: RunPlan | None) -> StoredRun | None:
        same = None if expected is None else digest(expected)
        with self._readers.snapshot() as connection:
            heads = connection.execute(self._sql["read_head"], (run,)).fetchall()
            if not heads:
                return None
            plans: list[Any] = connection.execute(self._sql["read_plan_unless"], (same or b"", run)).fetchall()
            bounds = rows.task_key(run, 0), rows.task_key(run + 1, 0)
            tasks = connection.execute(self._sql["read_tasks"], bounds).fetchall()
        key, name, head = rows.head_of(heads[0])
        plan = (
            expected
            if expected and plans and plans[0][0] is None
            else rows.plan_of(run, plans[0][0] if plans else None)
        )
        if expected and plan is not expected and digest(plan) == same:  # written by a version that made no digests
            plan = expected
        return StoredRun(key=key, name=name, plan=plan, head=head, tasks=rows.tasks_of(tasks, len(plan.tasks)))

    def _plan(self, run: int) -> RunPlan:
        found = self._rows("read_plan", (run,))
        if not found:
            raise InternalError(f"there is no run {run}")
        return rows.plan_of(run, found[0][0])

    def _rows(self, statement: str, bindings: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        self._check()
        return self._readers.rows(self._sql[statement], bindings)
