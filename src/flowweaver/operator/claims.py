"""The JSON patches that put our mark on a Workflow and take it off.

Every patch tests the UID and what it replaces, so that of two engines that see a new Workflow at once one gets it, and
nothing is written over somebody else's finalizer.
"""

from __future__ import annotations

from typing import Any

from flowweaver.operator.names import FINALIZER, STORE_ANNOTATION
from flowweaver.operator.objects import WorkflowObject

_POINTER = "/metadata/annotations/" + STORE_ANNOTATION.replace("~", "~0").replace("/", "~1")


def claim(workflow: WorkflowObject, store: str) -> list[dict[str, Any]]:
    """Put the finalizer and the store's name on it; empty where both are there."""
    operations: list[dict[str, Any]] = []
    if workflow.claimed_by != store:
        if workflow.annotated:
            operations += [_test(_POINTER, workflow.claimed_by or None), _add(_POINTER, store)]
        else:
            path = "/metadata/annotations"
            operations += [_test(path, None), _add(path, {STORE_ANNOTATION: store})]
    if not workflow.held:
        path = "/metadata/finalizers"
        if workflow.finalizers:
            operations.append(_add(path + "/-", FINALIZER))
        else:
            operations += [_test(path, None), _add(path, [FINALIZER])]
    return [_test("/metadata/uid", workflow.uid), *operations] if operations else []


def release(workflow: WorkflowObject) -> list[dict[str, Any]]:
    """Take the finalizer off; the store's name stays, so that a copy or a restored object does not run by itself."""
    if not workflow.held:
        return []
    path = f"/metadata/finalizers/{(workflow.finalizers or ()).index(FINALIZER)}"
    return [_test("/metadata/uid", workflow.uid), _test(path, FINALIZER), {"op": "remove", "path": path}]


def _test(path: str, value: object) -> dict[str, Any]:
    return {"op": "test", "path": path, "value": value}


def _add(path: str, value: object) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}
