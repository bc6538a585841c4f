"""Worlds to plan on; impossible ones are not made here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flowweaver.core.phases import RunPhase
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.core.state import RunHead
from flowweaver.manifest import Accepted, Rejected, validate
from flowweaver.manifest.problems import Problem
from flowweaver.operator.names import FINALIZER
from flowweaver.operator.objects import Reported, Wishes, WorkflowObject
from flowweaver.operator.world import KnownRun, Owner, World
from flowweaver.policy import Policy
from flowweaver.ports import StorePosition

STORE = StorePosition("ours", 3, 100)
PLAN = RunPlan(tasks=(TaskPlan(name="a", kind="value", body={"value": 1}),))
MANIFEST = {
    "apiVersion": "flowweaver.io/v1alpha1",
    "kind": "Workflow",
    "metadata": {"name": "etl", "namespace": "shop", "uid": "u1"},
    "spec": {"tasks": [{"name": "a", "value": 1}]},
}
PROBLEM = Problem("UnknownDependency", "spec.tasks[0].dependsOn[0]", 'there is no task "b"')
REJECTED = Rejected((PROBLEM,))


def accepted() -> Accepted:
    verdict = validate(MANIFEST, Policy())
    assert isinstance(verdict, Accepted)
    return verdict


def unseen(**changed: Any) -> WorkflowObject:
    """A Workflow that nobody has looked at."""
    return replace(WorkflowObject(namespace="shop", name="etl", uid="u1", resource_version="7"), **changed)


def held(**changed: Any) -> WorkflowObject:
    """One that our store has accepted."""
    mine: dict[str, Any] = {"finalizers": (FINALIZER,), "annotated": True, "claimed_by": STORE.id}
    return unseen(**{**mine, **changed})


def reported(phase: str = "Running", **changed: Any) -> Reported:
    """What a status says that our store wrote in this life."""
    finished_at = 50.0 if phase in {"Completed", "Failed", "Cancelled"} else None
    shown = Reported(
        phase=phase, observed_generation=1, started=True, accepted=True, store=STORE, finished_at=finished_at
    )
    return replace(shown, **changed)


def run(phase: RunPhase = RunPhase.RUNNING, **changed: Any) -> KnownRun:
    """A run of our store."""
    return KnownRun(key=1, head=replace(RunHead(phase=phase, created_at=1.0, started_at=2.0), **changed))


def world(workflow: WorkflowObject | None, **changed: Any) -> World:
    """A world around it."""
    return replace(World(now=100.0, instance="default", adopt=False, store=STORE, workflow=workflow), **changed)


__all__ = ["MANIFEST", "PLAN", "PROBLEM", "REJECTED", "STORE", "Owner", "Wishes"]
