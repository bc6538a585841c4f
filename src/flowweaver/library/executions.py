"""One execution of one workflow: what binds its objects to a run of the engine, from the claim to the result."""

from __future__ import annotations

import contextvars
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from flowweaver.core.changes import ResultRecorded
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.plan import FailurePolicy
from flowweaver.core.state import RunState, TaskState
from flowweaver.errors import (
    ArgumentError,
    InternalError,
    StoreError,
    TaskExecutionError,
    WorkflowExecutionError,
    WorkflowRunningError,
)
from flowweaver.library.boards import Board
from flowweaver.library.compiling import compiled
from flowweaver.library.events import Callbacks
from flowweaver.library.functions import Binding, is_exactly_json, object_marker
from flowweaver.library.policies import OnChange
from flowweaver.library.run_log import RunLog
from flowweaver.library.sessions import Session, within
from flowweaver.library.statuses import TaskStatus
from flowweaver.library.waiting import Inbox
from flowweaver.ports import Notice, Opening, RunRequest, TaskNotice
from flowweaver.runners.failures import Refused
from flowweaver.runners.results import encode_result

if TYPE_CHECKING:
    from flowweaver.library.tasks import Task
    from flowweaver.library.workflow import Workflow

READ_AT_ONCE = 1000  # results
_claiming = threading.Lock()
_numbers = itertools.count(1)


