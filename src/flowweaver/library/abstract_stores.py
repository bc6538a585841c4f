"""State stores of a program's own: what to build on, and one that keeps states in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flowweaver.library.statuses import TaskStatus

if TYPE_CHECKING:
    from flowweaver.library.workflow import Workflow


class BaseStateStore(ABC):
    """Keeps the states of tasks by name. Build on it to keep them elsewhere; an executor takes any subclass.

    An executor calls `load_state` before the first task of an execution, `save_task_state` for each task that has
    finished, before anything that depends on it starts, and `save_state` at the end. One that raises
    `NotImplementedError` in `save_task_state` is only asked at the end. Its methods are called from several threads,
    one at a time for each execution.
    """

    keeps_runs = False
    """Whether it has whole runs, and not just states by name. What this says is for the stores that come with it."""

    @abstractmethod
    def save_task_state(
        self,
        task_name: str,
        status: TaskStatus,
        result: Any = None,
        error: str | None = None,
        timestamp: datetime | None = None,
    ) -> None:
        """Keep the state of a task in place of the one before. `timestamp`: None is now."""

    @abstractmethod
    def load_task_state(self, task_name: str) -> dict[str, Any] | None:
        """The state of a task, with the keys status, result, error and timestamp; None where there is none."""

    @abstractmethod
    def clear_task_state(self, task_name: str) -> None:
        """Forget the state of a task; one that has none is no error."""

    @abstractmethod
    def clear_all_states(self) -> None:
        """Forget all states."""

    @abstractmethod
    def list_task_states(self) -> list[str]:
        """The names of all tasks that have a state."""

    @abstractmethod
    def load_state(self, workflow: Workflow) -> None:
        """Set `status`, `result`, `error` and `completed_at` of the workflow's tasks to what is kept."""

    @abstractmethod
    def save_state(self, workflow: Workflow) -> None:
        """Keep the states of all tasks of the workflow."""


class StateBackend(ABC):
    """The same with three methods: an executor asks for each task of a workflow, and tells of each that finished."""

    keeps_runs = False

    @abstractmethod
    def save_task_state(
        self,
        task_name: str,
        status: TaskStatus,
        result: Any = None,
        error: str | None = None,
        timestamp: datetime | None = None,
    ) -> None:
        """Keep the state of a task in place of the one before."""

    @abstractmethod
    def load_task_state(self, task_name: str) -> dict[str, Any] | None:
        """The state of a task, with the keys status, result, error and timestamp; None where there is none."""

    @abstractmethod
    def clear(self) -> None:
        """Forget all states."""

    def load_state(self, workflow: Workflow) -> None:
        """Set what is kept of the workflow's tasks. An executor calls it before the first one."""
        for name, task in workflow.get_all_tasks().items():
            state = self.load_task_state(name)
            if state is not None:
                task.status, task.result, task.error = state["status"], state["result"], state["error"]
                task.completed_at = state["timestamp"]


class InMemoryStateBackend(StateBackend):
    """Keeps states as long as it lives, results as the objects that they are."""

    def __init__(self) -> None:
        self._states: dict[str, dict[str, Any]] = {}

    def save_task_state(
        self,
        task_name: str,
        status: TaskStatus,
        result: Any = None,
        error: str | None = None,
        timestamp: datetime | None = None,
    ) -> None:
        """See `StateBackend`."""
        self._states[task_name] = {"status": status, "result": result, "error": error, "timestamp": timestamp}

    def load_task_state(self, task_name: str) -> dict[str, Any] | None:
        """See `StateBackend`."""
        return self._states.get(task_name)

    def clear(self) -> None:
        """See `StateBackend`."""
        self._states.clear()
