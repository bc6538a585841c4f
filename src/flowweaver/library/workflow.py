"""A DAG of tasks, and what the newest execution made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowweaver.core.graph import Graph
from flowweaver.errors import ArgumentError, GraphError
from flowweaver.library.policies import FailurePolicy, choice
from flowweaver.library.statuses import TaskStatus, WorkflowStatus
from flowweaver.library.tasks import MARK, Task, task_of

if TYPE_CHECKING:
    from flowweaver.core.plan import RunPlan
    from flowweaver.library.boards import Board
    from flowweaver.library.events import Listener
    from flowweaver.library.executors import BaseExecutor
    from flowweaver.library.policies import OnChange
    from flowweaver.ports import Listener as Watcher

LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """How many tasks of a workflow stand where, and what the newest execution took."""

    total: int
    completed: int
    failed: int
    running: int
    pending: int
    skipped: int
    cancelled: int
    attempts: int  # started, over all processes that worked on the run
    seconds: float  # from the first start to the last end


class Workflow:
    """A DAG of tasks. A task is added after those that it depends on, so there is no cycle at any time.

    `name` says, with the run id, which run an executor with a state store goes on with. Adding n tasks costs n steps.
    One object is executed once at a time; building it is for one thread.
    """

    def __init__(
        self,
        name: str = "Workflow",
        *,
        failure_policy: FailurePolicy | str = FailurePolicy.FAIL_FAST,
        timeout: float | None = None,
        parallelism: int | None = None,
        priority: int = 0,
    ) -> None:
        """`failure_policy="continue"` runs whatever does not need a failed task; `timeout` is the whole run's, in
        seconds; `parallelism` bounds how many of its tasks run at once; with a higher `priority` it goes before other
        workflows of the same executor. Raises `ArgumentError`.
        """
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise ArgumentError(f"a workflow's name is {name!r:.80}: use a text of 1 to {LONGEST_NAME} characters")
        if timeout is not None and not timeout > 0:
            raise ArgumentError(f"Workflow(timeout={timeout!r}): use a number of seconds above 0, or None")
        if parallelism is not None and (not isinstance(parallelism, int) or parallelism < 1):
            raise ArgumentError(f"Workflow(parallelism={parallelism!r}): use a whole number of at least 1, or None")
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise ArgumentError(f"Workflow(priority={priority!r}): use a whole number")
        self.name = name
        self.failure_policy = choice(FailurePolicy, failure_policy, "Workflow(failure_policy)")
        self.timeout = timeout
        self.parallelism = parallelism
        self.priority = priority
        self.params: dict[str, Any] = {}  # JSON: what expressions of tasks from a manifest read as params.NAME
        self.plan: RunPlan | None = None  # what a manifest says beside all this; None: it is none of a manifest
        self._tasks: dict[str, Task] = {}
        self._positions: dict[str, int] = {}
        self._dependencies: list[tuple[int, ...]] = []
        self._listeners: list[Listener] = []
        self._watchers: list[Watcher] = []
        self._board: Board | None = None  # of the newest execution
        self._executing = False

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
        wanted = task.depends_on if depends_on is None else depends_on
        if isinstance(wanted, str):
            raise ArgumentError(f"task '{name}': depends_on is the text {wanted!r}: use a list, [{wanted!r}]")
        dependencies = tuple(dict.fromkeys(self._position(name, _name_of(each)) for each in wanted))
        self._positions[name] = len(self._dependencies)
        self._dependencies.append(dependencies)
        self._tasks[name] = task
        return task

    def _position(self, task: str, dependency: str) -> int:
        position = self._positions.get(dependency)
        if position is None:
            where = "it depends on itself" if dependency == task else f"add '{dependency}' before '{task}'"
            raise GraphError(f"Dependency '{dependency}' of task '{task}' does not exist: {where}")
        return position

    def add_listener(self, listener: Listener) -> None:
        """Have `listener` called with a `StatusEvent` for each change of the workflow's and its tasks' statuses.

        It is called after the change is durable, in order, never twice, and for the last time before `execute` returns;
        what it raises is logged and changes nothing.
        """
        self._listeners.append(listener)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Whoever is told of changes."""
        return tuple(self._listeners)

    # -------------------------------------------------------------------------------------------------------- looking

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
        names = tuple(self._tasks)
        return [names[each] for each in self._dependencies[position]]

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
        return Graph.ordered(tuple(self._tasks), tuple(self._dependencies))

    # ------------------------------------------------------------------------------------------------ what became of it

    @property
    def status(self) -> WorkflowStatus:
        """Where the newest execution stands; what its tasks say where there was none."""
        if self._board is not None:
            return self._board.workflow_status
        statuses = {task.status for task in self._tasks.values()}
        if TaskStatus.FAILED in statuses:
            return WorkflowStatus.FAILED
        return WorkflowStatus.COMPLETED if statuses == {TaskStatus.COMPLETED} else WorkflowStatus.PENDING

    @property
    def results(self) -> dict[str, Any]:
        """The results of the tasks that completed, by name. Each call decodes them anew."""
        return {name: task.result for name, task in self._tasks.items() if task.status is TaskStatus.COMPLETED}

    @property
    def outputs(self) -> dict[str, Any]:
        """What the outputs of a manifest came to, by name; empty where it has none, or they are not there yet."""
        board, position = self._board, len(self._tasks)
        if board is None or len(board.tasks) <= position or board.status(position) is not TaskStatus.COMPLETED:
            return {}
        return {output["name"]: output["value"] for output in board.result(position)}

    @property
    def statistics(self) -> Statistics:
        """Counts and duration of the newest execution."""
        counts = dict.fromkeys(TaskStatus, 0)
        attempts = 0
        starts, ends = [], []
        for task in self._tasks.values():
            status = task.status
            counts[status] += 1
            attempts += task.attempts
            if status in {TaskStatus.COMPLETED, TaskStatus.FAILED}:
                starts += [task.started_at] if task.started_at else []
                ends += [task.completed_at] if task.completed_at else []
        return Statistics(
            total=len(self._tasks),
            attempts=attempts,
            seconds=(max(ends) - min(starts)).total_seconds() if starts and ends else 0.0,
            **{status.value: count for status, count in counts.items()},
        )

    def get_task_status(self, task_name: str) -> TaskStatus | None:
        """Where a task stands; None for one that is not there."""
        task = self._tasks.get(task_name)
        return None if task is None else task.status

    def get_task_result(self, task_name: str) -> Any:
        """A task's result; None where it has not completed. Raises `KeyError` for one that is not there."""
        return self._tasks[task_name].result

    def get_workflow_stats(self) -> dict[str, Any]:
        """`statistics` as a dict, with the keys total_tasks, completed, failed, pending, running, total_time_seconds,
        skipped, cancelled and attempts.
        """
        statistics = self.statistics
        return {
            "total_tasks": statistics.total,
            "completed": statistics.completed,
            "failed": statistics.failed,
            "pending": statistics.pending,
            "running": statistics.running,
            "total_time_seconds": statistics.seconds,
            "skipped": statistics.skipped,
            "cancelled": statistics.cancelled,
            "attempts": statistics.attempts,
        }

    def reset(self) -> None:
        """Forget what became of it, so that an execution without a state store begins anew.

        What a state store has stays there: `execute(…, fresh=True)` begins a new run in it.
        """
        if self._executing:
            raise GraphError(f"workflow '{self.name}' can not be reset while it is being executed")
        self.forget()

    # ------------------------------------------------------------------------------------------------------ executing

    def execute(
        self,
        executor: BaseExecutor | None = None,
        *,
        run_id: str = "default",
        fresh: bool = False,
        on_change: OnChange = "warn",
    ) -> Workflow:
        """Execute it and give it back; without an executor in four threads, and nothing is stored.

        See `ThreadedExecutor.execute` for the arguments and errors.
        """
        from flowweaver.library.executors import EngineExecutor, ThreadedExecutor

        chosen = ThreadedExecutor() if executor is None else executor
        if isinstance(chosen, EngineExecutor):
            return chosen.execute(self, run_id=run_id, fresh=fresh, on_change=on_change)
        if run_id != "default" or fresh or on_change != "warn":
            raise ArgumentError(f"{type(chosen).__name__} does not know run_id, fresh and on_change: leave them out")
        chosen.execute(self)
        return self

    async def execute_async(
        self,
        executor: BaseExecutor | None = None,
        *,
        run_id: str = "default",
        fresh: bool = False,
        on_change: OnChange = "warn",
    ) -> Workflow:
        """The same, awaited: the running event loop goes on. Without an executor, coroutines run in this very loop."""
        from flowweaver.library.executors import AsyncExecutor, EngineExecutor

        chosen = AsyncExecutor.here() if executor is None else executor
        if not isinstance(chosen, EngineExecutor):
            raise ArgumentError(f"{type(chosen).__name__} has no execute_async: use one of FlowWeaver's executors")
        return await chosen.execute_async(self, run_id=run_id, fresh=fresh, on_change=on_change)

    # ---------------------------------------------------------------------------------- for executors and state stores

    @contextmanager
    def watched(self, watcher: Watcher) -> Iterator[None]:
        """Have executions that begin within call `watcher` with each commit's notices, on the engine's thread: it must
        return at once. What it raises is logged.
        """
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

    @property
    def watchers(self) -> tuple[Watcher, ...]:
        """Whoever watches."""
        return tuple(self._watchers)

    def forget(self) -> None:
        """`reset`, by whoever executes it."""
        self._board = None
        for task in self._tasks.values():
            task.reset()

    def attach(self, board: Board) -> None:
        """Show what `board` says from now on."""
        self._board = board
        for position, task in enumerate(self._tasks.values()):
            task.attach(board, position)

    def _store_task_result(self, task_name: str, result: Any) -> None:
        """What state stores of 0.2 call beside setting the task's result."""
        task = self._tasks.get(task_name)
        if task is not None and task.status is TaskStatus.COMPLETED:
            task.result = result

    def __len__(self) -> int:
        """How many tasks it has."""
        return len(self._tasks)

    def __bool__(self) -> bool:
        """It is there, also without tasks."""
        return True

    def __contains__(self, task_name: object) -> bool:
        """Whether there is a task of that name."""
        return task_name in self._tasks

    def __repr__(self) -> str:
        """The name, the size and the status."""
        return f"Workflow(name={self.name!r}, tasks={len(self._tasks)}, status={self.status})"

    def __getstate__(self) -> dict[str, Any]:
        """A copy and a pickle keep what the tasks say, and do not follow the run."""
        return {**self.__dict__, "_board": None, "_executing": False, "_watchers": []}


def _name_of(dependency: object) -> str:
    if isinstance(dependency, str):
        return dependency
    if isinstance(dependency, Task):
        return dependency.name
    marked: Mapping[str, Any] | None = getattr(dependency, MARK, None)
    if marked is None:
        raise ArgumentError(f"depends_on has {dependency!r:.80}: use a task's name, a Task or a function with @task")
    return str(marked["name"])
