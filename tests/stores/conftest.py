"""What tests of the stores ask for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flowweaver.stores import SQLiteStore
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores_disk import Disk

PRELUDE = """
import os, signal, sys
from flowweaver.core.changes import Changes, RunChanged
from flowweaver.core.state import RunHead
from flowweaver.errors import StoreError, StoreLocked
from flowweaver.ports import RunName
from flowweaver.stores import SQLiteStore
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores import plan_of
from flowweaver.testing.stores_disk import Disk, Effect
path = sys.argv[1]
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


@pytest.fixture
def open_store(path):
    """Open a store, by default the one at `path`; what is still open at the end is closed."""
    opened = []

    def open_one(at=path, *, vfs=None):
        opened.append(SQLiteStore(at, clock=ManualClock(), vfs=vfs))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def disk():
    with Disk() as disk:
        yield disk


@pytest.fixture
def start_program(path):
    """Start another Python process that runs a piece of code on `path`, with pipes on both ends."""
    started = []

    def start(code, **options):
        command = [sys.executable, "-c", PRELUDE + code, str(path)]
        started.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, **options)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.fixture
def run_program(start_program):
    """The same, run to its end; gives what it printed."""

    def run(code, **options):
        process = start_program(code, **options)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        return said

    return run
