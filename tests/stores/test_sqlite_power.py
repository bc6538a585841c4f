"""A log that a power cut has cut anywhere: the file holds exactly the commits that ended before the cut."""

from __future__ import annotations

import random
import shutil

import pytest

from flowweaver.core.changes import AttemptStarted, Changes, ResultRecorded, RunChanged, TaskChanged
from flowweaver.core.events import AttemptId
from flowweaver.core.phases import TaskPhase
from flowweaver.core.state import RunHead, TaskState
from flowweaver.ports import NewRun, RunName
from flowweaver.stores import SQLiteStore
from flowweaver.stores import connections as store_connections
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores import plan_of
from flowweaver.testing.stores_disk import Disk

TASKS = [f"t{number}" for number in range(20)]
HEADER, FRAME = 32, 24 + 4096


def commits(key, dice):
    """One commit after the other, of every kind and of different sizes."""
    for number in range(60):
        task = number % len(TASKS)
        attempt = AttemptId(key, task, number + 1)
        running = TaskState(phase=TaskPhase.RUNNING, attempts=number + 1, started_at=float(number))
        completed = TaskState(phase=TaskPhase.COMPLETED, attempts=number + 1, finished_at=float(number))
        changes = Changes(runs=[RunChanged(key, RunHead(priority=number))])
        if number % 3:
            changes.tasks.append(TaskChanged(key, task, completed))
            changes.results.append(ResultRecorded(key, task, b'"%s"' % (b"x" * dice.choice([1, 100, 9000]))))
        else:
            changes.tasks.append(TaskChanged(key, task, running))
            changes.started.append(AttemptStarted(attempt, float(number)))
        yield changes


def picture(store, key):
    """All that the store knows of the run."""
    run = store.read_run(key)
    return run.head, run.tasks, store.read_results(key, range(len(TASKS)))


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A file with its log, and for each commit where it ends in the log and what there was to see then."""
    folder = tmp_path_factory.mktemp("power")
    path = folder / "state.db"
    dice = random.Random(5)
    store = SQLiteStore(path, clock=ManualClock())
    [key] = store.create_runs([NewRun(name=RunName("w"), plan=plan_of(*TASKS), head=RunHead())])
    store.checkpoint()  # the log begins anew: what follows is all in it
    store.close()
    store = SQLiteStore(path, clock=ManualClock())
    ends = [(end_of(store), 0, picture(store, key))]
    for number, changes in enumerate(commits(key, dice), 1):
        store.commit(changes)
        ends.append((end_of(store), number, picture(store, key)))
    copies = {suffix: (folder / f"state.db{suffix}").read_bytes() for suffix in ("", "-wal")}
    store.close()
    return key, copies, ends


def end_of(store):
    """Where the last commit ends in the log, which is longer than what is in it."""
    return HEADER + FRAME * store._writer._log_pages


def cuts(size):
    """Every end of a frame, and 300 places in between."""
    dice = random.Random(7)
    yield from range(HEADER, size + 1, FRAME)
    for _ in range(300):
        yield dice.randrange(size + 1)


@pytest.mark.parametrize(
    "rest", ["nothing", *(pytest.param(rest, marks=pytest.mark.slow) for rest in ("zeros", "noise"))]
)
def test_a_log_that_is_cut_holds_exactly_the_commits_that_ended_before(logged, tmp_path, rest):
    key, copies, ends = logged
    log = copies["-wal"]
    assert ends == sorted(ends, key=lambda end: end[0]), "the log has been begun again: the test says nothing"
    assert ends[-1][0] <= len(log)
    path = tmp_path / "state.db"
    seen = set()
    for cut in cuts(len(log)):
        lost = len(log) - cut
        behind = {"nothing": b"", "zeros": bytes(lost), "noise": random.Random(cut).randbytes(lost)}[rest]
        path.write_bytes(copies[""])
        path.with_name("state.db-wal").write_bytes(log[:cut] + behind)
        path.with_name("state.db-shm").unlink(missing_ok=True)
        whole = [(number, what) for end, number, what in ends if end <= cut]
        if not whole:
            continue  # before the mark of this life: there is nothing to compare with
        number, what = whole[-1]
        store = SQLiteStore(path, clock=ManualClock())
        try:
            base = store.position().sequence
            assert (base, picture(store, key)) == (number, what), f"cut at byte {cut}"
        finally:
            store.close()
        seen.add(number)
    assert seen == set(range(61))


def test_a_store_that_does_not_sync_is_found_out(tmp_path, monkeypatch):
    """With `synchronous=OFF` nothing would be noticed until the power goes: then what was acknowledged is not there."""
    opened = store_connections.open_writer

    def hasty(path, *, vfs, create):
        connection = opened(path, vfs=vfs, create=create)
        connection.pragma("synchronous", "off")
        return connection

    def lost() -> int:
        folder = tmp_path / f"life-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        path = folder / "state.db"
        with Disk() as disk:
            store = SQLiteStore(path, clock=ManualClock(), vfs=disk.name)
            [key] = store.create_runs([NewRun(name=RunName("w"), plan=plan_of(*TASKS), head=RunHead())])
            store.checkpoint()
            for changes in commits(key, random.Random(5)):
                store.commit(changes)
            acknowledged = store.position().sequence
            cut = folder / "cut"
            cut.mkdir()
            left = SQLiteStore(disk.after_power_cut(path, cut), clock=ManualClock())
            found = left.position().sequence
            left.close()
            store.close()
        shutil.rmtree(folder)
        (tmp_path / f"was-{folder.name}").touch()
        return acknowledged - found

    assert lost() == 0
    monkeypatch.setattr("flowweaver.stores.writer.open_writer", hasty)
    assert lost() > 0
