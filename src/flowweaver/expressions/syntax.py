"""The tree of an expression, read from the protocol buffer that the library serializes.

The library shows no tree, but its serialized form is the public `cel.expr.ParsedExpr` (cel-spec, syntax.proto). Only
the fields that a check asks for are decoded. Macros such as `map` and `exists` come as loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal. Texts and whole numbers are decoded; `value` of any other is None."""

    id: int
    value: str | int | None


@dataclass(frozen=True, slots=True)
class Name:
    """An identifier."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Field:
    """`operand.name`, or `has(operand.name)` where `tested`."""

    id: int
    operand: Node
    name: str
    tested: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an operator; `target` is what a method is called on."""

    id: int
    function: str
    target: Node | None
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Collection:
    """A list or a map that is written out."""

    id: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """What a macro over a list or map becomes."""

    id: int
    variables: tuple[str, ...]
    items: Node
    accumulator: str
    start: Node
    condition: Node
    step: Node
    result: Node


Node = Constant | Name | Field | Call | Collection | Loop


@dataclass(frozen=True, slots=True)
class Tree:
    """An expression's tree and where each of its nodes stands in the source, counted from 0 in characters."""

    root: Node
    positions: dict[int, int]

    def position(self, node: Node) -> int:
        """Where the node begins, or where its operator is."""
        return self.positions.get(node.id, 0)


def decode(serialized: bytes) -> Tree:
    """The tree in what `Expression.serialize()` gives for an expression that was compiled without type check.

    Raises `ValueError` for what the language has and expressions here have not: protocol buffer messages.
    """
    parsed = _fields(_last(_fields(serialized), 2, b""))
    source = _fields(_last(parsed, 3, b""))
    positions = {}
    for number, entry in source:
        if number == 4:  # SourceInfo.positions, a map of node to offset
            pair = _fields(entry)
            positions[_last(pair, 1, 0)] = _last(pair, 2, 0)
    return Tree(_node(_last(parsed, 2, b"")), positions)


def _node(serialized: bytes) -> Node:
    fields = _fields(serialized)
    node_id = _last(fields, 2, 0)
    for number, content in fields:
        if number in _KINDS:
            return _KINDS[number](node_id, _fields(content))
    return Constant(node_id, None)


def _constant(node_id: int, fields: list[tuple[int, Any]]) -> Constant:
    for number, content in fields:
        if number == 6:
            return Constant(node_id, content.decode("utf-8", "replace"))
        if number == 3:
            return Constant(node_id, content - 2**64 if content >= 2**63 else content)
    return Constant(node_id, None)


def _name(node_id: int, fields: list[tuple[int, Any]]) -> Name:
    return Name(node_id, _text(fields, 1))


def _select(node_id: int, fields: list[tuple[int, Any]]) -> Field:
    return Field(node_id, _node(_last(fields, 1, b"")), _text(fields, 2), bool(_last(fields, 3, 0)))


def _call(node_id: int, fields: list[tuple[int, Any]]) -> Call:
    target = _last(fields, 1, None)
    return Call(node_id, _text(fields, 2), _node(target) if target is not None else None, _nodes(fields, 3))


def _list(node_id: int, fields: list[tuple[int, Any]]) -> Collection:
    return Collection(node_id, _nodes(fields, 1))


def _structure(node_id: int, fields: list[tuple[int, Any]]) -> Collection:
    items: list[Node] = []
    for number, entry in fields:
        if number == 2:
            items += _nodes(_fields(entry), 3) + _nodes(_fields(entry), 4)
    if name := _text(fields, 1):
        raise ValueError(f"a {name} can not be made here: write a map, with its keys in quotes")
    return Collection(node_id, tuple(items))


def _loop(node_id: int, fields: list[tuple[int, Any]]) -> Loop:
    variables = tuple(name for name in (_text(fields, 1), _text(fields, 8)) if name)
    items, start, condition, step, result = (_node(_last(fields, number, b"")) for number in (2, 4, 5, 6, 7))
    return Loop(node_id, variables, items, _text(fields, 3), start, condition, step, result)


_KINDS: dict[int, Callable[[int, list[tuple[int, Any]]], Node]] = {
    3: _constant,
    4: _name,
    5: _select,
    6: _call,
    7: _list,
    8: _structure,
    9: _loop,
}


def _nodes(fields: list[tuple[int, Any]], wanted: int) -> tuple[Node, ...]:
    return tuple(_node(content) for number, content in fields if number == wanted)


def _text(fields: list[tuple[int, Any]], wanted: int) -> str:
    content: bytes = _last(fields, wanted, b"")
    return content.decode("utf-8", "replace")


def _last(fields: list[tuple[int, Any]], wanted: int, default: Any) -> Any:
    found = default
    for number, content in fields:
        if number == wanted:
            found = content
    return found


def _fields(message: bytes) -> list[tuple[int, Any]]:
    return list(_scan(message))


def _scan(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of one message in the wire format of protocol buffers: (number, integer or bytes)."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        match key & 7:
            case 0:
                number, position = _varint(message, position)
                yield key >> 3, number
            case 2:
                size, position = _varint(message, position)
                yield key >> 3, message[position : position + size]
                position += size
            case 1:
                yield key >> 3, message[position : position + 8]
                position += 8
            case _:
                yield key >> 3, message[position : position + 4]
                position += 4


def _varint(message: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
