"""The log is longer than what is in it, and says the same."""

from __future__ import annotations

import shutil

import pytest

from flowweaver.core.state import RunHead
from flowweaver.engine import SystemClock
from flowweaver.ports import RunName
from flowweaver.stores import SQLiteStore, log_room
from flowweaver.stores.log_room import FRAME_BYTES, LogRoom
from flowweaver.testing.stores import plan_of

PLAN = plan_of("a", "b")


@pytest.fixture
def lengths(monkeypatch):
    """By how much the log was made longer, each time."""
    told = []
    write = log_room.os.write
    monkeypatch.setattr(log_room.os, "write", lambda *given: told.append(write(*given)) or told[-1])
    return told


def test_a_log_with_room_is_read_as_far_as_it_was_written(tmp_path, lengths):
    path = tmp_path / "s.db"
    store = SQLiteStore(path, clock=SystemClock())
    for number in range(50):
        store.create_run(RunName("w", str(number)), PLAN, RunHead())
    assert 1 <= len(lengths) <= 10
    copies = tmp_path / "copies"
    copies.mkdir()
    for name in ("s.db", "s.db-wal"):
        shutil.copy(tmp_path / name, copies)
    store.close()
    copy = SQLiteStore(copies / "s.db", clock=SystemClock())
    assert [name.run_id for _, name, _ in copy.list_runs()] == [str(number) for number in range(50)]
    copy.close()


def test_room_is_made_for_many_commits_at_a_time(tmp_path, lengths):
    log = tmp_path / "s.db-wal"
    log.write_bytes(b"")
    room = LogRoom(str(log))
    for frames in range(0, 500, 5):
        room.make(frames)
        assert log.stat().st_size >= (frames + 5) * FRAME_BYTES
    assert len(lengths) < 12


def test_what_is_in_the_log_is_not_written_over(tmp_path):
    log = tmp_path / "s.db-wal"
    log.write_bytes(b"frames")
    LogRoom(str(log)).make(1)
    assert log.read_bytes().rstrip(b"\0") == b"frames"


def test_large_commits_make_their_own_room(tmp_path, lengths):
    log = tmp_path / "s.db-wal"
    log.write_bytes(b"")
    room = LogRoom(str(log))
    for frames in range(1000, 10_000, 1000):
        room.make(frames)
    assert lengths == []


def test_without_a_log_nothing_happens(tmp_path):
    room = LogRoom(str(tmp_path / "none"))
    room.make(1)
    assert list(tmp_path.iterdir()) == []
