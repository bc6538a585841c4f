"""What a call costs, in steps of SQLite's machine: these are the same on every machine, unlike seconds."""

from __future__ import annotations

from contextlib import closing

import apsw
import pytest

from flowweaver.core.changes import AttemptClosed, AttemptStarted, Changes, ResultRecorded, RunChanged, TaskChanged
from flowweaver.core.events import AttemptId
from flowweaver.core.phases import TaskPhase
from flowweaver.core.state import RunHead, TaskState
from flowweaver.ports import ChildProcess, RunName
from flowweaver.stores.sqlite_look import SQLiteLook
from flowweaver.stores.statements import statements
from flowweaver.testing.stores import COMPLETED, finished, plan_of

RUNNING = TaskState(phase=TaskPhase.RUNNING, attempts=1, started_at=1.0)


@pytest.fixture
def count(monkeypatch):
    """Calls something and gives how many statements it ran, and how many steps those took."""
    seen = []

    def watch(connection):
        connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, lambda event: seen.append(event["stmt_status"]))

    monkeypatch.setattr(apsw, "connection_hooks", [watch])

    def count(call):
        seen.clear()
        call()
        return len(seen), sum(status["SQLITE_STMTSTATUS_VM_STEP"] for status in seen)

    return count


def written(store, workflow, tasks):
    plan = plan_of(*(f"t{number}" for number in range(tasks)))
    run = store.create_run(RunName(workflow), plan, RunHead())
    for first in range(0, tasks, 1000):
        store.create_tasks(run, first, [task.name for task in plan.tasks[first : first + 1000]])
    store.commit(Changes(tasks=[TaskChanged(run, task, COMPLETED) for task in range(tasks - 1)]))
    return run


def step(run, task):
    """A step of a chain: one task completes, the next one starts."""
    return Changes(
        tasks=[TaskChanged(run, task, COMPLETED), TaskChanged(run, task + 1, RUNNING)],
        results=[ResultRecorded(run, task, b"1")],
        started=[AttemptStarted(AttemptId(run, task + 1, 1), 1.0)],
        closed=[AttemptClosed(AttemptId(run, task, 1), "completed", 2.0)],
    )


def test_reading_a_run_of_5000_tasks_costs_five_times_one_of_1000(count, open_store):
    store = open_store()
    for number in range(5):
        written(store, f"other{number}", 500)
    small, big = written(store, "small", 1000), written(store, "big", 5000)
    assert len(store.read_run(big).tasks) == 5000
    _, few = count(lambda: store.read_run(small))
    statements, many = count(lambda: store.read_run(big))
    assert 4 < many / few < 5.5
    assert statements <= 5


def test_a_commit_costs_the_same_however_much_there_is(count, open_store, tmp_path):
    small, big = open_store(tmp_path / "small.db"), open_store(tmp_path / "big.db")
    for number in range(5):
        written(big, f"other{number}", 1000)
    runs = {store: written(store, "w", 10) for store in (small, big)}
    for store, run in runs.items():
        store.commit(step(run, 0))  # prepares what is kept for later
    costs = {store: count(lambda: store.commit(step(run, 1))) for store, run in runs.items()}  # noqa: B023 - called at once
    assert costs[small] == costs[big]
    statements, _ = costs[big]
    assert statements == 4  # BEGIN, a task that ends, one that starts, COMMIT


def test_a_statement_is_nothing_but_itself():
    assert [name for name, text in statements().items() if "--" in text or text.index(";") + 1 != len(text)] == []


def test_what_is_asked_and_written_of_attempts_does_not_look_at_other_runs(count, open_store, path):
    store = open_store()
    failed = TaskState(phase=TaskPhase.FAILED, attempts=1, started_at=1.0, finished_at=2.0)

    def costs(workflow):
        """Of a first attempt that fails, one whose process is noted, and reading."""
        run = written(store, workflow, 10)
        store.commit(step(run, 0))
        ends = Changes(tasks=[TaskChanged(run, 1, failed)], closed=[AttemptClosed(AttemptId(run, 1, 1), "failed", 2.0)])
        child = ChildProcess(attempt=AttemptId(run, 1, 1), pid=7, started=8)
        with closing(SQLiteLook(path)) as look:
            look.position()  # opens it
            found = [
                count(lambda: store.commit(Changes(), [child])),
                count(lambda: look.read_attempts(run)),
                count(look.read_running),
                count(look.read_processes),
                count(lambda: store.commit(ends)),
            ]
        store.commit(Changes(runs=[RunChanged(run, finished())]))
        return [steps for _, steps in found]

    first = costs("first")
    for number in range(3):
        done = written(store, f"other{number}", 1000)
        store.commit(Changes(runs=[RunChanged(done, finished())]))
    assert all(after <= before * 1.1 for before, after in zip(first, costs("last"), strict=True))


def test_finding_the_unfinished_among_many_finished_costs_as_many_as_are_unfinished(count, open_store):
    store = open_store()
    for number in range(200):
        store.create_run(RunName(f"done{number}"), plan_of("a"), finished())
    store.create_run(RunName("w"), plan_of("a"), RunHead())
    list(store.unfinished_runs())
    _, few = count(lambda: list(store.unfinished_runs()))
    for number in range(200, 400):
        store.create_run(RunName(f"done{number}"), plan_of("a"), finished())
    assert count(lambda: list(store.unfinished_runs()))[1] <= few * 1.1


def test_deleting_a_run_does_not_look_at_the_others(count, open_store):
    store = open_store()
    first, second = written(store, "a", 100), written(store, "b", 100)
    _, before = count(lambda: store.delete_run(first))
    written(store, "big", 3000)
    _, after = count(lambda: store.delete_run(second))
    assert after <= before * 1.1


def test_runs_are_listed_page_by_page(count, open_store, monkeypatch):
    monkeypatch.setattr("flowweaver.stores.sqlite_reading.PAGE_OF_RUNS", 2)
    store = open_store()
    runs = [store.create_run(RunName(f"w{number}"), plan_of("a"), RunHead()) for number in range(5)]
    assert [run for run, _, _ in store.list_runs()] == runs
    statements, _ = count(lambda: list(store.list_runs()))
    assert statements == 4
    listing = store.list_runs()
    next(listing)
    store.commit(Changes(runs=[RunChanged(runs[4], finished())]))
    assert [head.phase.finished for _, _, head in listing] == [False, False, False, True]
