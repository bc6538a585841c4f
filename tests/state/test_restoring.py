"""A restore is all or nothing, changes nothing that somebody has open, and keeps what was there."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from flowweaver.core.state import RunHead
from flowweaver.errors import StoreCorrupt, StoreError, StoreLocked, StoreTooNew, UserError
from flowweaver.ports import RunName
from flowweaver.stores import checks, restoring
from flowweaver.stores.backups import origin_of, write_backup
from flowweaver.stores.checks import check
from flowweaver.stores.looking import looking_at
from flowweaver.stores.restoring import restore
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores import plan_of
from tests.state.conftest import STORES, complete, completed

NOW = 1_700_000_000.0
KEPT = ".before-20231114T221320Z"


@pytest.fixture
def backup(tmp_path):
    return tmp_path / "backup"


@pytest.fixture
def aged(begin, path, backup):
    """A closed store in which more has happened since it was backed up; gives the run."""
    store, key = begin()
    complete(store, key, 0)
    write_backup(path, backup, now=7.0)
    complete(store, key, 1)
    store.close()
    return key


def content(path: Path) -> dict[str, bytes]:
    """All files of a store; the lock file says who had it last, which is no state."""
    return {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith(".lock")}


def test_the_store_is_what_the_backup_was_and_the_old_one_is_kept(aged, path, backup, open_store):
    restored = restore(backup, path, now=NOW)

    assert restored.kept == path.with_name(path.name + KEPT)
    assert restored.origin == origin_of(backup)
    assert restored.before.sequence > restored.position.sequence == restored.origin.sequence
    with looking_at(restored.kept) as look:
        assert completed(look, aged) == [0, 1]
    assert origin_of(path) is None
    store = open_store()
    assert completed(store, aged) == [0]
    complete(store, aged, 2)
    assert completed(store, aged) == [0, 2]
    assert check(backup).problems == ()


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_room_that_the_old_file_did_not_use_is_not_taken_again(begin, path, backup, open_store):
    store, key = begin()
    for number in (1, 2):
        complete(store, key, 0, b'"' + b"x" * 1_000_000 + b'"', number)
    complete(store, key, 0, b'"y"', 3)
    write_backup(path, backup, now=7.0)
    store.close()

    restore(backup, path, now=NOW)

    assert backup.stat().st_size > 1_000_000 > 10 * path.stat().st_size
    store = open_store()
    assert completed(store, key) == [0]
    assert store.create_run(RunName("next"), plan_of("a"), RunHead()) == key + 1


def test_where_nothing_is_left_it_is_put_there(aged, path, backup, open_store):
    for file in path.parent.iterdir():
        file.unlink()

    restored = restore(backup, path, now=NOW)

    assert (restored.kept, restored.before) == (None, None)
    assert completed(open_store(), aged) == [0]


def test_a_file_that_can_not_be_read_is_kept_too(aged, path, backup, open_store):
    path.write_bytes(path.read_bytes()[:16] + b"\xa5" * 5000)

    restored = restore(backup, path, now=NOW)

    assert restored.before is None
    assert restored.kept.read_bytes().endswith(b"\xa5")
    assert completed(open_store(), aged) == [0]


def test_two_in_one_second_keep_both_old_files(aged, path, backup):
    kept = {restore(backup, path, now=NOW).kept for _ in range(3)}

    assert len(kept) == 3
    assert all(file.exists() for file in kept)


def test_a_store_that_somebody_has_is_refused_and_left_as_it_is(holder, aged, path, backup):
    process = holder(f"complete(store, {aged}, 2); print('ready'); input(); complete(store, {aged}, 3); print('done')")
    assert process.stdout.readline() == "ready\n"
    before = content(path)

    with pytest.raises(StoreLocked, match=f"pid {process.pid}"):
        restore(backup, path, now=NOW)

    assert content(path) == before
    process.stdin.write("go\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def test_the_log_of_a_process_that_was_killed_stays_with_the_old_file(holder, aged, path, backup, open_store):
    process = holder(f"complete(store, {aged}, 2); print('ready'); time.sleep(600)")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()

    restored = restore(backup, path, now=NOW)

    with looking_at(restored.kept) as look:
        assert completed(look, aged) == [0, 1, 2]
    assert completed(open_store(), aged) == [0]


def test_a_damaged_backup_is_refused_and_nothing_changes(aged, path, backup):
    size = backup.stat().st_size
    with backup.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xa5" * (size - size // 2))
    before = content(path)

    with pytest.raises(StoreCorrupt):
        restore(backup, path, now=NOW)

    assert content(path) == before


def test_a_backup_that_says_what_can_not_be_true_is_refused(aged, kind, path, backup, monkeypatch):
    monkeypatch.setattr(checks, "violations", lambda stored, results: iter(["it can not be"]))
    before = content(path)

    with pytest.raises(StoreCorrupt, match="it can not be"):
        restore(backup, path, now=NOW)

    assert content(path) == before


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_backup_of_a_newer_version_is_refused_and_nothing_changes(aged, path, backup):
    connection = apsw.Connection(str(backup))
    connection.pragma("user_version", 99)
    connection.close()
    before = content(path)

    with pytest.raises(StoreTooNew, match="upgrade FlowWeaver"):
        restore(backup, path, now=NOW)

    assert content(path) == before


def test_a_store_is_not_restored_from_itself(aged, path):
    with pytest.raises(StoreError, match="name two files"):
        restore(path, path, now=NOW)


def test_the_backup_of_another_kind_of_store_is_refused(aged, kind, path, backup, tmp_path):
    other = next(name for name in STORES if name != kind)
    STORES[other][0](tmp_path / "other", clock=ManualClock()).close()
    before = content(path)

    with pytest.raises(StoreError, match=f"is no {other} store"):
        restore(tmp_path / "other", path, now=NOW)

    assert content(path) == before


KILLED = """
import os, sys
from pathlib import Path
left = [int(sys.argv[1])]

