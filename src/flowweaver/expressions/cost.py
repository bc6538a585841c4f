"""How much an expression may cost on the data at hand, estimated before it is evaluated.

While the library evaluates, no other thread of the process runs, and what it makes on the way is freed only at the end.
Its own limit of 10,000 steps does not bound that: `map` over a list of n items copies n² of them (8,000 items: 3
seconds and a gigabyte), and a few nested sums of texts make 500 MB of 30 characters. So the sizes that each part can
reach are worked out from the tree and from the sizes of what it reads; what could go too far is refused, not tried.
"""

from __future__ import annotations

import re
from collections.abc import Collection as Items
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowweaver.errors import ExpressionError
from flowweaver.expressions.syntax import Call, Collection, Constant, Field, Loop, Name, Node

ITEMS_LIMIT = 1000
"""One `map` or `filter` may go over so many items; several share the square of it."""

BYTES_LIMIT = 64 * 1024 * 1024
"""So much may be read and made on the way, by the estimate."""

_LEVELS = 4  # as in tasks.a.result.rows
_KEYS_LIMIT = 300
_STEPS_LIMIT = 10_000  # the library's own


@dataclass(frozen=True, slots=True)
class Shape:
    """The most that a value can be: bytes as a whole, items of a list or map, and what its largest item can be; of some
    maps, what the item of each key can be.
    """

    size: int = 8
    items: int = 0
    item: Shape | None = None
    fields: Mapping[str, Shape] | None = field(default=None, compare=False)

    def at(self, key: Any) -> Shape:
        """What the item of that key can be."""
        if self.fields is not None and isinstance(key, str):
            return self.fields.get(key, SCALAR)
        return self.item or SCALAR

    def covers(self, other: Shape) -> bool:
        """Whether the other one exceeds it nowhere."""
        if self is other:
            return True
        if self.size < other.size or self.items < other.items:
            return False
        return other.item is None or (self.item is not None and self.item.covers(other.item))


SCALAR = Shape()


def shape_of(value: Any, levels: int = 0) -> Shape:
    """The shape of a JSON value; costs as much as reading it once. Maps of few keys are known by key, so many levels
    deep.
    """
    match value:
        case None | int() | float():
            return SCALAR
        case str():
            return Shape(8 + 4 * len(value) if not value.isascii() else 8 + len(value), len(value))
        case Mapping():
            if levels and len(value) <= _KEYS_LIMIT:
                fields = {key: shape_of(item, levels - 1) for key, item in value.items()}
                size = 8 + sum(map(len, value)) + sum(shape.size for shape in fields.values())
                return Shape(size, len(fields), _largest(list(fields.values())), fields)
            return _shape_of_items(value.values(), 8 + sum(map(len, value)))
        case list():
            return _shape_of_items(value, 8)
        case _:
            return SCALAR


def _shape_of_items(items: Items[Any], size: int) -> Shape:
    # One by one: a megabyte of JSON has room for 350,000 empty lists, whose shapes together would take far more.
    largest: Shape | None = None
    for item in items:
        shape = shape_of(item)
        size += shape.size
        if largest is None or not largest.covers(shape):
            largest = shape if largest is None or shape.covers(largest) else _largest([largest, shape])
    return Shape(size, len(items), largest)


def check_cost(root: Node, variables: Mapping[str, Any]) -> int:
    """How many bytes evaluating the tree on these variables may read and make on the way, beside the variables
    themselves; raises `ExpressionError` where it is too much.
    """
    if _is_cheap(root):
        return 0
    estimate = _Estimate()
    estimate.of(root, {name: shape_of(value, _LEVELS) for name, value in variables.items()}, 1)
    return estimate.work


def _is_cheap(node: Node) -> bool:
    """Whether nothing in the tree can multiply what it reads."""
    match node:
        case Loop():
            return False
        case Call(function=function, target=target, arguments=arguments):
            parts = (*([target] if target is not None else []), *arguments)
            return function in _CHEAP and all(map(_is_cheap, parts))
        case Field(operand=operand):
            return _is_cheap(operand)
        case Collection(items=items):
            return all(map(_is_cheap, items))
        case Constant() | Name():
            return True


