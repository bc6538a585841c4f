"""An engine for one call of the command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flowweaver.engine import Engine, SystemClock
from flowweaver.executors import ThreadedExecutor
from flowweaver.policy import Policy
from flowweaver.ports import Store
from flowweaver.runners import kill_survivors, registry, run_attempt
from flowweaver.stores import MemoryStore, SQLiteStore


@contextmanager
def open_engine(*, state: Path | None, policy: Policy, workers: int) -> Iterator[Engine]:
    """An engine over that file, or over memory, not yet started; in the end it is stopped and all is closed."""
    clock = SystemClock()
    with ExitStack() as stack:
        store: Store = MemoryStore() if state is None else SQLiteStore(state, clock=clock)
        stack.callback(store.close)
        kill_survivors(store.read_processes())
        executor = ThreadedExecutor(run_attempt(registry(policy)), workers, clock)
        stack.callback(executor.close)
        engine = Engine(store=store, executor=executor, clock=clock, workers=workers)
        stack.callback(engine.stop)
        yield engine
