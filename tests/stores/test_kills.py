"""A process that is killed at any instant leaves a file that opens, with everything that it had acknowledged."""

from __future__ import annotations

from flowweaver.ports import RunName

COMMIT_FOR_EVER = """
store = SQLiteStore(path, clock=ManualClock())
found = store.find_run(RunName("w"))
key = found.key if found else store.create_run(RunName("w"), plan_of("a"), RunHead())
while True:
    number = store.position().sequence + 1
    store.commit(Changes(runs=[RunChanged(key, RunHead(priority=number))]))
    print(number, flush=True)
"""


def test_what_was_acknowledged_before_a_kill_is_there_after_it(start_program, open_store):
    for life in range(5):
        process = start_program(COMMIT_FOR_EVER)
        for _ in range(20 + 37 * life):
            acknowledged = int(process.stdout.readline())
        process.kill()
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
        process.wait()
        store = open_store()
        found = store.find_run(RunName("w"))
        assert store.position().sequence in {acknowledged, acknowledged + 1}
        assert found is not None
        assert found.head.priority == store.position().sequence
        assert store.position().epoch == 2 * life + 2
        store.close()


# In forked children, one for each write, sync and truncation of a store that is made and used for the first time.
KILL_AT_EACH_STEP = """
from pathlib import Path

def use(at, disk):
    store = SQLiteStore(at, clock=ManualClock(), vfs=disk.name)
    key = store.create_run(RunName("w"), plan_of("a"), RunHead())
    store.commit(Changes(runs=[RunChanged(key, RunHead(priority=1))]))
    store.close()

def killed_at(at, operation, file, effect, nth):
    child = os.fork()
    if child == 0:
        with Disk() as disk:
            disk.will(effect, operation, file=file, nth=nth)
            use(at, disk)
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL

for operation in ("write", "sync", "truncate"):
    for file in ("main", "wal"):
        for effect in (Effect.KILL, Effect.KILL_AFTER):
            nth = 1
            while killed_at(at := f"{path}-{operation}-{file}-{effect.name}-{nth}", operation, file, effect, nth):
                store = SQLiteStore(at, clock=ManualClock())
                sequence, found = store.position().sequence, store.find_run(RunName("w"))
                assert (found.head.priority if found else 0) == sequence, (at, sequence, found)
                store.create_run(RunName("v"), plan_of("a"), RunHead())
                store.close()
                print(operation, file, sequence, bool(found), flush=True)
                nth += 1
"""


def test_a_kill_at_any_write_or_sync_of_a_first_start_leaves_a_file_that_opens(run_program):
    seen = set(run_program(KILL_AT_EACH_STEP).splitlines())
    for expected in (
        "write main 0 False",
        "write wal 0 False",
        "write wal 0 True",
        "sync wal 1 True",
        "sync main 1 True",
    ):
        assert expected in seen


def test_a_run_whose_process_was_killed_is_unfinished(start_program, open_store):
    process = start_program(COMMIT_FOR_EVER)
    process.stdout.readline()
    process.kill()
    process.wait()
    assert [stored.name for stored in open_store().unfinished_runs()] == [RunName("w")]


# The same for a run that takes the place of another one and keeps what that has completed.
KILL_AT_EACH_STEP_OF_A_REPLACEMENT = """
import shutil
from flowweaver.core.changes import ResultRecorded, TaskChanged
from flowweaver.ports import Kept, NewRun
from flowweaver.testing.stores import COMPLETED

store = SQLiteStore(path, clock=ManualClock())
names = [f"t{number}" for number in range(300)]
old = store.create_run(RunName("w"), plan_of(*names), RunHead())
some = range(0, 300, 2)
store.commit(Changes(
    tasks=[TaskChanged(old, task, COMPLETED) for task in some],
    results=[ResultRecorded(old, task, b'"%d"' % task) for task in some],
))
store.close()

def replace_it(at, disk):
    store = SQLiteStore(at, clock=ManualClock(), vfs=disk.name)
    kept = Kept(source=old, tasks={task: task for task in some})
    store.create_runs([NewRun(name=RunName("w", "default", 2), plan=plan_of(*names), head=RunHead(), kept=kept)])
    store.close()

def killed_at(at, operation, file, effect, nth):
    child = os.fork()
    if child == 0:
        with Disk() as disk:
            disk.will(effect, operation, file=file, nth=nth)
            replace_it(at, disk)
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL

for operation in ("write", "sync"):
    for file in ("main", "wal"):
        nth = 1
        shutil.copyfile(path, at := f"{path}-{operation}-{file}-{nth}")
        while killed_at(at, operation, file, Effect.KILL, nth):
            store = SQLiteStore(at, clock=ManualClock())
            found = store.find_newest("w", "default")
            results = store.read_results(found.key, range(300))
            assert [state.phase == "completed" for state in found.tasks] == [task in some for task in range(300)]
            assert results == {task: b'"%d"' % task for task in some}
            replaced = store.read_run(old).head.phase == "cancelled"
            assert replaced == (found.name.generation == 2), (at, replaced, found.name)
            assert [run.key for run in store.unfinished_runs()] == [found.key]
            store.close()
            print(operation, file, found.name.generation, flush=True)
            nth += 1
            shutil.copyfile(path, at := f"{path}-{operation}-{file}-{nth}")
"""


def test_a_kill_while_a_run_takes_the_place_of_another_leaves_one_of_them_whole(run_program):
    seen = set(run_program(KILL_AT_EACH_STEP_OF_A_REPLACEMENT).splitlines())
    assert {"write wal 1", "write main 2", "sync wal 1", "sync main 2"} <= seen
