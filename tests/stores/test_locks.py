"""One engine at a time on a file, however the other one ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flowweaver.errors import StoreLocked
from flowweaver.ports import RunName

HOLD = """
store = SQLiteStore(path, clock=ManualClock())
print("held", flush=True)
sys.stdin.readline()
"""

TRY = """
try:
    SQLiteStore(path, clock=ManualClock()).close()
    print("opened")
except StoreLocked as error:
    print(error)
"""


def test_another_process_is_refused_and_told_who_holds_the_file(open_store, run_program):
    store = open_store()
    said = run_program(TRY)
    assert f"is held by pid {os.getpid()} on " in said
    assert "end that process, or use another file" in said
    store.close()
    assert run_program(TRY) == "opened\n"


def test_a_process_that_was_killed_holds_nothing(open_store, start_program):
    holder = start_program(HOLD)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StoreLocked, match=f"pid {holder.pid} on .* since 2023-"):
        open_store()
    holder.kill()
    holder.wait()
    assert open_store().position().epoch == 2


def test_a_second_store_in_one_process_is_refused_and_the_first_keeps_its_lock(open_store, path, run_program):
    open_store()
    (path.parent / "link.db").symlink_to(path)
    (path.parent / "hard.db.lock").hardlink_to(f"{path}.lock")
    for alias in (
        path,
        path.parent / "link.db",
        path.parent / "hard.db",
        path.parent / ".." / path.parent.name / path.name,
    ):
        with pytest.raises(StoreLocked, match="is open in this process"):
            open_store(alias)
    assert "is held by" in run_program(TRY)


def test_a_store_that_could_not_be_opened_holds_no_lock(open_store, path):
    path.write_bytes(b"no SQLite file " * 100)
    for _ in range(2):
        with pytest.raises(Exception, match="damaged or no SQLite file"):
            open_store()
    path.unlink()
    open_store()


FORK = """
store = SQLiteStore(path, clock=ManualClock())
key = store.create_run(RunName("w"), plan_of("a"), RunHead())
if os.fork() == 0:
    for call in (store.position, store.reopen, store.checkpoint, lambda: store.read_run(key),
                 lambda: store.commit(Changes(runs=[RunChanged(key, RunHead(priority=9))]))):
        try:
            call()
            print("worked", flush=True)
        except StoreError as error:
            print(error, flush=True)
    try:
        SQLiteStore(path, clock=ManualClock())
    except StoreLocked as error:
        print("locked:", error, flush=True)
    store.close()
    sys.exit()  # with all that an interpreter does at its end
os.wait()
store.commit(Changes(runs=[RunChanged(key, RunHead(priority=1))]))
store.close()
"""


def test_a_forked_child_can_neither_use_nor_open_nor_spoil_the_store(open_store, run_program):
    *refused, locked = run_program(FORK).splitlines()
    assert len(refused) == 5
    for said in refused:
        assert "a store can not be shared with a child" in said
    assert locked.startswith("locked:")
    assert "is held by pid " in locked
    store = open_store()
    assert store.position().sequence == 1
    found = store.find_run(RunName("w"))
    assert found is not None
    assert found.head.priority == 1


OUTLIVED = """
store = SQLiteStore(path, clock=ManualClock())
child = os.fork()
if child == 0:
    sys.stdin.readline()
    os._exit(0)
print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_child_that_outlives_its_killed_parent_holds_nothing(open_store, start_program):
    parent = start_program(OUTLIVED)
    child = int(parent.stdout.readline())
    parent.wait()
    os.kill(child, 0)  # it lives
    open_store().create_run(RunName("w"), *_nothing())
    parent.stdin.write("\n")


DESCRIPTORS = """
import subprocess
store = SQLiteStore(path, clock=ManualClock())
look = "import os; here = '/proc/self/fd/'; print([os.path.realpath(here + fd) for fd in os.listdir(here)])"
print(subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, close_fds=False, check=True).stdout)
"""


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks at /proc")
def test_a_program_that_is_started_inherits_no_descriptor_of_the_store(run_program, path):
    said = run_program(DESCRIPTORS)
    assert "/dev/null" in said or "pipe:" in said
    assert path.name not in said


def _nothing():
    from flowweaver.core.state import RunHead
    from flowweaver.testing.stores import plan_of

    return plan_of("a"), RunHead()
