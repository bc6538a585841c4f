"""What the two state stores in a file share: states by name and whole workflows, on a store of runs."""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flowweaver.errors import ArgumentError, StoreError
from flowweaver.library.abstract_stores import BaseStateStore
from flowweaver.library.statuses import TaskStatus
from flowweaver.stores.filesystems import checked_path

if TYPE_CHECKING:
    from flowweaver.library.open_files import OpenFile
    from flowweaver.library.saved_states import Given, SavedState
    from flowweaver.library.workflow import Workflow
    from flowweaver.ports import Store
    from flowweaver.stores.json_reading import JSONReading
    from flowweaver.stores.sqlite_look import SQLiteLook
    from flowweaver.stores.sqlite_reading import SQLiteReading

    Look = JSONReading | SQLiteLook


class FileStateStore(BaseStateStore):
    """What the two stores in a file share. Two objects on one path are the same store.

    Whoever writes to it has the file for that moment, an executor for as long as it executes: another process gets
    `StoreLocked` then. Reading is possible at any time, also beside another process that executes.
    """

    keeps_runs = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """The folders on the way to `path` are made; the file is, when something is written. A path that is not whole
        is one of the folder that the process is in now, wherever it goes later. Raises `ArgumentError`, `StoreError`.
        """
        text = os.fsdecode(path)
        if text in {"", ":memory:"} or "\0" in text:
            raise ArgumentError(
                f"the path of the state store is {text!r}: name a file; to keep nothing, leave the state store out"
            )
        self._path = Path(text)
        self._place = self._path.absolute()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreError(f"the folder of {self._place} can not be made: {exc.strerror}") from exc

    @property
    def identity(self) -> Path:
        """The same for all objects on one file."""
        return Path(os.path.realpath(self._place))

    @contextmanager
    def opened(self, *, exclusive: bool = False) -> Iterator[Store]:
        """The store of runs that is in the file; `exclusive`: for an engine, of which there can be one."""
        with self._file(exclusive=exclusive) as file:
            yield file.store

    @contextmanager
    def _file(self, path: Path | None = None, *, exclusive: bool = False) -> Iterator[OpenFile]:
        from flowweaver.library.open_files import opened

        path = path or self.identity
        with opened(path, lambda: self._begin(path), exclusive=exclusive) as file:
            yield file

    def _begin(self, path: Path) -> Store:
        """Open the file, after taking over what an older version has left there."""
        checked_path(path)
        self._take_over(path)
        return self._open(path)

    @abstractmethod
    def _open(self, path: Path) -> Store:
        """Open or make the file at that real path."""

    @abstractmethod
    def _take_over(self, path: Path) -> None:
        """Replace a file of an older version."""

    @abstractmethod
    def _looked_at(self, path: Path) -> Any:
        """A context manager that gives something to read from, whoever holds the file; None where there is nothing."""

    @contextmanager
    def _look(self) -> Iterator[Look | None]:
        with self._looked_at(self.identity) as look:
            yield look

    # ---------------------------------------------------------------------------------------------------- one by one

    def save_task_state(
        self,
        task_name: str,
        status: TaskStatus,
        result: Any = None,
        error: str | None = None,
        timestamp: datetime | None = None,
    ) -> None:
        """Keep the state of a task, which counts until an execution knows better; those before are its history.

        A new run of any workflow with a task of that name takes it for completed where this says so. Raises
        `ArgumentError` for a result that JSON can not carry, `StoreLocked` while another process has the file.
        """
        from flowweaver.library.saved_states import save_states

        given = _given(task_name, status, result, error, timestamp)
        with self._file() as file:
            save_states(file.store, {task_name: given})
            if file.saved is not None:
                file.saved.add(task_name)

    def load_task_state(self, task_name: str) -> dict[str, Any] | None:
        """The newest state of a task of that name, in whichever workflow; None where there is none."""
        from flowweaver.library.saved_states import read_state

        with self._look() as look:
            state = None if look is None else read_state(look, task_name)
        return None if state is None else state.as_dict()

    def clear_task_state(self, task_name: str) -> None:
        """Forget the state of a task: executed again, the workflows that have it do it again, and nothing before it.

        Raises `WorkflowRunningError` where one of them is being executed.
        """
        from flowweaver.library.saved_states import clear_name

        with self._file() as file:
            clear_name(file.store, task_name, engine=file.engine)

    def clear_all_states(self) -> None:
        """Forget all runs. Raises `WorkflowRunningError` where one is being executed."""
        from flowweaver.library.saved_states import clear_all

        with self._file() as file:
            clear_all(file.store, engine=file.engine)

    def list_task_states(self) -> list[str]:
        """The names of all tasks of all runs, oldest run first, those of a run as they were added."""
        from flowweaver.library.saved_states import list_names

        with self._look() as look:
            return [] if look is None else list_names(look)

    def query_task_history(self, task_name: str, limit: int = 100) -> list[dict[str, Any]]:
        """Every attempt of the tasks of that name and every state that was saved for it, newest first.

        Each has the keys status, result, error, timestamp and updated_at. An attempt that has timed out or crashed is
        FAILED, one that was interrupted CANCELLED. Of saved states the newest hundred are kept.
        """
        from flowweaver.library.histories import told

        with self._look() as look:
            return [] if look is None else [told(past) for past in look.read_history(task_name, limit)]

    # ------------------------------------------------------------------------------------------------- whole workflows

    def load_state(self, workflow: Workflow) -> None:
        """Set what the newest run of this workflow says of its tasks; of a task that it does not know, what was saved
        for its name.
        """
        with self._look() as look:
            if look is not None:
                for name, state in _states_for(look, workflow).items():
                    _set(workflow, name, state)

    def save_state(self, workflow: Workflow) -> None:
        """Keep what the workflow's tasks say, as its run "default": executing it goes on from there.

        Raises `ArgumentError` for a result that JSON can not carry, `WorkflowRunningError` while it is being executed.
        """
        from flowweaver.library.compiling import compiled
        from flowweaver.library.saved_states import save_run

        states = {
            position: _given(task.name, task.status, task.result, task.error, task.completed_at)
            for position, task in enumerate(workflow.get_all_tasks().values())
            if task.status in {TaskStatus.COMPLETED, TaskStatus.FAILED}
        }
        with self._file() as file:
            save_run(file.store, compiled(workflow).plan, states, now=time.time(), engine=file.engine)

    def restore_saved(self, workflow: Workflow, path: Path) -> None:
        """Set what was saved as completed for a name of the workflow's tasks, where no run knows better.

        An executor, which has the file at `path` open, calls it before it opens a run: with nothing saved by name it
        costs nothing.
        """
        from flowweaver.library.open_files import nothing_saved
        from flowweaver.library.saved_states import BY_NAME, read_state

        if nothing_saved(path):
            return
        with self._file(path) as file:
            if file.saved is None:
                kept = cast("JSONReading | SQLiteReading", file.store)
                file.saved = {name.run_id for _, name in kept.keys_of_workflow(BY_NAME)}
            for name in file.saved.intersection(workflow.get_all_tasks()) if file.saved else ():
                found = file.store.task_named(name)
                if found is not None and file.store.read_run(found[0]).name.workflow == BY_NAME:
                    state = read_state(file.store, name)
                    if state is not None and state.status is TaskStatus.COMPLETED:
                        _set(workflow, name, state)


