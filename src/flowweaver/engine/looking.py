"""How a run stands, for whoever asks from another thread: from memory while it is active, else from the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flowweaver.core.phases import TaskPhase
from flowweaver.engine.conductor import Conductor
from flowweaver.ports import RunName, RunSnapshot, Store, StoredRun

PATIENCE_SECONDS = 5.0
"""A store that could not be written for so long is not waited for at the end: what ran starts again with the next one.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHealth:
    """How the engine is doing."""

    heartbeat_at: float  # monotonic
    accepting: bool  # it starts what is submitted
    store_error: str  # why the store can not be written now; empty: it can
    store_failing_seconds: float  # for how long it could not; 0: it can
    failure: str  # why the engine has stopped by itself; empty: it has not
    active_runs: int
    running: int
    workers: int
    abandoned: int
    commits: int
    commit_seconds: float  # of the last commit

    @property
    def drained(self) -> bool:
        """Whether there is nothing to wait for at the end: what runs has ended, or can not be recorded."""
        return not self.accepting and (not self.running or self.store_failing_seconds > PATIENCE_SECONDS)


class Lookout:
    """Looks at the conductor's world and at the store. Safe from any thread."""

    def __init__(self, conductor: Conductor, store: Store) -> None:
        self._conductor = conductor
        self._store = store

    def find(self, name: RunName) -> RunSnapshot | None:
        """That run as it stands; None where there is none."""
        with self._conductor.lock:
            key = self._conductor.intake.names.get(name)
        if key is not None and (snapshot := self.snapshot(key)) is not None:
            return snapshot
        stored = self._store.find_run(name)
        return None if stored is None else self._stored(stored)

    def snapshot(self, key: int) -> RunSnapshot | None:
        """The run of that key as it stands; None where there is none."""
        with self._conductor.lock:
            run = self._conductor.world.runs.get(key)
            # One that has just finished is read from the store, which has its outputs too.
            if run is not None and not run.head.phase.finished:
                return RunSnapshot(
                    key=key,
                    name=RunName.of(run),
                    plan=run.plan,
                    head=run.head,
                    tasks=tuple(run.tasks),
                    position=self._conductor.position,
                )
        try:
            return self._stored(self._store.read_run(key))
        except KeyError:
            return None

    def results(self, key: int, names: Iterable[str]) -> Mapping[str, bytes]:
        """The results, JSON text, of those of the named tasks that completed. Raises `KeyError`."""
        snapshot = self.snapshot(key)
        if snapshot is None:
            raise KeyError(key)
        positions = {task.name: position for position, task in enumerate(snapshot.plan.tasks)}
        wanted = {positions[name]: name for name in names if snapshot.tasks[positions[name]].phase == "completed"}
        found = self._store.read_results(key, list(wanted))
        return {wanted[position]: result for position, result in found.items()}

    def health(self, *, heartbeat_at: float, failure: str) -> EngineHealth:
        """How the engine is doing. Takes no lock that a turn holds."""
        conductor, world = self._conductor, self._conductor.world
        crowded = len(world.abandoned) > world.workers
        return EngineHealth(
            heartbeat_at=heartbeat_at,
            accepting=not (world.draining or conductor.store_error or failure or crowded),
            store_error=conductor.store_error,
            store_failing_seconds=conductor.store_failing_seconds,
            failure=failure,
            active_runs=len(world.runs),
            running=world.running,
            workers=world.workers,
            abandoned=len(world.abandoned),
            commits=conductor.commits,
            commit_seconds=conductor.commit_seconds,
        )

    def _stored(self, stored: StoredRun) -> RunSnapshot:
        outputs: dict[str, Any] | None = None
        last = len(stored.tasks) - 1
        if last >= 0 and stored.plan.tasks[last].internal and stored.tasks[last].phase is TaskPhase.COMPLETED:
            found = self._store.read_results(stored.key, [last])
            outputs = {output["name"]: output["value"] for output in json.loads(found[last])}
        return RunSnapshot(
            key=stored.key,
            name=stored.name,
            plan=stored.plan,
            head=stored.head,
            tasks=stored.tasks,
            position=self._conductor.position,
            outputs=outputs,
        )
