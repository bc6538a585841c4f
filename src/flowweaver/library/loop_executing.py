"""Executing a workflow from a coroutine, and the event loop that an `AsyncExecutor` runs coroutines in."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flowweaver.errors import PlanChanged
from flowweaver.executors.event_loop import EventLoopExecutor
from flowweaver.library.engine_executor import EngineExecutor
from flowweaver.library.executing import collecting_later, raise_failures, release
from flowweaver.library.executions import Execution
from flowweaver.library.loop_waiting import LoopInbox
from flowweaver.library.sessions import Session, Sessions

if TYPE_CHECKING:
    from flowweaver.library.executing import Options
    from flowweaver.library.functions import FunctionRunner
    from flowweaver.library.workflow import Workflow
    from flowweaver.ports import Clock

logger = logging.getLogger(__name__)


async def execute_in_loop(executor: EngineExecutor, workflow: Workflow, options: Options) -> None:
    """See `EngineExecutor.execute_async`. What blocks (opening and closing files) is done in a thread."""
    loop = asyncio.get_running_loop()
    session = await _entered(executor.sessions, loop)
    try:
        with session.waiting_inside():
            with collecting_later():
                execution = executor.prepared(workflow, options, session)
            try:
                await _serve(execution, session)
            finally:
                executor.finish(execution, session)
    finally:
        if loop.is_closed():  # nobody awaits this any more
            executor.sessions.leave()
        else:
            await asyncio.shield(loop.run_in_executor(None, executor.sessions.leave))
    failure = execution.failure()
    raise_failures([] if failure is None else [failure])


# What must not be left undone is given to a thread at once. An asyncio task in between would be cancelled with all
# others when `asyncio.run` ends, perhaps before it has begun.


async def _entered(sessions: Sessions, loop: asyncio.AbstractEventLoop) -> Session:
    entry = _Entry(sessions)
    try:
        return await asyncio.shield(loop.run_in_executor(None, entry.enter))
    except asyncio.CancelledError:
        if entry.give_up():
            loop.run_in_executor(None, sessions.leave)
        raise


class _Entry:
    """A session that a thread enters for a coroutine, which may be cancelled meanwhile."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._guard = threading.Lock()
        self._wanted = True
        self._entered = False

    def enter(self) -> Session:
        session = self._sessions.enter()
        with self._guard:
            self._entered = True
            wanted = self._wanted
        if not wanted:
            self._sessions.leave()
        return session

    def give_up(self) -> bool:
        """Want it no more; whether it has been entered, and has to be left."""
        with self._guard:
            self._wanted = False
            return self._entered


async def _serve(execution: Execution, session: Session) -> None:
    inbox = LoopInbox(asyncio.get_running_loop())
    try:
        try:
            await _opened(execution.request(lambda _: inbox), session)
        except PlanChanged:
            if not execution.begins_anew_on_change:
                raise
            await _opened(execution.request_anew(lambda _: inbox), session)
        execution.go_on()
        await inbox.serve()
    except BaseException:
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, release, [execution], session))
        raise


async def _opened(request: Any, session: Session) -> None:
    opening = asyncio.wrap_future(session.engine.open_run(request))
    try:
        await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait([opening])  # it is opened in any case, and has to be released then
        raise


def loop_port(
    runner: FunctionRunner,
    workers: int,
    clock: Clock,
    *,
    loop: asyncio.AbstractEventLoop | None,
    use_uvloop: bool,
) -> EventLoopExecutor:
    """The executor of attempts; `loop`: the one to run coroutines in, None: one of its own."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if use_uvloop:
        try:
            import uvloop  # type: ignore[import-not-found, unused-ignore]  # optional

            factory = uvloop.new_event_loop
        except ImportError:
            logger.warning("uvloop is not installed: asyncio's own event loop is used")
    return EventLoopExecutor(
        runner.begin, runner.run_async, runner.is_async, workers, clock, loop=loop, loop_factory=factory
    )
