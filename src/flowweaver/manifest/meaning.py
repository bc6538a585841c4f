"""What the parts of a manifest mean together: names, bodies, policy, expressions, the graph.

Reads the raw object as far as it can be read; what has the wrong type is passed over, because the models find that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowweaver.expressions import Names, check
from flowweaver.expressions.checks import Kind, Suggestions
from flowweaver.manifest.allowed import allowed
from flowweaver.manifest.choices import choices
from flowweaver.manifest.cycles import cycle_problems
from flowweaver.manifest.fields import Templated
from flowweaver.manifest.models import Output, Retry, Task
from flowweaver.manifest.problems import Problem
from flowweaver.manifest.reasons import DUPLICATE_NAME, INVALID_EXPRESSION, UNKNOWN_DEPENDENCY
from flowweaver.manifest.templating import templated
from flowweaver.policy import Policy


@dataclass(slots=True)
class Meaning:
    """What was found out."""

    problems: list[Problem] = field(default_factory=list)
    found: dict[str, list[str]] = field(default_factory=dict)  # by task, what its expressions read
    output_tasks: list[str] = field(default_factory=list)


def meaning_of(obj: Mapping[str, Any], policy: Policy) -> Meaning:
    """Look at everything below `spec`."""
    meaning = Meaning()
    spec = obj.get("spec")
    if not isinstance(spec, Mapping):
        return meaning
    tasks = [(f"spec.tasks[{index}]", task) for index, task in enumerate(_list(spec.get("tasks"))) if _is_map(task)]
    names = {task["name"]: path for path, task in reversed(tasks) if isinstance(task.get("name"), str)}
    params = frozenset(_names(spec.get("params")))
    meaning.problems += _duplicates("spec.tasks", spec.get("tasks"), "tasks", also="_")
    meaning.problems += _duplicates("spec.params", spec.get("params"), "params")
    meaning.problems += _duplicates("spec.outputs", spec.get("outputs"), "outputs")
    scope = _Scope(frozenset(names), params)
    scope.check_default(spec.get("retry"), meaning)
    for path, task in tasks:
        meaning.problems += choices(path, task)
        meaning.problems += allowed(path, task, policy)
        scope.check_task(path, task, meaning)
    for index, output in enumerate(_list(spec.get("outputs"))):
        read = scope.check_fields(Output, output, f"spec.outputs[{index}]", meaning)
        meaning.output_tasks += [task for task in read if task not in meaning.output_tasks]
    meaning.problems += cycle_problems(tasks, meaning.found)
    return meaning


@dataclass(frozen=True, slots=True)
class _Scope:
    tasks: frozenset[str]
    params: frozenset[str]
    suggestions: Suggestions = field(default_factory=Suggestions)

    def check_default(self, retry: Any, meaning: Meaning) -> None:
        """`spec.retry`: no task may be read there, because it would make every task depend on that one."""
        for path, value, mark in templated(Retry, retry, "spec.retry"):
            self._check(value, path, Templated(mark.roots - {"tasks"}), meaning)

    def check_task(self, path: str, task: Mapping[str, Any], meaning: Meaning) -> None:
        name = task.get("name")
        wanted = self._depends_on(path, task, meaning)
        read = self.check_fields(Task, task, path, meaning)
        if isinstance(name, str) and name not in meaning.found:
            meaning.found[name] = [*wanted, *(other for other in read if other not in wanted)]

    def check_fields(self, model: Any, value: Any, path: str, meaning: Meaning) -> list[str]:
        """The tasks that expressions in any field read, in the order of the file."""
        read: dict[str, None] = {}
        for where, content, mark in _in_order(templated(model, value, path), value):
            read.update(dict.fromkeys(self._check(content, where, mark, meaning)))
        return list(read)

    def _check(self, value: Any, path: str, mark: Templated, meaning: Meaning) -> list[str]:
        names = Names(roots=mark.roots, tasks=self.tasks, params=self.params, suggestions=self.suggestions)
        findings, read = check(value, names, path)
        for finding in findings:
            reason = UNKNOWN_DEPENDENCY if finding.kind is Kind.TASK else INVALID_EXPRESSION
            meaning.problems.append(Problem(reason, finding.path, finding.message))
        return read

    def _depends_on(self, path: str, task: Mapping[str, Any], meaning: Meaning) -> list[str]:
        known = []
        for index, wanted in enumerate(_list(task.get("dependsOn"))):
            if not isinstance(wanted, str):
                continue
            if wanted in self.tasks:
                known.append(wanted)
            else:
                message = f'there is no task "{wanted[:80]}"{self.suggestions.nearest(wanted, self.tasks)}'
                meaning.problems.append(Problem(UNKNOWN_DEPENDENCY, f"{path}.dependsOn[{index}]", message))
        return known


def _in_order(fields: Iterator[tuple[str, Any, Templated]], value: Any) -> list[tuple[str, Any, Templated]]:
    """Fields come in the models' order; a task's keys come in the user's."""
    order: dict[int, int] = {}
    for position, content in enumerate(value.values() if _is_map(value) else ()):
        order.setdefault(id(content), position)
    return sorted(fields, key=lambda item: order.get(id(item[1]), 0))


def _duplicates(path: str, items: Any, what: str, *, also: str = "-") -> Iterator[Problem]:
    """Names that stand twice; `also` is what a dash counts as."""
    first: dict[str, tuple[int, str]] = {}
    for index, item in enumerate(_list(items)):
        name = item.get("name") if _is_map(item) else None
        if not isinstance(name, str):
            continue
        key = name.replace("-", also)
        if key not in first:
            first[key] = (index, name)
            continue
        position, other = first[key]
        same = f'"{name[:80]}"' if name == other else f'"{name[:80]}", which Python spells like "{other[:80]}"'
        message = f"two {what} are named {same} (the other one is {path}[{position}]): give one of them another name"
        yield Problem(DUPLICATE_NAME, f"{path}[{index}].name", message)


def _names(items: Any) -> list[str]:
    return [item["name"] for item in _list(items) if _is_map(item) and isinstance(item.get("name"), str)]


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)
