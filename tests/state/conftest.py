"""What tests of backups, restores and checks ask for: a store of either kind, and other processes that have it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowweaver.core.changes import AttemptClosed, AttemptStarted, Changes, ResultRecorded, TaskChanged
from flowweaver.core.events import AttemptId
from flowweaver.core.phases import TaskPhase
from flowweaver.core.state import RunHead, TaskState
from flowweaver.ports import RunName
from flowweaver.stores import JSONStore, SQLiteStore
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores import plan_of

STORES = {"sqlite": (SQLiteStore, "state.db"), "json": (JSONStore, "state.json")}
RELEASED = Path(__file__).with_name("released")

HOLDING = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.state.conftest import STORES, complete
from flowweaver.testing.simulation import ManualClock
store = STORES[{kind!r}][0](Path({path!r}), clock=ManualClock())
"""


def complete(store: Any, key: int, task: int, result: bytes = b'"done"', number: int = 1) -> None:
    """One commit of an engine: that task has been run and is completed, in its attempt of that number."""
    attempt = AttemptId(key, task, number)
    done = TaskState(phase=TaskPhase.COMPLETED, attempts=number, started_at=1.0, finished_at=2.0)
    store.commit(
        Changes(
            tasks=[TaskChanged(key, task, done)],
            started=[AttemptStarted(attempt, 1.0)],
            closed=[AttemptClosed(attempt, "completed", 2.0)],
            results=[ResultRecorded(key, task, result)],
        )
    )


def completed(look: Any, key: int) -> list[int]:
    """The positions of a run's tasks that are completed, each with its result."""
    stored = look.read_run(key)
    found = [at for at, state in enumerate(stored.tasks) if state.phase is TaskPhase.COMPLETED]
    assert sorted(look.read_results(key, range(len(stored.tasks)))) == found
    return found


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(kind: str, tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder / STORES[kind][1]


@pytest.fixture
def open_store(kind: str, path: Path) -> Iterator[Callable[..., Any]]:
    """Open the store at `path`, or at another one; what is still open at the end is closed."""
    opened = []

    def open_one(at: Path = path) -> Any:
        opened.append(STORES[kind][0](at, clock=ManualClock()))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def begin(open_store: Callable[..., Any]) -> Callable[[], tuple[Any, int]]:
    """Open a store with a run of five tasks; gives both."""

    def begin_one() -> tuple[Any, int]:
        store = open_store()
        return store, store.create_run(RunName("ns/w"), plan_of(*"abcde"), RunHead(created_at=1.0))

    return begin_one


@pytest.fixture
def holder(kind: str, path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start another process that opens the store and runs a piece of code; `print` in it is waited for once."""
    started = []

    def start(code: str) -> subprocess.Popen[str]:
        root = str(Path(__file__).parents[2])
        program = HOLDING.format(root=root, kind=kind, path=str(path)) + code
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
