"""How workflows are executed: one task at a time, in threads, or in an event loop. One engine in three ways."""

from __future__ import annotations

import logging
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, get_args

from flowweaver.errors import ArgumentError, EventLoopRunning, PlanChanged, RunFailed, WorkflowExecutionError
from flowweaver.library.policies import OnChange
from flowweaver.library.statuses import TaskStatus
from flowweaver.library.waiting import ThreadInbox

if TYPE_CHECKING:
    import asyncio

    from flowweaver.library.executions import Execution
    from flowweaver.library.functions import FunctionRunner
    from flowweaver.library.sessions import Session, Sessions
    from flowweaver.library.state_stores import BaseStateStore, StateBackend
    from flowweaver.library.tasks import Task
    from flowweaver.library.workflow import Workflow
    from flowweaver.ports import Clock, Opening, Store

    AnyStore = BaseStateStore | StateBackend

logger = logging.getLogger(__name__)
_making = threading.Lock()

LARGEST_RESULT_BYTES = 64 << 20
RELEASE_SECONDS = 2.0
"""So long an interrupted execution waits for what is running, so that it need not run again."""


class BaseExecutor(ABC):
    """What every executor has; build on it to execute workflows in a way of your own.

    An executor of your own overrides `execute`: it asks `should_skip` for each task, runs it with `Task.execute`, and
    calls `restore` before and `save` after a task.
    """

    def __init__(self, storage: AnyStore | None = None, *, state_store: AnyStore | None = None) -> None:
        """`state_store` keeps what has completed; `storage` is another name of the same argument."""
        if storage is not None and state_store is not None and storage is not state_store:
            raise ArgumentError("state_store and storage are two names of one argument: give one of them")
        self.storage = storage if state_store is None else state_store

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


