"""Where runs are kept: `SQLiteStore` and `JSONStore` in a file, `MemoryStore` for tests and runs that nobody resumes.

Each is imported when it is asked for, so that nobody loads SQLite who does not use it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowweaver.stores.json_store import JSONStore
    from flowweaver.stores.memory import MemoryStore
    from flowweaver.stores.sqlite import SQLiteStore

__all__ = ["JSONStore", "MemoryStore", "SQLiteStore"]

_HOMES = {"JSONStore": "json_store", "MemoryStore": "memory", "SQLiteStore": "sqlite"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
