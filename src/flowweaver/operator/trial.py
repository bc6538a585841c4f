"""Runs one small Workflow through an operator that is at work, as its user would: `helm test` asks for it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flowweaver.operator.api import Api, ApiConflictError, ApiGoneError
from flowweaver.operator.names import API_VERSION, INSTANCE_LABEL, PLURAL
from flowweaver.operator.objects import parse

POLL_SECONDS = 0.2
TIME_TO_LIVE_SECONDS = 300
"""Who is ended in the middle leaves nothing behind for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How it went."""

    workflow: str  # "namespace/name"
    completed: bool
    message: str  # what was seen last, as a sentence


def run_first(
    api: Api,
    *,
    namespace: str,
    instance: str,
    timeout_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Trial:
    """Create it, wait for its end, delete it. Raises `ApiError` where the API server refuses one of these."""
    name = f"flowweaver-test-{secrets.token_hex(4)}"
    path = f"/apis/{API_VERSION}/namespaces/{quote(namespace)}/{PLURAL}"
    made = parse(api.call("POST", path, _workflow(name, instance)))
    key = f"{namespace}/{name}"
    deadline = clock() + timeout_seconds
    try:
        while True:
            raw = api.read_workflow(namespace, name)
            shown = parse(raw).reported
            if shown.finished:
                said = str((raw.get("status") or {}).get("message") or "")
                return Trial(workflow=key, completed=shown.phase == "Completed", message=f"{shown.phase}: {said}")
            if clock() >= deadline:
                seen = f"it is {shown.phase}" if shown.observed_generation >= 0 else _unseen(namespace, instance)
                return Trial(workflow=key, completed=False, message=f"after {timeout_seconds:g} s {seen}")
            pause(POLL_SECONDS)
    finally:
        _delete(api, namespace, name, made.uid)


def _delete(api: Api, namespace: str, name: str, uid: str) -> None:
    try:
        api.delete_workflow(namespace, name, uid=uid)
    except (ApiGoneError, ApiConflictError):
        return  # gone, or another one has its name


def _unseen(namespace: str, instance: str) -> str:
    return f"nobody has looked at it: is there an operator of the instance {instance} that watches {namespace}?"


def _workflow(name: str, instance: str) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "Workflow",
        "metadata": {"name": name, "labels": {INSTANCE_LABEL: instance}},
        "spec": {
            "ttlSecondsAfterFinished": TIME_TO_LIVE_SECONDS,
            "tasks": [
                {"name": "one", "value": 20},
                {"name": "sum", "value": "${tasks.one.result + 22}"},
            ],
        },
    }
