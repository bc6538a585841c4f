"""What can be found wrong in expressions before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from flowweaver.errors import ExpressionError
from flowweaver.expressions.language import SourceError, check_types, parse_source
from flowweaver.expressions.reading import Read
from flowweaver.expressions.scopes import unknown_name
from flowweaver.expressions.templates import Hole, Template, parse
from flowweaver.expressions.values import DEPTH_LIMIT

TASK_FIELDS = ("result", "phase", "error", "attempts")
WORKFLOW_FIELDS = ("name", "namespace", "uid", "startedAt")

FINDINGS_IN_A_TEXT = 10
"""So many are reported at most of one text."""


class Kind(StrEnum):
    """What a finding is about."""

    EXPRESSION = "expression"
    TASK = "task"  # a task that is not there


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with an expression. `path` is the field below the value that was checked."""

    path: str
    message: str
    kind: Kind = Kind.EXPRESSION


class Suggestions:
    """What may have been meant by names that are not there, for the first of them: comparing one with a thousand others
    takes up to a quarter of a second, and a manifest has room for many thousands.
    """

    def __init__(self, at_most: int = 10) -> None:
        self._left = at_most

    def nearest(self, name: str, known: AbstractSet[str]) -> str:
        """`: did you mean "…"?` where there is a similar name, else nothing."""
        if self._left <= 0:
            return ""
        self._left -= 1
        close = difflib.get_close_matches(name[:80], sorted(known), n=1, cutoff=0.6)
        return f': did you mean "{close[0]}"?' if close else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What is in scope in a field. `tasks` or `params` None: not known, so not checked."""

    roots: AbstractSet[str] = frozenset({"params", "tasks", "workflow"})
    tasks: AbstractSet[str] | None = None
    params: AbstractSet[str] | None = None
    suggestions: Suggestions = field(default_factory=Suggestions)


def references(value: Any) -> frozenset[str]:
    """The names of the tasks that any expression in the JSON `value` reads.

    Raises `ExpressionError` for a syntax error and for a task that only the run could name (`tasks[params.x]`).
    """
    found: set[str] = set()
    for path, text in _texts(value, "", DEPTH_LIMIT):
        for hole in _parsed(path, text).holes:
            for read in _reads(hole):
                if read.root == "tasks":
                    if not read.steps or not isinstance(read.steps[0], str):
                        raise ExpressionError(_WRITE_OUT)
                    found.add(read.steps[0])
    return frozenset(found)


def check(value: Any, names: Names, path: str = "") -> tuple[list[Finding], list[str]]:
    """All findings in the JSON `value`, in its order, and the names of the known tasks that it reads, likewise."""
    findings: list[Finding] = []
    tasks: dict[str, None] = {}
    for where, text in _texts(value, path, DEPTH_LIMIT):
        try:
            template = parse(text)
        except ExpressionError as exc:
            findings.append(Finding(where, str(exc)))
            continue
        known = len(findings)
        for hole in template.holes:
            findings += _check_hole(template, hole, names, where, tasks)
            if len(findings) - known >= FINDINGS_IN_A_TEXT:
                break
    return findings, list(tasks)


_WRITE_OUT = 'which task is meant must be written out, such as tasks.a or tasks["a-b"]: what runs first depends on it'


def _parsed(path: str, text: str) -> Template:
    try:
        return parse(text)
    except ExpressionError as exc:
        raise ExpressionError(f"{path}: {exc}" if path else str(exc)) from exc


def _reads(hole: Hole) -> Sequence[Read]:
    return parse_source(hole.source).reads


def _check_hole(template: Template, hole: Hole, names: Names, path: str, tasks: dict[str, None]) -> Iterator[Finding]:
    """The first thing that is wrong with an expression: more of it mostly follows from that."""
    try:
        for read in _reads(hole):
            problem = _check_read(read, names)
            if problem is not None:
                kind, message = problem
                yield Finding(path, f"the expression at {template.place(hole.offset + read.offset)}: {message}", kind)
                return
            if read.root == "tasks":
                tasks[str(read.steps[0])] = None
        check_types(hole.source)
    except SourceError as exc:
        yield Finding(path, f"the expression at {template.place(hole.offset + exc.offset)}: {exc}")


def _check_read(read: Read, names: Names) -> tuple[Kind, str] | None:
    if read.root not in names.roots:
        return Kind.EXPRESSION, unknown_name(read.root, names.roots)
    match read.root:
        case "tasks":
            return _check_task(read, names)
        case "params":
            return _check_param(read, names)
        case "workflow":
            return _check_field("workflow", read.steps, WORKFLOW_FIELDS)
    return None


def _check_task(read: Read, names: Names) -> tuple[Kind, str] | None:
    if not read.steps or not isinstance(read.steps[0], str):
        return Kind.EXPRESSION, _WRITE_OUT
    name = read.steps[0]
    if names.tasks is not None and name not in names.tasks:
        return Kind.TASK, f'there is no task "{name}"{_nearest_task(name, names)}'
    return _check_field("tasks." + name, read.steps[1:], TASK_FIELDS)


def _nearest_task(name: str, names: Names) -> str:
    tasks = names.tasks or frozenset()
    dashed = sorted(task for task in tasks if task.startswith(name + "-"))
    if dashed:
        return f': a name with a dash is written tasks["{dashed[0]}"]'
    return names.suggestions.nearest(name, tasks)


def _check_param(read: Read, names: Names) -> tuple[Kind, str] | None:
    if names.params is None or not read.steps or read.tested:
        return None
    name = read.steps[0]
    if name in names.params:
        return None
    return Kind.EXPRESSION, f'there is no param "{name}"{names.suggestions.nearest(str(name), names.params)}'


def _check_field(owner: str, steps: tuple[str | int, ...], fields: tuple[str, ...]) -> tuple[Kind, str] | None:
    if not steps or steps[0] in fields:
        return None
    return Kind.EXPRESSION, f'{owner} has no "{steps[0]}": it has {", ".join(fields)}'


def _texts(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Every text in a JSON value that may have an expression in it, and its path."""
    if isinstance(value, str):
        if "${" in value:
            yield path, value
    elif depth <= 0:
        return
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{path}.{key}" if path else str(key), depth - 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]", depth - 1)
