"""How much all expressions of one attempt may read and give together.

Each expression has bounds of its own, but a manifest has room for ten thousand of them, and one result of a megabyte
named in each would fill the memory of this process. So an attempt has an account: reading a result or a variable, what
evaluating could cost, and every value that is put in place are charged to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flowweaver.errors import ExpressionError

READ_LIMIT = 256 * 1024 * 1024
"""So many bytes are decoded and handed to the language; that takes some seconds at the most."""

MADE_LIMIT = 32 * 1024 * 1024
"""So many bytes of memory the values take that are put in place. A result may have 1 MiB as JSON."""

ITEM_BYTES = 64
"""So much an item takes at most beside its text: an empty list."""

_SCALAR = 8


class Meter:
    """One attempt's account. Not thread-safe: an attempt has one thread."""

    __slots__ = ("_latest", "_made", "_read")

    def __init__(self) -> None:
        self._read = 0
        self._made = 0
        self._latest: tuple[bytes, Any] | None = None

    def read(self, size: int) -> None:
        """So many bytes are read; raises `ExpressionError` where it is too much."""
        self._read += size
        if self._read > READ_LIMIT:
            raise ExpressionError(
                f"the expressions of this task read more than {READ_LIMIT // 1024**2} MiB in all: take what they need "
                "out of large results once, in a task before it, or do it in a python task"
            )

    def made(self, size: int) -> None:
        """A value of that size is put in place; raises `ExpressionError` where it is too much."""
        self._made += size
        if self._made > MADE_LIMIT:
            raise ExpressionError(
                f"the expressions of this task give more than {MADE_LIMIT // 1024**2} MiB in all: use large results "
                "less often, or pass where they are"
            )

    def decoded(self, result: bytes) -> Any:
        """A result as JSON. The latest one is kept, because expressions often follow each other into one result: who
        hands out a part of it copies that.
        """
        if self._latest is None or self._latest[0] is not result:
            self._latest = None
            self.read(len(result))
            self._latest = (result, json.loads(result))
        return self._latest[1]

    def copied(self, value: Any) -> Any:
        """A JSON value's copy, charged before it is made."""
        self.made(size_of(value))
        return _copied(value)


def size_of(value: Any) -> int:
    """Bytes of memory that a JSON value takes, roughly."""
    size, stack = 0, [value]
    while stack:
        match stack.pop():
            case None | int() | float():  # first, because there are most of them
                size += _SCALAR
            case str() as text:
                size += _SCALAR + len(text)
            case Mapping() as pairs:
                size += ITEM_BYTES + 2 * ITEM_BYTES * len(pairs) + sum(map(len, pairs))
                stack.extend(pairs.values())
            case list() | tuple() as items:
                size += ITEM_BYTES
                stack.extend(items)
            case _:
                size += _SCALAR
    return size


def size_of_json(text: bytes) -> int:
    """At most so many bytes of memory are taken by what the text of JSON decodes to; costs next to nothing."""
    return len(text) + 3 * ITEM_BYTES * text.count(b"{") + ITEM_BYTES * text.count(b"[") + _SCALAR * text.count(b",")


def _copied(value: Any) -> Any:
    match value:
        case None | int() | float() | str():
            return value
        case Mapping():
            return {key: _copied(item) for key, item in value.items()}
        case list() | tuple():
            return [_copied(item) for item in value]
        case _:
            return value
