"""Every way to execute a workflow, with every way to keep what it did."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flowweaver
from flowweaver import AsyncExecutor, SequentialExecutor, ThreadedExecutor

EXECUTORS: dict[str, Callable[..., Any]] = {
    "sequential": SequentialExecutor,
    "threaded": ThreadedExecutor,
    "async": AsyncExecutor,
}
STORES: dict[str, Callable[[Path], Any]] = {
    "none": lambda _: None,
    "json": lambda folder: flowweaver.JSONStateStore(str(folder / "state.json")),
    "sqlite": lambda folder: flowweaver.SQLiteStateStore(str(folder / "state.db")),
}


@pytest.fixture(params=EXECUTORS)
def executor_of(request) -> Callable[..., Any]:
    """Makes an executor of each kind."""
    return EXECUTORS[request.param]


@pytest.fixture(params=["json", "sqlite"])
def store_of(request, tmp_path: Path) -> Callable[[], Any]:
    """Makes a state store on a file, each time on the same one."""
    return lambda: STORES[request.param](tmp_path)


@pytest.fixture(params=STORES)
def executor(request, executor_of, tmp_path: Path) -> Any:
    """An executor of each kind with a store of each kind."""
    return executor_of(state_store=STORES[request.param](tmp_path))


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Nothing of ours is left when a test is over; a thread of a body that was given up may need a moment."""
    before = set(threading.enumerate())
    yield
    ours = [each for each in threading.enumerate() if each not in before and each.name.startswith("flowweaver")]
    for thread in ours:
        thread.join(10)
    assert not [each.name for each in ours if each.is_alive()]
