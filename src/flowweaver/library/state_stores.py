"""What an executor keeps its runs in: a SQLite or a JSON file, or something of a program's own.

    ThreadedExecutor(state_store=SQLiteStateStore("workflow_state.db"))

The two that come with FlowWeaver hold whole runs, with every attempt. A state store of a program's own holds a state
for each task's name: `BaseStateStore`, or `StateBackend` with three methods.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flowweaver.library.abstract_stores import BaseStateStore, InMemoryStateBackend, StateBackend
from flowweaver.library.file_stores import FileStateStore

if TYPE_CHECKING:
    from flowweaver.ports import Store
    from flowweaver.stores.json_reading import JSONReading
    from flowweaver.stores.looking import Look

__all__ = [
    "BaseStateStore",
    "FileStateStore",
    "InMemoryStateBackend",
    "JSONStateStore",
    "SQLiteStateStore",
    "StateBackend",
    "opened_store",
]


@contextmanager
def opened_store(state_store: Any) -> Iterator[Store]:
    """The store of runs for an executor that has this state store, open for so long.

    Raises `StoreLocked` where another process, or another executor of this one, uses that file.
    """
    if getattr(state_store, "keeps_runs", False):
        with cast("FileStateStore", state_store).opened(exclusive=True) as store:
            yield store
        return
    from flowweaver.library.custom_store import CustomStore

    yield CustomStore(getattr(state_store, "save_task_state", None))


class JSONStateStore(FileStateStore):
    """Runs in a JSON file that a person can read, durable at every step. Made for up to some thousand tasks: all of it
    is held in memory while it is open.
    """

    def __init__(self, file_path: str | os.PathLike[str] = "workflow_state.json") -> None:
        super().__init__(file_path)
        self.file_path = self._path

    def _open(self, path: Path) -> Store:
        from flowweaver.engine import SystemClock
        from flowweaver.stores import JSONStore

        return JSONStore(path, clock=SystemClock())

    def _take_over(self, path: Path) -> None:
        from flowweaver.library.old_files import read_old_json, take_over

        take_over(path, read_old_json, self._open)

    @contextmanager
    def _looked_at(self, path: Path) -> Iterator[JSONReading | None]:
        from flowweaver.library.open_files import if_open
        from flowweaver.stores.json_files import look_at_files
        from flowweaver.stores.json_reading import JSONReading

        with if_open(path) as file:
            if file is not None:
                yield cast("JSONReading", file.store)
                return
        self._take_over(path)
        contents = look_at_files(path)
        yield None if contents is None else JSONReading(contents)


class SQLiteStateStore(FileStateStore):
    """Runs in a SQLite file, durable at every step; any program that reads SQLite can look at it."""

    def __init__(self, db_path: str | os.PathLike[str] = "workflow_state.db") -> None:
        super().__init__(db_path)
        self.db_path = self._path

    def _open(self, path: Path) -> Store:
        from flowweaver.engine import SystemClock
        from flowweaver.stores import SQLiteStore

        return SQLiteStore(path, clock=SystemClock())

    def _take_over(self, path: Path) -> None:
        from flowweaver.library.old_files import read_old_sqlite, take_over

        take_over(path, read_old_sqlite, self._open)

    @contextmanager
    def _looked_at(self, path: Path) -> Iterator[Look | None]:
        if not path.exists():
            yield None
            return
        from flowweaver.library.open_files import if_open
        from flowweaver.stores.looking import looking_at
        from flowweaver.stores.sqlite_look import SQLiteLook

        with if_open(path) as file:
            if file is None:
                self._take_over(path)
            with closing(SQLiteLook(path)) as look:
                if look.is_there and look.is_older:
                    with looking_at(path) as copied:
                        yield copied
                else:
                    yield look if look.is_there else None