def _given(name: str, status: TaskStatus, result: Any, error: str | None, timestamp: datetime | None) -> Given:
    from flowweaver.errors import ArgumentError
    from flowweaver.library.saved_states import Given
    from flowweaver.runners.failures import Refused
    from flowweaver.runners.results import encode_result

    try:
        encoded = encode_result(result, name=f"the result of task '{name}'", limit=64 << 20)
    except Refused as exc:
        raise ArgumentError(str(exc)) from None
    return Given(status, encoded, error, time.time() if timestamp is None else timestamp.timestamp())


def _states_for(look: Look, workflow: Workflow) -> Mapping[str, SavedState]:
    """What there is to say of a workflow's tasks."""
    from flowweaver.library.saved_states import BY_NAME, read_state, read_states

    keys = look.keys_of_workflow(workflow.name)
    states = read_states(look, look.read_run(keys[-1][0])) if keys else {}
    newest_by_name = {name.run_id: key for key, name in look.keys_of_workflow(BY_NAME)}
    for name in workflow.get_all_tasks():
        key = newest_by_name.get(name)
        if key is not None and (name not in states or key > keys[-1][0]):
            state = read_state(look, name)
            if state is not None:
                states[name] = state
    return states


def _set(workflow: Workflow, name: str, state: SavedState) -> None:
    task = workflow.get_task(name)
    if task is not None:
        task.status, task.result, task.error = state.status, state.result, state.error
        task.started_at = state.started_at
        task.completed_at = None if state.status is TaskStatus.PENDING else state.timestamp
