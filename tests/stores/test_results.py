"""Where a SQLite file has results: small ones in the rows of their tasks, large ones apart, and never in both."""

from __future__ import annotations

from contextlib import closing

import apsw
import pytest

from flowweaver.core.changes import AttemptClosed, AttemptStarted, Changes, ResultRecorded, TaskChanged
from flowweaver.core.events import AttemptId
from flowweaver.core.phases import TaskPhase
from flowweaver.core.state import RunHead, TaskState
from flowweaver.ports import Kept, NewRun, RunName
from flowweaver.stores.commit_rows import SMALL_BYTES
from flowweaver.stores.sqlite_look import SQLiteLook
from flowweaver.testing.stores import COMPLETED, plan_of

SMALL = b'"' + b"s" * (SMALL_BYTES - 2) + b'"'
LARGE = b'"' + b"l" * (SMALL_BYTES - 1) + b'"'


@pytest.fixture
def store(open_store):
    return open_store()


@pytest.fixture
def run(store):
    return store.create_run(RunName("w"), plan_of("a"), RunHead())


def start(store, run, number=1):
    state = TaskState(phase=TaskPhase.RUNNING, attempts=number, started_at=1.0)
    attempt = AttemptId(run, 0, number)
    store.commit(Changes(tasks=[TaskChanged(run, 0, state)], started=[AttemptStarted(attempt, 1.0)]))


def end(store, run, result, number=1, phase=TaskPhase.COMPLETED):
    waits = phase is TaskPhase.WAITING
    state = TaskState(
        phase=phase,
        attempts=number,
        started_at=1.0,
        finished_at=None if waits else 2.0,
        reason="Timer" if waits else "",
        not_before=9.0 if waits else None,
    )
    store.commit(
        Changes(
            tasks=[TaskChanged(run, 0, state)],
            closed=[AttemptClosed(AttemptId(run, 0, number), "completed", 2.0)],
            results=[ResultRecorded(run, 0, result)],
        )
    )


@pytest.fixture
def places(path, store):
    """What the file has for the first task of a run: in its row, apart, and in the view of all."""

    def look(run):
        key = run << 24
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            [(small,)] = connection.execute("SELECT small_result FROM task_runs WHERE key = ?", (key,)).fetchall()
            large = connection.execute("SELECT result FROM large_results WHERE task = ?", (key,)).fetchall()
            every = connection.execute("SELECT result FROM results WHERE task = ?", (key,)).fetchall()
        with closing(SQLiteLook(path)) as found:
            history = [past for past in found.read_history("a", 9) if past.run == run][:1]
        told = store.read_results(run, [0])
        assert every == [(result,) for result in told.values()]
        assert all(past.result == told[0] for past in history)
        return small, [result for (result,) in large]

    return look


def test_a_small_result_is_in_the_row_of_its_task(store, run, places):
    start(store, run)
    end(store, run, SMALL)
    assert store.read_results(run, [0]) == {0: SMALL}
    assert places(run) == (SMALL, [])


def test_a_large_one_is_apart(store, run, places):
    start(store, run)
    end(store, run, LARGE)
    assert store.read_results(run, [0]) == {0: LARGE}
    assert places(run) == (None, [LARGE])


@pytest.mark.parametrize(("first", "second"), [(SMALL, LARGE), (LARGE, SMALL), (LARGE, LARGE[::-1]), (SMALL, b"1")])
def test_the_result_of_a_later_attempt_takes_the_place_of_an_earlier_one(first, second, store, run, places):
    start(store, run)
    end(store, run, first, phase=TaskPhase.WAITING)
    assert store.read_results(run, [0]) == {0: first}
    start(store, run, 2)
    end(store, run, second, 2)
    assert store.read_results(run, [0]) == {0: second}
    assert places(run) == ((second, []) if len(second) <= SMALL_BYTES else (None, [second]))


@pytest.mark.parametrize("result", [SMALL, LARGE])
def test_a_task_that_has_waited_for_its_time_keeps_the_result_that_it_had(result, store, run, places):
    start(store, run)
    end(store, run, result, phase=TaskPhase.WAITING)
    done = TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=1.0, finished_at=9.0)
    store.commit(Changes(tasks=[TaskChanged(run, 0, done)]))
    assert store.read_results(run, [0]) == {0: result}
    assert places(run) == ((result, []) if result is SMALL else (None, [result]))


@pytest.mark.parametrize("result", [SMALL, LARGE])
def test_what_another_generation_keeps_or_somebody_gives_has_its_result(result, store, places):
    [run] = store.create_runs(
        [NewRun(name=RunName("w"), plan=plan_of("a"), head=RunHead(), kept=Kept(given={0: (COMPLETED, result)}))]
    )
    kept = Kept(source=run, tasks={0: 0})
    [second] = store.create_runs(
        [NewRun(name=RunName("w", "default", 2), plan=plan_of("a"), head=RunHead(), kept=kept)]
    )
    for key in (run, second):
        assert store.read_results(key, [0]) == {0: result}
        assert places(key) == ((result, []) if result is SMALL else (None, [result]))


@pytest.mark.parametrize("result", [SMALL, LARGE])
def test_a_result_goes_with_its_run(result, store, run, path):
    start(store, run)
    end(store, run, result)
    store.delete_run(run)
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        assert connection.execute("SELECT * FROM results").fetchall() == []
