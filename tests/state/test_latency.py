"""What a backup costs the commits beside it, in one process as in the operator."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import closing

import pytest

from flowweaver.core.state import RunHead
from flowweaver.operator.service import SWITCH_INTERVAL_SECONDS
from flowweaver.ports import RunName
from flowweaver.stores import SQLiteStore
from flowweaver.stores.sqlite_backups import back_up
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores import plan_of
from tests.state.conftest import complete

MEBIBYTES = 128


def commits_until(over, store, key):
    """Commit until that event; gives how long each took, in milliseconds, shortest first."""
    took = []
    while not over.is_set():
        began = time.perf_counter()
        complete(store, key, len(took) % 1000)
        took.append(1e3 * (time.perf_counter() - began))
    return sorted(took)


def told(took):
    median, most = took[len(took) // 2], took[len(took) * 99 // 100]
    return f"{len(took)} of median {median:.2f} ms, 99% {most:.1f} ms, longest {took[-1]:.0f} ms"


@pytest.fixture
def as_in_the_operator():
    """How long a thread may keep the interpreter."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    yield
    sys.setswitchinterval(before)


@pytest.mark.slow
def test_commits_go_on_beside_a_backup(tmp_path, as_in_the_operator, measured):
    with closing(SQLiteStore(tmp_path / "state.db", clock=ManualClock())) as store:
        key = store.create_run(RunName("w"), plan_of(*map(str, range(1000))), RunHead())
        for task in range(MEBIBYTES):
            complete(store, key, task, b'"' + os.urandom(1 << 19).hex().encode() + b'"')
        store.checkpoint()
        load = store.create_run(RunName("load"), plan_of(*map(str, range(1000))), RunHead())
        over = threading.Event()
        timer = threading.Timer(3.0, over.set)
        timer.start()
        alone = commits_until(over, store, load)
        over.clear()

        def take():
            try:
                back_up(store.path, tmp_path / "backup.db", now=1.0)
            finally:
                over.set()

        began = time.monotonic()
        thread = threading.Thread(target=take)
        thread.start()
        beside = commits_until(over, store, load)
        thread.join()
        seconds = time.monotonic() - began

    assert (tmp_path / "backup.db").stat().st_size > MEBIBYTES << 20
    assert len(beside) > 50, "a writer that had to wait for the backup would have made one or two"
    measured(
        f"commits alone: {told(alone)}; beside a backup of {MEBIBYTES} MiB that took {seconds:.1f} s: {told(beside)}"
    )
