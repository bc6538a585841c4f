"""What is over is forgotten by age and number; what is not over, and what something else builds on, never is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flowweaver.core.changes import Changes, RunChanged
from flowweaver.core.phases import RunPhase
from flowweaver.core.state import RunHead
from flowweaver.errors import StoreLocked
from flowweaver.ports import RunName
from flowweaver.stores.checks import check
from flowweaver.stores.looking import looking_at
from flowweaver.stores.pruning import Rule, chosen, prune, vacuum
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores import plan_of
from tests.state.conftest import complete, completed

NOW = 1_000.0


def heads(*runs):
    """Of (workflow, run id, generation, phase, end)."""
    return [
        (key, RunName(workflow, run_id, generation), RunHead(phase=RunPhase(phase), created_at=end, finished_at=end))
        for key, (workflow, run_id, generation, phase, end) in enumerate(runs, 1)
    ]


def keys(runs, **rule):
    return [run.key for run in chosen(runs, Rule(**rule), now=NOW)]


def test_what_ended_so_long_ago_goes():
    runs = heads(("w", "a", 1, "completed", 100.0), ("w", "b", 1, "failed", 899.0), ("w", "c", 1, "cancelled", 901.0))

    assert keys(runs, older_than=100.0) == [1, 2]


@pytest.mark.parametrize("phase", ["pending", "running", "suspended"])
def test_what_is_not_over_stays_however_old(phase):
    assert keys(heads(("w", "a", 1, phase, 0.0)), older_than=0.0) == []


def test_the_newest_of_each_workflow_stay():
    runs = heads(*(("v" if n % 2 else "w", str(n), 1, "completed", 1.0) for n in range(7)))

    assert keys(runs, keep=2) == [1, 2, 3]
    assert keys(runs, keep=2, older_than=2000.0) == []


def test_an_older_generation_does_not_come_back_because_a_newer_one_is_forgotten():
    runs = heads(("w", "a", 1, "failed", 500.0), ("w", "a", 2, "completed", 100.0), ("w", "b", 1, "completed", 1.0))

    assert keys(runs, older_than=600.0) == [3]
    assert keys(runs, older_than=500.0) == [1, 2, 3]
    assert keys(runs, older_than=0.0, wanted=lambda _name, head: head.phase is RunPhase.COMPLETED) == [3]


def test_states_that_a_program_saved_by_name_are_no_history():
    assert keys(heads(("", "task", 1, "completed", 0.0)), older_than=0.0) == []


@pytest.fixture
def filled(open_store, path):
    """A closed store with runs that are over and one that is not; gives the key of that one."""
    store = open_store()
    for number in range(5):
        key = store.create_run(RunName("old", str(number)), plan_of("a"), RunHead())
        complete(store, key, 0, b'"' + b"x" * 200_000 + b'"')
        _finish(store, key)
    alive = store.create_run(RunName("alive"), plan_of("a", "b"), RunHead(created_at=1.0))
    complete(store, alive, 0)
    store.close()
    return alive


def _finish(store, key):
    head = RunHead(phase=RunPhase.COMPLETED, created_at=1.0, finished_at=2.0)
    store.commit(Changes(runs=[RunChanged(key, head)]))


def test_what_is_forgotten_is_gone_and_all_else_is_as_it_was(filled, path):
    before = check(path).position

    gone = prune(path, Rule(keep=1), clock=ManualClock())

    assert [run.name.run_id for run in gone] == ["0", "1", "2", "3"]
    with looking_at(path) as look:
        assert [name.workflow for _, name, _ in look.list_runs()] == ["old", "alive"]
        assert look.read_results(filled, [0]) == {0: b'"done"'}
        assert (look.position().id, look.position().sequence) == (before.id, before.sequence)
    assert check(path).problems == ()


def test_after_a_vacuum_the_file_is_smaller_and_the_same(filled, path):
    size = path.stat().st_size
    prune(path, Rule(older_than=0.0), clock=ManualClock())
    found = check(path)

    before, after = vacuum(path, now=NOW)

    assert after == path.stat().st_size < size / 5
    assert before >= after
    assert check(path) == found
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_store_that_was_vacuumed_gives_no_key_twice(filled, path, open_store):
    prune(path, Rule(older_than=0.0), clock=ManualClock())
    vacuum(path, now=NOW)

    assert open_store().create_run(RunName("next"), plan_of("a"), RunHead()) == filled + 1


def test_nothing_is_forgotten_of_a_store_that_somebody_has(filled, path, holder):
    process: subprocess.Popen[str] = holder("print('ready'); time.sleep(600)")
    assert process.stdout.readline() == "ready\n"

    with pytest.raises(StoreLocked):
        prune(path, Rule(older_than=0.0), clock=ManualClock())
    if path.suffix == ".db":
        with pytest.raises(StoreLocked, match=f"held by pid {process.pid}"):
            vacuum(path, now=NOW)

    assert check(path).runs == 6


READER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM runs").fetchall()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_log_that_somebody_looks_at_is_not_left_beside_another_file(filled, path, holder):
    process = holder(f"complete(store, {filled}, 1); print('ready'); time.sleep(600)")
    assert process.stdout.readline() == "ready\n"
    with subprocess.Popen([sys.executable, "-c", READER, str(path)], stdout=subprocess.PIPE, text=True) as reader:
        try:
            assert reader.stdout.readline() == "ready\n"
            process.kill()
            process.wait()

            with pytest.raises(StoreLocked, match="is being looked at by another program"):
                vacuum(path, now=NOW)
        finally:
            reader.kill()

    assert completed_of(path, filled) == [0, 1]
    vacuum(path, now=NOW)
    assert completed_of(path, filled) == [0, 1]


def completed_of(path, key):
    with looking_at(path) as look:
        return completed(look, key)
