"""The composition root: the one place that knows a store, an executor, the runners and the engine at once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flowweaver.engine import Engine, SystemClock
from flowweaver.executors.threaded import ThreadedExecutor
from flowweaver.policy import Policy
from flowweaver.ports import Clock, Executor, Store
from flowweaver.runners import kill_survivors, registry, run_attempt
from flowweaver.stores import MemoryStore, SQLiteStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Assembly:
    """An engine with what it stands on."""

    engine: Engine
    store: Store
    executor: Executor


@contextmanager
def build_engine(state: Path | None, *, policy: Policy, workers: int, clock: Clock | None = None) -> Iterator[Assembly]:
    """An engine over that file (None: over memory), not started; in the end it is stopped and everything is closed.

    Taking the file comes first, so that a second process changes nothing; then whatever processes an earlier life left
    behind are ended. Raises `StoreLocked`, `StoreTooNew` and the other `StoreError`s.
    """
    clock = clock or SystemClock()
    with ExitStack() as stack:
        store: Store = MemoryStore() if state is None else SQLiteStore(state, clock=clock)
        stack.callback(store.close)
        killed = kill_survivors(store.read_processes())
        if killed:
            logger.warning("%d processes that an earlier life had left behind were ended", killed)
        executor = ThreadedExecutor(run_attempt(registry(policy)), workers, clock)
        stack.callback(executor.close)
        engine = Engine(store=store, executor=executor, clock=clock, workers=workers)
        stack.callback(engine.stop)
        yield Assembly(engine, store, executor)