_INDEXES = frozenset({"_[_]", "_?._", "_[?_]"})
_CHOICES = frozenset(
    {"_?_:_", "or", "orValue", "value", "dyn", "optional.of", "optional.ofNonZeroValue", "optional.none"}
)
_COMPARISONS = frozenset(
    {
        *("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "@in", "_&&_", "_||_", "!_", "-_", "_-_", "_*_", "_/_", "_%_"),
        *("size", "contains", "startsWith", "endsWith", "matches", "indexOf", "lastIndexOf", "hasValue", "int", "uint"),
        *("double", "bool", "type", "timestamp", "duration", "@not_strictly_false"),
    }
)
_CHEAP = (_INDEXES | _CHOICES | _COMPARISONS | {"string"}) - {"matches"}
_REPETITION = re.compile(r"(.?)\{(\d*),?(\d*)\}", re.DOTALL)
_REPETITIONS_LIMIT = 1000  # the library's own
_STATES_LIMIT = 10_000  # the library makes no larger ones, as it bounds their memory
_STATES_OF_A_CLASS = 10  # such as all letters of all alphabets
_COMPILING_BYTES = 256  # what making a state of a regular expression costs


class _Estimate:
    """Adds up what one expression can cost."""

    def __init__(self) -> None:
        self._bytes = 0
        self._squares = 0

    @property
    def work(self) -> int:
        """Bytes, with what loops copy."""
        return self._bytes + 8 * self._squares

    def of(self, node: Node, names: Mapping[str, Shape], times: int) -> Shape:
        """The shape of the node's value, its cost charged `times` times."""
        match node:
            case Constant(value=value):
                return shape_of(value)
            case Name(name=name):
                return names.get(name, SCALAR)
            case Field(operand=operand, name=name):
                return self.of(operand, names, times).at(name)
            case Collection(items=items):
                parts = [self.of(item, names, times) for item in items]
                return self._charged(Shape(_total(parts), len(parts), _largest(parts)), len(parts) * 16, times)
            case Loop():
                return self._loop(node, names, times)
            case Call():
                return self._call(node, names, times)

    def _call(self, node: Call, names: Mapping[str, Shape], times: int) -> Shape:
        parts = (*([node.target] if node.target is not None else []), *node.arguments)
        shapes = [self.of(part, names, times) for part in parts]
        read = _total(shapes)
        if node.function in _INDEXES:
            key = parts[1]
            return shapes[0].at(key.value if isinstance(key, Constant) else None)
        if node.function in _CHOICES:
            return _largest(shapes) or SCALAR
        if node.function == "matches":
            # Its time is linear in the text, but may be so with as many states at once as the pattern has.
            states = _states(parts[-1], shapes[-1].size)
            return self._charged(SCALAR, states * (read + _COMPILING_BYTES), times)
        if node.function in _COMPARISONS:
            return self._charged(SCALAR, read, times)
        made = _made(node.function, shapes)
        return self._charged(made, read + made.size, times)

    def _loop(self, node: Loop, names: Mapping[str, Shape], times: int) -> Shape:
        items = self.of(node.items, names, times)
        count = min(items.items, _STEPS_LIMIT)
        inner = {**names, **dict.fromkeys(node.variables, items.item or SCALAR), node.accumulator: Shape(0)}
        often = min(times * max(count, 1), _STEPS_LIMIT)
        self.of(node.condition, inner, often)
        step = self.of(node.step, inner, often)
        if not isinstance(node.start, Collection):
            return SCALAR
        self._squares += times * count * count
        if self._squares > ITEMS_LIMIT**2:
            raise ExpressionError(
                f"map and filter go over {count} items here, and at most {ITEMS_LIMIT} are allowed, fewer where loops "
                "are nested: do it in a python task"
            )
        return Shape(step.size * count, step.items * count, step.item)

    def _charged(self, shape: Shape, size: int, times: int) -> Shape:
        self._bytes += (size + 16) * times
        if self._bytes > BYTES_LIMIT:
            raise ExpressionError(
                f"it could read and make more than {BYTES_LIMIT // 1024**2} MiB on the way: do it in a python task"
            )
        return shape


def _states(pattern: Node, size: int) -> int:
    """How many states a regular expression of that size has, roughly: `x{9}` is nine times an x, and groups nest."""
    if not isinstance(pattern, Constant) or not isinstance(pattern.value, str):
        return min(size * _REPETITIONS_LIMIT, _STATES_LIMIT)
    atoms, groups = 0, 1
    for before, least, most in _REPETITION.findall(pattern.value):
        count = max(int(least[:4] or 1), int(most[:4] or 1))
        if before == ")":
            groups = min(groups * count, _REPETITIONS_LIMIT)
        else:
            atoms += count
    return min((size + _STATES_OF_A_CLASS * atoms) * groups, _STATES_LIMIT)


def _made(function: str, shapes: list[Shape]) -> Shape:
    """The most that a function can make of its arguments."""
    total, first = _total(shapes), shapes[0] if shapes else SCALAR
    last = shapes[-1] if shapes else SCALAR
    match function:
        case "_+_":
            return Shape(total, sum(shape.items for shape in shapes), _largest([s.item for s in shapes if s.item]))
        case "split":
            return Shape(first.size * 32, first.items + 1, first)
        case "join":
            return Shape(first.size + first.items * (last.size + 8))
        case "replace":
            return Shape(first.size * max(8, *(shape.size for shape in shapes[1:])))
        case "format":
            return Shape(first.size * 200 + total * 6)
        case _:
            return Shape(total * 6, sum(shape.items for shape in shapes), _largest(shapes))


def _total(shapes: list[Shape]) -> int:
    return 8 + sum(shape.size for shape in shapes)


def _largest(shapes: list[Shape]) -> Shape | None:
    """A shape that none of them exceeds anywhere."""
    if not shapes:
        return None
    return Shape(
        max(shape.size for shape in shapes),
        max(shape.items for shape in shapes),
        _largest([shape.item for shape in shapes if shape.item is not None]),
    )
