"""From pydantic's findings to sentences for whoever wrote the manifest. No value of a field is repeated, only its kind:
it may be a secret that was meant for an environment variable or a header.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from flowweaver.manifest.fields import (
    ENVIRONMENT_PATTERN,
    FUNCTION_PATTERN,
    HEADER_PATTERN,
    NAME_PATTERN,
    PARAM_PATTERN,
    URL_PATTERN,
)
from flowweaver.manifest.models import Workflow
from flowweaver.manifest.problems import Problem
from flowweaver.manifest.reasons import INVALID_SPEC, TOO_LARGE, UNKNOWN_FIELD

LATER = frozenset(
    {
        *("templateRef", "finally", "locks", "serviceAccountName", "when", "forEach", "cache", "job", "kubernetes"),
        *("approval", "workflow", "valueFrom", "tls"),
    }
)
"""Fields that the design has and this release has not: whoever writes one made no typing mistake."""

_PATTERNS = {
    NAME_PATTERN: "must be lower-case letters and digits in words that - or _ separates, and start with a letter",
    PARAM_PATTERN: "must be letters and digits in words that - or _ separates, and start with a letter",
    ENVIRONMENT_PATTERN: "must be letters, digits and _, and start with no digit",
    HEADER_PATTERN: "is no header name: use letters, digits and -",
    URL_PATTERN: "must start with http:// or https://",
    FUNCTION_PATTERN: "must name a function as package.module:name",
}
_NAME_OF_OBJECT = "must be lower-case letters, digits, - and ., and start and end with a letter or digit"

_MOST = 1000  # far more than are reported: a file has room for many thousands

_LONGEST_STEP = 80

_KINDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
}


def translate(error: ValidationError, obj: Mapping[str, Any]) -> list[Problem]:
    """One problem for each finding, of the first thousand."""
    return [_problem(finding, obj) for finding in error.errors(include_url=False, include_input=False)[:_MOST]]


def path_of(steps: Iterable[str | int]) -> str:
    """`("spec", "tasks", 2, "retry")` as the user would write it: `spec.tasks[2].retry`."""
    path = ""
    for step in steps:
        name = step if isinstance(step, int) or len(step) <= _LONGEST_STEP else f"{step[:_LONGEST_STEP]}…"
        path += f"[{name}]" if isinstance(step, int) else f".{name}" if path else str(name)
    return path


def _problem(finding: Any, obj: Mapping[str, Any]) -> Problem:
    steps: tuple[str | int, ...] = finding["loc"]
    kind: str = finding["type"]
    path, value, context = path_of(steps), _value(obj, steps), finding.get("ctx", {})
    if kind == "extra_forbidden":
        return Problem(UNKNOWN_FIELD, path, _unknown(steps))
    if kind in {"too_long", "string_too_long"}:
        return Problem(TOO_LARGE, path, _too_long(steps, value, context["max_length"]))
    if kind in _KINDS:
        return Problem(INVALID_SPEC, path, f"must be {_KINDS[kind]}, not {_shown(value)}{_quotes(kind, value)}")
    sentence = _SENTENCES.get(kind)
    message = sentence(context) if sentence else str(finding["msg"]).lower()
    if isinstance(value, str) and "${" in value:
        message += " (no expression may stand here)"
    return Problem(INVALID_SPEC, path, message)


_SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "is missing: add it",
    "too_short": lambda _: "is empty: write at least one item",
    "string_too_short": lambda _: "is empty: write at least one character",
    "string_pattern_mismatch": lambda context: _PATTERNS.get(context["pattern"], _NAME_OF_OBJECT),
    "literal_error": lambda context: f"must be {str(context['expected']).replace(chr(39), chr(34))}",
    "value_error": lambda context: str(context["error"]),
    "greater_than_equal": lambda context: f"must be at least {context['ge']:g}",
    "less_than_equal": lambda context: f"must be at most {context['le']:g}",
}


def _too_long(steps: tuple[str | int, ...], value: Any, limit: int) -> str:
    count = len(value) if isinstance(value, (str, list, tuple, Mapping)) else f"more than {limit}"
    if steps[-1] == "tasks":
        return f"there are {count} tasks and at most {limit} are allowed: split the workflow, or do more in one task"
    unit = "characters" if isinstance(value, str) else "items"
    return f"has {count} {unit} and at most {limit} are allowed: shorten it"


def _quotes(kind: str, value: Any) -> str:
    if kind != "string_type":
        return ""
    if isinstance(value, bool):
        return ": put it in quotes (without them y, n, on, off, yes and no are true or false)"
    return ": put it in quotes" if isinstance(value, (int, float)) else ""


def _shown(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case Mapping():
            return "a map"
        case _:
            return "a list"


def _unknown(steps: tuple[str | int, ...]) -> str:
    name = str(steps[-1])
    if name in LATER:
        return f'this release does not have "{name[:60]}" yet: remove it'
    known = _fields_at(steps[:-1])
    close = difflib.get_close_matches(name[:80], known, n=1, cutoff=0.6)
    fix = f'did you mean "{close[0]}"?' if close else f"there are {', '.join(known)}"
    return f'there is no field "{name[:60]}" here: {fix}'


def _fields_at(steps: tuple[str | int, ...]) -> list[str]:
    """The fields of the model that the steps lead to."""
    model: Any = Workflow
    for step in steps:
        if isinstance(step, int):
            continue
        field = next((field for field in model.model_fields.values() if field.alias == step), None)
        model = _model_in(field.annotation) if field else None
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)


def _value(obj: Any, steps: Iterable[str | int]) -> Any:
    for step in steps:
        try:
            obj = obj[step]
        except (KeyError, IndexError, TypeError):
            return None
    return obj
