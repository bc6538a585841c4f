"""Values that are made in great numbers are of `msgspec.Struct`, which makes one in a third of a dataclass's time. With
`gc=False` the garbage collector does not look at them: they can not be part of a cycle.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

made = tuple.__new__
"""`made(Row, (1, 2))` is `Row(1, 2)` for a named tuple with no defaults left out, in half the time."""


def replace(value: T, /, **changes: Any) -> T:
    """A copy of a struct or a dataclass with other values for some fields: `copy.replace` of Python 3.13."""
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **changes)
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]  # it is one
