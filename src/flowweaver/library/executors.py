"""How workflows are executed: one task at a time, in threads, or in an event loop. One engine in three ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flowweaver.errors import ArgumentError
from flowweaver.library.base_executor import BaseExecutor
from flowweaver.library.engine_executor import LARGEST_RESULT_BYTES, EngineExecutor
from flowweaver.library.executing import lane_of, opened, released, serve, soon_open

if TYPE_CHECKING:
    import asyncio
    from contextlib import ExitStack

    from flowweaver.library.base_executor import AnyStore
    from flowweaver.library.executions import Execution
    from flowweaver.library.functions import FunctionRunner
    from flowweaver.library.sessions import Session
    from flowweaver.ports import Clock

__all__ = ["AsyncExecutor", "BaseExecutor", "EngineExecutor", "SequentialExecutor", "ThreadedExecutor"]


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

    def _serve(self, executions: Sequence[Execution], session: Session, pause: ExitStack) -> None:
        for execution in executions:
            with lane_of(execution), released([execution], session, 0.0):  # the interrupted body was in this thread
                lend = session.port.lend
                opening = session.engine.open_run(execution.request(lend))
                soon_open([opening])
                pause.close()
                opened(execution, opening, session, lend)
                serve([execution])

    def _port(self, runner: FunctionRunner, clock: Clock) -> Any:
        from flowweaver.executors.sequential import SequentialExecutor as Port

        return Port(runner.run, clock)


class ThreadedExecutor(EngineExecutor):
    """Up to `max_workers` tasks at once, in threads. A task starts when its own dependencies are done."""

    def __init__(
        self,
        max_workers: int | None = 4,
        storage: AnyStore | None = None,
        *,
        state_store: AnyStore | None = None,
        max_result_bytes: int = LARGEST_RESULT_BYTES,
    ) -> None:
        """`max_workers=None` is four, as it has always been."""
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
        if not isinstance(use_uvloop, bool):  # a state store would be lost here without a word
            raise ArgumentError(
                f"AsyncExecutor(use_uvloop={use_uvloop!r:.80}): use True or False, and state_store=… for a state store"
            )
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
