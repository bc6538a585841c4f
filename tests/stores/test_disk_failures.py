"""On a bad disk a commit happened, did not happen, or is unknown until the file is opened again; nothing else."""

from __future__ import annotations

import os
import shutil
import threading

import pytest

from flowweaver.core.changes import Changes, ResultRecorded, RunChanged, TaskChanged
from flowweaver.core.state import RunHead
from flowweaver.errors import CommitUnknown, StoreCorrupt, StoreUnavailable
from flowweaver.ports import RunName
from flowweaver.testing.stores import COMPLETED, plan_of
from flowweaver.testing.stores_disk import Effect

FIRST, SECOND = RunHead(priority=1), RunHead(priority=2)


def one_commit(key, head):
    return Changes(
        tasks=[TaskChanged(key, 0, COMPLETED)], results=[ResultRecorded(key, 0, b"1")], runs=[RunChanged(key, head)]
    )


@pytest.fixture
def store(open_store, disk):
    return open_store(vfs=disk.name)


@pytest.fixture
def key(store):
    key = store.create_run(RunName("w"), plan_of("a"), RunHead())
    store.create_tasks(key, 0, ["a"])
    store.commit(one_commit(key, FIRST))
    return key


def operations_of_a_commit(store, disk, key, operation):
    disk.operations.clear()
    store.commit(one_commit(key, FIRST))
    return disk.operations.count(("wal", operation))


def test_a_full_disk_changes_nothing_and_the_same_commit_succeeds_when_there_is_room(store, disk, key):
    writes = operations_of_a_commit(store, disk, key, "write")
    assert writes > 2
    for nth in range(1, writes + 1):
        before = store.position(), store.read_run(key)
        disk.will(Effect.FILL, "write", nth=nth)
        with pytest.raises(StoreUnavailable, match=r"the disk is full.*free some space") as raised:
            store.commit(one_commit(key, SECOND))
        assert not isinstance(raised.value, CommitUnknown)
        assert not disk.faults[-1].times
        assert (store.position(), store.read_run(key)) == before
        store.commit(one_commit(key, RunHead(priority=nth)))
        assert store.position().sequence == before[0].sequence + 1
        assert store.read_run(key).head.priority == nth


def test_a_full_disk_may_also_be_answered_by_opening_again(store, disk, key):
    before = store.position()
    disk.will(Effect.FILL, "write", nth=2)
    with pytest.raises(StoreUnavailable):
        store.commit(one_commit(key, SECOND))
    store.reopen()
    assert (store.position(), store.read_run(key).head) == (before, FIRST)
    store.commit(one_commit(key, SECOND))
    assert store.read_run(key).head == SECOND


@pytest.mark.parametrize("effect", [Effect.FAIL, Effect.TEAR, Effect.FAIL_AFTER])
@pytest.mark.parametrize("operation", ["write", "sync"])
def test_after_an_io_error_the_sequence_tells_whether_the_commit_happened(store, disk, key, operation, effect):
    count = operations_of_a_commit(store, disk, key, operation)
    assert count
    for nth in range(1, count + 1):
        before = store.position().sequence
        store.commit(one_commit(key, FIRST))
        disk.will(effect, operation, nth=nth)
        with pytest.raises(CommitUnknown):
            store.commit(one_commit(key, SECOND))
        store.reopen()
        happened = store.position().sequence - before - 1
        assert happened in {0, 1}
        assert store.read_run(key).head == (SECOND if happened else FIRST)
        store.commit(one_commit(key, FIRST))
        assert store.position().sequence == before + 2 + happened
        assert store.read_run(key).head == FIRST


def test_a_commit_whose_sync_failed_is_on_the_disk_when_the_sequence_says_so(store, disk, key):
    disk.will(Effect.FAIL_AFTER, "sync")
    with pytest.raises(CommitUnknown):
        store.commit(one_commit(key, SECOND))
    store.reopen()
    assert store.position().sequence == 2
    assert store.read_run(key).head == SECOND


def test_after_an_io_error_nothing_is_written_until_the_file_is_opened_again(store, disk, key):
    disk.will(Effect.FAIL, "sync")
    with pytest.raises(CommitUnknown):
        store.commit(one_commit(key, SECOND))
    disk.operations.clear()
    for call in (
        lambda: store.commit(one_commit(key, SECOND)),
        lambda: store.create_run(RunName("v"), plan_of("a"), RunHead()),
        lambda: store.delete_run(key),
        store.checkpoint,
    ):
        with pytest.raises(StoreUnavailable, match="has to be opened again first"):
            call()
    store.close()
    assert {operation for _, operation in disk.operations} <= {"read"}


def test_after_a_failed_sync_the_log_is_written_anew_and_synced_before_it_is_believed(
    store, disk, key, path, monkeypatch
):
    disk.will(Effect.FAIL, "sync")
    with pytest.raises(CommitUnknown):
        store.commit(one_commit(key, SECOND))
    log = path.with_name("state.db-wal").read_bytes()
    done = []
    pwrite, fsync = os.pwrite, os.fsync
    monkeypatch.setattr("os.pwrite", lambda file, block, at: done.append((at, block)) or pwrite(file, block, at))
    monkeypatch.setattr("os.fsync", lambda file: done.append("sync") or fsync(file))
    store.reopen()
    assert done == [(0, log), "sync"]


