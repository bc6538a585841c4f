"""Which runs there are and where they stand, in memory, so that deciding about a Workflow reads no disk."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

from flowweaver.core.phases import RunPhase
from flowweaver.core.state import RunHead
from flowweaver.operator.world import KnownRun
from flowweaver.ports import RunName


class RunIndex:
    """Every run of the store. Safe from any thread."""

    def __init__(self, runs: Iterable[tuple[int, RunName, RunHead]] = ()) -> None:
        self._lock = threading.Lock()
        self._by_workflow: dict[str, dict[str, KnownRun]] = {}  # workflow → UID → run
        self._phases: Counter[RunPhase] = Counter()
        self._held_back: set[int] = set()  # keys
        for key, name, head in runs:
            self.record(key, name, head)

    def record(self, key: int, name: RunName, head: RunHead) -> None:
        """It stands there now."""
        with self._lock:
            runs = self._by_workflow.setdefault(name.workflow, {})
            before = runs.get(name.run_id)
            if before is not None:
                self._phases[before.head.phase] -= 1
            self._phases[head.phase] += 1
            if not head.suspended:
                self._held_back.discard(key)
            runs[name.run_id] = KnownRun(key=key, head=head, held_back=key in self._held_back)

    def hold_back(self, key: int, name: RunName, head: RunHead) -> None:
        """It was suspended because more has been reported of it than the store knows."""
        with self._lock:
            self._held_back.add(key)
        self.record(key, name, head)

    def record_new(self, key: int, name: RunName, head: RunHead) -> None:
        """It is there; what is known of it already stays."""
        with self._lock:
            known = name.run_id in self._by_workflow.get(name.workflow, {})
        if not known:
            self.record(key, name, head)

    def remove(self, workflow: str, key: int) -> str:
        """It is forgotten; gives its UID."""
        with self._lock:
            runs = self._by_workflow.get(workflow, {})
            for uid, run in list(runs.items()):
                if run.key == key:
                    del runs[uid]
                    self._phases[run.head.phase] -= 1
                    if not runs:
                        del self._by_workflow[workflow]
                    return uid
        return ""

    def of(self, workflow: str) -> dict[str, KnownRun]:
        """The runs of that workflow by UID."""
        with self._lock:
            return dict(self._by_workflow.get(workflow, {}))

    def workflows(self) -> list[tuple[str, str]]:
        """Every workflow and UID."""
        with self._lock:
            return [(workflow, uid) for workflow, runs in self._by_workflow.items() for uid in runs]

    def unfinished(self) -> list[tuple[str, RunHead]]:
        """The workflow and the head of each run that has not finished."""
        with self._lock:
            return [
                (workflow, run.head)
                for workflow, runs in self._by_workflow.items()
                for run in runs.values()
                if not run.head.phase.finished
            ]

    def count(self, phase: RunPhase) -> int:
        """How many runs stand there."""
        return self._phases[phase]
