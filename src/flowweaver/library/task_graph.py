"""Tasks and what they depend on: what a workflow is built of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flowweaver.core.graph import Graph
from flowweaver.errors import ArgumentError, GraphError
from flowweaver.library.tasks import MARK, Task, checked_dependencies, task_of


class TaskGraph:
    """Tasks in the order in which they were added, each after those that it depends on: there is never a cycle."""

    name: str

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._names: list[str] = []
        self._positions: dict[str, int] = {}
        self._dependencies: list[tuple[int, ...]] = []
        self._executing = False  # nothing can be added then

    # ------------------------------------------------------------------------------------------------------- building

    def add_task(
        self,
        task: Task | Callable[..., Any],
        depends_on: Iterable[str | Task | Callable[..., Any]] | None = None,
    ) -> Task:
        """Add a task, or a function that `@task` has marked, after those that it depends on; gives the task.

        `depends_on` has names, tasks or marked functions; without it the task's own `depends_on` holds. Raises
        `GraphError`, which is a `ValueError`, for a name that is taken or a dependency that is not there, and
        `TypeError` for anything else than a task. Nothing is added then.
        """
        if not isinstance(task, Task):
            if not (callable(task) and hasattr(task, MARK)):
                raise TypeError(
                    f"add_task takes a Task or a function decorated with @task, not {type(task).__name__} {task!r:.80}"
                )
            task = task_of(task)
        if self._executing:
            raise GraphError(f"task '{task.name}' can not be added while workflow '{self.name}' is being executed")
        name = task.name
        if name in self._positions:
            raise GraphError(f"Task '{name}' already exists in workflow '{self.name}': give one of them another name")
        wanted = checked_dependencies(name, task.depends_on if depends_on is None else depends_on)
        try:
            dependencies = tuple([self._positions[each] for each in wanted])
        except (KeyError, TypeError):  # not all are names of tasks that are there
            dependencies = tuple([self._position(name, each) for each in wanted])
        if len(dependencies) > 1:
            dependencies = tuple(dict.fromkeys(dependencies))
        self._positions[name] = len(self._dependencies)
        self._dependencies.append(dependencies)
        self._names.append(name)
        self._tasks[name] = task
        return task

    def _position(self, task: str, dependency: object) -> int:
        name = _name_of(dependency)
        position = self._positions.get(name)
        if position is None:
            where = "it depends on itself" if name == task else f"add '{name}' before '{task}'"
            raise GraphError(f"Dependency '{name}' of task '{task}' does not exist: {where}")
        return position

    @property
    def tasks(self) -> dict[str, Task]:
        """All tasks by name, in the order in which they were added."""
        return dict(self._tasks)

    def get_task(self, task_name: str) -> Task | None:
        """The task of that name; None where there is none."""
        return self._tasks.get(task_name)

    def get_all_tasks(self) -> dict[str, Task]:
        """The same as `tasks`."""
        return dict(self._tasks)

    def get_dependencies(self, task_name: str) -> list[str]:
        """The names of what a task depends on; none for one that is not there."""
        position = self._positions.get(task_name)
        if position is None:
            return []
        return [self._names[each] for each in self._dependencies[position]]

    def get_task_dependencies(self, task_name: str) -> list[str]:
        """The same as `get_dependencies`."""
        return self.get_dependencies(task_name)

    def get_execution_plan(self) -> list[list[Task]]:
        """The tasks in layers: each depends only on earlier ones. Within a layer they stand by name.

        It is a picture, no schedule: a task starts when its own dependencies are done.
        """
        levels: list[int] = []
        layers: list[list[Task]] = []
        for task, dependencies in zip(self._tasks.values(), self._dependencies, strict=True):
            level = 1 + max((levels[each] for each in dependencies), default=-1)
            levels.append(level)
            if level == len(layers):
                layers.append([])
            layers[level].append(task)
        return [sorted(layer, key=lambda task: task.name) for layer in layers]

    @property
    def graph(self) -> Graph:
        """The tasks' graph, by position."""
        return Graph.ordered(tuple(self._names), tuple(self._dependencies))

    def __len__(self) -> int:
        """How many tasks it has."""
        return len(self._tasks)

    def __bool__(self) -> bool:
        """It is there, also without tasks."""
        return True

    def __contains__(self, task_name: object) -> bool:
        """Whether there is a task of that name."""
        return task_name in self._tasks


def _name_of(dependency: object) -> str:
    if isinstance(dependency, str):
        return dependency
    if isinstance(dependency, Task):
        return dependency.name
    marked: Mapping[str, Any] | None = getattr(dependency, MARK, None)
    if marked is None:
        raise ArgumentError(f"depends_on has {dependency!r:.80}: use a task's name, a Task or a function with @task")
    return str(marked["name"])
