"""Gathers what is known of one Workflow into a frozen world: from memory, from the API server only where it must be."""

from __future__ import annotations

import threading
from dataclasses import replace

from flowweaver.core.plan import RunPlan
from flowweaver.operator.api import ApiGoneError
from flowweaver.operator.objects import WorkflowObject, parse
from flowweaver.operator.surroundings import Surroundings
from flowweaver.operator.world import KnownRun, Owner, World
from flowweaver.ports import StorePosition


class Gatherer:
    """Makes worlds, and remembers what no object and no store tells. Safe from any thread."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._lock = threading.Lock()
        self._answered: dict[str, str] = {}  # UID → rerun token that was answered in this life
        self._spent_shutdown: dict[str, str] = {}  # UID → `spec.shutdown` when the run was taken up again
        self._position = around.store.position()

    def answered(self, uid: str, token: str) -> None:
        """Remember that this rerun token needs no further answer."""
        self._answered[uid] = token

    def spent(self, uid: str, shutdown: str) -> None:
        """The run is taken up again: what `spec.shutdown` says now has had its effect."""
        self._spent_shutdown[uid] = shutdown

    def forget(self, uid: str) -> None:
        """The object is gone for good."""
        self._answered.pop(uid, None)
        self._spent_shutdown.pop(uid, None)

    def gather(self, key: str) -> World:
        """All that is known of the Workflow of that name. Raises `ApiError` where it must be fetched and can not."""
        around = self._around
        runs = around.runs.of(key)
        workflow = around.cache.get(key)
        if workflow is None and runs:
            if not self._watches(key):
                runs = {}  # of a namespace that we do not look at we know nothing
            else:
                workflow = self._confirm_gone(key)
        damaged = around.engine.damaged
        runs = {uid: replace(run, damaged=damaged.get(run.key, "")) for uid, run in runs.items()}
        run = runs.pop(workflow.uid, None) if workflow is not None else None
        owner, grace = around.live.owner(workflow) if workflow is not None else (Owner.OURS, 0.0)
        spent = ""
        if workflow is not None and run is not None and run.head.rerun_token:
            # After a restart: what stands there now was there when the run was taken up again, as far as one can know.
            spent = self._spent_shutdown.setdefault(workflow.uid, workflow.wishes.shutdown)
        return World(
            now=around.clock.now(),
            instance=around.instance,
            adopt=around.adopt,
            store=self._store_position(workflow),
            workflow=workflow,
            run=run,
            strays=tuple(runs.values()),
            owner=owner,
            owner_grace_left=grace,
            answered=self._answered.get(workflow.uid, "") if workflow is not None else "",
            spent_shutdown=spent,
            pinned=self._pinned(workflow, run),
        )

    def _pinned(self, workflow: WorkflowObject | None, run: KnownRun | None) -> RunPlan | None:
        if workflow is None or run is None or run.head.started_at is not None or run.head.phase.finished:
            return None
        if run.damaged:
            return None
        if workflow.reported.observed_generation == workflow.generation:
            return None
        snapshot = self._around.engine.snapshot(run.key)
        return None if snapshot is None else snapshot.plan

    def _watches(self, key: str) -> bool:
        return not self._around.namespaces or key.partition("/")[0] in self._around.namespaces

    def _confirm_gone(self, key: str) -> WorkflowObject | None:
        """The watch has not shown it: it may not have come so far yet, so ask before a run is ended for it."""
        namespace, _, name = key.partition("/")
        try:
            found = parse(self._around.api.read_workflow(namespace, name))
        except ApiGoneError:
            return None
        self._around.cache.put(found)
        return found

    def _store_position(self, workflow: WorkflowObject | None) -> StorePosition:
        """Ours, at least as new as what the Workflow can have of it."""
        reported = workflow.reported.store if workflow is not None else None
        with self._lock:
            if reported is not None and reported.sequence > self._position.sequence:
                self._position = self._around.store.position()
            return self._position
