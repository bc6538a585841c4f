"""Attempts for tests of runners, and what came of them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flowweaver.core.events import AttemptId, Completed, Failed, Outcome
from flowweaver.core.plan import RetryPolicy, RunPlan, TaskPlan
from flowweaver.policy import Policy
from flowweaver.ports import Attempt, ChildProcess, Dependency
from flowweaver.runners import registry, run_attempt
from flowweaver.runners.proc import read_stat

PATIENCE_SECONDS = 30.0
run = run_attempt(registry(Policy.permissive()))


def completed(value: Any) -> Dependency:
    """A dependency that gave `value`."""
    return Dependency("Completed", json.dumps(value).encode(), "", "", 1)


def ended(phase: str) -> Dependency:
    """A dependency that gave nothing."""
    return Dependency(phase, None, "", "", 0)


def attempt_of(
    kind: str,
    body: Mapping[str, Any],
    *,
    dependencies: Mapping[str, Dependency] | None = None,
    params: Mapping[str, Any] | None = None,
    retry: RetryPolicy | None = None,
    number: int = 1,
    on_process: Callable[[ChildProcess], None] = lambda process: None,
) -> Attempt:
    """An attempt of a task "t" with that body."""
    task = TaskPlan(name="t", kind=kind, body=body, depends_on=tuple(dependencies or ()), retry=retry or RetryPolicy())
    return Attempt(
        id=AttemptId(1, 0, number),
        task=task,
        run=RunPlan(tasks=(task,), name="w", namespace="ns", uid="u-1", params=params or {}),
        run_started_at=1_700_000_000.0,
        dependencies=dependencies or {},
        on_process=on_process,
    )


def result_of(outcome: Outcome) -> Any:
    """What a completed attempt gave, decoded."""
    assert isinstance(outcome, Completed), outcome
    return json.loads(outcome.result)


def failure_of(outcome: Outcome) -> Failed:
    """How an attempt failed."""
    assert isinstance(outcome, Failed), outcome
    return outcome


def eventually(condition: Callable[[], Any]) -> Any:
    """Wait until `condition` gives something true, and give that."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.005)
    return found


def is_alive(pid: int) -> bool:
    """Whether that process is there and is no zombie."""
    try:
        return read_stat(pid).state not in "ZX"
    except ProcessLookupError:
        return False


def number_in(path: Path) -> int | None:
    """The number that a process has written to that file, once it has."""
    text = path.read_text() if path.exists() else ""
    return int(text) if text.endswith("\n") else None


def own_children() -> set[int]:
    """The children of this process."""
    mine = os.getpid()
    return {pid for pid in _all() if _parent(pid) == mine}


def _all() -> list[int]:
    return [int(process.name) for process in Path("/proc").iterdir() if process.name.isdigit()]


def _parent(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1
    return int(text[text.rindex(")") + 2 :].split()[1])
