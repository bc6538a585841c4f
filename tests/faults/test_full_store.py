"""A disk that is full to the last block: what is acknowledged stays, and little room is enough to go on.

The disks are real file systems, which only root can mount.
"""

from __future__ import annotations

import itertools

import pytest

from flowweaver.core.changes import Changes, ResultRecorded, RunChanged, TaskChanged
from flowweaver.core.state import RunHead
from flowweaver.errors import StoreUnavailable
from flowweaver.ports import RunName
from flowweaver.testing.stores import COMPLETED, plan_of

_numbers = itertools.count()


def grow(store, most: int) -> list[str]:
    """Record new runs, until so many or the disk is full; gives those that were acknowledged."""
    made, refused = [], 0
    while len(made) < most and refused < 5:  # each refusal has the store look for room that it has itself
        name = str(next(_numbers))
        try:
            store.create_run(RunName("w", name), plan_of("a", "b"), RunHead())
            made.append(name)
            refused = 0
        except StoreUnavailable as error:
            assert (error.kind, "free some space" in str(error)) == ("full", True)  # noqa: PT017 - there are several
            refused += 1
    return made


def known(store) -> list[str]:
    return [name.run_id for _, name, _ in store.list_runs()]


def one_commit(key, number):
    return Changes(
        tasks=[TaskChanged(key, 0, COMPLETED)],
        results=[ResultRecorded(key, 0, b"%d" % number)],
        runs=[RunChanged(key, RunHead(priority=number))],
    )


def test_a_small_volume_is_not_filled_by_the_log_of_what_takes_no_room(volume, open_store):
    store = open_store(volume.folder / "s.db")
    key = store.create_run(RunName("w"), plan_of("a"), RunHead())
    for number in range(500):
        store.commit(one_commit(key, number))
    assert store.wal_bytes() <= (1200 << 10 if volume.free > 2 << 20 else 192 << 10)


def test_what_was_acknowledged_on_a_volume_that_fills_up_is_there_and_the_next_life_has_it(volume, open_store):
    store = open_store(volume.folder / "s.db")
    made = grow(store, 100)
    volume.fill()
    made += grow(store, 100_000)
    assert known(store) == made
    assert grow(store, 1) == []
    volume.hog.unlink()
    made += grow(store, 50)
    store.close()
    again = open_store(volume.folder / "s.db")
    assert known(again) == made


def test_little_room_is_enough_to_go_on(volume, open_store):
    store = open_store(volume.folder / "s.db")
    made = grow(store, 200)
    volume.fill()
    made += grow(store, 100_000)
    volume.free_some(96 << 10)
    more = grow(store, 20)
    assert len(more) == 20
    assert known(store) == made + more


def test_a_disk_that_others_have_filled_still_takes_what_needs_no_new_room(volume, open_store):
    store = open_store(volume.folder / "s.db")
    key = store.create_run(RunName("w"), plan_of("a"), RunHead())
    for number in range(300):
        store.commit(one_commit(key, number))
    volume.fill()
    for number in range(300, 1500):
        store.commit(one_commit(key, number))
    assert store.read_run(key).head.priority == 1499
    assert store.read_results(key, [0]) == {0: b"1499"}


def test_a_log_that_was_not_brought_in_before_the_disk_was_full_is_then(volume, open_store):
    store = open_store(volume.folder / "s.db")
    key = store.create_run(RunName("w"), plan_of("a"), RunHead())
    store.commit(one_commit(key, 0))
    store.checkpoint()  # the main file has all its pages
    for number in range(1, 60):
        store.commit(one_commit(key, number))
    volume.fill()
    refused, number = 0, 60
    while number < 600:
        try:
            store.commit(one_commit(key, number))
            number += 1
        except StoreUnavailable:
            refused += 1
            assert refused < 5
    assert store.read_run(key).head.priority == 599


def test_room_that_a_commit_took_in_vain_serves_the_file(volume, open_store):
    store = open_store(volume.folder / "s.db")
    key = store.create_run(RunName("w"), plan_of("a"), RunHead())
    store.commit(one_commit(key, 0))
    store.checkpoint()
    before = store.database_bytes()
    volume.fill()
    volume.free_some(256 << 10)
    with pytest.raises(StoreUnavailable):
        store.commit(Changes(results=[ResultRecorded(key, 0, b"1" * (600 << 10))]))
    made = grow(store, 100_000)
    assert store.database_bytes() >= before + (96 << 10)
    assert known(store)[1:] == made


def test_a_store_on_a_full_volume_says_so_and_can_be_opened_when_there_is_room(volume, open_store):
    store = open_store(volume.folder / "s.db")
    made = grow(store, 20)
    store.close()
    volume.fill()
    with pytest.raises(StoreUnavailable, match="free some space") as raised:
        open_store(volume.folder / "s.db")
    assert raised.value.kind == "full"
    volume.free_some(128 << 10)
    assert known(open_store(volume.folder / "s.db")) == made


def test_the_lock_of_a_new_store_on_a_full_volume_is_no_error_of_the_system(volume, open_store):
    volume.fill()
    with pytest.raises(StoreUnavailable, match="full|No space left"):
        open_store(volume.folder / "s.db")
