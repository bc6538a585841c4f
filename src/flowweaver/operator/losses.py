"""What is said of a Workflow whose state is not here: what has happened, and the ways out."""

from __future__ import annotations

from flowweaver.operator.live_stores import owner_of
from flowweaver.operator.objects import WorkflowObject

_WAYS_OUT = (
    'to run it from the start set spec.rerun to a new word, or delete it; "--adopt" of the operator runs all such'
)


def lost(workflow: WorkflowObject, own_store: str) -> str:
    """It has begun, and this volume does not know it."""
    owner = owner_of(workflow)
    if owner and owner != own_store:
        return f"its state was on another volume (store {owner}), and nothing runs twice by itself: {_WAYS_OUT}"
    return f"this volume does not know it, and nothing runs twice by itself: {_WAYS_OUT}"


def damaged(why: str) -> str:
    """What the store has of it can not be read."""
    return f"what the store has of it can not be read ({why}), and nothing runs twice by itself: {_WAYS_OUT}"


def older(workflow: WorkflowObject) -> str:
    """More has been reported than this volume knows."""
    reported = workflow.reported.store
    shown = f" (commit {reported.sequence})" if reported else ""
    return (
        f"this volume is older than what has been reported{shown}, and nothing runs twice by itself: set spec.rerun to "
        'a new word to go on from what the volume knows, or delete it; "--adopt" of the operator goes on with all such'
    )
