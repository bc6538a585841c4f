"""From a workflow to the custom resource that says the same."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flowweaver.core import plan as core
from flowweaver.core.plan import Jitter, OnCrash, TaskPlan, TriggerRule
from flowweaver.errors import ArgumentError, ManifestError
from flowweaver.library.compiling import importable
from flowweaver.library.policies import FailurePolicy, Isolation, choice
from flowweaver.library.tasks import Task

if TYPE_CHECKING:
    from flowweaver.library.workflow import Workflow
    from flowweaver.manifest.problems import Problem

_TASK_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_LONGEST_TASK_NAME, _LONGEST_NAME = 63, 52
_USUAL_RETRY = core.RetryPolicy()
_USUAL: Mapping[str, Mapping[str, Any]] = {
    "python": {"args": {}},
    "http": {"method": "GET", "headers": [], "query": [], "followRedirects": True, "expect": {"status": ["2xx"]}},
    "shell": {"env": [], "successExitCodes": [0]},
}
"""What a body has where nobody wrote it; a manifest leaves it out."""

_MOST_OF_A_UNIT = 999_999_999


def to_manifest(workflow: Workflow) -> dict[str, Any]:
    """The workflow as a `Workflow` resource (`flowweaver.io/v1alpha1`): plain JSON, for `yaml.safe_dump` and kubectl.

    A function becomes `python.function` and must be importable where the manifest runs. A name that Kubernetes does not
    take is changed where nothing depends on how it is spelled. Callbacks and versions of tasks stay behind, and so does
    what became of an execution: applying the manifest begins a run of its own.

    Raises `ManifestError` with every problem: each names the task, what a manifest can not say, and the fix.
    """
    from flowweaver.manifest import Rejected, validate
    from flowweaver.policy import Policy

    writer = _Writer(workflow)
    manifest = writer.manifest()
    if writer.problems:
        raise ManifestError(tuple(writer.problems))
    writer.name_dependencies(manifest["spec"]["tasks"], manifest)
    verdict = validate(manifest, Policy.permissive())
    if isinstance(verdict, Rejected):
        raise ManifestError(verdict.problems)
    return manifest


class _Writer:
    """Writes one workflow, and notes in `problems` what can not be written."""

    def __init__(self, workflow: Workflow) -> None:
        self.problems: list[Problem] = []
        self._workflow = workflow
        self._tasks = list(workflow.tasks.values())
        self._graph = workflow.graph
        self._names = [self._task_name(position, task) for position, task in enumerate(self._tasks)]

    def manifest(self) -> dict[str, Any]:
        """All of it, as far as it can be written."""
        metadata = {"name": self._name()}
        if (plan := self._workflow.plan) is not None:
            metadata.update({key: text for key, text in (("namespace", plan.namespace), ("uid", plan.uid)) if text})
        return {
            "apiVersion": "flowweaver.io/v1alpha1",
            "kind": "Workflow",
            "metadata": metadata,
            "spec": self._spec(),
        }

    def name_dependencies(self, tasks: list[dict[str, Any]], manifest: Mapping[str, Any]) -> None:
        """Write all dependencies out where those that stand there, and in expressions, are not all."""
        from flowweaver.manifest.meaning import meaning_of
        from flowweaver.policy import Policy

        found = meaning_of(manifest, Policy.permissive()).found
        for task, dependencies in zip(tasks, self._graph.dependencies, strict=True):
            names = [self._names[each] for each in dependencies]
            if set(names) != set(found.get(task["name"], ())):
                task["dependsOn"] = names

    def _problem(self, path: str, message: str) -> None:
        from flowweaver.manifest import Problem

        self.problems.append(Problem("InvalidSpec", path, message))

    def _name(self) -> str:
        name = re.sub(r"[^a-z0-9.-]+", "-", self._workflow.name.lower()).strip("-.")
        if not 0 < len(name) <= _LONGEST_NAME:
            self._problem(
                "metadata.name",
                f"workflow {self._workflow.name[:80]!r} needs a name of 1 to {_LONGEST_NAME} letters, digits and "
                "dashes: give it another one",
            )
        return name

    def _spec(self) -> dict[str, Any]:
        workflow = self._workflow
        spec: dict[str, Any] = {}
        if workflow.params:
            spec["params"] = [{"name": name, "value": value} for name, value in workflow.params.items()]
        if workflow.failure_policy is not FailurePolicy.FAIL_FAST:
            spec["failurePolicy"] = workflow.failure_policy.value
        if workflow.timeout is not None:
            spec["timeout"] = self._duration("spec.timeout", "the workflow's timeout", workflow.timeout)
        if workflow.parallelism is not None:
            spec["parallelism"] = workflow.parallelism
        if workflow.priority:
            spec["priority"] = workflow.priority
        spec["tasks"] = [self._task(position, task) for position, task in enumerate(self._tasks)]
        internal = workflow.plan.tasks if workflow.plan is not None else ()
        outputs = [output for task in internal for output in task.body["outputs"]]
        if outputs:
            spec["outputs"] = [{**output, "value": _said(output["value"])} for output in outputs]
        return spec

    # ------------------------------------------------------------------------------------------------------- names

    def _task_name(self, position: int, task: Task) -> str:
        """As the manifest names it; notes a problem where it needs another name that would not mean the same."""
        if _TASK_NAME.fullmatch(task.name) and len(task.name) <= _LONGEST_TASK_NAME:
            return task.name
        path = f"spec.tasks[{position}].name"
        name = re.sub(r"[-_]{2,}", "-", re.sub(r"[^a-z0-9_]+", "-", task.name.lower())).strip("-_")
        name = f"task-{name}" if name[:1].isdigit() else name
        if not 0 < len(name) <= _LONGEST_TASK_NAME:
            self._problem(
                path,
                f"task {task.name[:80]!r} needs a name of 1 to {_LONGEST_TASK_NAME} lower-case letters, digits and "
                "dashes: give it another one",
            )
        for reader in self._graph.dependants[position]:
            if self._is_read_by(task.name, name, self._tasks[reader]):
                self._problem(
                    path,
                    f"task {task.name!r} would be named {name!r}, and the function of task "
                    f"{self._tasks[reader].name!r} gets its result by that name: name both the task and the parameter "
                    f"{name.replace('-', '_')!r}",
                )
        return name

    @staticmethod
    def _is_read_by(before: str, after: str, reader: Task) -> bool:
        if reader.plan is not None:  # its expressions can not name what is no name in a manifest
            return False
        parameters = _parameters(reader.fn)
        if any(each.kind is each.VAR_KEYWORD for each in parameters):
            return True
        return any(each.name in {before, before.replace("-", "_"), after.replace("-", "_")} for each in parameters)

    # ------------------------------------------------------------------------------------------------------- tasks

    def _task(self, position: int, task: Task) -> dict[str, Any]:
        path, name = f"spec.tasks[{position}]", task.name
        written: dict[str, Any] = {"name": self._names[position]}
        if depends_on := self._depends_on(position, task):
            written["dependsOn"] = depends_on
        trigger_rule = choice(TriggerRule, task.trigger_rule, f"task '{name}': trigger_rule")
        if trigger_rule is not TriggerRule.ALL_COMPLETED:
            written["triggerRule"] = trigger_rule.value
        if retry := self._retry(path, task):
            written["retry"] = retry
        if task.timeout is not None:
            written["timeout"] = self._duration(f"{path}.timeout", f"the timeout of task '{name}'", task.timeout)
        if task.allow_failure:
            written["allowFailure"] = True
        on_crash = choice(OnCrash, task.on_crash, f"task '{name}': on_crash")
        if on_crash is not OnCrash.RERUN:
            written["onCrash"] = on_crash.value
        if task.plan is None:
            written["python"] = self._function(f"{path}.python.function", task)
        else:
            written[task.plan.kind] = _body(task.plan)
        return written

    def _depends_on(self, position: int, task: Task) -> list[str]:
        """What a manifest said, where the task is of one: what its expressions read is found in them."""
        names = {self._tasks[each].name: self._names[each] for each in self._graph.dependencies[position]}
        explicit = [name for name in task.depends_on if isinstance(name, str) and name in names]
        return [names[name] for name in (names if task.plan is None else explicit)]

    def _retry(self, path: str, task: Task) -> dict[str, Any]:
        if task.plan is None and not task.retries:
            return {}
        retry = task.retry.compiled(task.retries)
        if task.retry.on != (Exception,):
            names = ", ".join(each.__name__ for each in task.retry.on)
            self._problem(
                f"{path}.retry",
                f"task '{task.name}' is retried after {names} alone, and a manifest can only ask for the name of an "
                "error: leave RetryPolicy(on=…) out, and write retry.when into the manifest",
            )
        if not retry.timeouts:
            self._problem(
                f"{path}.retry",
                f"task '{task.name}' is not retried after a timeout, and a manifest can not say so: leave "
                "RetryPolicy(timeouts=False) out",
            )
        what = f"of the retries of task '{task.name}'"
        written: dict[str, Any] = {}
        if retry.limit:
            written["limit"] = retry.limit
        if retry.delay_seconds != _USUAL_RETRY.delay_seconds:
            written["delay"] = self._duration(f"{path}.retry.delay", f"the delay {what}", retry.delay_seconds)
        if retry.factor != _USUAL_RETRY.factor:
            written["factor"] = retry.factor
        if retry.max_delay_seconds != _USUAL_RETRY.max_delay_seconds:
            written["maxDelay"] = self._duration(
                f"{path}.retry.maxDelay", f"the maximum {what}", retry.max_delay_seconds
            )
        if retry.jitter is not Jitter.NONE:
            written["jitter"] = retry.jitter.value
        if task.plan is not None and task.plan.retry.when:
            written["when"] = task.plan.retry.when
        return written

    def _function(self, path: str, task: Task) -> dict[str, Any]:
        body: dict[str, Any] = {}
        try:
            body["function"] = importable(task.fn, task.name, "is imported wherever a manifest runs")
        except ArgumentError as exc:
            self._problem(path, str(exc))
            return body
        by_position = [each.name for each in _parameters(task.fn) if each.kind is each.POSITIONAL_ONLY]
        if by_position:
            self._problem(
                path,
                f"task '{task.name}': its function takes {by_position[0]!r} by position alone, and a manifest passes "
                "results by name: remove the / from its parameters",
            )
        if task.isolation is Isolation.PROCESS:
            body["isolation"] = Isolation.PROCESS.value
        return body

    def _duration(self, path: str, what: str, seconds: float) -> str:
        try:
            return duration(seconds)
        except ValueError as exc:
            self._problem(path, f"{what} is {exc}")
            return ""


def duration(seconds: float) -> str:
    """Seconds as a manifest writes them, such as 90s or 1500ms; raises `ValueError` for what it can not write."""
    milliseconds = round(seconds * 1000)
    if abs(seconds * 1000 - milliseconds) > 1e-6 * max(milliseconds, 1):
        raise ValueError(f"{seconds:g} s, and a manifest counts in whole milliseconds: use a multiple of 0.001")
    if milliseconds % 1000 and milliseconds <= _MOST_OF_A_UNIT:
        return f"{milliseconds}ms"
    whole, rest = divmod(milliseconds, 1000)
    for unit, length in (("h", 3600), ("m", 60), ("s", 1)):
        if whole and not rest and whole % length == 0 and whole // length <= _MOST_OF_A_UNIT:
            return f"{whole // length}{unit}"
    parts = {"h": whole // 3600, "m": whole // 60 % 60, "s": whole % 60, "ms": rest}
    return "".join(f"{number}{unit}" for unit, number in parts.items() if number) or "0s"


def _body(plan: TaskPlan) -> Any:
    if plan.kind == "value":
        return _said(plan.body.get("value"))
    usual = _USUAL.get(plan.kind, {})
    body = {name: value for name, value in plan.body.items() if name not in usual or value != usual[name]}
    if plan.kind == "http" and "body" in body:
        body["body"] = _said(body["body"])
    return body


def _said(value: Any) -> Any:
    return "${null}" if value is None else value  # kubectl drops a field that is null


def _parameters(fn: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):  # a function in C that tells nobody: it is called without arguments
        return []
