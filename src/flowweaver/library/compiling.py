"""From a workflow's objects to the plan that the engine runs: the same kind of plan that a manifest becomes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

from flowweaver.core import plan as core
from flowweaver.core.graph import Graph
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.core.records import replace
from flowweaver.errors import ArgumentError
from flowweaver.library.functions import CALL
from flowweaver.library.policies import Isolation, OnCrash, RetryPolicy, TriggerRule, choice
from flowweaver.library.tasks import NO_RETRY, Task
from flowweaver.library.workflow import Workflow
from flowweaver.runners.failures import Refused, class_name
from flowweaver.runners.results import encode_result


@dataclass(frozen=True, slots=True)
class Compiled:
    """A plan, and by its positions the functions that it can not hold."""

    plan: RunPlan
    graph: Graph
    functions: Sequence[Callable[..., Any]]
    retry_on: Sequence[tuple[type[BaseException], ...] | None]


def compiled(workflow: Workflow, *, one_at_a_time: bool = False) -> Compiled:
    """The plan of a workflow as it is now; raises `ArgumentError` for a task that can not run as it asks to.

    `one_at_a_time`: whatever number of workers is free, because its bodies share one thread.
    """
    graph = workflow.graph
    tasks = list(workflow.tasks.values())
    names = graph.names
    params = _params(workflow)
    plans = tuple(
        _task_plan(task, tuple([names[each] for each in dependencies]), params)
        for task, dependencies in zip(tasks, graph.dependencies, strict=True)
    )
    if workflow.plan is not None:
        plans, graph = _with_internal(plans, graph, workflow.plan.tasks)
    plan = RunPlan(
        tasks=plans,
        name=workflow.name,
        namespace=workflow.plan.namespace if workflow.plan is not None else "",
        uid=workflow.plan.uid if workflow.plan is not None else "",
        params=params,
        failure_policy=workflow.failure_policy,
        timeout_seconds=workflow.timeout,
        parallelism=1 if one_at_a_time else workflow.parallelism,
        priority=workflow.priority,
    )
    return Compiled(plan, graph, [task.fn for task in tasks], [_retry_on(task) for task in tasks])


def _params(workflow: Workflow) -> dict[str, Any]:
    """A copy of the params as JSON carries them; raises `ArgumentError` for what it can not carry."""
    if not workflow.params:
        return {}
    try:
        params: dict[str, Any] = json.loads(encode_result(workflow.params, name="Workflow.params"))
    except Refused as exc:
        raise ArgumentError(str(exc)) from None
    return params


def _with_internal(
    plans: tuple[TaskPlan, ...], graph: Graph, internal: tuple[TaskPlan, ...]
) -> tuple[tuple[TaskPlan, ...], Graph]:
    """The tasks that a manifest has beside those that somebody wrote come last."""
    positions = {name: position for position, name in enumerate(graph.names)}
    dependencies = [[positions[name] for name in task.depends_on] for task in internal]
    names = [task.name for task in internal]
    return (*plans, *internal), Graph.ordered((*graph.names, *names), (*graph.dependencies, *dependencies))


def _task_plan(task: Task, depends_on: tuple[str, ...], params: Mapping[str, Any]) -> TaskPlan:
    if _is_plain(task):
        return TaskPlan(task.name, CALL, _NOTHING, depends_on, timeout_seconds=task.timeout, version=task.version)
    kind, body = (CALL, _NOTHING) if task.plan is None else (task.plan.kind, task.plan.body)
    if kind is CALL and choice(Isolation, task.isolation, "isolation") is Isolation.PROCESS:
        retry_on = [class_name(each) for each in task.retry.on]
        function = importable(task.fn, task.name)
        kind, body = "python", {"function": function, "isolation": "Process", "retryOn": retry_on}
    return TaskPlan(
        name=task.name,
        kind=kind,
        body=body,
        depends_on=depends_on,
        trigger_rule=choice(TriggerRule, task.trigger_rule, "trigger_rule"),
        retry=_retry(task.retry, task.retries, task.plan.retry.when if task.plan is not None else None),
        timeout_seconds=task.timeout,
        allow_failure=task.allow_failure,
        on_crash=choice(OnCrash, task.on_crash, "on_crash"),
        version=task.version or ("" if task.plan is None else _version(task.plan, params)),
    )


_NOTHING: dict[str, Any] = {}


def _version(plan: TaskPlan, params: Mapping[str, Any]) -> str:
    """What a manifest says of a task is known, so that it is seen where it says something else than before."""
    said = json.dumps([plan.kind, plan.body], sort_keys=True)
    if "params" in said:  # it may read any of them
        said += json.dumps(params, sort_keys=True)
    return sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _is_plain(task: Task) -> bool:
    """Whether it is a function, and what it says of it beside timeout and version is the usual, as for most tasks."""
    return (
        task.plan is None
        and not task.retries
        and task.retry is NO_RETRY
        and task.trigger_rule is TriggerRule.ALL_COMPLETED
        and not task.allow_failure
        and task.on_crash is OnCrash.RERUN
        and task.isolation is Isolation.THREAD
    )


@lru_cache(maxsize=1000)
def _retry(policy: RetryPolicy, retries: int, when: str | None) -> core.RetryPolicy:
    if when is None and policy == _USUAL and not retries:
        return _NEVER  # whatever else it says, nothing follows from it
    return replace(policy.compiled(retries), when=when) if when else policy.compiled(retries)


_USUAL, _NEVER = RetryPolicy(), core.RetryPolicy()


def _retry_on(task: Task) -> tuple[type[BaseException], ...] | None:
    return None if task.retry.on == (Exception,) else task.retry.on


def importable(fn: Callable[..., Any], task: str, where: str = "runs in a process of its own") -> str:
    """Where another process finds that function: "package.module:name". Raises `ArgumentError` with the fix."""
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", "")
    what = f"task '{task}': its function {name or repr(fn):.80} {where}"
    if not module or module == "__main__":
        raise ArgumentError(f"{what}, which can not import it from the script that is run: move it into a module")
    if not name.isidentifier() or getattr(sys.modules.get(module), name, None) is not fn:
        raise ArgumentError(
            f"{what}, which can not import it from {module}: define it with def at the top of a module, and no lambda, "
            "method or nested function"
        )
    return f"{module}:{name}"
