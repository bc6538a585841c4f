"""Plans for engines that are put through faults."""

from __future__ import annotations

from typing import Any

from flowweaver.core.plan import RunPlan
from flowweaver.manifest import Accepted, validate
from flowweaver.policy import Policy


def planned(*tasks: dict[str, Any], **spec: Any) -> RunPlan:
    """The plan of a manifest with these tasks."""
    kind = {"apiVersion": "flowweaver.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"}}
    verdict = validate({**kind, "spec": {"tasks": list(tasks), **spec}}, Policy.permissive())
    assert isinstance(verdict, Accepted), verdict
    return verdict.plan
