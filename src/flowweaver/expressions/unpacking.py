"""What an expression gave, as plain Python.

The library's own way to do that ends the whole process with a segmentation fault where an optional value stands in a
map, and knows no bound: within the language, a large value can be named in a list many times without being copied. So
whatever may hold such things is taken apart here, a level at a time.
"""

from __future__ import annotations

from typing import Any

from flowweaver.errors import ExpressionError
from flowweaver.expressions.metering import ITEM_BYTES, MADE_LIMIT
from flowweaver.expressions.syntax import Call, Collection, Field, Loop, Node


def unpacked(value: Any, root: Node) -> Any:
    """The library's `value` of the expression with that tree. Raises `ExpressionError` where it is too large, and
    whatever the library raises for a value that Python does not have.
    """
    return _Unpacking().of(value) if makes_containers(root) else value.plain_value()


def makes_containers(node: Node) -> bool:
    """Whether any list or map in the value may come from the expression itself, and not from what it reads."""
    match node:
        case Collection() | Loop():
            return True
        case Call(target=target, arguments=arguments):
            return any(map(makes_containers, arguments)) or (target is not None and makes_containers(target))
        case Field(operand=operand):
            return makes_containers(operand)
        case _:
            return False


class _Unpacking:
    """One value's way out."""

    def __init__(self) -> None:
        self._left = MADE_LIMIT

    def of(self, value: Any) -> Any:
        content = value.value()
        match content:
            case list():
                self._take(ITEM_BYTES * len(content))
                return [self.of(item) for item in content]
            case dict():
                self._take(2 * ITEM_BYTES * len(content))
                return {key: self.of(item) for key, item in content.items()}
            case str():
                self._take(len(content))
        return content

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ExpressionError(
                f"it gives more than {MADE_LIMIT // 1024**2} MiB: give less, or do it in a python task"
            )