class EngineExecutor(BaseExecutor):
    """What the three executors share: everything but where an attempt runs.

    Safe from several threads and for several workflows at once, which share its workers. It holds no thread and no file
    between executions; `with` keeps them from the first to the last.
    """

    one_at_a_time = False
    """Whether all bodies of a run share one thread."""

    def __init__(
        self,
        workers: int,
        storage: AnyStore | None,
        state_store: AnyStore | None,
        max_result_bytes: int,
    ) -> None:
        super().__init__(storage, state_store=state_store)
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ArgumentError(f"the number of workers is {workers!r}: use a whole number of at least 1")
        self.workers = workers
        self.max_result_bytes = max_result_bytes
        self.callback_errors = 0
        """How many callbacks have raised."""
        self._open_sessions: Sessions | None = None
        self._executions: set[Execution] = set()  # that are not finished

    # ------------------------------------------------------------------------------------------------------ executing

    def execute(
        self,
        workflow: Workflow,
        *,
        run_id: str = "default",
        fresh: bool = False,
        on_change: OnChange = "warn",
    ) -> Workflow:
        """Execute the workflow, and give it back when it has completed.

        With a state store, which run that is: the newest one of this workflow's name and `run_id`. One that has not
        completed goes on, and what it has completed does not run again; for one that has, nothing runs, and its results
        are there. `fresh=True` begins a new one. Where the workflow has other tasks, dependencies or versions than the
        run that goes on, `on_change` says what to do: "warn" runs again what was changed and all below it, "error"
        raises `PlanChanged`, "fresh" begins a new run.

        Raises `WorkflowExecutionError` (a `RuntimeError`) when it fails, `WorkflowRunningError` when this object or run
        is being executed already, `EventLoopRunning` in a coroutine, `StoreError` when the store can not be opened.
        After a KeyboardInterrupt nothing more is started, and the run can be gone on with.
        """
        self._execute([workflow], Options(run_id, fresh, on_change))
        return workflow

    def execute_all(
        self,
        workflows: Iterable[Workflow],
        *,
        run_id: str = "default",
        fresh: bool = False,
        on_change: OnChange = "warn",
    ) -> list[Workflow]:
        """Execute several workflows at once, and give them back when all have completed.

        They share the workers, in turn. When some fail the others go on to their ends, and then the first one's error
        is raised, with the others as its notes.
        """
        wanted = list(workflows)
        self._execute(wanted, Options(run_id, fresh, on_change))
        return wanted

    async def execute_async(
        self,
        workflow: Workflow,
        *,
        run_id: str = "default",
        fresh: bool = False,
        on_change: OnChange = "warn",
    ) -> Workflow:
        """The same as `execute`, awaited. Callbacks are called in the running event loop. When it is cancelled, nothing
        more is started, and the run can be gone on with.
        """
        from flowweaver.library.loop_executing import execute_in_loop

        options = Options(run_id, fresh, on_change)
        await execute_in_loop(self, workflow, options)
        return workflow

    def stop(self, grace_seconds: float = RELEASE_SECONDS) -> None:
        """Have all that is being executed here end early: start nothing more, let what is running end for so long.

        Each `execute` then raises `WorkflowExecutionError`, and its run can be gone on with. Call it from another
        thread; it returns when the runs have been let go.
        """
        stopping = [
            threading.Thread(target=each.stop, args=(grace_seconds,), name="flowweaver-stop", daemon=True)
            for each in list(self._executions)
        ]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()

    def _execute(self, workflows: Sequence[Workflow], options: Options) -> None:
        refuse_in_event_loop()
        executions: list[Execution] = []
        with self.sessions.use() as session, session.waiting_inside():
            try:
                for workflow in workflows:
                    executions.append(self.prepared(workflow, options, session))  # noqa: PERF401 - those before one that raises count
                self._serve(executions, session)
            finally:
                for execution in executions:
                    self.finish(execution, session)
        raise_failures([failure for execution in executions if (failure := execution.failure()) is not None])

    def _serve(self, executions: Sequence[Execution], session: Session) -> None:
        """Open the runs, and wait until all of them are over."""
        inbox = ThreadInbox()
        with released(executions, session):
            openings = [session.engine.open_run(execution.request(lambda _: inbox)) for execution in executions]
            for execution, opening in zip(executions, openings, strict=True):
                opened(execution, opening, session, lambda _: inbox)
            serve(executions)

    def prepared(self, workflow: Workflow, options: Options, session: Session) -> Execution:
        """An execution that has claimed the workflow; `finish` must follow."""
        from flowweaver.library.executions import Execution, claimed

        with claimed(workflow):
            if options.fresh:
                workflow.forget()
            elif self.durable:
                self.storage.restore_saved(workflow)  # type: ignore[union-attr]  # one that is durable has it
            elif self.storage is not None:
                self.restore(workflow)
            execution = Execution(
                workflow,
                run_id=options.run_id,
                fresh=options.fresh,
                on_change=options.on_change,
                session=session,
                durable=self.durable,
                carries_objects=not self.durable,
                identity=self._identity,
                one_at_a_time=self.one_at_a_time,
                max_result_bytes=self.max_result_bytes,
            )
            self._executions.add(execution)
            return execution

    def finish(self, execution: Execution, session: Session) -> None:
        """Fetch what the objects will show, and let them go."""
        try:
            if execution.opening is not None and not execution.broken:
                execution.restore_results(session.store)
                if not self.durable:
                    session.engine.forget(execution.opening.key)
        finally:
            self._executions.discard(execution)
            self.callback_errors += execution.callback_errors
            execution.close()
        if self.storage is not None and not self.durable and hasattr(self.storage, "save_state"):
            self.storage.save_state(execution.workflow)

    # --------------------------------------------------------------------------------------------------- what it has

    @property
    def durable(self) -> bool:
        """Whether its store keeps runs of its own: then that store, and not the objects, says what has completed."""
        return bool(getattr(self.storage, "keeps_runs", False))

    @property
    def _identity(self) -> object:
        return self.storage.identity if self.durable else None  # type: ignore[union-attr]  # one that is durable has it

    @property
    def sessions(self) -> Sessions:
        """Where its engine is, while there is one."""
        if self._open_sessions is None:
            from flowweaver.library.sessions import Sessions

            with _making:
                if self._open_sessions is None:  # no other thread was faster
                    self._open_sessions = Sessions(self._opened_store, self._port, self.workers)
        return self._open_sessions

    @contextmanager
    def _opened_store(self) -> Iterator[Store]:
        if self.storage is None:
            from flowweaver.stores import MemoryStore

            yield MemoryStore()
            return
        from flowweaver.library.state_stores import opened_store

        with opened_store(self.storage) as store:
            yield store

    @abstractmethod
    def _port(self, runner: FunctionRunner, clock: Clock) -> Any:
        """The executor of attempts."""

    def __enter__(self) -> Self:
        """Keep threads and files until `__exit__`, for many small workflows one after the other."""
        self.sessions.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let them go, unless somebody else is executing here still."""
        self.sessions.leave()

    def __getstate__(self) -> dict[str, Any]:
        """A copy and a pickle have no threads and no open files."""
        return {**self.__dict__, "_open_sessions": None, "_executions": set()}


class SequentialExecutor(EngineExecutor):
    """One task at a time, in the thread that calls `execute`: for debugging, and for objects that belong to a thread.

    A task with a `timeout` runs in a thread of its own, because nothing could end it otherwise.
    """

    one_at_a_time = True

    def __init__(
        self,
        storage: AnyStore | None = None,
        *,
        state_store: AnyStore | None = None,
        max_result_bytes: int = LARGEST_RESULT_BYTES,
    ) -> None:
        super().__init__(1, storage, state_store, max_result_bytes)

    def _serve(self, executions: Sequence[Execution], session: Session) -> None:
        for execution in executions:
            with _lane_of(execution), released([execution], session, 0.0):  # the interrupted body was in this thread
                lend = session.port.lend
                opened(execution, session.engine.open_run(execution.request(lend)), session, lend)
                serve([execution])

    def _port(self, runner: FunctionRunner, clock: Clock) -> Any:
        from flowweaver.executors.sequential import SequentialExecutor as Port

        return Port(runner.run, clock)


class ThreadedExecutor(EngineExecutor):
    """Up to `max_workers` tasks at once, in threads. A task starts when its own dependencies are done."""

    def __init__(
        self,
        max_workers: int = 4,
        storage: AnyStore | None = None,
        *,
        state_store: AnyStore | None = None,
        max_result_bytes: int = LARGEST_RESULT_BYTES,
    ) -> None:
        super().__init__(4 if max_workers is None else max_workers, storage, state_store, max_result_bytes)
        self.max_workers = self.workers

    def _port(self, runner: FunctionRunner, clock: Clock) -> Any:
        from flowweaver.executors.threaded import ThreadedExecutor as Port

        return Port(runner.run, self.workers, clock)


class AsyncExecutor(EngineExecutor):
    """Up to `max_concurrency` tasks at once: coroutines in one event loop, plain functions in threads.

    The loop is its own, in a thread of its own, and belongs to nobody else.
    """

    def __init__(
        self,
        use_uvloop: bool = False,  # noqa: FBT001, FBT002 - it was the first argument from the beginning
        storage: AnyStore | None = None,
        *,
        max_concurrency: int = 1000,
        state_store: AnyStore | None = None,
        max_result_bytes: int = LARGEST_RESULT_BYTES,
    ) -> None:
        """`use_uvloop` takes uvloop's event loop where that package is installed."""
        super().__init__(max_concurrency, storage, state_store, max_result_bytes)
        self.max_concurrency = self.workers
        self.use_uvloop = use_uvloop
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def here(cls) -> AsyncExecutor:
        """One that runs coroutines in the event loop that is running here, so that they may use what belongs to it."""
        import asyncio

        executor = cls()
        executor._loop = asyncio.get_running_loop()
        return executor

    def _port(self, runner: FunctionRunner, clock: Clock) -> Any:
        from flowweaver.library.loop_executing import loop_port

        return loop_port(runner, self.workers, clock, loop=self._loop, use_uvloop=self.use_uvloop)


