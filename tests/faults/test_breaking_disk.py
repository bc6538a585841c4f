"""A disk that is read-only, or breaks down, and a state file that is deleted while it is open.

The disks are real file systems, which only root can mount. The kernel refuses `mount -o remount,ro` while a file there
is open for writing; what takes the right to write from whoever has files open is an error of the file system itself.
"""

from __future__ import annotations

import sqlite3

import pytest

from flowweaver.core.state import RunHead
from flowweaver.errors import StoreCorrupt, StoreUnavailable
from flowweaver.ports import RunName
from flowweaver.stores import presence, writer
from flowweaver.testing.stores import plan_of


def record(store, name):
    return store.create_run(RunName("w", name), plan_of("a"), RunHead())


def known(store):
    return [name.run_id for _, name, _ in store.list_runs()]


def test_a_file_system_is_not_remounted_read_only_under_an_open_store(disk, open_store):
    store = open_store(disk.folder / "s.db")
    with pytest.raises(OSError, match="busy"):
        disk.remount("ro")
    record(store, "after")


def test_a_store_on_a_read_only_file_system_says_so_and_opens_when_it_is_writable_again(disk, open_store):
    store = open_store(disk.folder / "s.db")
    record(store, "before")
    store.close()
    disk.remount("ro")
    with pytest.raises(StoreUnavailable, match="mount it read-write again") as raised:
        open_store(disk.folder / "s.db")
    assert raised.value.kind == "readonly"
    disk.remount("rw")
    assert known(open_store(disk.folder / "s.db")) == ["before"]


def test_a_file_system_that_breaks_down_under_an_open_store_loses_nothing_acknowledged(disk, open_store):
    store = open_store(disk.folder / "s.db")
    made = [name for name in map(str, range(20)) if record(store, name)]
    disk.break_down()
    with pytest.raises(StoreUnavailable):
        record(store, "lost")
    with pytest.raises(StoreUnavailable, match="Read-only|read-only"):
        store.reopen()
    store.close()  # nobody can mend a file system of which a file is open
    disk.mend()
    again = open_store(disk.folder / "s.db")
    assert known(again) in (made, [*made, "lost"])  # the last one may have happened


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(presence, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(writer, "GONE_SECONDS", 0.0)


def test_a_file_that_is_deleted_while_it_is_open_is_noticed_before_the_next_commit_and_counts_as_lost(
    tmp_path, open_store, impatient
):
    path = tmp_path / "s.db"
    store = open_store(path)
    record(store, "before")
    for found in tmp_path.glob("s.db*"):
        found.unlink()
    with pytest.raises(StoreUnavailable, match="deleted or replaced while it was in use"):
        record(store, "nowhere")
    with pytest.raises(StoreCorrupt, match="begins with an empty store"):
        store.reopen()
    assert not path.exists()


def test_a_file_that_comes_back_in_time_is_gone_on_with(tmp_path, open_store, monkeypatch):
    monkeypatch.setattr(presence, "LOOK_SECONDS", 0.0)
    path = tmp_path / "s.db"
    store = open_store(path)
    record(store, "before")
    away = tmp_path / "away"
    away.mkdir()
    for suffix in ("", "-wal", "-shm"):
        path.with_name(f"s.db{suffix}").rename(away / f"s.db{suffix}")
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        record(store, "nowhere")
    with pytest.raises(StoreUnavailable, match="bring it back within seconds"):
        store.reopen()
    for found in away.iterdir():
        found.rename(tmp_path / found.name)
    store.reopen()
    record(store, "after")
    assert known(store) == ["before", "after"]


def test_a_log_that_is_deleted_while_it_is_open_takes_nothing_along(tmp_path, open_store, monkeypatch):
    monkeypatch.setattr(presence, "LOOK_SECONDS", 0.0)
    path = tmp_path / "s.db"
    store = open_store(path)
    for number in range(10):
        record(store, str(number))
    path.with_name("s.db-wal").unlink()
    with pytest.raises(StoreUnavailable, match="s.db-wal was deleted or replaced"):
        record(store, "10")
    store.reopen()
    record(store, "10")
    assert known(store) == [str(number) for number in range(11)]
    store.close()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_the_names_of_files_are_looked_at_once_a_second_and_not_at_each_commit(tmp_path, open_store, monkeypatch):
    looks = []
    store = open_store(tmp_path / "s.db")
    look = presence._identity
    monkeypatch.setattr(presence, "_identity", lambda path: looks.append(path) or look(path))
    for number in range(200):
        record(store, str(number))
    assert len(looks) < 100