def counted(function):
    def counting(*arguments, **named):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), 9)
        return function(*arguments, **named)
    return counting

from flowweaver.stores import restoring
for home, name in ((os, "link"), (os, "fsync"), (os, "rename"), (Path, "unlink"), (Path, "replace"), (os, "close")):
    setattr(home, name, counted(getattr(home, name)))
restoring.restore(Path(sys.argv[2]), Path(sys.argv[3]), now=0.0)
"""


@pytest.fixture
def killed(aged, holder, path, tmp_path):
    """The files of the store, with the log of a process that was killed; `killed()` puts them back."""
    process = holder(f"complete(store, {aged}, 2); print('ready'); time.sleep(600)")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    shutil.copytree(path.parent, tmp_path / "killed")

    def put_back():
        shutil.rmtree(path.parent)
        shutil.copytree(tmp_path / "killed", path.parent)

    return put_back


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_the_old_store_or_the_new_one(aged, killed, path, backup):
    found = []
    for moment in range(1, 200):
        killed()
        result = subprocess.run(
            [sys.executable, "-c", KILLED, str(moment), str(backup), str(path)], check=False, timeout=60
        )
        assert check(path).problems == ()
        with looking_at(path) as look:
            found.append(completed(look, aged))
        if result.returncode == 0:
            break
        assert result.returncode == -signal.SIGKILL
    assert found[-1] == [0], "it came to its end"
    assert {tuple(tasks) for tasks in found} == {(0,), (0, 1, 2)}
    assert len(found) > 10


def test_the_log_of_a_damaged_file_is_not_taken_for_the_new_one_s(aged, killed, path, backup, open_store):
    with path.open("r+b") as file:
        file.seek(16)
        file.write(b"\xa5" * 4000)

    restored = restore(backup, path, now=NOW)

    assert restored.before is None
    assert completed(open_store(), aged) == [0]
    kept = [file.name for file in path.parent.glob("*.before-*")]
    assert len(kept) >= 2, "with its log"


def test_what_was_half_restored_is_taken_away(aged, path, backup, monkeypatch):
    def fail(file):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(restoring, "sync", fail)
    before = content(path)

    with pytest.raises(StoreError, match="can not be replaced: Input/output error"):
        restore(backup, path, now=NOW)

    assert content(path) == before
    assert list(path.parent.glob("*restoring*")) + list(path.parent.glob(".*restoring*")) == []
    monkeypatch.undo()
    restore(backup, path, now=NOW)


def test_there_must_be_a_folder_for_a_backup(aged, path, backup):
    with pytest.raises(UserError, match="is no folder"):
        write_backup(path, backup.parent / "nowhere" / "backup", now=7.0)
