"""A power cut at any moment leaves every commit that was acknowledged, and nothing that was never written."""

from __future__ import annotations

import random
import shutil
from contextlib import suppress

import pytest

from flowweaver.core.changes import Changes, ResultRecorded, RunChanged, TaskChanged
from flowweaver.core.state import RunHead
from flowweaver.errors import StoreCorrupt, StoreUnavailable
from flowweaver.ports import RunName
from flowweaver.stores import JSONStore
from flowweaver.stores.json_contents import Commit
from flowweaver.testing.json_disk import BadDisk, PowerCut
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores import COMPLETED, plan_of
from flowweaver.testing.stores_disk import Effect

COMMITS = 12


@pytest.fixture(autouse=True)
def _small_journals(monkeypatch):
    """Let the file be written anew every few commits."""
    monkeypatch.setattr("flowweaver.stores.json_store.LEAST_JOURNAL_BYTES", 1000)


def commit(store, run, number):
    store.commit(
        Changes(
            tasks=[TaskChanged(run, number % 3, COMPLETED)],
            results=[ResultRecorded(run, number % 3, b'"%d"' % number)],
            runs=[RunChanged(run, RunHead(priority=number))],
        )
    )


def expected(number):
    """What a store says after so many commits."""
    results = {position % 3: b'"%d"' % position for position in range(1, number + 1)}
    return RunHead(priority=number), results


def check(path, *allowed):
    """The store at `path` holds one of so many commits, whole."""
    store = JSONStore(path, clock=ManualClock())
    try:
        found, sequence = store.find_run(RunName("w")), store.position().sequence
        assert sequence in allowed, f"{sequence} commits are there, and {allowed} may be"
        if found:
            assert (found.head, store.read_results(found.key, range(3))) == expected(sequence)
        else:
            assert sequence == 0
        key = found.key if found else store.create_run(RunName("w"), plan_of("a", "b", "c"), RunHead())
        commit(store, key, sequence + 1)  # it can be gone on with
        assert store.position().sequence == sequence + 1
    finally:
        store.close()


def live(path, disk, acknowledged, opened=JSONStore):
    """A store's life with several compactions; `acknowledged` counts the commits that have returned."""
    store = opened(path, clock=ManualClock(), disk=disk)
    try:
        run = store.create_run(RunName("w"), plan_of("a", "b", "c"), RunHead())
        for number in range(1, COMMITS + 1):
            commit(store, run, number)
            acknowledged.append(number)
            if number == COMMITS // 2:
                store.checkpoint()
        store.close()
    finally:
        store._lock.release()
        store._journal._descriptor = -1  # the machine is gone, and all descriptors with it


def cut_everywhere(folder, opened=JSONStore, make_disk=BadDisk):
    """Cut the power before each operation on the disk; look at what is left, and at what a mere kill would leave."""
    whole = make_disk()
    (folder / "whole").mkdir()
    live(folder / "whole" / "state.json", whole, [], opened)
    assert whole.operations.count(("main", "replace")) >= 4, "the file was never written anew"
    for cut_at in range(len(whole.operations) + 1):
        disk, acknowledged = make_disk(), [0]
        disk.cut_at = cut_at
        home = folder / str(cut_at)
        home.mkdir()
        with suppress(PowerCut):
            live(home / "state.json", disk, acknowledged, opened)
        allowed = (acknowledged[-1], acknowledged[-1] + 1)
        left = folder / f"{cut_at}-power"
        left.mkdir()
        disk.after_power_cut(left)
        check(left / "state.json", *allowed)
        check(home / "state.json", *allowed)


def test_a_power_cut_before_any_operation_leaves_what_was_acknowledged(tmp_path):
    cut_everywhere(tmp_path)


def test_a_disk_that_does_not_sync_is_found_out(tmp_path):
    class Unsynced(BadDisk):
        def _sync(self, descriptor):
            pass

    with pytest.raises((AssertionError, StoreCorrupt)):
        cut_everywhere(tmp_path, make_disk=Unsynced)


def test_a_store_that_does_not_sync_its_journal_is_found_out(tmp_path):
    class Hasty(JSONStore):
        def _write(self, operation):
            self._journal._disk, disk = _Deaf(self._journal._disk), self._journal._disk
            try:
                super()._write(operation)
            finally:
                self._journal._disk = disk

    class _Deaf:
        def __init__(self, disk):
            self._disk = disk

        def __getattr__(self, name):
            return (lambda *_: None) if name == "sync" else getattr(self._disk, name)

    with pytest.raises(AssertionError, match="commits are there"):
        cut_everywhere(tmp_path, opened=Hasty)


