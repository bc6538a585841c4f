"""Where the state stores were imported from in 0.2; they are in `flowweaver` itself, and this keeps working."""

from flowweaver.library.state_stores import BaseStateStore, JSONStateStore, SQLiteStateStore

__all__ = ["BaseStateStore", "JSONStateStore", "SQLiteStateStore"]
