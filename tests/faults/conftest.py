"""What tests of faults ask for."""

from __future__ import annotations

import pytest

from flowweaver.engine import SystemClock
from flowweaver.stores import SQLiteStore
from tests.faults.bodies import Bodies
from tests.faults.volumes import small_disk, small_volume


@pytest.fixture(params=["1m", "8m"])
def volume(tmp_path, request):
    """A small volume: of one megabyte, and of eight."""
    with small_volume(tmp_path / "volume", request.param) as mounted:
        yield mounted


@pytest.fixture
def disk(tmp_path):
    """An ext4 disk of eight megabytes."""
    with small_disk(tmp_path / "disk", 8 << 20) as mounted:
        yield mounted


@pytest.fixture
def open_store():
    """Open a store at a path; what is still open at the end is closed."""
    opened = []

    def open_one(path):
        opened.append(SQLiteStore(path, clock=SystemClock()))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def bodies(tmp_path):
    return Bodies(tmp_path)
