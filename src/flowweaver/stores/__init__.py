"""Where runs are kept: `SQLiteStore` in a file, `MemoryStore` for tests and runs that nobody resumes."""

from flowweaver.stores.memory import MemoryStore
from flowweaver.stores.sqlite import SQLiteStore

__all__ = ["MemoryStore", "SQLiteStore"]
