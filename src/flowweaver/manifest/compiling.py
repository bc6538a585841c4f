"""From what the user wrote to what the engine runs, every default resolved. Nothing is checked here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flowweaver.core.plan import (
    FailurePolicy,
    Jitter,
    OnCrash,
    RetryPolicy,
    RunPlan,
    TaskPlan,
    TriggerRule,
)
from flowweaver.manifest.bodies import BODIES
from flowweaver.manifest.durations import seconds
from flowweaver.manifest.models import Retry, Task, Workflow
from flowweaver.policy import Policy

OUTPUTS_TASK = "(outputs)"
"""The internal task that evaluates `spec.outputs`; no user can give a task this name."""

TRACEPARENT = "flowweaver.io/traceparent"
"""The annotation that names the span which the run's trace goes on from."""


def compile_workflow(
    workflow: Workflow, found: Mapping[str, Iterable[str]], output_tasks: Iterable[str], policy: Policy
) -> RunPlan:
    """The plan. `found` has, by task, what its expressions read; `output_tasks` is what the outputs read."""
    spec = workflow.spec
    tasks = [_task(task, spec.retry, found.get(task.name, ()), policy) for task in spec.tasks]
    if spec.outputs:
        outputs = [{"name": output.name, "value": output.value} for output in spec.outputs]
        tasks.append(
            TaskPlan(
                name=OUTPUTS_TASK,
                kind="outputs",
                body={"outputs": outputs},
                depends_on=tuple(output_tasks),
                internal=True,
            )
        )
    return RunPlan(
        tasks=tuple(tasks),
        name=workflow.metadata.name,
        namespace=workflow.metadata.namespace,
        uid=workflow.metadata.uid,
        params={param.name: param.value for param in spec.params or ()},
        failure_policy=FailurePolicy(spec.failure_policy or "FailFast"),
        timeout_seconds=seconds(spec.timeout) if spec.timeout else None,
        parallelism=spec.parallelism,
        priority=spec.priority or 0,
        suspended=bool(spec.suspend),
        traceparent=_traceparent(workflow.metadata.annotations),
    )


def _traceparent(annotations: Mapping[str, Any] | None) -> str:
    found = (annotations or {}).get(TRACEPARENT)
    return found if isinstance(found, str) and len(found) == 55 else ""  # the length of a W3C `traceparent`


def _task(task: Task, default: Retry | None, found: Iterable[str], policy: Policy) -> TaskPlan:
    kind = body_kind(task)
    return TaskPlan(
        name=task.name,
        kind=kind,
        body=_body(task, kind, policy),
        depends_on=tuple(dict.fromkeys([*(task.depends_on or ()), *found])),
        trigger_rule=TriggerRule(task.trigger_rule or "AllCompleted"),
        retry=_retry(task.retry, default),
        timeout_seconds=seconds(task.timeout) if task.timeout else None,
        allow_failure=bool(task.allow_failure),
        on_crash=OnCrash(task.on_crash or "Rerun"),
    )


def body_kind(task: Task) -> str:
    """Which body the task has. `value: null` is a body, `shell: null` is none."""
    return next((kind for kind in BODIES if getattr(task, kind) is not None), "value")


def _body(task: Task, kind: str, policy: Policy) -> dict[str, Any]:
    if kind == "value":
        return {"value": task.value}
    body: dict[str, Any] = getattr(task, kind).model_dump(by_alias=True, exclude_none=False, exclude_unset=True)
    body = {name: value for name, value in body.items() if value is not None or name == "body"}
    match kind:
        case "python":
            return {"args": {}, "isolation": str(policy.default_isolation), **body}
        case "http":
            expect = {"status": ["2xx"], **{k: v for k, v in (body.get("expect") or {}).items() if v is not None}}
            return {"method": "GET", "headers": [], "query": [], "followRedirects": True, **body, "expect": expect}
        case "shell":
            return {"env": [], "successExitCodes": [0], **body}
        case _:
            return body


def _retry(own: Retry | None, default: Retry | None) -> RetryPolicy:
    layers = [retry.model_dump(exclude_none=True) for retry in (default, own) if retry is not None]
    chosen = {name: value for layer in layers for name, value in layer.items()}
    known = RetryPolicy()
    return RetryPolicy(
        limit=chosen.get("limit", known.limit),
        delay_seconds=seconds(chosen["delay"]) if "delay" in chosen else known.delay_seconds,
        factor=float(chosen.get("factor", known.factor)),
        max_delay_seconds=seconds(chosen["max_delay"]) if "max_delay" in chosen else known.max_delay_seconds,
        jitter=Jitter(chosen.get("jitter", known.jitter)),
        when=chosen.get("when"),
    )
