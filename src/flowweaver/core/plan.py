"""What a run does, pinned when it starts.

A manifest and a Python workflow compile to the same `RunPlan`. It is JSON in the store, so that an upgrade never
changes a running run: what is read back is what was accepted, defaults resolved.

The core looks at names, dependencies and policies only. What a body says is a matter of `runners`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from json import JSONEncoder
from json.encoder import encode_basestring_ascii as _quoted
from operator import attrgetter
from typing import Any

from flowweaver.core.graph import Graph
from flowweaver.core.records import record


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
    timeouts: bool = True  # False: an attempt that has timed out is not repeated


@record
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
    version: str = ""  # of what the body does: with another one, a result that is there does not hold any more


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
    """The plan as JSON, without what is default, in ASCII, so that text that UTF-8 has no bytes for comes back as it
    was; `plan_from_json` gives an equal plan of what it says.

    It is put together from text: with a dict for each of 50,000 tasks the garbage collector has more to do than we.
    """
    policies = {id(task.retry): task.retry for task in plan.tasks}  # most tasks share one
    retries = {key: _unusual(policy, _RETRY_FIELDS) for key, policy in policies.items()}
    fields = _encode(_unusual(plan, _RUN_FIELDS))[1:-1]
    tasks = ",".join([_task_to_text(task, retries) for task in plan.tasks])
    return f'{{{fields}{"," if fields else ""}"tasks":[{tasks}]}}'


def plan_from_json(data: Mapping[str, Any]) -> RunPlan:
    """A plan from what `plan_to_text` says, now or in an older version; what is not there has its default."""
    fields = {**data, "tasks": tuple(map(_task_from_json, data["tasks"]))}
    if "failure_policy" in data:
        fields["failure_policy"] = FailurePolicy(data["failure_policy"])
    return RunPlan(**fields)


def _task_to_text(task: TaskPlan, retries: Mapping[int, dict[str, Any]]) -> str:
    text = f'"name":{_quoted(task.name)},"kind":{_quoted(task.kind)}'
    if task.depends_on:
        text += f',"depends_on":[{",".join(map(_quoted, task.depends_on))}]'
    if retry := retries[id(task.retry)]:
        text += f',"retry":{_encode(retry)}'
    if _task_values(task) != _USUAL_TASK:  # one comparison for most tasks
        text += f",{_encode(_unusual(task, _TASK_FIELDS))[1:-1]}"
    return f"{{{text}}}"


def _task_from_json(data: Mapping[str, Any]) -> TaskPlan:
    fields = dict(data)
    if "depends_on" in data:
        fields["depends_on"] = tuple(data["depends_on"])
    if "trigger_rule" in data:
        fields["trigger_rule"] = TriggerRule(data["trigger_rule"])
    if "on_crash" in data:
        fields["on_crash"] = OnCrash(data["on_crash"])
    if "retry" in data:
        retry = dict(data["retry"])
        if "jitter" in retry:
            retry["jitter"] = Jitter(retry["jitter"])
        fields["retry"] = RetryPolicy(**retry)
    return TaskPlan(**fields)


def _unusual(value: Any, usual: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found for name, default in usual.items() if (found := getattr(value, name)) != default}


def _usual(value: Any, *without: str) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__ if name not in without}


_encode = JSONEncoder(separators=(",", ":"), check_circular=False).encode  # ASCII, the same in every Python
_RETRY_FIELDS = _usual(RetryPolicy())
_TASK_FIELDS = _usual(TaskPlan(name="", kind=""), "name", "kind", "depends_on", "retry")
_RUN_FIELDS = _usual(RunPlan(tasks=()), "tasks")
_task_values = attrgetter(*_TASK_FIELDS)
_USUAL_TASK = tuple(_TASK_FIELDS.values())
