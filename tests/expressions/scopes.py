"""A scope as an attempt would see it, for tests of everything that reads one."""

from __future__ import annotations

import json

from flowweaver.expressions import Scope
from flowweaver.ports import Dependency


def completed(result, attempts=1):
    return Dependency("Completed", json.dumps(result).encode(), "", "", attempts)


def failed(error_type="ValueError", message="boom"):
    return Dependency("Failed", None, error_type, message, 3)


def scope(params=None, **tasks):
    return Scope(
        {
            "params": params or {},
            "workflow": {"name": "etl", "namespace": "team", "uid": "u1", "startedAt": "2026-01-02T03:04:05Z"},
        },
        tasks,
    )
