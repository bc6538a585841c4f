"""An engine that is open as long as somebody executes on it: the first one opens it, the last one closes it.

So an executor is just a value until it is used, and leaves no thread, no lock and no open file behind.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from flowweaver.engine import Engine, SystemClock
from flowweaver.executors.threaded import ThreadedExecutor
from flowweaver.library.functions import FunctionRunner
from flowweaver.ports import Clock, Store

GIVEN_BYTES = 256 << 20
"""Results that one attempt may be given: here they are the user's own memory, not a shared operator's."""


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """An engine that runs, with what it stands on."""

    engine: Engine
    store: Store
    runner: FunctionRunner
    identity: Any  # what tells its store from others in the process
    port: Any  # a `ports.Executor` of `flowweaver.executors`, with more than the port has

    @contextmanager
    def waiting_inside(self) -> Iterator[None]:
        """For whoever waits here: a body that waits for another workflow of the same engine gives its place to it."""
        if within.get() is not self:
            yield
            return
        self.engine.add_workers(1)
        self.port.add_workers(1)
        try:
            yield
        finally:
            self.port.add_workers(-1)
            self.engine.add_workers(-1)


within: ContextVar[Session | None] = ContextVar("flowweaver_session", default=None)
"""The session that the code of a task's body runs in."""


class Sessions:
    """The one session of an executor, while there is one. Safe from any thread."""

    def __init__(
        self,
        open_store: Callable[[], AbstractContextManager[Store]],
        make_port: Callable[[FunctionRunner, Clock], Any],
        workers: int,
        identity: Callable[[], Any],
    ) -> None:
        """`identity` tells the store from others in the process; it is asked once for each session."""
        self._open_store = open_store
        self._make_port = make_port
        self._workers = workers
        self._identity = identity
        self._guard = threading.Lock()
        self._users = 0
        self._session: Session | None = None
        self._closing = ExitStack()
        _all.add(self)

    @contextmanager
    def use(self) -> Iterator[Session]:
        """The session, which stays open for so long. Raises `StoreError` where its store can not be opened."""
        session = self.enter()
        try:
            yield session
        finally:
            self.leave()

    def enter(self) -> Session:
        """Begin to use it; `leave` must follow."""
        with self._guard:
            if self._session is None:
                self._session = self._opened()
            self._users += 1
            return self._session

    def leave(self) -> None:
        """Use it no more; what nobody uses is closed before this returns."""
        with self._guard:
            self._users -= 1
            if not self._users and self._session is not None:
                self._session = None
                closing, self._closing = self._closing, ExitStack()
                closing.close()

    def forget(self) -> None:
        """Have no session any more, and close nothing: it is another process's."""
        self._guard = threading.Lock()  # a thread that is not here may have had it
        self._users = 0
        self._session = None
        self._closing = ExitStack()

    def _opened(self) -> Session:
        clock = SystemClock()
        with ExitStack() as stack:
            store = stack.enter_context(self._open_store())
            if survivors := store.read_processes():
                from flowweaver.runners import kill_survivors

                kill_survivors(survivors)
            runner = FunctionRunner()
            port = self._make_port(runner, clock)
            stack.callback(port.close, 0.0)
            engine = Engine(
                store=store,
                executor=port,
                clock=clock,
                workers=self._workers,
                given_bytes=GIVEN_BYTES,
                # A store of the program's own may want to be called by one thread.
                lender=port if isinstance(port, ThreadedExecutor) and not hasattr(store, "carry") else None,
            )
            stack.callback(engine.stop)  # also where Ctrl-C comes while it starts
            engine.start(recover=False)
            self._closing = stack.pop_all()
            return Session(engine, store, runner, self._identity(), port)


_all: WeakSet[Sessions] = WeakSet()


def _after_fork_in_child() -> None:
    # The threads of the parent's engines are not here: whoever executes in the child opens an engine of its own.
    for sessions in list(_all):
        sessions.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)
