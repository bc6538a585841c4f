"""How much an expression may cost on the data at hand, estimated before it is evaluated.

While the library evaluates, no other thread of the process runs, and what it makes on the way is freed only at the end.
Its own limit of 10,000 steps does not bound that: `map` over a list of n items copies n² of them (8,000 items: 3
seconds and a gigabyte), and a few nested sums of texts make 500 MB of 30 characters. So the sizes that each part can
reach are worked out from the tree and from the sizes of what it reads; what could go too far is refused, not tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowweaver.errors import ExpressionError
from flowweaver.expressions.syntax import Call, Collection, Constant, Field, Loop, Name, Node

ITEMS_LIMIT = 1000
"""One `map` or `filter` may go over so many items; several share the square of it."""

BYTES_LIMIT = 64 * 1024 * 1024
"""So much may be read and made on the way, by the estimate."""

_STEPS_LIMIT = 10_000  # the library's own


@dataclass(frozen=True, slots=True)
class Shape:
    """The most that a value can be: bytes as a whole, items of a list or map, and what its largest item can be."""

    size: int = 8
    items: int = 0
    item: Shape | None = None


SCALAR = Shape()


def shape_of(value: Any) -> Shape:
    """The shape of a JSON value; costs as much as reading it once."""
    match value:
        case str():
            return Shape(8 + 4 * len(value) if not value.isascii() else 8 + len(value), len(value))
        case Mapping():
            parts = [shape_of(item) for item in value.values()]
            return Shape(_total(parts) + sum(map(len, value)), len(parts), _largest(parts))
        case list():
            parts = [shape_of(item) for item in value]
            return Shape(_total(parts), len(parts), _largest(parts))
        case _:
            return SCALAR


def check_cost(root: Node, variables: Mapping[str, Any]) -> None:
    """Raise `ExpressionError` where evaluating the tree on these variables could cost too much."""
    if _is_cheap(root):
        return
    _Estimate().of(root, {name: shape_of(value) for name, value in variables.items()}, 1)


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
_CHEAP = _INDEXES | _CHOICES | _COMPARISONS | {"string"}


class _Estimate:
    """Adds up what one expression can cost."""

    def __init__(self) -> None:
        self._bytes = 0
        self._squares = 0

    def of(self, node: Node, names: Mapping[str, Shape], times: int) -> Shape:
        """The shape of the node's value, its cost charged `times` times."""
        match node:
            case Constant(value=value):
                return shape_of(value)
            case Name(name=name):
                return names.get(name, SCALAR)
            case Field(operand=operand):
                return self.of(operand, names, times).item or SCALAR
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
            return shapes[0].item or SCALAR
        if node.function in _CHOICES:
            return _largest(shapes) or SCALAR
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
