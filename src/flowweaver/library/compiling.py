"""From a workflow's objects to the plan that the engine runs: the same kind of plan that a manifest becomes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flowweaver.core import plan as core
from flowweaver.core.graph import Graph
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.errors import ArgumentError
from flowweaver.library.functions import CALL
from flowweaver.library.policies import Isolation, RetryPolicy
from flowweaver.library.tasks import Task
from flowweaver.library.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Compiled:
    """A plan, and by its positions the functions that it can not hold."""

    plan: RunPlan
    graph: Graph
    functions: Sequence[Callable[..., Any]]
    retry_on: Sequence[tuple[type[BaseException], ...] | None]


def compiled(workflow: Workflow) -> Compiled:
    """The plan of a workflow as it is now; raises `ArgumentError` for a task that can not run as it asks to."""
    graph = workflow.graph
    tasks = list(workflow.tasks.values())
    names = graph.names
    plans = tuple(
        _task_plan(task, tuple([names[each] for each in dependencies]))
        for task, dependencies in zip(tasks, graph.dependencies, strict=True)
    )
    plan = RunPlan(
        tasks=plans,
        name=workflow.name,
        failure_policy=workflow.failure_policy,
        timeout_seconds=workflow.timeout,
        parallelism=workflow.parallelism,
        priority=workflow.priority,
    )
    return Compiled(plan, graph, [task.fn for task in tasks], [_retry_on(task) for task in tasks])


def _task_plan(task: Task, depends_on: tuple[str, ...]) -> TaskPlan:
    kind, body = (CALL, _NOTHING) if task.plan is None else (task.plan.kind, task.plan.body)
    if kind is CALL and task.isolation is Isolation.PROCESS:
        kind, body = "python", {"function": importable(task.fn, task.name), "isolation": "Process"}
    return TaskPlan(
        name=task.name,
        kind=kind,
        body=body,
        depends_on=depends_on,
        trigger_rule=task.trigger_rule,
        retry=task.plan.retry if task.plan is not None else _retry(task.retry, task.retries),
        timeout_seconds=task.timeout,
        allow_failure=task.allow_failure,
        on_crash=task.on_crash,
        version=task.version,
    )


_NOTHING: dict[str, Any] = {}


@lru_cache(maxsize=1000)
def _retry(policy: RetryPolicy, retries: int) -> core.RetryPolicy:
    return policy.compiled(retries)


def _retry_on(task: Task) -> tuple[type[BaseException], ...] | None:
    return None if task.retry.on == (Exception,) else task.retry.on


def importable(fn: Callable[..., Any], task: str) -> str:
    """Where another process finds that function: "package.module:name". Raises `ArgumentError` with the fix."""
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", "")
    what = f"task '{task}': its function {name or repr(fn):.80} runs in a process of its own"
    if not module or module == "__main__":
        raise ArgumentError(f"{what}, which can not import it from the script that is run: move it into a module")
    if not name.isidentifier() or getattr(sys.modules.get(module), name, None) is not fn:
        raise ArgumentError(
            f"{what}, which can not import it from {module}: define it with def at the top of a module, and no lambda, "
            "method or nested function"
        )
    return f"{module}:{name}"