# ------------------------------------------------------------------------------------------------------ one execution


class Options:
    """What is asked of an execution, checked."""

    __slots__ = ("fresh", "on_change", "run_id")

    def __init__(self, run_id: str, fresh: bool, on_change: OnChange) -> None:  # noqa: FBT001 - of our own making
        if not isinstance(run_id, str) or not run_id or len(run_id) > 200:
            raise ArgumentError(f"run_id is {run_id!r:.80}: use a text of 1 to 200 characters")
        if on_change not in get_args(OnChange):
            raise ArgumentError(f'on_change is {on_change!r}: use one of "warn", "error" and "fresh"')
        self.run_id = run_id
        self.fresh = bool(fresh)
        self.on_change = on_change


def refuse_in_event_loop() -> None:
    """Raise `EventLoopRunning` in a thread that runs an event loop, which would stand still."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise EventLoopRunning(
        "an event loop is running in this thread (a notebook has one, and a coroutine), and execute would stop it: "
        "write `await workflow.execute_async(executor)`"
    )


def opened(execution: Execution, opening: Future[Opening], session: Session, inbox_of: Any) -> None:
    """Wait until the run is open; raises what `Engine.open_run` raises."""
    try:
        opening.result()
    except PlanChanged:
        if not execution.begins_anew_on_change:
            raise
        session.engine.open_run(execution.request_anew(inbox_of)).result()
    execution.go_on()


@contextmanager
def _lane_of(execution: Execution) -> Iterator[None]:
    """Take the thread back in the end."""
    try:
        yield
    finally:
        if execution.inbox is not None:
            execution.inbox.close()


@contextmanager
def released(
    executions: Sequence[Execution], session: Session, grace_seconds: float = RELEASE_SECONDS
) -> Iterator[None]:
    """What comes out of here leaves runs that are not over as they are, to be gone on with."""
    try:
        yield
    except BaseException:
        release(executions, session, grace_seconds)
        serve([execution for execution in executions if execution.opening is not None])  # what is left to be told
        raise


def serve(executions: Sequence[Execution]) -> None:
    """Do in this thread what there is to do for them, until all are over."""
    for execution in executions:
        while not execution.over:
            assert execution.inbox is not None  # it has been opened
            execution.inbox.serve()


def release(executions: Sequence[Execution], session: Session, grace_seconds: float = RELEASE_SECONDS) -> None:
    """Start nothing more of these, wait so long for what is running, and let their runs go."""
    for execution in executions:
        if execution.opening is not None and not execution.over and not execution.broken:
            session.engine.release(execution.opening.key, grace_seconds)


def raise_failures(failures: Sequence[Exception]) -> None:
    """Raise the first one, with the others as its notes."""
    if not failures:
        return
    first = failures[0]
    for other in failures[1:]:
        first.add_note(str(other))
    if isinstance(first, WorkflowExecutionError) and len(failures) > 1:
        more = [each for other in failures if isinstance(other, WorkflowExecutionError) for each in other.failures]
        first.failures = tuple(more)
    raise first


__all__ = [
    "AsyncExecutor",
    "BaseExecutor",
    "EngineExecutor",
    "RunFailed",
    "SequentialExecutor",
    "ThreadedExecutor",
]