class Execution:
    """One execution. Implements `ports.RunObserver`: those methods are called by the engine's thread."""

    def __init__(
        self,
        workflow: Workflow,
        *,
        run_id: str,
        fresh: bool,
        on_change: OnChange,
        durable: bool,
        session: Session,
        one_at_a_time: bool,
        max_result_bytes: int,
    ) -> None:
        """`workflow` has been claimed, and stays so until `close`. `durable`: the store knows more than the objects do,
        and results are what JSON carries; else they are passed on as they are. Raises `ArgumentError`.
        """
        self.workflow = workflow
        self.run_id = run_id
        self.board = Board()
        self.opening: Opening | None = None
        self.inbox: Inbox | None = None
        self.broken = ""  # why the engine has stopped by itself
        self.over = False  # set by the engine's thread, after all that it had to tell
        self.begins_anew_on_change = on_change == "fresh"
        self._fresh = fresh
        self._allow_change = on_change == "warn"
        self._durable = durable
        self._compiled = compiled(workflow, one_at_a_time=one_at_a_time)
        self._callbacks = Callbacks(workflow, run_id, self.board)
        self._log = RunLog(self._compiled.plan)
        self._watchers = workflow.watchers
        self._wants_notices = self._callbacks.any or bool(self._watchers)
        self._stopped = False
        self._session = session
        self._carry = getattr(session.store, "carry", None)  # a store of the program's own gets objects as they are
        context = contextvars.copy_context()
        context.run(within.set, session)
        self._binding = Binding(
            functions=self._compiled.functions,
            retry_on=self._compiled.retry_on,
            context=context,
            objects=None if durable else self.board.objects,
            max_result_bytes=max_result_bytes,
            identity=(str(session.identity) if durable else id(workflow), workflow.name, run_id),
        )

    # --------------------------------------------------------------------------------------------------- the request

    def request(self, inbox_of: Callable[[int], Inbox]) -> RunRequest:
        """What to ask of the engine. `inbox_of` gives, for the run's key, where its waiting thread takes its work."""

        def observe(run: RunState, opening: Opening) -> Execution:
            self.go_on()  # before anything of it starts
            self.opening = opening
            try:
                self.inbox = inbox_of(opening.key)
                self._session.runner.bind(opening.key, self._binding)
                if self._carry is not None:
                    self._carry(opening.key, self.board.objects)
                self.board.follow(run, partial(self._fetched, opening.key))
                self.workflow.attach(self.board)
                self._log.begins(opening)
            except BaseException:  # it is raised to whoever waits, and nobody else will tell that it is over
                self._session.runner.unbind(opening.key)
                self.over = True
                raise
            return self

        plan, run_id = self._compiled.plan, self.run_id
        given = {} if self._fresh else self._given()
        if not self._durable:  # what is in memory belongs to this object alone
            run_id = f"{run_id}#{next(_numbers)}"
        return RunRequest(
            workflow=plan.name,
            run_id=run_id,
            plan=plan,
            graph=self._compiled.graph,
            observe=observe,
            fresh=self._fresh,
            given=given,
            allow_change=self._allow_change,
        )

    def _fetched(self, key: int, position: int) -> bytes | None:
        return self._session.store.read_results(key, [position]).get(position)

    def request_anew(self, inbox_of: Callable[[int], Inbox]) -> RunRequest:
        """The same, for a new run whatever is there."""
        self._fresh = True
        return self.request(inbox_of)

    def _given(self) -> dict[int, tuple[TaskState, bytes]]:
        """What the objects themselves say is done: it counts where the store knows nothing of this run."""
        given: dict[int, tuple[TaskState, bytes]] = {}
        for position, task in enumerate(self.workflow.tasks.values()):
            if task.status is TaskStatus.COMPLETED:
                ended_at = task.completed_at.timestamp() if task.completed_at else None
                began_at = task.started_at.timestamp() if task.started_at else ended_at
                state = TaskState(
                    phase=TaskPhase.COMPLETED, attempts=task.attempts, started_at=began_at, finished_at=ended_at
                )
                given[position] = (state, self._encoded(position, task))
        return given

    def _encoded(self, position: int, task: Task) -> bytes:
        value, objects = task.result, self._binding.objects
        if objects is None or is_exactly_json(value):
            what = f"the result of task '{task.name}'"
            try:
                return encode_result(value, name=what, limit=self._binding.max_result_bytes)
            except Refused as exc:
                if objects is None:
                    raise ArgumentError(str(exc)) from None
        objects[position] = value
        return object_marker(position)

    # -------------------------------------------------------------------------------------- told by the engine's thread

    @property
    def wants_notices(self) -> bool:
        """See `ports.RunObserver`."""
        return self._wants_notices

    def recorded(self, results: Sequence[ResultRecorded]) -> None:
        """See `ports.RunObserver`."""
        kept = self.board.results
        for _, task, result in results:
            kept[task] = result

    def changed(self, notices: Sequence[Notice]) -> None:
        """See `ports.RunObserver`."""
        assert self.inbox is not None
        for watcher in self._watchers:
            watcher(notices)
        if self._callbacks.any:
            self.inbox.post(lambda: self._deliver(notices))

    def _deliver(self, notices: Sequence[Notice]) -> None:
        # A callback may execute another workflow here: this one's next body must not be what that one waits for.
        token = within.set(self._session)
        try:
            self._callbacks.deliver(notices)
        finally:
            within.reset(token)

    def troubled(self, notices: Sequence[TaskNotice]) -> None:
        """See `ports.RunObserver`. Who watches says it in words of his own."""
        assert self.inbox is not None
        if not self._watchers:
            self.inbox.post(lambda: self._log.failures(notices))

    def ended(self, run: RunState) -> None:
        """See `ports.RunObserver`."""
        assert self.inbox is not None
        self.board.settle(run)
        if not self._watchers:
            self.inbox.post(lambda: self._log.ends(run))
        self._end()

    def broke(self, why: str) -> None:
        """See `ports.RunObserver`."""
        self.broken = why or "it gave no reason"
        self._end()

    def _end(self) -> None:
        assert self.inbox is not None
        assert self.opening is not None
        self._session.runner.unbind(self.opening.key)
        self.over = True
        self.inbox.stop()

    # ------------------------------------------------------------------------------------------------------- stopping

    def stop(self, grace_seconds: float) -> None:
        """Let the run go before its end, as soon as it is open. From another thread than the one that waits."""
        self._stopped = True
        if self.opening is not None and not self.over:
            with suppress(InternalError):  # the engine has gone, and the run with it
                self._session.engine.release(self.opening.key, grace_seconds)

    def go_on(self) -> None:
        """The run is open: raises where `stop` has been called meanwhile."""
        if self._stopped:
            raise self._stop()

    def _stop(self) -> WorkflowExecutionError:
        return WorkflowExecutionError(
            self.workflow.name, "was stopped before its end: executing it again goes on with it"
        )

    # --------------------------------------------------------------------------------------------------- afterwards

    def restore_results(self) -> None:
        """Fetch the results of what had completed before this execution; they are decoded when asked for."""
        assert self.opening is not None
        results, tasks, store = self.board.results, self.board.tasks, self._session.store
        missing = [
            position
            for position, result in enumerate(results)
            if result is None and tasks[position].phase is TaskPhase.COMPLETED
        ]
        for first in range(0, len(missing), READ_AT_ONCE):
            for position, result in store.read_results(self.opening.key, missing[first : first + READ_AT_ONCE]).items():
                results[position] = result

    def close(self) -> None:
        """Let the workflow go; it shows what it has come to."""
        self.board.close()
        self.workflow._executing = False  # noqa: SLF001 - taken by `claimed`, and by nobody else

    def failure(self) -> Exception | None:
        """What to raise: nothing where the workflow has completed."""
        if self.broken:
            kind = StoreError if self.broken.startswith("Store") else InternalError
            return kind(f"the engine has stopped while it ran workflow '{self.workflow.name}': {self.broken}")
        head, plan = self.board.current_head, self._compiled.plan
        if head.phase is RunPhase.COMPLETED:
            return None
        if not head.phase.finished:
            return self._stop()
        failures = tuple(
            self._task_failure(position, state)
            for position, state in enumerate(self.board.tasks)
            if state.phase is TaskPhase.FAILED and not plan.tasks[position].allow_failure
        )
        what = f"failed: {head.message}"
        if failures:
            more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
            what = f"failed at task '{failures[0].task}'{more}: {failures[0]}"
            if plan.failure_policy is FailurePolicy.CONTINUE:
                what += "; what did not need it has run"
        error = WorkflowExecutionError(self.workflow.name, what, failures)
        error.__cause__ = failures[0] if failures else None
        return error

    def _task_failure(self, position: int, state: TaskState) -> TaskExecutionError:
        failure = TaskExecutionError(
            self._compiled.plan.tasks[position].name,
            state.attempts,
            state.message,
            reason=state.reason,
            error_type=state.error_type,
        )
        failure.__cause__ = self._binding.errors.get(position)
        return failure

    @property
    def callback_errors(self) -> int:
        """How many callbacks have raised."""
        return self._callbacks.failed


@contextmanager
def claimed(workflow: Workflow) -> Iterator[None]:
    """Note that a workflow's object is being executed; raises `WorkflowRunningError` where it is already.

    It stays so until `Execution.close`, unless what happens within raises.
    """
    with _claiming:
        if workflow._executing:  # noqa: SLF001 - the lock around it is here
            raise WorkflowRunningError(
                f"workflow '{workflow.name}' is being executed already: wait for it, or build another object"
            )
        workflow._executing = True  # noqa: SLF001 - as above
    try:
        yield
    except BaseException:
        workflow._executing = False  # noqa: SLF001 - as above
        raise
