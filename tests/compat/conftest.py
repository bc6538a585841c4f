"""What these tests share. They run on this version and on the published 0.2.2, so nothing here is more than pytest and
the public names of `flowweaver`.

A test marked `defect` holds something that 0.2.2 got wrong: it passes here, and `test_both_versions.py` sees it fail
there, in the way that the mark says.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flowweaver
from flowweaver import AsyncExecutor, JSONStateStore, SequentialExecutor, SQLiteStateStore, ThreadedExecutor, Workflow

EXECUTORS = {"sequential": SequentialExecutor, "threaded": ThreadedExecutor, "asynchronous": AsyncExecutor}
STORES = {"json": (JSONStateStore, "state.json"), "sqlite": (SQLiteStateStore, "state.db")}

REPORT = "COMPAT_REPORT"
PATIENCE = "COMPAT_PATIENCE"

_reported: list[dict[str, Any]] = []


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "defect(raises, says=''): 0.2.2 fails this test by that exception, with that text in its message"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if REPORT in os.environ and (report.when == "call" or report.outcome != "passed"):
        marker = item.get_closest_marker("defect")
        _reported.append(
            {
                "test": item.nodeid.rpartition("/")[2],
                "phase": report.when,
                "outcome": report.outcome,
                "raised": call.excinfo.typename if call.excinfo else "",
                "message": str(call.excinfo.value) if call.excinfo else "",
                "defect": None if marker is None else [marker.args[0].__name__, marker.kwargs.get("says", "")],
            }
        )
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if REPORT in os.environ:
        Path(os.environ[REPORT]).write_text(json.dumps({"version": flowweaver.__version__, "tests": _reported}))


@pytest.fixture(scope="session")
def patience() -> float:
    """Seconds that something which never comes is waited for; short where it is known not to come."""
    return float(os.environ.get(PATIENCE, "20"))


@pytest.fixture(params=EXECUTORS)
def executor_class(request: pytest.FixtureRequest) -> type[Any]:
    return EXECUTORS[request.param]


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    """`open_store()` opens the same file each time, as another process would."""
    store, name = STORES[request.param]
    return lambda file=name: store(str(tmp_path / file))


@pytest.fixture
def outcome() -> Callable[[Any, Workflow], Exception | None]:
    """`outcome(executor, workflow)`: what execute raised, or None."""

    def execute(executor: Any, workflow: Workflow) -> Exception | None:
        try:
            executor.execute(workflow)
        except Exception as error:  # noqa: BLE001 - the tests look at whatever it is
            return error
        return None

    return execute


@pytest.fixture
def gate(patience: float) -> Iterator[threading.Event]:
    """An event that bodies wait for; opened at the end of the test, so that none of them outlives it for long."""
    event = threading.Event()
    yield event
    event.set()
