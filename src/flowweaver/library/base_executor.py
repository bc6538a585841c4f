"""What every executor has, and what one of a program's own builds on."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeAlias

from flowweaver.errors import ArgumentError
from flowweaver.library.statuses import TaskStatus

if TYPE_CHECKING:
    from flowweaver.library.state_stores import BaseStateStore, StateBackend
    from flowweaver.library.tasks import Task
    from flowweaver.library.workflow import Workflow

    AnyStore: TypeAlias = BaseStateStore | StateBackend


_OF_A_STORE = ("load_state", "save_state", "save_task_state")


def checked_store(store: AnyStore | None) -> AnyStore | None:
    """`store`, where it has something to restore from or to save with; raises `ArgumentError`."""
    if store is None or (not isinstance(store, type) and any(hasattr(store, name) for name in _OF_A_STORE)):
        return store
    fix = f"SQLiteStateStore({store!r:.80})" if isinstance(store, (str, os.PathLike)) else "SQLiteStateStore(path)"
    raise ArgumentError(f"state_store is {store!r:.80}: use a state store, like {fix}")


class BaseExecutor(ABC):
    """What every executor has; build on it to execute workflows in a way of your own.

    An executor of your own overrides `execute`: it asks `should_skip` for each task, runs it with `Task.execute`, and
    calls `restore` before and `save` after a task.
    """

    def __init__(self, storage: AnyStore | None = None, *, state_store: AnyStore | None = None) -> None:
        """`state_store` keeps what has completed; `storage` is another name of the same argument."""
        if storage is not None and state_store is not None and storage is not state_store:
            raise ArgumentError("state_store and storage are two names of one argument: give one of them")
        self.storage = checked_store(storage if state_store is None else state_store)

    @property
    def state_store(self) -> AnyStore | None:
        """What keeps what has completed; None: nothing does."""
        return self.storage

    @abstractmethod
    def execute(self, workflow: Workflow) -> Workflow | None:
        """Execute the workflow; raises `WorkflowExecutionError`, a `RuntimeError`, where it does not complete."""

    def restore(self, workflow: Workflow) -> None:
        """Set what the state store knows of the workflow's tasks. An extension point: called before the first task."""
        if self.storage is not None and hasattr(self.storage, "load_state"):
            self.storage.load_state(workflow)

    def save(self, workflow: Workflow, task: Task) -> None:  # noqa: ARG002 - whoever overrides it wants to know
        """Keep what became of a task. An extension point: called after each, before anything that depends on it."""
        if self.storage is not None:
            self.storage.save_task_state(task.name, task.status, task.result, task.error, task.completed_at)

    def should_skip(self, task: Task) -> bool:
        """Whether a task has completed already."""
        return task.status is TaskStatus.COMPLETED

    _should_skip = should_skip
