"""Lets an executor use a state store of a program's own: its runs are in memory, and each state that a task comes to
is saved there before anything that depends on it starts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from flowweaver.core.changes import Changes
from flowweaver.core.state import TaskState
from flowweaver.errors import StoreError
from flowweaver.library.functions import object_marker
from flowweaver.library.saved_states import local_time
from flowweaver.library.statuses import TaskStatus, task_status
from flowweaver.ports import ChildProcess
from flowweaver.stores import MemoryStore

SaveState = Callable[[str, TaskStatus, Any, str | None, datetime | None], None]


class CustomStore(MemoryStore):
    """`ports.Store` in memory, with a `save_task_state` that is told of every task that has finished."""

    def __init__(self, save: SaveState | None) -> None:
        """`save` may be None, and may raise `NotImplementedError`: then it is not asked again."""
        super().__init__()
        self._save = save
        self._objects: dict[int, Mapping[int, Any]] = {}

    def carry(self, run: int, objects: Mapping[int, Any]) -> None:
        """Have the results of that run that JSON can not carry, by position, as the objects that they are."""
        self._objects[run] = objects

    def delete_run(self, run: int) -> None:
        """See `ports.Store`."""
        super().delete_run(run)
        self._objects.pop(run, None)

    def commit(self, changes: Changes, processes: Sequence[ChildProcess] = ()) -> None:
        """See `ports.Store`. Where the program's own store raises it is a `StoreError`, and nothing is committed."""
        if self._save is not None:
            results = {(run, task): result for run, task, result in changes.results}
            for run, task, state in changes.tasks:
                if state.phase.finished:
                    self._tell(run, task, state, results.get((run, task)))
        super().commit(changes, processes)

    def _tell(self, run: int, task: int, state: TaskState, result: bytes | None) -> None:
        if self._save is None:
            return
        name = self._runs[run].plan.tasks[task].name
        value = None if result is None else self._value_of(run, task, result)
        try:
            self._save(name, task_status(state.phase), value, state.message or None, local_time(state.finished_at))
        except NotImplementedError:
            self._save = None
        except Exception as exc:
            raise StoreError(f"the state store could not save task '{name}': {type(exc).__name__}: {exc}") from exc

    def _value_of(self, run: int, task: int, result: bytes) -> Any:
        if result == object_marker(task) and run in self._objects:
            return self._objects[run][task]
        return json.loads(result)
