"""What the API server checks beyond types: CEL rules that it accepts and can afford.

Its estimate of costs is pessimistic, so that dangling names, cycles and names that collide are left to the operator and
`flowweaver lint`. A field that may hold any JSON is invisible to CEL: `value` can not be counted among the bodies.
"""

from __future__ import annotations

from typing import Any

from flowweaver.manifest.bodies import BODIES

MUTABLE = ("suspend", "shutdown", "rerun", "priority", "parallelism", "ttlSecondsAfterFinished")
"""Fields of `spec` that may change after the start."""

PINNED = ("tasks", "params", "outputs", "timeout", "retry", "failurePolicy")
"""All the others."""

_VISIBLE = tuple(name for name in BODIES if name != "value")


def _rule(expression: str, message: str, **more: Any) -> dict[str, Any]:
    return {"rule": expression, "message": message, **more}


def _pinned(name: str) -> dict[str, Any]:
    started = "!has(oldSelf.status) || !has(oldSelf.status.startedAt)"
    same = f"has(self.spec.{name}) == has(oldSelf.spec.{name})"
    equal = f"(!has(self.spec.{name}) || self.spec.{name} == oldSelf.spec.{name})"
    return _rule(
        f"{started} || ({same} && {equal})",
        f"{name} can not change once the run has started: create a new Workflow",
        fieldPath=f".spec.{name}",
    )


def _exactly_one(first: str, second: str) -> list[dict[str, Any]]:
    return [_rule(f"has(self.{first}) != has(self.{second})", f"write exactly one of {first} and {second}")]


ROOT = [
    _rule(
        "size(self.metadata.name) <= 52",
        "metadata.name has more than 52 characters: shorten it",
    ),
    *(_pinned(name) for name in PINNED),
]
SPEC = [
    _rule(
        "!has(oldSelf.shutdown) || (has(self.shutdown) && self.shutdown in [oldSelf.shutdown, 'Terminate'])",
        "shutdown can not be taken back: create a new Workflow, or set rerun once this run has ended",
    ),
]
TASK = [
    _rule(
        "[" + ", ".join(f"has(self.{name})" for name in _VISIBLE) + "].filter(present, present).size() <= 1",
        f"a task has exactly one body: keep one of {', '.join(BODIES)}",
    ),
    _rule(
        "!has(self.dependsOn) || !(self.name in self.dependsOn)",
        "a task can not depend on itself: remove it from dependsOn",
    ),
]
STATUS = [
    _rule(
        "!has(oldSelf.store) || (has(self.store) && "
        "(self.store.id != oldSelf.store.id || self.store.epoch >= oldSelf.store.epoch))",
        "store.epoch may only grow: this status was written by an operator that has been replaced",
    ),
]
PYTHON = _exactly_one("function", "source")
SHELL = _exactly_one("command", "script")
WAIT = _exactly_one("duration", "until")
