"""What is said of a Workflow whose state is not here: what has happened, and the ways out."""

from __future__ import annotations

from flowweaver.operator.live_stores import owner_of
from flowweaver.operator.names import RECOVER_ANNOTATION
from flowweaver.operator.objects import WorkflowObject
from flowweaver.operator.remains import Recovery, Remains

_BY_ITSELF = "nothing runs twice by itself"
_WAYS_OUT = 'set spec.rerun to a new word to go on, or delete it; "--adopt" of the operator goes on with all such'


def lost(workflow: WorkflowObject, own_store: str, remains: Remains | None) -> str:
    """It has begun, and this volume does not know it."""
    owner = owner_of(workflow)
    where = "this volume does not know it"
    if owner and owner != own_store:
        where = f"its state was on another volume (store {owner})"
    if remains is None:
        return f"{where}, and {_BY_ITSELF}: {_WAYS_OUT}"
    return f"{where}, and {_BY_ITSELF}: {_WAYS_OUT}. By its status, {remains.sentence()}"


def strict(remains: Remains) -> str:
    """What has completed would have to run again, and its user forbids that."""
    return (
        f"{RECOVER_ANNOTATION}: {Recovery.STRICT} forbids to run again what has completed. {remains.sentence()}. To "
        f"let it go on all the same write {Recovery.REBUILD} there and a new word in spec.rerun"
    )


def rebuilt(remains: Remains) -> str:
    """It goes on from its status."""
    return (
        f"goes on from its status: {remains.sentence()}. Results, attempts, and what ended after that status was "
        "written, are lost"
    )


def damaged(why: str) -> str:
    """What the store has of it can not be read."""
    return f"what the store has of it can not be read ({why}), and {_BY_ITSELF}: {_WAYS_OUT}"


def older(workflow: WorkflowObject) -> str:
    """More has been reported than this volume knows."""
    reported = workflow.reported.store
    shown = f" (commit {reported.sequence})" if reported else ""
    return (
        f"this volume is older than what has been reported{shown}, and {_BY_ITSELF}: set spec.rerun to "
        'a new word to go on from what the volume knows, or delete it; "--adopt" of the operator goes on with all such'
    )
