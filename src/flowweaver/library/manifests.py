"""Manifests and workflows of functions, one from the other: `from_manifest` and `to_manifest`.

Both kinds of tasks run on the same executors, so that a workflow of a manifest can be tried out, tested and embedded,
and a workflow of importable functions can be applied to a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from flowweaver.core.plan import Jitter, RunPlan, TaskPlan
from flowweaver.core.records import replace
from flowweaver.errors import ManifestError
from flowweaver.library.manifest_writing import to_manifest
from flowweaver.library.policies import RetryPolicy
from flowweaver.library.tasks import Task
from flowweaver.library.workflow import Workflow

if TYPE_CHECKING:
    from flowweaver.manifest import Accepted, models

__all__ = ["from_manifest", "to_manifest"]


@dataclass(frozen=True, slots=True)
class ManifestBody:
    """The `fn` of a task that a manifest describes. An executor runs what `Task.plan` says and never calls this."""

    task: str
    kind: str

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Raises `RuntimeError`."""
        raise RuntimeError(f"task '{self.task}' is a {self.kind} task of a manifest: only an executor can run it")


def from_manifest(source: Mapping[str, Any] | str | PathLike[str]) -> Workflow:
    """The workflow that a manifest describes: a `Workflow` resource as a dict, as YAML or JSON text, or in a file.

    A text without a line end that does not begin with a brace is the file's path. Expressions, params and outputs work
    as in `flowweaver run`; `workflow.params` can be changed before it is executed. Everything is allowed to run, shells
    and code in the manifest too: read it before you execute it.

    Nothing runs yet. Raises `ManifestError` with every problem, and `OSError` for a file that can not be read.
    """
    from flowweaver.manifest import Rejected, validate
    from flowweaver.policy import Policy

    verdict = validate(_content(source), Policy.permissive())
    if isinstance(verdict, Rejected):
        raise ManifestError(verdict.problems)
    _refuse_steering(verdict.workflow.spec)
    return _workflow(verdict)


def _content(source: Mapping[str, Any] | str | PathLike[str]) -> Mapping[str, Any]:
    from flowweaver.manifest import load_documents
    from flowweaver.manifest.json_texts import unreadable

    if isinstance(source, Mapping):
        return source
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
        where, text = "the text", source
    else:
        where, text = str(source), _read(Path(source))
    documents = load_documents(text)
    if len(documents) != 1:
        raise unreadable("InvalidSpec", f"{where} has {len(documents)} documents: give exactly one Workflow")
    return documents[0]


def _read(path: Path) -> str:
    from flowweaver.manifest.json_texts import unreadable

    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise unreadable("InvalidYaml", f"{path} is not UTF-8 text (byte {exc.start}): write it as UTF-8") from exc


def _refuse_steering(spec: models.WorkflowSpec) -> None:
    """What is said to a run that is there already makes no sense to one that is still to be begun."""
    from flowweaver.manifest import Problem

    problems = []
    if spec.suspend:
        problems.append(Problem("InvalidSpec", "spec.suspend", "is true, so that nothing would ever start: remove it"))
    if spec.shutdown:
        problems.append(Problem("InvalidSpec", "spec.shutdown", "would end the run at its beginning: remove it"))
    if problems:
        raise ManifestError(tuple(problems))


def _workflow(accepted: Accepted) -> Workflow:
    plan = accepted.plan
    workflow = Workflow(
        plan.name,
        failure_policy=plan.failure_policy,
        timeout=plan.timeout_seconds,
        parallelism=plan.parallelism,
        priority=plan.priority,
    )
    workflow.params = dict(plan.params)
    internal = tuple(task for task in plan.tasks if task.internal)
    workflow.plan = RunPlan(tasks=internal, name=plan.name, namespace=plan.namespace, uid=plan.uid)
    written = {task.name: task for task in accepted.workflow.spec.tasks}
    for task in _dependencies_first([task for task in plan.tasks if not task.internal]):
        workflow.add_task(_task(task, written[task.name]), depends_on=task.depends_on)
    return workflow


def _dependencies_first(tasks: Sequence[TaskPlan]) -> list[TaskPlan]:
    """In the order of the file, but each behind all that it depends on."""
    by_name = {task.name: task for task in tasks}
    ordered: dict[str, TaskPlan] = {}
    for first in tasks:
        waiting = [first]
        while waiting:
            task = waiting[-1]
            missing = [by_name[name] for name in reversed(task.depends_on) if name not in ordered]
            if missing:
                waiting += missing
            else:
                ordered[waiting.pop().name] = task
    return list(ordered.values())


def _task(plan: TaskPlan, written: models.Task) -> Task:
    body = dict(plan.body)
    if written.python is not None and written.python.isolation is None:
        del body["isolation"]  # the default of wherever it runs, which is not the same everywhere
    retry = plan.retry
    task = Task(
        plan.name,
        ManifestBody(plan.name, plan.kind),
        retries=retry.limit,
        timeout=plan.timeout_seconds,
        depends_on=written.depends_on or (),
        retry=RetryPolicy(
            delay=retry.delay_seconds,
            factor=retry.factor,
            maximum=retry.max_delay_seconds,
            jitter=retry.jitter is Jitter.FULL,
        ),
        trigger_rule=plan.trigger_rule,
        allow_failure=plan.allow_failure,
        on_crash=plan.on_crash,
    )
    task.plan = replace(plan, body=body)
    return task
