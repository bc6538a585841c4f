"""Workflows as tests write and await them."""

from __future__ import annotations

from typing import Any

from tests.cluster.kubectl import Kubectl
from tests.cluster.processes import await_true


def workflow(name: str, *tasks: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A Workflow of these tasks, ready to apply."""
    kind = {"apiVersion": "flowweaver.io/v1alpha1", "kind": "Workflow"}
    return {**kind, "metadata": {"name": name}, "spec": {"tasks": list(tasks), **spec}}


def finish(kubectl: Kubectl, name: str, seconds: int = 90) -> dict[str, Any]:
    """Wait with kubectl until it has finished; gives its status."""
    kubectl("wait", "--for=condition=Finished", f"fw/{name}", f"--timeout={seconds}s", timeout_seconds=seconds + 20)
    return status_of(kubectl, name)


def status_of(kubectl: Kubectl, name: str) -> dict[str, Any]:
    """Its status now; empty where it has none."""
    status: dict[str, Any] = kubectl.json("get", "workflows.flowweaver.io", name).get("status") or {}
    return status


def phase_of(kubectl: Kubectl, name: str) -> str:
    """Its phase now; empty where nobody has looked at it yet."""
    return str(status_of(kubectl, name).get("phase", ""))


def await_phase(kubectl: Kubectl, name: str, phase: str, seconds: float = 60) -> dict[str, Any]:
    """Wait until it is in that phase; gives its status."""
    await_true(f"{name} is {phase}", lambda: phase_of(kubectl, name) == phase, seconds=seconds, every_seconds=0.2)
    return status_of(kubectl, name)


def condition(status: dict[str, Any], kind: str) -> tuple[str, str]:
    """Status and reason of one condition; empty where it is not there."""
    found = {entry["type"]: (entry["status"], entry["reason"]) for entry in status.get("conditions", [])}
    return found.get(kind, ("", ""))


def events_of(kubectl: Kubectl, name: str) -> set[str]:
    """The reasons of the Events about a Workflow."""
    events = kubectl.json("get", "events.events.k8s.io")["items"]
    return {event["reason"] for event in events if event["regarding"]["name"] == name}
