"""YAML text read as the API server reads it, so that a laptop and a cluster see the same values.

That is YAML 1.1 by way of JSON: `y`, `on` and `off` are booleans, `0644` is 420, dates stay texts, whole floats are
integers, keys are texts, and a key that stands twice is an error. No tags, and what aliases make is bounded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from flowweaver.manifest.json_texts import DEPTH_LIMIT, read_json, unreadable, whole_number

SIZE_LIMIT = 16 * 1024 * 1024
NODE_LIMIT = 500_000
LONGEST_NUMBER = 200  # digits; a longer one stays a text

_TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(r"[-+]?(0[bB][01_]+|0[oO]?[0-7_]+|0[xX][0-9A-Fa-f_]+|0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAP, _LIST, _TEXT, _PLAIN = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:str", "plain"


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]  # either will do
    """Composes nodes; what a plain scalar means is decided here and not by PyYAML, whose booleans are others."""

    def resolve(self, kind: type[yaml.Node], _value: Any, implicit: Any) -> str:
        """The tag of a node that has none of its own."""
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _TEXT
        return _LIST if kind is yaml.SequenceNode else _MAP


def load_documents(text: str) -> list[dict[str, Any]]:
    """Every document that is not empty, as JSON; raises `ManifestError`, which says where, for what can not be read."""
    if len(text) > SIZE_LIMIT:
        raise unreadable(
            "TooLarge", f"the file has {len(text)} characters and at most {SIZE_LIMIT} are read: split it up"
        )
    try:
        documents = read_json(text) if text.lstrip().startswith("{") else None
        if documents is None and _may_be_deep(text):
            _check_depth(text)
        return list(_documents(text)) if documents is None else documents
    except yaml.MarkedYAMLError as exc:
        raise unreadable("InvalidYaml", _sentence(exc)) from exc
    except (yaml.YAMLError, RecursionError) as exc:
        detail = "it is nested too deep" if isinstance(exc, RecursionError) else _unlocated(str(exc))
        raise unreadable("InvalidYaml", f"this is no YAML: {detail}") from exc


def _may_be_deep(text: str) -> bool:
    opened = sum(text.count(character) for character in "[{-?")
    return opened >= DEPTH_LIMIT or "\n" + " " * DEPTH_LIMIT in text


def _check_depth(text: str) -> None:
    """Raise `ManifestError` where it is nested too deep, before nodes are made of it: the library in C makes them
    recursively, and some thousand levels end the process.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_LIMIT:
                raise unreadable("TooLarge", f"{_place(event)}: the document is nested more than {DEPTH_LIMIT} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _documents(text: str) -> Iterator[dict[str, Any]]:
    for node in yaml.compose_all(text, Loader=_Loader):
        if node is None:
            continue
        content = _Reader().read(node, DEPTH_LIMIT)
        if content is None:
            continue
        if not isinstance(content, dict):
            place = _place(node)
            raise unreadable("InvalidYaml", f"{place}: a manifest is a map that starts with apiVersion, not this")
        yield content


class _Reader:
    """Turns one document's nodes into JSON, counting them."""

    def __init__(self) -> None:
        self._nodes = 0

    def read(self, node: yaml.Node, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > NODE_LIMIT or depth <= 0:
            much = f"has more than {NODE_LIMIT} values" if depth > 0 else f"is nested more than {DEPTH_LIMIT} deep"
            raise unreadable("TooLarge", f"{_place(node)}: the document {much}, aliases written out")
        match node:
            case yaml.MappingNode():
                return self._mapping(node, depth)
            case yaml.SequenceNode():
                _check_tag(node, _LIST)
                return [self.read(item, depth - 1) for item in node.value]
            case yaml.ScalarNode():
                return _scalar(node)
        raise TypeError(f"an unknown kind of node: {node!r}")  # YAML has three

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        _check_tag(node, _MAP)
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _PLAIN and key_node.value == "<<":
                merged = {**self._merge(value_node, depth), **merged}
                continue
            key = _key(key_node)
            if key in own:
                raise unreadable("InvalidYaml", f'{_place(key_node)}: the key "{key}" stands twice: remove one')
            own[key] = self.read(value_node, depth - 1)
        return {**merged, **own}

    def _merge(self, node: yaml.Node, depth: int) -> dict[str, Any]:
        value = self.read(node, depth - 1)
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, dict) for part in parts):
            raise unreadable("InvalidYaml", f"{_place(node)}: << takes a map or a list of maps")
        return {key: item for part in reversed(parts) for key, item in part.items()}


def _check_tag(node: yaml.Node, expected: str) -> None:
    if node.tag != expected:
        raise unreadable("InvalidYaml", f"{_place(node)}: the tag {node.tag} is not read: remove it")


def _scalar(node: yaml.ScalarNode) -> Any:
    if node.tag == _TEXT:
        return node.value
    _check_tag(node, _PLAIN)
    return _plain(node.value, node)


def _plain(text: str, node: yaml.ScalarNode) -> Any:
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INTEGER.fullmatch(text) or _FLOAT.fullmatch(text):
        return _numeral(text)
    if _NOT_FINITE.fullmatch(text):
        raise unreadable("InvalidYaml", f"{_place(node)}: {text} is no number in JSON: quote it, or write another one")
    return text


def _numeral(text: str) -> int | float | str:
    """The number that is written there; a text that only looks like one stays what it is."""
    try:
        if _INTEGER.fullmatch(text):
            return _integer(text)
        value = float(text.replace("_", ""))
    except ValueError:
        return text
    return whole_number(value) if math.isfinite(value) else text


def _integer(text: str) -> int | float | str:
    plain = text.replace("_", "").lower()
    sign, digits = (-1, plain[1:]) if plain[0] == "-" else (1, plain.lstrip("+"))
    if len(digits) > LONGEST_NUMBER:
        return text
    if digits[:2] in {"0b", "0x", "0o"}:
        value = sign * int(digits, 0)
    else:
        value = sign * int(digits, 8 if digits.startswith("0") else 10)
    return value if -(2**63) <= value < 2**63 else whole_number(float(value))


def _key(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        raise unreadable(
            "InvalidYaml",
            f"{_place(node)}: a key must be a text, and this is a map: where {{{{ … }}}} belongs to a template, such "
            "as Helm's, render it first",
        )
    value = _scalar(node) if isinstance(node, yaml.ScalarNode) else None
    match value:
        case None | float():
            raise unreadable("InvalidYaml", f"{_place(node)}: a key must be a text: put it in quotes")
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)


def _place(node: yaml.Node | yaml.Event) -> str:
    mark = node.start_mark
    assert mark is not None
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _sentence(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = " ".join((error.problem or "it can not be read").split())
    context = f" {' '.join(error.context.split())}" if error.context else ""
    hint = next((hint for part, hint in _HINTS.items() if part in problem), "")
    return f"{place}this is no YAML: {problem}{context}{hint}"


_HINTS = {
    "cannot start any token": ": indent with spaces and not with tabs, and quote a text that starts with @, ` or %",
    "mapping values are not allowed": ": quote a text in which a blank follows a colon, and check the indentation",
    "',' or '}'": ": quote a text with ${…} that stands between braces",
    "',' or ']'": ": quote a text with ${…} that stands between brackets",
    "expected '-' indicator": ": check the indentation",
    "expected <block end>": ": check the indentation",
    "did not find expected key": ": check the indentation, and quote texts that begin with quotes or braces",
}
"""What mostly is the reason, by what the library says in C or in Python."""


def _unlocated(text: str) -> str:
    return " ".join(text.replace('in "<unicode string>", ', "at ").split())
