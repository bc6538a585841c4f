"""The operator's own backups: in time, few, never in the way, and never at the cost of somebody's last one."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from contextlib import closing
from pathlib import Path

import pytest

from flowweaver.core.changes import Changes
from flowweaver.core.state import RunHead
from flowweaver.operator import backups
from flowweaver.operator.backups import Backups, keep_older_layout
from flowweaver.ports import RunName
from flowweaver.stores import SQLiteStore
from flowweaver.stores.backups import origin_of
from flowweaver.stores.checks import check
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores import plan_of
from tests.state.conftest import RELEASED, complete

HOUR = 3600.0


class Meter:
    """What was told."""

    def __init__(self):
        self.results = []
        self.newest = None
        self.every = None
        self.told = threading.Event()

    def backed_up(self, result, seconds):
        self.results.append(result)
        self.told.set()

    def backup_every(self, seconds):
        self.every = seconds

    def backup_at(self, epoch):
        self.newest = epoch


@pytest.fixture
def store(tmp_path):
    with closing(SQLiteStore(tmp_path / "state.db", clock=ManualClock())) as store:
        yield store


@pytest.fixture
def clock(store):
    """Something happens in the store whenever time passes."""

    class Busy(ManualClock):
        def advance(self, seconds):
            super().advance(seconds)
            store.commit(Changes())

    return Busy()


@pytest.fixture
def timer(store, clock, tmp_path):
    meter = Meter()
    made = []

    def make(**options):
        settings = {"folder": tmp_path / "backups", "every_seconds": HOUR, "keep": 3, **options}
        made.append(
            Backups(state=store.path, store=store.position().id, meter=meter, now=clock.now, **settings),
        )
        made[-1].told = meter
        return made[-1]

    yield make
    for one in made:
        one.stop()


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_one_is_taken_at_once_where_there_is_none(timer, store, tmp_path, clock):
    one = timer()
    one.start()

    assert one.told.told.wait(30)
    one.stop()
    [name] = names(tmp_path / "backups")
    assert name == f"auto-20231114T221320Z-{store.position().id[:8]}.db"
    assert origin_of(tmp_path / "backups" / name).store == store.position().id
    assert (one.told.results, one.told.newest, one.told.every) == (["written"], clock.now(), HOUR)


def test_after_a_restart_the_next_one_is_due_when_it_would_have_been(timer, clock):
    timer().take()
    clock.advance(1000)

    again = timer()
    again.told.newest = None

    assert again._first_pause() == HOUR - 1000
    assert again.told.newest == clock.now() - 1000
    clock.advance(10 * HOUR)
    assert timer()._first_pause() == 0.0


def test_a_clock_that_was_set_back_holds_up_no_backup_for_long(timer, clock):
    timer().take()
    clock.advance(-100 * HOUR)

    assert timer()._first_pause() == HOUR


def test_the_newest_few_stay(timer, store, clock, tmp_path):
    one = timer()
    for _ in range(5):
        assert one.take() == HOUR
        clock.advance(HOUR)

    assert [name[5:21] for name in names(tmp_path / "backups")] == [
        "20231115T001320Z",
        "20231115T011320Z",
        "20231115T021320Z",
    ]


def test_where_nothing_has_happened_the_newest_one_is_as_good_as_a_new_one(timer, store, tmp_path, clock):
    one = timer()

    def taken():
        """Whether a new one was taken an hour later."""
        before = names(tmp_path / "backups")
        ManualClock.advance(clock, HOUR)
        assert one.take() == HOUR
        assert one.told.newest == clock.now()
        return names(tmp_path / "backups") != before

    one.take()
    assert not taken()
    store.commit(Changes())
    assert taken()
    key = store.create_run(RunName("w"), plan_of("a"), RunHead())
    assert taken()
    assert not taken()
    store.delete_run(key)
    key = store.create_run(RunName("another"), plan_of("a"), RunHead())
    assert taken()
    store.delete_run(key)
    assert taken()
    assert not taken()
    assert one.told.results == ["written"] * 5
    assert len(names(tmp_path / "backups")) == 3


def test_those_of_another_store_and_of_other_names_are_left_alone(timer, clock, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    others = ["auto-20200101T000000Z-deadbeef.db", "auto-x.db", "before-the-upgrade.db", "notes.txt"]
    for name in others:
        (folder / name).write_text("mine")
    one = timer(keep=1)
    for _ in range(3):
        one.take()
        clock.advance(HOUR)

    assert len(names(folder)) == 1 + len(others)
    assert set(others) < set(names(folder))


def test_one_that_fails_is_counted_logged_and_tried_again_soon(timer, tmp_path, caplog):
    (tmp_path / "backups").write_text("no folder")
    one = timer()

    with caplog.at_level(logging.ERROR):
        pause = one.take()

    assert pause == backups.RETRY_SECONDS
    assert one.told.results == ["failed"]
    assert one.told.newest is None
    assert "the store was not backed up: " in caplog.text
    (tmp_path / "backups").unlink()
    assert one.take() == HOUR
    assert one.told.results == ["failed", "written"]


def test_what_nobody_has_thought_of_does_not_end_the_timer(timer, monkeypatch, caplog):
    def fail(*arguments, **options):
        raise RuntimeError("odd")

    monkeypatch.setattr(backups, "back_up", fail)
    one = timer()

    assert one.take() == HOUR
    assert one.told.results == ["failed"]
    assert "please report this" in caplog.text


@pytest.fixture
def disk(monkeypatch):
    """Let every file system have so many bytes left beside what backups take; `disk(n)` sets it."""
    statvfs = os.statvfs

    def let(free: int, folder: Path) -> None:
        def told(path):
            found = list(statvfs(path))
            taken = sum(file.stat().st_size for file in folder.glob("*.db"))
            found[0] = found[1] = 1
            found[2] = 10 * backups.SAME_DISK_SPARE_BYTES  # f_blocks
            found[4] = max(0, free - taken)  # f_bavail
            return os.statvfs_result(found)

        monkeypatch.setattr(os, "statvfs", told)

    return let


def test_a_tenth_of_the_store_s_own_disk_stays_free(timer, disk, tmp_path, clock, caplog):
    one = timer()
    one.take()
    clock.advance(HOUR)
    size = next((tmp_path / "backups").iterdir()).stat().st_size
    disk(backups.SAME_DISK_SPARE_BYTES + size + 1000, tmp_path / "backups")

    one.take()

    assert one.told.results == ["written", "failed"]
    assert "64 MiB that are kept free" in caplog.text
    assert len(names(tmp_path / "backups")) == 1


def test_where_room_is_short_the_oldest_go_and_the_newest_stays(timer, disk, tmp_path, store, clock):
    one = timer(keep=5)
    for _ in range(3):
        one.take()
        clock.advance(HOUR)
    newest = names(tmp_path / "backups")[-1]
    size = (tmp_path / "backups" / newest).stat().st_size
    disk(backups.SAME_DISK_SPARE_BYTES + 2 * size, tmp_path / "backups")

    assert one.take() == HOUR
    left = names(tmp_path / "backups")
    assert len(left) == 2
    assert left[0] == newest


def test_where_there_is_no_room_at_all_nothing_is_removed_for_nothing(timer, disk, tmp_path, clock):
    one = timer(keep=5)
    for _ in range(3):
        one.take()
        clock.advance(HOUR)
    disk(1, tmp_path / "backups")

    one.take()

    assert one.told.results[-1] == "failed"
    assert len(names(tmp_path / "backups")) == 3


def test_what_an_earlier_life_left_half_written_is_taken_away(timer, tmp_path, clock):
    folder = tmp_path / "backups"
    folder.mkdir()
    old, new = folder / ".auto-1.db.x.partial", folder / ".auto-2.db.x.partial"
    for file, age in ((old, 2 * backups.STALE_SECONDS), (new, 1.0)):
        file.touch()
        os.utime(file, (clock.now() - age,) * 2)

    timer().take()

    assert not old.exists()
    assert new.exists()


def test_it_ends_in_the_middle_of_a_backup(timer, store, tmp_path, monkeypatch):
    key = store.create_run(RunName("w"), plan_of(*"abcde"), RunHead())
    for task in range(5):
        complete(store, key, task, b'"' + b"x" * 1_000_000 + b'"')
    one = timer()
    resting, rest = threading.Event(), Backups._rest

    def rest_long(self, seconds):
        resting.set()
        rest(self, 600.0)

    monkeypatch.setattr(Backups, "_rest", rest_long)
    one.start()
    assert resting.wait(30)

    one.stop(30)

    assert not one._thread.is_alive()
    assert names(tmp_path / "backups") == []
    assert one.told.results == []


def test_commits_go_on_while_one_is_taken_and_it_is_whole(timer, store, tmp_path):
    key = store.create_run(RunName("w"), plan_of(*map(str, range(500))), RunHead())
    one = timer()
    one.start()
    task = 0
    while not one.told.told.is_set() and task < 499:
        complete(store, key, task)
        task += 1

    assert one.told.told.wait(60)
    [name] = names(tmp_path / "backups")
    assert check(tmp_path / "backups" / name).problems == ()


def test_a_store_of_an_older_layout_is_kept_once_before_that_changes(tmp_path, caplog):
    state, folder = tmp_path / "state.db", tmp_path / "backups"
    shutil.copyfile(RELEASED / "layout-1.sqlite", state)

    for _ in range(2):
        keep_older_layout(state, folder, now=7.0)

    [kept] = folder.iterdir()
    assert kept.name == "layout-1-94fc030b-18.db"
    assert (check(kept).layout, check(kept).runs, origin_of(kept).made_at) == (1, 3, 7.0)
    assert caplog.text == ""


def test_a_store_of_this_layout_or_none_is_not_kept(tmp_path):
    state, folder = tmp_path / "state.db", tmp_path / "backups"
    keep_older_layout(state, folder, now=7.0)
    SQLiteStore(state, clock=ManualClock()).close()

    keep_older_layout(state, folder, now=7.0)

    assert not folder.exists()


@pytest.mark.parametrize("content", [b"no store", b"SQLite format 3\0" + bytes(5000)])
def test_what_can_not_be_kept_is_told_and_left_to_who_opens_it(content, tmp_path, caplog):
    state, folder = tmp_path / "state.db", tmp_path / "backups"
    state.write_bytes(content)

    keep_older_layout(state, folder, now=7.0)

    assert "the store was not backed up before its layout changes: " in caplog.text
    assert state.read_bytes() == content