def test_a_store_that_can_not_be_opened_again_yet_is_opened_later(store, disk, key, path):
    disk.will(Effect.FAIL, "sync")
    with pytest.raises(CommitUnknown):
        store.commit(one_commit(key, SECOND))
    disk.will(Effect.FAIL, "read", file="main", times=1000)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.reopen()
    disk.heal()
    store.reopen()
    store.commit(one_commit(key, SECOND))
    assert store.read_run(key).head == SECOND


@pytest.mark.parametrize("effect", [Effect.FAIL, Effect.FILL])
def test_a_checkpoint_that_fails_takes_no_commit_along(open_store, disk, path, monkeypatch, effect):
    monkeypatch.setattr("flowweaver.stores.log_room.CHECKPOINT_PAGES", 1)
    store = open_store(vfs=disk.name)
    key = store.create_run(RunName("w"), plan_of("a"), RunHead())
    disk.will(effect, "write", file="main", times=1000)
    store.commit(one_commit(key, FIRST))  # durable, whatever comes after
    assert disk.faults[-1].times < 1000, "the checkpoint was not tried"
    if effect is Effect.FAIL:
        with pytest.raises(StoreUnavailable, match="opened again"):
            store.commit(one_commit(key, SECOND))
        store.reopen()
    assert store.position().sequence == 1
    disk.heal()
    store.commit(one_commit(key, SECOND))
    assert (store.position().sequence, store.read_run(key).head) == (2, SECOND)


def test_a_checkpoint_on_a_full_disk_is_tried_again(store, disk, key):
    disk.will(Effect.FILL, "write", file="main")
    with pytest.raises(StoreUnavailable, match="full"):
        store.checkpoint()
    store.checkpoint()
    assert store.wal_bytes() == 0
    assert store.read_run(key).head == FIRST


def test_a_read_that_fails_says_so_and_the_next_one_succeeds(open_store, disk, path):
    store = open_store(vfs=disk.name)
    key = store.create_run(RunName("w"), plan_of("a"), RunHead())
    store.checkpoint()
    store.close()
    store = open_store(vfs=disk.name)
    disk.will(Effect.FAIL, "read", file="main", times=1000)
    with pytest.raises(StoreUnavailable):
        store.read_run(key)
    disk.heal()
    assert store.read_run(key).plan == plan_of("a")


def test_whatever_was_acknowledged_is_there_after_a_power_cut(store, disk, key, path, tmp_path, open_store):
    for number in range(2, 8):
        store.commit(one_commit(key, RunHead(priority=number)))
        if number == 4:
            store.checkpoint()
        folder = tmp_path / str(number)
        folder.mkdir()
        left = open_store(disk.after_power_cut(path, folder))
        assert left.position().sequence == number
        assert left.read_run(key).head.priority == number


def test_a_power_cut_before_the_sync_leaves_the_commit_before(store, disk, key, path, tmp_path, open_store):
    disk.will(Effect.HOLD, "sync")
    writer = threading.Thread(target=store.commit, args=(one_commit(key, SECOND),))
    writer.start()
    try:
        assert disk.held.wait(60)
        folder = tmp_path / "cut"
        folder.mkdir()
        left = open_store(disk.after_power_cut(path, folder))
        assert (left.position().sequence, left.read_run(key).head) == (1, FIRST)
        # Meanwhile others read what is committed.
        assert (store.position().sequence, store.read_run(key).head) == (1, FIRST)
    finally:
        disk.gate.set()
        writer.join()
    assert (store.position().sequence, store.read_run(key).head) == (2, SECOND)


def test_a_file_that_has_lost_an_acknowledged_commit_is_not_used(store, disk, key, path, tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    disk.after_power_cut(path, old)
    store.commit(one_commit(key, SECOND))
    store._readers.reset()
    disk.will(Effect.FAIL, "sync")
    with pytest.raises(CommitUnknown):
        store.commit(one_commit(key, FIRST))
    for suffix in ("", "-wal"):
        shutil.copyfile(old / f"state.db{suffix}", f"{path}{suffix}")
    with pytest.raises(StoreCorrupt, match="has lost commits: it is at 1, and 2 was durable"):
        store.reopen()


def test_a_file_that_was_replaced_by_another_store_is_not_used(store, key, path, tmp_path, open_store):
    other = open_store(tmp_path / "other.db")
    other.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(f"state.db{suffix}").unlink()
    shutil.copyfile(tmp_path / "other.db", path)
    with pytest.raises(StoreCorrupt, match="was replaced by another store"):
        store.reopen()


def test_a_file_that_is_gone_is_not_made_again(store, key, path):
    path.unlink()
    with pytest.raises(StoreUnavailable):
        store.reopen()
    assert not path.exists()
