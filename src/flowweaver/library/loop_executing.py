"""Executing a workflow from a coroutine, and the event loop that an `AsyncExecutor` runs coroutines in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flowweaver.errors import PlanChanged
from flowweaver.executors.event_loop import EventLoopExecutor
from flowweaver.library.engine_executor import EngineExecutor
from flowweaver.library.executing import raise_failures, release
from flowweaver.library.executions import Execution
from flowweaver.library.loop_waiting import LoopInbox
from flowweaver.library.sessions import Session

if TYPE_CHECKING:
    from flowweaver.library.executing import Options
    from flowweaver.library.functions import FunctionRunner
    from flowweaver.library.workflow import Workflow
    from flowweaver.ports import Clock

logger = logging.getLogger(__name__)


async def execute_in_loop(executor: EngineExecutor, workflow: Workflow, options: Options) -> None:
    """See `EngineExecutor.execute_async`. What blocks (opening and closing files) is done in a thread."""
    session = await _entered(executor)
    try:
        with session.waiting_inside():
            execution = executor.prepared(workflow, options, session)
            try:
                await _serve(execution, session)
            finally:
                executor.finish(execution, session)
    finally:
        await asyncio.shield(asyncio.to_thread(executor.sessions.leave))
    failure = execution.failure()
    raise_failures([] if failure is None else [failure])


async def _entered(executor: EngineExecutor) -> Session:
    entering = asyncio.ensure_future(asyncio.to_thread(executor.sessions.enter))
    try:
        return await asyncio.shield(entering)
    except asyncio.CancelledError:
        entering.add_done_callback(lambda done: None if done.exception() else executor.sessions.leave())
        raise


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
        await asyncio.shield(asyncio.to_thread(release, [execution], session))
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
