"""What the three executors share: everything but where an attempt runs."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from flowweaver.errors import ArgumentError
from flowweaver.library.base_executor import BaseExecutor
from flowweaver.library.executing import (
    RELEASE_SECONDS,
    Options,
    checked_workflow,
    collecting_later,
    opened,
    raise_failures,
    refuse_in_event_loop,
    released,
    serve,
    soon_open,
)
from flowweaver.library.policies import OnChange
from flowweaver.library.waiting import ThreadInbox

if TYPE_CHECKING:
    from flowweaver.library.base_executor import AnyStore
    from flowweaver.library.executions import Execution
    from flowweaver.library.functions import FunctionRunner
    from flowweaver.library.sessions import Session, Sessions
    from flowweaver.library.workflow import Workflow
    from flowweaver.ports import Clock, Store

LARGEST_RESULT_BYTES = 64 << 20
_making = threading.Lock()


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
            raise ArgumentError(
                f"the number of workers is {workers!r:.80}: use a whole number of at least 1, and state_store=… for a "
                "state store"
            )
        if isinstance(max_result_bytes, bool) or not isinstance(max_result_bytes, int) or max_result_bytes < 1:
            raise ArgumentError(f"max_result_bytes is {max_result_bytes!r:.80}: use a whole number of at least 1")
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
        wanted = list(workflows) if isinstance(workflows, Iterable) else [workflows]
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
        with self.sessions.use() as session, session.waiting_inside(), collecting_later() as pause:
            try:
                for workflow in workflows:
                    executions.append(self.prepared(workflow, options, session))  # noqa: PERF401 - those before one that raises count
                self._serve(executions, session, pause)
            finally:
                for execution in executions:
                    self.finish(execution, session)
        raise_failures([failure for execution in executions if (failure := execution.failure()) is not None])

    def _serve(self, executions: Sequence[Execution], session: Session, pause: ExitStack) -> None:
        """Open the runs, close `pause`, and wait until all of them are over."""
        inbox = ThreadInbox()
        with released(executions, session):
            openings = [session.engine.open_run(execution.request(lambda _: inbox)) for execution in executions]
            soon_open(openings)
            pause.close()
            for execution, opening in zip(executions, openings, strict=True):
                opened(execution, opening, session, lambda _: inbox)
            serve(executions)

    def prepared(self, workflow: Workflow, options: Options, session: Session) -> Execution:
        """An execution that has claimed the workflow; `finish` must follow."""
        from flowweaver.library.executions import Execution, claimed

        with claimed(checked_workflow(workflow)):
            if options.fresh:
                workflow.forget()
            elif self.durable:
                self.storage.restore_saved(workflow, session.identity)  # type: ignore[union-attr]  # one that is durable has it
            elif self.storage is not None:
                self.restore(workflow)
            execution = Execution(
                workflow,
                run_id=options.run_id,
                fresh=options.fresh,
                on_change=options.on_change,
                session=session,
                durable=self.durable,
                one_at_a_time=self.one_at_a_time,
                max_result_bytes=self.max_result_bytes,
            )
            self._executions.add(execution)
            return execution

    def finish(self, execution: Execution, session: Session) -> None:
        """Fetch what the objects will show, and let them go."""
        try:
            if execution.opening is not None and not execution.broken:
                execution.restore_results()
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
                    self._open_sessions = Sessions(self._opened_store, self._port, self.workers, lambda: self._identity)
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
