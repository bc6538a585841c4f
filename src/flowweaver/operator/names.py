"""The names that the operator shares with the outside: group, resource, labels, annotations, reasons. Data only."""

from __future__ import annotations

GROUP = "flowweaver.io"
VERSION = "v1alpha1"
PLURAL = "workflows"
API_VERSION = f"{GROUP}/{VERSION}"

FINALIZER = f"{GROUP}/engine"
"""On a Workflow while it is active, so that its deletion is seen."""

STORE_ANNOTATION = f"{GROUP}/store"
"""Which store has accepted this Workflow. It is written with the finalizer, before anything runs."""

RECOVER_ANNOTATION = f"{GROUP}/recover"
"""What is to be done with a Workflow whose state is lost, once its user lets it go on: `remains.Recovery`."""

INSTANCE_LABEL = f"{GROUP}/instance"
DEFAULT_INSTANCE = "default"

LEASE_PREFIX = "flowweaver-"
FIELD_MANAGER = "flowweaver"

# Reasons of Events and conditions beside those of `core.phases.Reason` and of `manifest` problems.
ACCEPTED = "Accepted"
COMPLETED = "Completed"
FAILED = "Failed"
CANCELLED = "Cancelled"
STATE_LOST = "StateLost"
STATE_REBUILT = "StateRebuilt"
CLAIMED_ELSEWHERE = "ClaimedElsewhere"


def workflow_key(namespace: str, name: str) -> str:
    """How a Workflow is called in the queue, in the store and in the logs."""
    return f"{namespace}/{name}"
