"""A power cut while a generation replaces another one: the old one is there as it was, or the new one whole."""

from __future__ import annotations

import itertools
from contextlib import suppress

import pytest

from flowweaver.core.changes import AttemptStarted, Changes, ResultRecorded, RunChanged, TaskChanged
from flowweaver.core.events import AttemptId
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.state import RunHead, TaskState
from flowweaver.ports import Kept, NewRun, RunName
from flowweaver.stores import JSONStore, SQLiteStore
from flowweaver.testing.json_disk import BadDisk, PowerCut
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores import COMPLETED, plan_of
from flowweaver.testing.stores_disk import Disk

TASKS = [f"t{number}" for number in range(30)]
DONE = range(0, 20, 2)  # of the old generation


def begin(store):
    """A run that is half done, with results of several pages."""
    key = store.create_run(RunName("w"), plan_of(*TASKS), RunHead())
    running = TaskState(phase=TaskPhase.RUNNING, attempts=1, started_at=2.0)
    store.commit(
        Changes(
            tasks=[*(TaskChanged(key, task, COMPLETED) for task in DONE), TaskChanged(key, 1, running)],
            results=[ResultRecorded(key, task, b'"%d %s"' % (task, b"x" * 2000)) for task in DONE],
            started=[AttemptStarted(AttemptId(key, 1, 1), 2.0)],
            runs=[RunChanged(key, RunHead(phase=RunPhase.RUNNING, started_at=1.0))],
        )
    )
    return key


def replace(store, old):
    """The next generation, which keeps what was done and is given one more; and a run beside it."""
    kept = Kept(source=old, tasks={task + 1: task for task in DONE}, given={0: (COMPLETED, b'"given"')})
    new = NewRun(name=RunName("w", "default", 2), plan=plan_of("first", *TASKS), head=RunHead(), kept=kept)
    store.create_runs([new, NewRun(name=RunName("beside"), plan=plan_of("a"), head=RunHead())])


def picture(store):
    """All that the store knows."""
    runs = [store.read_run(key) for key, _, _ in store.list_runs()]
    return [(run.name, run.head, run.tasks, store.read_results(run.key, range(len(run.tasks)))) for run in runs]


def check(store, before, after):
    """It is before or after, and the run can be gone on with; gives which one it is."""
    try:
        found = picture(store)
        assert found in (before, after), "the new generation is there in part"
        if found == before:
            replace(store, store.find_newest("w", "default").key)
        assert picture(store) == after
        return "before" if found == before else "after"
    finally:
        store.close()


@pytest.fixture(scope="module", params=[SQLiteStore, JSONStore])
def pictures(request, tmp_path_factory):
    """A kind of store, and what there is to see before and after where nothing goes wrong."""
    store = request.param(tmp_path_factory.mktemp("whole") / "state", clock=ManualClock())
    key = begin(store)
    before = picture(store)
    replace(store, key)
    after = picture(store)
    store.close()
    assert [(name.generation, len(results)) for name, _, _, results in after] == [(1, 10), (2, 11), (1, 0)]
    return request.param, before, after


class CutDisk(Disk):
    """Keeps what a power cut before each operation would have left."""

    path = None
    left = None  # where to keep it; None: not now

    def strike(self, file, operation):
        if self.left is not None and operation != "read":
            folder = self.left / f"{len(list(self.left.iterdir()))}-{file}-{operation}"
            folder.mkdir()
            self.after_power_cut(self.path, folder)
        return super().strike(file, operation)


def lives_of_sqlite(folder, make_disk=CutDisk):
    """The files after each power cut, in order; the last one after the call has returned."""
    with make_disk() as disk:
        disk.path = folder / "state"
        store = SQLiteStore(disk.path, clock=ManualClock(), vfs=disk.name)
        try:
            key = begin(store)
            disk.left = folder / "left"
            disk.left.mkdir()
            replace(store, key)
            left, disk.left = disk.left, None
            (left / "acknowledged").mkdir()
            disk.after_power_cut(disk.path, left / "acknowledged")
        finally:
            disk.left = None
            store.close()
    cuts = sorted(left.glob("*-*"), key=lambda each: int(each.name.split("-")[0]))
    return [each / "state" for each in [*cuts, left / "acknowledged"]]


def lives_of_json(folder, make_disk=BadDisk):
    """The same; a mere kill at the same moment is among them too."""
    for cut_at in itertools.count():
        disk, home, left = make_disk(), folder / f"{cut_at}", folder / f"{cut_at}-left"
        home.mkdir()
        left.mkdir()
        store = JSONStore(home / "state", clock=ManualClock(), disk=disk)
        key = begin(store)
        disk.cut_at = len(disk.operations) + cut_at
        replaced = False
        with suppress(PowerCut):
            replace(store, key)
            replaced = True
        disk.cut_at = None
        store._lock.release()
        store._journal._descriptor = -1  # the machine is gone, and all descriptors with it
        disk.after_power_cut(left)
        yield from [home / "state"] if not replaced else []
        yield left / "state"
        if replaced:
            return


LIVES = {SQLiteStore: lives_of_sqlite, JSONStore: lives_of_json}


def test_a_power_cut_leaves_the_old_generation_or_the_new_one_whole(pictures, tmp_path):
    kind, before, after = pictures
    found = [check(kind(path, clock=ManualClock()), before, after) for path in LIVES[kind](tmp_path)]
    assert set(found[:-1]) >= {"before"}
    assert len(found) > 3, "the disk has hardly been written to"
    assert found[-1] == "after", "what was acknowledged is lost"


class DeafCutDisk(CutDisk):
    """Forgets to sync while the generation is replaced."""

    lost = ()

    def strike(self, file, operation):
        if self.left is not None and operation == "sync":
            self.lost = [*self.lost, *self.unsynced[f"{self.path}-wal"]]
        return super().strike(file, operation)

    def after_power_cut(self, path, folder):
        log = f"{path}-wal"
        kept = self.unsynced[log]
        self.unsynced[log] = [*self.lost, *kept]
        super().after_power_cut(path, folder)
        self.unsynced[log] = kept


class DeafBadDisk(BadDisk):
    """The same."""

    def _sync(self, descriptor):
        if self.cut_at is None:
            super()._sync(descriptor)


def test_a_disk_that_does_not_sync_is_found_out(pictures, tmp_path):
    kind, before, after = pictures
    deaf = {SQLiteStore: DeafCutDisk, JSONStore: DeafBadDisk}[kind]
    found = [check(kind(path, clock=ManualClock()), before, after) for path in LIVES[kind](tmp_path, deaf)]
    assert found[-1] == "before"
