"""A backup is a whole store in one file, taken while an engine goes on; what can not be one is not there at all."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from flowweaver.core.state import RunHead
from flowweaver.errors import StoreCorrupt, StoreError, StoreUnavailable, UserError
from flowweaver.ports import RunName
from flowweaver.stores import SQLiteStore, backups
from flowweaver.stores.backups import Origin, origin_of, write_backup
from flowweaver.stores.checks import check
from flowweaver.stores.looking import looking_at
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores import plan_of
from tests.state.conftest import RELEASED, complete, completed


def names(folder):
    return [file.name for file in folder.iterdir()]


WIDE = b'"' + b"x" * 100_000 + b'"'


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "backup"


def test_it_has_all_that_was_committed_before_it_and_nothing_after(begin, path, target):
    store, key = begin()
    complete(store, key, 0)
    complete(store, key, 3)
    before = store.position()

    origin = write_backup(path, target, now=7.0)
    complete(store, key, 1)

    assert origin == Origin(
        made_at=7.0, store=before.id, epoch=before.epoch, sequence=before.sequence, source=str(path)
    )
    with looking_at(target) as look:
        assert completed(look, key) == [0, 3]
        assert look.position() == before
    assert completed(store, key) == [0, 1, 3]
    assert check(target).problems == ()
    assert names(target.parent) == ["backup"]


def test_another_process_that_has_the_store_is_not_disturbed(holder, begin, path, target):
    store, key = begin()
    store.close()
    process = holder(f"complete(store, {key}, 0); print('ready'); input(); complete(store, {key}, 1); print('done')")
    assert process.stdout.readline() == "ready\n"

    write_backup(path, target, now=7.0)
    process.stdin.write("go\n")
    process.stdin.flush()

    assert process.stdout.readline() == "done\n"
    with looking_at(target) as look:
        assert completed(look, key) == [0]


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_commits_go_on_in_its_middle_and_are_not_in_it(begin, path, target):
    store, key = begin()
    big = store.create_run(RunName("big"), plan_of(*map(str, range(40))), RunHead())
    for task in range(40):
        complete(store, big, task, WIDE)
    complete(store, key, 0)
    sequence = store.position().sequence
    rests = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        complete(store, key, 1 + len(rests) % 2)

    origin = write_backup(path, target, now=7.0, rest=rest)

    assert len(rests) >= 3
    assert origin.sequence == sequence
    assert store.position().sequence == sequence + len(rests)
    with looking_at(target) as look:
        assert look.position().sequence == sequence
        assert completed(look, key) == [0]
        assert completed(look, big) == list(range(40))


def test_it_replaces_nothing(begin, path, target):
    begin()
    target.write_text("mine")

    with pytest.raises(UserError, match="is there already"):
        write_backup(path, target, now=7.0)

    assert target.read_text() == "mine"
    assert names(target.parent) == ["backup"]


def test_a_file_that_appears_meanwhile_is_not_replaced_either(begin, path, target, monkeypatch):
    begin()
    sync = backups.sync
    monkeypatch.setattr(backups, "sync", lambda written: (sync(written), target.write_text("mine")))

    with pytest.raises(UserError, match="is there by now"):
        write_backup(path, target, now=7.0)

    assert target.read_text() == "mine"
    assert names(target.parent) == ["backup"]


def test_a_link_that_leads_nowhere_is_a_name_that_is_taken(begin, path, target):
    begin()
    target.symlink_to("nowhere")

    with pytest.raises(UserError, match="is there already"):
        write_backup(path, target, now=7.0)


def test_where_there_is_no_room_for_it_nothing_is_written(begin, path, target, monkeypatch):
    begin()
    statvfs = os.statvfs

    def almost_full(folder):
        found = list(statvfs(folder))
        found[4] = backups.SPARE_BYTES // found[1]  # f_bavail, f_frsize
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", almost_full)

    with pytest.raises(StoreUnavailable, match="make room, or name a folder on another disk"):
        write_backup(path, target, now=7.0)

    assert names(target.parent) == []


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_one_that_is_given_up_leaves_nothing(begin, path, target):
    store, key = begin()
    for task in range(5):
        complete(store, key, task, b'"' + b"x" * 1_000_000 + b'"')

    class GivenUp(Exception):
        pass

    def rest(seconds: float) -> None:
        assert names(target.parent) != []
        raise GivenUp

    with pytest.raises(GivenUp):
        write_backup(path, target, now=7.0, rest=rest)

    assert names(target.parent) == []


def test_a_damaged_store_makes_no_backup(begin, kind, path, target):
    store, key = begin()
    for task in range(5):
        complete(store, key, task, WIDE)
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 4096)

    with pytest.raises(StoreCorrupt):
        write_backup(path, target, now=7.0)

    assert names(target.parent) == []


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b'{"other": 1}', b"hello"])
def test_what_is_no_store_is_refused(content, tmp_path, target):
    path = tmp_path / "file"
    path.write_bytes(content)

    with pytest.raises(StoreError):
        write_backup(path, target, now=7.0)

    assert names(target.parent) == []


def test_a_database_of_another_program_is_refused(tmp_path, target):
    path = tmp_path / "other.db"
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("CREATE TABLE t (x)")

    with pytest.raises(StoreError, match="another program"):
        write_backup(path, target, now=7.0)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_it_is_one_file_that_needs_no_log_to_be_read(begin, path, target):
    store, key = begin()
    complete(store, key, 0)
    assert store.wal_bytes()

    write_backup(path, target, now=7.0)

    assert target.read_bytes()[18:20] == b"\x01\x01"  # of the file format: read and written without a log
    with closing(apsw.Connection(f"file:{target}?immutable=1", apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)) as c:
        assert c.execute("SELECT count(*) FROM results").fetchall() == [(1,)]
    assert names(target.parent) == ["backup"]


def test_it_says_what_it_is_of_and_a_state_file_does_not(begin, open_store, path, target):
    begin()
    origin = write_backup(path, target, now=7.0)

    assert origin_of(target) == origin
    assert origin_of(path) is None
    again = target.with_name("again")
    assert write_backup(target, again, now=8.0) == origin_of(again)
    assert origin_of(again).source == str(target)


def test_an_engine_can_go_on_from_it_as_it_is(begin, open_store, path, target):
    store, key = begin()
    complete(store, key, 2)
    write_backup(path, target, now=7.0)

    other = open_store(target)

    assert completed(other, key) == [2]
    complete(other, key, 0)
    assert completed(other, key) == [0, 2]


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_it_is_synced_before_it_has_its_name(begin, path, target, monkeypatch):
    begin()
    told = []
    fsync, link = os.fsync, os.link
    monkeypatch.setattr(
        os, "fsync", lambda file: (told.append(str(Path(f"/proc/self/fd/{file}").readlink())), fsync(file))
    )
    monkeypatch.setattr(os, "link", lambda *names: (told.append("link"), link(*names)))

    write_backup(path, target, now=7.0)

    named = told.index("link")
    assert told[named - 1].endswith(backups.PARTIAL)
    assert told[named + 1 :] == [str(target.parent)]


def test_a_file_system_without_links_is_as_good(begin, path, target, monkeypatch):
    begin()

    def link(*names):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)

    write_backup(path, target, now=7.0)

    assert check(target).problems == ()
    assert names(target.parent) == ["backup"]


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_store_of_an_older_layout_is_backed_up_as_it_is(path, target):
    shutil.copyfile(RELEASED / "layout-1.sqlite", path)

    write_backup(path, target, now=7.0)

    assert (check(target).layout, check(target).runs) == (1, 3)
    with closing(SQLiteStore(target, clock=ManualClock())) as store:
        assert len(list(store.list_runs())) == 3
