"""Whether an object is plain JSON of a bearable size, before anything else looks at it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from flowweaver.manifest.problems import Problem
from flowweaver.manifest.reasons import INVALID_SPEC, TOO_LARGE, UNKNOWN_FIELD

DEPTH_LIMIT = 64
SPEC_LIMIT = 512 * 1024
EXPRESSIONS_LIMIT = 10_000  # each takes some 50 microseconds to check
READ_FIELDS = ("apiVersion", "kind", "metadata", "spec")

_TOP = "there are apiVersion, kind, metadata and spec"


def shape_problems(obj: Any) -> list[Problem]:
    """What keeps `obj` from being looked at any closer."""
    if not isinstance(obj, Mapping):
        return [Problem(INVALID_SPEC, "", "a manifest is a map that starts with apiVersion")]
    problems = [
        problem
        for name in READ_FIELDS
        if name in obj
        for problem in islice(_problems(obj[name], name, DEPTH_LIMIT), 20)
    ]
    unknown = [str(name)[:60] for name in obj if name not in {*READ_FIELDS, "status"}]
    problems += [Problem(UNKNOWN_FIELD, ascii(name)[1:-1], f"there is no such field: {_TOP}") for name in unknown[:20]]
    if problems:
        return problems
    return list(_size_problems(_encoded(obj.get("spec"))))


def _size_problems(text: str) -> Iterator[Problem]:
    size, expressions = len(text.encode()), text.count("${")
    if size > SPEC_LIMIT:
        yield Problem(
            TOO_LARGE,
            "spec",
            f"it has {size} bytes as JSON and at most {SPEC_LIMIT} are allowed: move code into modules, and data to "
            "where tasks can read it",
        )
    elif expressions > EXPRESSIONS_LIMIT:
        yield Problem(
            TOO_LARGE,
            "spec",
            f"it has {expressions} expressions and at most {EXPRESSIONS_LIMIT} are allowed: use fewer",
        )


def plain(obj: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the parts that are read, in plain dicts and lists; only for what has no shape problems."""
    copy: dict[str, Any] = json.loads(_encoded({name: obj[name] for name in READ_FIELDS if name in obj}))
    return copy


def _encoded(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=dict)


def _problems(value: Any, path: str, depth: int) -> Iterator[Problem]:
    match value:
        case None | bool() | int():
            return
        case str():
            if not storable(value):
                yield Problem(INVALID_SPEC, path, "the text holds half a character (a lone surrogate): remove it")
        case float():
            if not math.isfinite(value):
                yield Problem(INVALID_SPEC, path, f"{value} is no number in JSON: write another one")
        case Mapping() | list() | tuple() if depth <= 0:
            yield Problem(TOO_LARGE, path[:200], f"it is nested more than {DEPTH_LIMIT} deep: make it flatter")
        case Mapping():
            yield from _mapping(value, path, depth)
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _problems(item, f"{path}[{index}]", depth - 1)
        case _:
            yield Problem(INVALID_SPEC, path, f"a value of type {type(value).__name__} is no JSON: write a text")


def _mapping(value: Mapping[Any, Any], path: str, depth: int) -> Iterator[Problem]:
    for key, item in value.items():
        if not isinstance(key, str) or not storable(key):
            yield Problem(INVALID_SPEC, path, f"the key {ascii(key)[:60]} is no text: keys must be texts")
        else:
            yield from _problems(item, f"{path}.{key}", depth - 1)


def storable(text: str) -> bool:
    """Whether the text is valid Unicode."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
