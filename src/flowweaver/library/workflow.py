"""A DAG of tasks, and what the newest execution made of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flowweaver.errors import ArgumentError, GraphError
from flowweaver.library.policies import FailurePolicy, choice
from flowweaver.library.statistics import Statistics, statistics_of
from flowweaver.library.statuses import TaskStatus, WorkflowStatus
from flowweaver.library.task_graph import TaskGraph
from flowweaver.library.tasks import checked_callback

if TYPE_CHECKING:
    from flowweaver.core.plan import RunPlan
    from flowweaver.library.boards import Board
    from flowweaver.library.events import Listener
    from flowweaver.library.executors import BaseExecutor
    from flowweaver.library.policies import OnChange
    from flowweaver.ports import Listener as Watcher

LONGEST_NAME = 200

__all__ = ["Statistics", "Workflow"]


class Workflow(TaskGraph):
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
        if timeout is not None and (not _is_a(timeout, (int, float)) or not 0 < timeout < float("inf")):
            raise ArgumentError(f"Workflow(timeout={timeout!r}): use a number of seconds above 0, or None")
        if parallelism is not None and (not _is_a(parallelism, int) or parallelism < 1):
            raise ArgumentError(f"Workflow(parallelism={parallelism!r}): use a whole number of at least 1, or None")
        if not _is_a(priority, int):
            raise ArgumentError(f"Workflow(priority={priority!r}): use a whole number")
        super().__init__()
        self.name = name
        self.failure_policy = choice(FailurePolicy, failure_policy, "Workflow(failure_policy)")
        self.timeout = timeout
        self.parallelism = parallelism
        self.priority = priority
        self.params: dict[str, Any] = {}  # JSON: what expressions of tasks from a manifest read as params.NAME
        self.plan: RunPlan | None = None  # what a manifest says beside all this; None: it is none of a manifest
        self._listeners: list[Listener] = []
        self._watchers: list[Watcher] = []
        self._board: Board | None = None  # of the newest execution

    # ----------------------------------------------------------------------------------------------------- listening

    def add_listener(self, listener: Listener) -> None:
        """Have `listener` called with a `StatusEvent` for each change of the workflow's and its tasks' statuses.

        It is called after the change is durable, in order, never twice, and for the last time before `execute` returns;
        what it raises is logged and changes nothing.
        """
        checked_callback(listener, f"a listener of workflow '{self.name}'")
        self._listeners.append(listener)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Whoever is told of changes."""
        return tuple(self._listeners)

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
        return statistics_of(self._tasks.values())

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
        if isinstance(chosen, type) or not callable(getattr(chosen, "execute", None)):
            raise ArgumentError(f"the executor is {chosen!r:.80}: use one, like ThreadedExecutor()")
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

    def __repr__(self) -> str:
        """The name, the size and the status."""
        return f"Workflow(name={self.name!r}, tasks={len(self._tasks)}, status={self.status})"

    def __getstate__(self) -> dict[str, Any]:
        """A copy and a pickle keep what the tasks say, and do not follow the run."""
        return {**self.__dict__, "_board": None, "_executing": False, "_watchers": []}


def _is_a(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
