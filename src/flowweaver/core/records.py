"""Values that are made in great numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """A slotted dataclass that the type checker takes for frozen: nobody writes to one.

    Python itself does not look: where it does, making one takes three times as long, and each step makes a few.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
