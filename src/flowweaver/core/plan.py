"""What a run does, pinned when it starts.

A manifest and a Python workflow compile to the same `RunPlan`. It is JSON in the store, so that an upgrade never
changes a running run: what is read back is what was accepted, defaults resolved.

The core looks at names, dependencies and policies only. What a body says is a matter of `runners`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and when a failed attempt is repeated. `limit` counts retries, not attempts."""

    limit: int = 0
    delay_seconds: float = 1.0
    factor: float = 2.0
    max_delay_seconds: float = 300.0
    jitter: Jitter = Jitter.NONE
    when: str | None = None  # an expression, evaluated by the runner; None: every error is retried


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlan:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
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

    def graph(self) -> Graph:
        """The tasks' graph; raises `GraphError`."""
        return Graph.build((task.name, task.depends_on) for task in self.tasks)


def plan_to_json(plan: RunPlan) -> dict[str, Any]:
    """The plan as JSON; `plan_from_json` gives an equal plan."""
    return _known(
        plan, tasks=[_known(task, depends_on=list(task.depends_on), retry=_known(task.retry)) for task in plan.tasks]
    )


def plan_from_json(data: Mapping[str, Any]) -> RunPlan:
    """A plan from what `plan_to_json` gave; a field that an older version did not write has its default."""
    tasks = tuple(
        TaskPlan(
            **{
                **task,
                "depends_on": tuple(task["depends_on"]),
                "trigger_rule": TriggerRule(task["trigger_rule"]),
                "retry": RetryPolicy(**{**task["retry"], "jitter": Jitter(task["retry"]["jitter"])}),
                "on_crash": OnCrash(task["on_crash"]),
            }
        )
        for task in data["tasks"]
    )
    return RunPlan(**{**data, "tasks": tasks, "failure_policy": FailurePolicy(data["failure_policy"])})


def _known(value: Any, **replaced: Any) -> dict[str, Any]:
    names = value.__dataclass_fields__
    return {name: replaced[name] if name in replaced else getattr(value, name) for name in names}
