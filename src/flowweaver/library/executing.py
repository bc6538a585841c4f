"""The steps of executing from a thread: open the runs, serve them until they are over, or let them go."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, get_args

from flowweaver.errors import ArgumentError, EventLoopRunning, InternalError, PlanChanged, WorkflowExecutionError
from flowweaver.library.policies import OnChange

if TYPE_CHECKING:
    from flowweaver.library.executions import Execution
    from flowweaver.library.sessions import Session
    from flowweaver.library.workflow import Workflow
    from flowweaver.ports import Opening

SOON_SECONDS = 1.0
"""So long at most no garbage is collected while runs are being opened."""

RELEASE_SECONDS = 2.0
"""So long an interrupted execution waits for what is running, so that it need not run again."""


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


def checked_workflow(workflow: object) -> Workflow:
    """`workflow`, where it is one; raises `ArgumentError`."""
    from flowweaver.library.workflow import Workflow

    if not isinstance(workflow, Workflow):
        raise ArgumentError(f"what is executed is a Workflow, not {workflow!r:.80}: add the task to one")
    return workflow


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


def collecting_later() -> ExitStack:
    """Collect no garbage until what is given is closed. Of a large workflow plans and states are made by the ten
    thousand, none of which is garbage, and all that the program has would be looked through again and again meanwhile.
    """
    pause = ExitStack()
    if gc.isenabled():  # else it is not for us to switch on, or another thread is here too, and the first to leave does
        gc.disable()
        pause.callback(gc.enable)
    return pause


def soon_open(openings: Iterable[Future[Opening]]) -> None:
    """Wait until these runs are open, or could not be opened, and not for long: a store may have to be waited for."""
    until = time.monotonic() + SOON_SECONDS
    for opening in openings:
        with suppress(TimeoutError):
            opening.exception(max(0.0, until - time.monotonic()))


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
def lane_of(execution: Execution) -> Iterator[None]:
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
    for execution in executions:  # one that was over before anybody served has left what there is to tell
        if execution.inbox is not None:
            execution.inbox.drain()


def release(executions: Sequence[Execution], session: Session, grace_seconds: float = RELEASE_SECONDS) -> None:
    """Start nothing more of these, wait so long for what is running, and let their runs go."""
    for execution in executions:
        if execution.opening is not None and not execution.over and not execution.broken:
            with suppress(InternalError):  # the engine has gone, and the run with it
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
