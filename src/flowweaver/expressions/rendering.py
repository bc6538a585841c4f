"""Put values in the place of expressions.

A text that is exactly one expression becomes its value, type kept; in mixed text scalars are converted. Keys of maps
are never templates. Nothing unresolved ever passes through as text.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping
from typing import Any

from flowweaver.errors import ExpressionError
from flowweaver.expressions import values
from flowweaver.expressions.explaining import no_key
from flowweaver.expressions.language import Program, SourceError, parse_source
from flowweaver.expressions.metering import size_of, size_of_json
from flowweaver.expressions.reading import Read
from flowweaver.expressions.scopes import Scope
from flowweaver.expressions.templates import Hole, Template, parse

_LARGE = 1024 * 1024
_large = threading.Lock()
"""Expressions on so many bytes are evaluated one after the other. Two would not be faster together, since the language
lets no other thread run, and what one takes on the way can be many times what it reads.
"""


def render(value: Any, scope: Scope, path: str = "") -> Any:
    """A copy of the JSON `value` with every expression evaluated.

    Raises `ExpressionError`; its message starts with the path of the field, below `path`, that is at fault.
    """
    return _render(value, scope, path, values.DEPTH_LIMIT)


def truth(text: str, scope: Scope, path: str = "") -> bool:
    """What a condition says: a text that is one expression and gives true or false. Raises as `render` does."""
    result = render(text, scope, path)
    if isinstance(result, bool):
        return result
    raise ExpressionError(
        located(path, "a condition must be one expression that gives true or false, such as ${response.status == 200}")
    )


def located(path: str, message: str) -> str:
    """The message with its field before it."""
    return f"{path}: {message}" if path else message


def _render(value: Any, scope: Scope, path: str, depth: int) -> Any:
    if isinstance(value, str):
        return _text(value, scope, path)
    if isinstance(value, (Mapping, list, tuple)) and depth <= 0:
        raise ExpressionError(located(path, f"it is nested more than {values.DEPTH_LIMIT} deep"))
    if isinstance(value, Mapping):
        return {key: _render(item, scope, f"{path}.{key}" if path else key, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_render(item, scope, f"{path}[{index}]", depth - 1) for index, item in enumerate(value)]
    return value


def _text(text: str, scope: Scope, path: str) -> Any:
    if "${" not in text:
        return text
    try:
        template = parse(text)
    except ExpressionError as exc:
        raise ExpressionError(located(path, str(exc))) from exc
    only = template.only
    if only is not None:
        return _value(template, only, scope, path)
    pieces = [part if isinstance(part, str) else _piece(template, part, scope, path) for part in template.parts]
    return "".join(pieces)


def _piece(template: Template, hole: Hole, scope: Scope, path: str) -> str:
    value = _value(template, hole, scope, path)
    try:
        return values.as_text(value)
    except ExpressionError as exc:
        raise _at(template, hole, hole.offset, path, exc) from exc


def _value(template: Template, hole: Hole, scope: Scope, path: str) -> Any:
    try:
        return evaluate(parse_source(hole.source), scope)
    except SourceError as exc:
        raise _at(template, hole, hole.offset + exc.offset, path, exc) from exc
    except ExpressionError as exc:
        raise _at(template, hole, hole.offset, path, exc) from exc


def _at(template: Template, hole: Hole, offset: int, path: str, error: ExpressionError) -> ExpressionError:
    start = "" if hole is template.only and offset == hole.offset else f"the expression at {template.place(offset)}: "
    return ExpressionError(located(path, f"{start}{error}"))


def evaluate(program: Program, scope: Scope) -> Any:
    """The value of one expression as plain JSON; raises `ExpressionError`."""
    if program.path is not None:
        return _walk(program.path, scope)
    passage, variables = values.Passage(scope.meter), _variables(program, scope)
    size = size_of(variables)
    scope.meter.read(size)
    with _large if size > _LARGE else contextlib.nullcontext():
        return passage.leave(program.evaluate(passage.enter(variables), scope.meter))


def _variables(program: Program, scope: Scope) -> dict[str, Any]:
    """What the expression reads and nothing besides: results can be large, and entering costs their size."""
    tasks: dict[str, Any] = {}
    variables: dict[str, Any] = {}
    for read in program.reads:
        if read.root == "tasks":
            name = _task_of(read)
            task = tasks.get(name) or tasks.setdefault(name, scope.task(name))
            _keep(variables, ("tasks", name, *read.steps[1:]), {"tasks": {name: task}})
        else:
            _keep(variables, (read.root, *read.steps), {read.root: scope.read(read.root)})
    return variables


class _Kept(dict[str, Any]):
    """A map of which only some keys were taken."""


def _keep(kept: dict[str, Any], steps: tuple[str | int, ...], source: Any) -> None:
    """Take over from `source` what stands at the end of the steps, as far as they lead through maps."""
    for step in steps[:-1]:
        if step not in source:
            return
        target, source = kept.get(str(step)), source[step]
        if target is not None and not isinstance(target, _Kept):
            return  # all of it is there already
        if not isinstance(source, Mapping):
            kept[str(step)] = source
            return
        if target is None:
            target = kept[str(step)] = _Kept()
        kept = target
    last = steps[-1]
    if last in source:
        kept[str(last)] = source[last]


def _task_of(read: Read) -> str:
    if not read.steps or not isinstance(read.steps[0], str):
        raise ExpressionError('which task is meant must be written out, such as tasks.a or tasks["a-b"]')
    return read.steps[0]


def _walk(path: Read, scope: Scope) -> Any:
    """Follow a plain path without the language: as it stands, no number or text changed."""
    steps = path.steps
    if path.root == "tasks":
        name, steps = _task_of(path), steps[1:]
        if steps == ("result",) and (whole := scope.dependency(name).result) is not None:
            scope.meter.read(len(whole))
            scope.meter.made(size_of_json(whole))
            return json.loads(whole)
        value: Any = scope.task(name)
    else:
        value = scope.read(path.root)
    for step in steps:
        value = _step(value, step)
    return scope.meter.copied(value)


def _step(value: Any, step: str | int) -> Any:
    match value, step:
        case Mapping(), str():
            if step in value:
                return value[step]
            raise ExpressionError(no_key(step))
        case list() | tuple(), int():
            if 0 <= step < len(value):
                return value[step]
            raise ExpressionError(f"there is no item {step}: the list has {len(value)}")
    raise ExpressionError(_no_step(value, step))


def _no_step(value: Any, step: str | int) -> str:
    asked = f'"{step}"' if isinstance(step, str) else f"item {step}"
    match value:
        case list() | tuple():
            return f"{asked} is asked of a list: items have numbers, such as [0]"
        case Mapping():
            return f'{asked} is asked of a map: its keys are texts, such as ["{step}"]'
        case None:
            return f"{asked} is asked of null"
        case _:
            return f"{asked} is asked of a value that is no list and no map"
