"""What a run does, pinned when it starts.

A manifest and a Python workflow compile to the same `RunPlan`. It is JSON in the store, so that an upgrade never
changes a running run: what is read back is what was accepted, defaults resolved.

The core looks at names, dependencies and policies only. What a body says is a matter of `runners`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct, field

from flowweaver.core.graph import Graph


class TriggerRule(StrEnum):
    """When a task may start, looking at its dependencies."""

    ALL_COMPLETED = "AllCompleted"
    ALL_FINISHED = "AllFinished"


class FailurePolicy(StrEnum):
    """What a failure does to the rest of the run."""

    FAIL_FAST = "FailFast"
    CONTINUE = "Continue"


class Jitter(StrEnum):
    """How a retry's delay is spread."""

    NONE = "None"
    FULL = "Full"


class OnCrash(StrEnum):
    """What becomes of an attempt that was running when the process died."""

    RERUN = "Rerun"
    FAIL = "Fail"


class RetryPolicy(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How often and when a failed attempt is repeated. `limit` counts retries, not attempts."""

    limit: int = 0
    delay_seconds: float = 1.0
    factor: float = 2.0
    max_delay_seconds: float = 300.0
    jitter: Jitter = Jitter.NONE
    when: str | None = None  # an expression, evaluated by the runner; None: every error is retried
    timeouts: bool = True  # False: an attempt that has timed out is not repeated


class TaskPlan(Struct, frozen=True, omit_defaults=True, gc=False):
    """One task: what the core needs to know, and a body that it passes on."""

    name: str
    kind: str  # the body's kind, a key of the runners' registry: "value", "python", "http", "shell", "wait", "outputs"
    body: Mapping[str, Any] = field(default_factory=dict)  # JSON as it was written, expressions unevaluated
    depends_on: tuple[str, ...] = ()  # explicit ones first, then those found in expressions
    trigger_rule: TriggerRule = TriggerRule.ALL_COMPLETED
    retry: RetryPolicy = RetryPolicy()
    timeout_seconds: float | None = None  # an attempt's; None: never
    allow_failure: bool = False
    on_crash: OnCrash = OnCrash.RERUN
    internal: bool = False  # ours, not the user's (the evaluation of `outputs`): not counted and not shown
    version: str = ""  # of what the body does: with another one, a result that is there does not hold any more


class RunPlan(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One run. `params` are JSON values; `workflow`, `namespace` and `uid` are what expressions may read."""

    tasks: tuple[TaskPlan, ...]
    name: str = ""
    namespace: str = ""
    uid: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    failure_policy: FailurePolicy = FailurePolicy.FAIL_FAST
    timeout_seconds: float | None = None  # the whole run's, from its start; None: never
    parallelism: int | None = None  # None: as many as there are workers
    priority: int = 0  # higher starts first
    suspended: bool = False  # as submitted
    traceparent: str = ""  # W3C: the span that the run's trace goes on from; empty: the run has a trace of its own

    def graph(self) -> Graph:
        """The tasks' graph; raises `GraphError`."""
        return Graph.build((task.name, task.depends_on) for task in self.tasks)


def digest(plan: RunPlan) -> bytes:
    """The same for two plans with the same tasks, in the same order, of which the same follows.

    That is names, dependencies and versions; and what a failure of a task means for others and for the run, so that
    no run is judged partly by one plan and partly by another.
    """
    tasks = plan.tasks
    columns = [task.name for task in tasks], [task.depends_on for task in tasks], [task.version for task in tasks]
    unusual = [
        (position, task.trigger_rule, task.allow_failure)
        for position, task in enumerate(tasks)
        if task.allow_failure or task.trigger_rule is not TriggerRule.ALL_COMPLETED
    ]
    return sha256((_encode(columns) + _encode(unusual) if unusual else _encode(columns)).encode()).digest()


def plan_to_text(plan: RunPlan) -> str:
    """The plan as JSON, without what is default; `plan_from_text` gives an equal plan."""
    try:
        return msgspec.json.encode(plan).decode()
    except UnicodeEncodeError:  # text that UTF-8 has no bytes for is escaped
        return _encode(msgspec.to_builtins(plan))


def plan_from_text(text: str) -> RunPlan:
    """A plan from what `plan_to_text` gave, now or in an older version; what is not there has its default.

    Raises `ValueError`.
    """
    try:
        try:
            return _decode(text)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:  # it may have escapes of what is no text
            return msgspec.convert(json.loads(text), RunPlan)
    except msgspec.ValidationError as exc:
        raise ValueError(str(exc)) from exc


_decode = msgspec.json.Decoder(RunPlan).decode
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode  # ASCII, the same in every Python
