"""Where exactly one of several fields must stand: a task's body, and what some bodies are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from flowweaver.manifest import durations
from flowweaver.manifest.bodies import BODIES
from flowweaver.manifest.problems import Problem
from flowweaver.manifest.reasons import INVALID_SPEC
from flowweaver.manifest.translation import LATER

EXACTLY_ONE = {
    "python": ("function", "source"),
    "shell": ("command", "script"),
    "wait": ("duration", "until"),
}


def choices(path: str, task: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems with the choices of one task."""
    present = [name for name in task if name in BODIES and (name == "value" or task[name] is not None)]
    name = f'task "{str(task.get("name", "?"))[:80]}"'
    if len(present) > 1:
        count = {2: "two"}.get(len(present), str(len(present)))
        yield Problem(INVALID_SPEC, path, f"{name} has {count} bodies ({', '.join(present)}): keep one")
    if not present and not LATER & set(task):
        null = " (kubectl drops value: null; write value: ${null})" if set(task) <= {"name", "dependsOn"} else ""
        yield Problem(INVALID_SPEC, path, f"{name} has no body: add one of {', '.join(BODIES)}{null}")
    for kind, options in EXACTLY_ONE.items():
        body = task.get(kind)
        if isinstance(body, Mapping):
            yield from _one_of(f"{path}.{kind}", body, options)
    if isinstance(task.get("wait"), Mapping):
        yield from _literal_times(f"{path}.wait", task["wait"])


def _one_of(path: str, body: Mapping[str, Any], options: tuple[str, str]) -> Iterator[Problem]:
    present = [name for name in options if body.get(name) is not None]
    if len(present) == 1:
        return
    what = "has both" if present else "has neither"
    joined = " and ".join(options) if present else " nor ".join(options)
    yield Problem(INVALID_SPEC, path, f"{what} {joined}: {'keep' if present else 'write'} exactly one")


def _literal_times(path: str, wait: Mapping[str, Any]) -> Iterator[Problem]:
    duration, until = wait.get("duration"), wait.get("until")
    if isinstance(duration, str) and "${" not in duration:
        try:
            durations.seconds(duration)
        except ValueError as exc:
            yield Problem(INVALID_SPEC, f"{path}.duration", str(exc))
    if isinstance(until, str) and "${" not in until and not _is_instant(until):
        yield Problem(
            INVALID_SPEC, f"{path}.until", "is no instant in RFC 3339: write one such as 2030-01-01T00:00:00Z"
        )


def _is_instant(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