def test_a_store_that_does_not_sync_the_folder_is_found_out(tmp_path):
    class Forgetful(BadDisk):
        def sync_folder(self, folder):
            if not self.names:
                super().sync_folder(folder)

    with pytest.raises((AssertionError, StoreCorrupt)):
        cut_everywhere(tmp_path, make_disk=Forgetful)


def test_a_store_that_empties_its_journal_before_the_new_file_is_there_is_found_out(tmp_path):
    class Backwards(JSONStore):
        def _write_snapshot(self, contents):
            if self._journal._descriptor >= 0:
                self._disk.truncate(self._journal._descriptor, 0)
                self._disk.sync(self._journal._descriptor)
            super()._write_snapshot(contents)

    with pytest.raises(AssertionError, match="commits are there"):
        cut_everywhere(tmp_path, opened=Backwards)


def acts_before_it_writes(store_class, path):
    """Whether a commit that the disk has refused can be seen."""
    disk = BadDisk()
    store = store_class(path, clock=ManualClock(), disk=disk)
    run = store.create_run(RunName("w"), plan_of("a", "b", "c"), RunHead())
    commit(store, run, 1)
    before = store.position(), store.read_run(run), store.read_results(run, range(3))
    disk.will(Effect.FILL, "write")
    with pytest.raises(StoreUnavailable):
        commit(store, run, 2)
    seen = (store.position(), store.read_run(run), store.read_results(run, range(3))) != before
    store.close()
    return seen


def test_a_store_that_acts_before_it_writes_is_found_out(tmp_path):
    class Rash(JSONStore):
        def _write(self, operation):
            if isinstance(operation, Commit):
                self._contents.apply(operation)
            super()._write(operation)

    assert acts_before_it_writes(Rash, tmp_path / "rash.json")
    assert not acts_before_it_writes(JSONStore, tmp_path / "state.json")


# -------------------------------------------------------------------------------------------------- the journal is cut


@pytest.fixture
def journaled(tmp_path, monkeypatch):
    """A store as it is while its engine lives, and where in the journal each commit ends."""
    monkeypatch.setattr("flowweaver.stores.json_store.LEAST_JOURNAL_BYTES", 1 << 20)
    home = tmp_path / "home"
    home.mkdir()
    store = JSONStore(home / "state.json", clock=ManualClock())
    run = store.create_run(RunName("w"), plan_of("a", "b", "c"), RunHead())
    journal = home / "state.json-journal"
    ends = [journal.stat().st_size]
    for number in range(1, 41):
        commit(store, run, number)
        ends.append(journal.stat().st_size)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("state.json", "state.json-journal"):
        shutil.copy(home / name, copy)
    store.close()
    return copy / "state.json", copy / "state.json-journal", ends


def test_a_journal_that_is_cut_holds_exactly_the_commits_that_ended_before(journaled, tmp_path):
    path, journal, ends = journaled
    snapshot, text = path.read_bytes(), journal.read_bytes()
    assert len(text) == ends[-1]
    dice = random.Random(7)
    for cut in [*ends, *(end - 1 for end in ends), *(dice.randrange(len(text) + 1) for _ in range(300))]:
        path.write_bytes(snapshot)
        journal.write_bytes(text[:cut])
        check(path, max(0, sum(end <= cut for end in ends) - 1))


def test_a_last_line_that_is_garbage_is_forgiven(journaled):
    path, journal, ends = journaled
    snapshot, text = path.read_bytes(), journal.read_bytes()
    torn = len(text) - ends[-2]
    for last in (b"\0" * torn, text[ends[-2] : -20] + b"\0" * 19 + b"\n", b"\n", b"0" * 8):
        path.write_bytes(snapshot)
        journal.write_bytes(text[: ends[-2]] + last)
        check(path, 39)


def test_any_other_damage_of_the_journal_is_named(journaled):
    path, journal, ends = journaled
    snapshot, text = path.read_bytes(), journal.read_bytes()
    lines = text.splitlines(keepends=True)
    damaged = [b"".join(lines[:5] + lines[6:]), b"".join([*lines[:5], lines[6], lines[5], *lines[7:]])]
    damaged.append(b"".join([*lines[:5], lines[5], *lines[5:]]))
    dice = random.Random(8)
    for number in range(101):
        at = ends[-2] - 1 if number == 100 else dice.randrange(ends[-2])
        damaged.append(text[:at] + bytes([text[at] ^ (1 << dice.randrange(8))]) + text[at + 1 :])
    for each in damaged:
        path.write_bytes(snapshot)
        journal.write_bytes(each)
        with pytest.raises(StoreCorrupt, match=r"journal is damaged: the line at byte \d+.*Restore a backup"):
            JSONStore(path, clock=ManualClock())
        assert (path.read_bytes(), journal.read_bytes()) == (snapshot, each)
