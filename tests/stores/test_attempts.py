"""Which attempts have rows of their own in a SQLite file, and that all are told of as a JSON file tells of them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from flowweaver import RetryPolicy, SQLiteStateStore, Task, ThreadedExecutor, Workflow, WorkflowExecutionError
from flowweaver.core.changes import AttemptClosed, AttemptStarted, Changes, ResultRecorded, RunChanged, TaskChanged
from flowweaver.core.events import AttemptId
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead, TaskState
from flowweaver.errors import CommitUnknown
from flowweaver.ports import ChildProcess, Kept, NewRun, RunName
from flowweaver.stores import JSONStore, SQLiteStore
from flowweaver.stores.checks import check
from flowweaver.stores.history import AttemptRow
from flowweaver.stores.sqlite_look import SQLiteLook
from flowweaver.stores.statements import migrations
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores import COMPLETED, plan_of
from flowweaver.testing.stores_disk import Effect

ACTIVE = RunHead(phase=RunPhase.RUNNING, created_at=0.5, started_at=1.0)
RUNNING = TaskState(phase=TaskPhase.RUNNING, attempts=1, started_at=1.0)
AGAIN = replace(RUNNING, attempts=2)
PENDING = TaskState(attempts=1, started_at=1.0)
NOTHING = ("", "", "")
WORDS = ("TaskFailed", "no", "OSError")
FAILED = replace(PENDING, phase=TaskPhase.FAILED, finished_at=2.0, reason=WORDS[0], message=WORDS[1])
BACKOFF = replace(PENDING, phase=TaskPhase.WAITING, failures=1, reason="Backoff", not_before=9.0)
TIMER = replace(PENDING, phase=TaskPhase.WAITING, reason="Timer", not_before=9.0)
CANCELLED = replace(PENDING, phase=TaskPhase.CANCELLED, reason="Terminated", finished_at=2.0)
RERUN = TaskState(attempts=1)


class Both:
    """A run of two tasks in a SQLite file, and the same in a JSON file, which writes down every attempt."""

    def __init__(self, folder, vfs=None):
        self.path, self.vfs = folder / "state.db", vfs
        self.json_path = folder / "state.json"
        self.open()
        self.run = self.create(NewRun(name=RunName("ns/w"), plan=plan_of("a", "b"), head=ACTIVE))

    def open(self):
        self.sqlite = SQLiteStore(self.path, clock=ManualClock(), vfs=self.vfs)
        self.json = JSONStore(self.json_path, clock=ManualClock())

    def close(self):
        self.sqlite.close()
        self.json.close()

    def create(self, new):
        [key] = self.sqlite.create_runs([new])
        assert self.json.create_runs([new]) == [key]
        return key

    def commit(self, *states, started=(), closed=(), processes=(), results=(), run=None):
        """Numbers stand for the attempts of the first task."""
        key = run or self.run
        changes = Changes(
            tasks=[TaskChanged(key, task, state) for task, state in enumerate(states)],
            started=[AttemptStarted(AttemptId(key, 0, number), at) for number, at in started],
            closed=[AttemptClosed(AttemptId(key, 0, number), *ended) for number, *ended in closed],
            results=[ResultRecorded(key, 0, result) for result in results],
        )
        children = [ChildProcess(attempt=AttemptId(key, 0, number), pid=7, started=8) for number in processes]
        for store in (self.sqlite, self.json):
            store.commit(changes, children)

    def start(self, **more):
        self.commit(RUNNING, started=[(1, 1.0)], **more)

    def told(self, run=None):
        """The attempts of the first task, as every way to ask for them tells."""
        key = run or self.run
        with closing(SQLiteLook(self.path)) as look:
            ours, running, past = look.read_attempts(key), look.read_running(), look.read_history("a", 9)
        theirs = {
            task: [row._replace(pid=None, pid_started=None) for row in found]
            for task, found in self.json.read_attempts(key).items()
        }
        assert ours == theirs
        known = [(each.run, each.name, each.attempt._replace(pid=None, pid_started=None)) for each in past]
        assert known == [
            (each.run, each.name, each.attempt._replace(pid=None, pid_started=None))
            for each in self.json.read_history("a", 9)
        ]
        assert {(at.task, at.number): began for at, began in running.items() if at.run == key} == {
            (task, row.number): row.started_at
            for task, found in ours.items()
            for row in found
            if row.status == "running"
        }
        assert self.sqlite.read_processes() == self.json.read_processes()
        return ours.get(0, [])

    def noted(self, run=None):
        """The attempts of the first task that have rows: each number, how it ended and when it began."""
        with closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            key = (run or self.run) << 24
            query = "SELECT number, status, started_at FROM noted_attempts WHERE task = ?"
            return connection.execute(query, (key,)).fetchall()


@pytest.fixture
def both(tmp_path):
    stores = Both(tmp_path)
    yield stores
    stores.close()


def row(number, status, started_at, ended_at=None, words=NOTHING):
    return AttemptRow(number, status, started_at, ended_at, *words)


# ------------------------------------------------------------------------------------------- first ones without a row


def test_a_first_attempt_that_runs_and_completes_its_task_has_no_row_and_is_told_of(both):
    both.start()
    assert both.told() == [row(1, "running", 1.0)]
    assert both.noted() == []

    both.commit(COMPLETED, closed=[(1, "completed", 2.0)], results=[b"1"])

    assert both.told() == [row(1, "completed", 1.0, 2.0)]
    assert both.noted() == []
    both.sqlite.delete_run(both.run)
    both.json.delete_run(both.run)


def test_what_the_view_tells_has_the_columns_and_types_that_the_table_had(both):
    both.start()
    both.commit(FAILED, RUNNING, closed=[(1, "failed", 2.0, *WORDS)])
    with closing(apsw.Connection(str(both.path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        [columns, noted] = [
            [column[1:3] for column in connection.execute(f"PRAGMA table_info({name})")]
            for name in ("attempts", "noted_attempts")
        ]
        told = connection.execute("SELECT * FROM attempts ORDER BY task").fetchall()
    assert columns == noted
    key = both.run << 24
    assert told == [
        (key, 1, "failed", 1.0, 2.0, *WORDS, None, None),
        (key + 1, 1, "running", 1.0, None, *NOTHING, None, None),
    ]


def test_who_joins_the_view_with_one_workflow_s_tasks_does_not_look_at_all_others(both):
    query = """
    EXPLAIN QUERY PLAN SELECT task_name, number, attempts.reason, attempts.started_at, ended_at, attempts.status, pid
    FROM attempts JOIN task_runs ON task_runs.key = attempts.task JOIN runs ON runs.key = task_runs.run
    WHERE runs.workflow = 'ns/w' ORDER BY attempts.started_at
    """
    with closing(apsw.Connection(str(both.path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        plan = [line for *_, line in connection.execute(query)]
    assert any("noted_attempts USING PRIMARY KEY (task=?)" in line for line in plan)
    assert [line for line in plan if line.startswith(("SCAN", "MATERIALIZE", "CO-ROUTINE"))] == []


def test_a_store_that_is_opened_again_goes_on_with_a_first_attempt_that_has_no_row(both):
    both.start()
    both.close()
    both.open()
    assert both.told() == [row(1, "running", 1.0)]

    both.commit(AGAIN, started=[(2, 3.0)], closed=[(1, "crashed", 2.0)])

    assert both.told() == [row(1, "crashed", 1.0, 2.0), row(2, "running", 3.0)]
    assert both.noted() == [(1, "crashed", 1.0), (2, "running", 3.0)]


# -------------------------------------------------------------------------------------------------- ends with a row


@pytest.mark.parametrize(
    ("state", "ended"),
    [
        (FAILED, ("failed", 2.0, *WORDS)),
        (BACKOFF, ("failed", 2.0, *WORDS)),
        (BACKOFF, ("timed_out", 2.0, "Timeout", "too long", "Timeout")),
        (PENDING, ("interrupted", 2.0)),
        (PENDING, ("crashed", 2.0)),
        (CANCELLED, ("cancelled", 2.0)),
        (TIMER, ("completed", 2.0)),  # deferred
        (CANCELLED, ("completed", 2.0)),  # deferred in a run that is ending
        (COMPLETED, ("failed", 2.0, *WORDS)),  # no engine says that, but it is what was said
        (replace(COMPLETED, finished_at=3.0), ("completed", 2.0)),  # deferred until a time that has come
        (RERUN, ("crashed", 2.0)),  # and the run is taken up anew in the same turn, which forgets when it began
    ],
)
def test_a_first_attempt_that_ends_otherwise_is_noted_with_when_it_began(both, state, ended):
    both.start()
    for _ in range(2):  # writing it again is the same
        both.commit(state, closed=[(1, *ended)])
        assert both.told() == [AttemptRow(1, ended[0], 1.0, *ended[1:])]
        assert both.noted() == [(1, ended[0], 1.0)]


def test_one_that_started_and_failed_in_one_commit_is_noted(both):
    for _ in range(2):
        both.commit(FAILED, started=[(1, 1.0)], closed=[(1, "failed", 2.0, *WORDS)])
        assert both.told() == [row(1, "failed", 1.0, 2.0, WORDS)]


def test_a_retry_has_a_row_for_each_attempt(both):
    both.start()
    both.commit(BACKOFF, closed=[(1, "failed", 2.0, *WORDS)])
    both.commit(PENDING)
    both.commit(AGAIN, started=[(2, 9.0)])
    assert both.told() == [row(1, "failed", 1.0, 2.0, WORDS), row(2, "running", 9.0)]

    both.commit(replace(COMPLETED, attempts=2), closed=[(2, "completed", 10.0)], results=[b"1"])

    assert both.told() == [row(1, "failed", 1.0, 2.0, WORDS), row(2, "completed", 9.0, 10.0)]
    assert both.noted() == [(1, "failed", 1.0), (2, "completed", 9.0)]


def test_a_deferred_task_that_completes_keeps_when_its_attempt_ended(both):
    both.start()
    both.commit(TIMER, closed=[(1, "completed", 2.0)], results=[b"null"])
    both.commit(replace(COMPLETED, finished_at=9.0))
    assert both.told() == [row(1, "completed", 1.0, 2.0)]
    assert check(both.path).problems == ()


def test_a_completed_task_that_is_forgotten_keeps_its_attempt(both):
    both.start()
    both.commit(COMPLETED, closed=[(1, "completed", 2.0)], results=[b"1"])
    both.commit(TaskState(phase=TaskPhase.CANCELLED, reason="Cleared", attempts=1))
    assert both.told() == [row(1, "completed", 1.0, 2.0)]
    both.commit(replace(AGAIN, started_at=3.0), started=[(2, 3.0)])
    assert both.told() == [row(1, "completed", 1.0, 2.0), row(2, "running", 3.0)]


def test_a_commit_that_may_have_happened_is_made_once(tmp_path, disk):
    both = Both(tmp_path, vfs=disk.name)
    both.start()
    changes = Changes(
        tasks=[TaskChanged(both.run, 0, RERUN)],
        closed=[AttemptClosed(AttemptId(both.run, 0, 1), "crashed", 2.0)],
    )
    disk.will(Effect.FAIL_AFTER, "sync")
    with pytest.raises(CommitUnknown):
        both.sqlite.commit(changes)
    disk.heal()
    both.sqlite.reopen()
    both.sqlite.commit(changes)
    both.json.commit(changes)
    assert both.told() == [row(1, "crashed", 1.0, 2.0)]
    both.close()


# ---------------------------------------------------------------------------------------------------------- processes


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    ("state", "ended"),
    [(COMPLETED, ("completed", 2.0)), (FAILED, ("failed", 2.0, *WORDS)), (PENDING, ("crashed", 2.0))],
)
def test_a_first_attempt_in_a_process_has_a_row_that_its_end_is_written_to(both, state, ended, restarted):
    both.start()
    both.commit(processes=[1])
    assert [child.pid for child in both.sqlite.read_processes()] == [7]
    assert both.told() == [row(1, "running", 1.0)]
    if restarted:
        both.close()
        both.open()

    both.commit(state, closed=[(1, *ended)])

    assert both.sqlite.read_processes() == []
    assert both.told() == [AttemptRow(1, ended[0], 1.0, *ended[1:])]
    assert both.noted() == [(1, ended[0], 1.0)]


def test_a_process_is_noted_in_the_commit_that_starts_its_attempt(both):
    both.start(processes=[1])
    assert [child.pid for child in both.sqlite.read_processes()] == [7]
    assert both.told() == [row(1, "running", 1.0)]


def test_a_process_that_comes_with_the_end_of_its_attempt_or_later_says_nothing(both):
    both.start()
    both.commit(COMPLETED, closed=[(1, "completed", 2.0)], results=[b"1"], processes=[1])
    both.commit(processes=[1])
    assert both.sqlite.read_processes() == []
    assert both.told() == [row(1, "completed", 1.0, 2.0)]
    assert both.noted() == []
    assert both.sqlite._with_rows == set()


def test_the_process_of_a_later_attempt_is_noted(both):
    both.start()
    both.commit(AGAIN, started=[(2, 3.0)], closed=[(1, "failed", 2.0, *WORDS)])
    both.commit(processes=[1, 2])
    assert [child.attempt.number for child in both.sqlite.read_processes()] == [2]
    both.commit(replace(COMPLETED, attempts=2), closed=[(2, "completed", 4.0)], results=[b"1"])
    assert both.sqlite.read_processes() == []
    assert both.told() == [row(1, "failed", 1.0, 2.0, WORDS), row(2, "completed", 3.0, 4.0)]


def test_what_is_known_of_processes_does_not_grow(both):
    for number in range(1, 9):
        both.commit(replace(RUNNING, attempts=number), started=[(number, 1.0)], processes=[number])
        both.commit(replace(PENDING, attempts=number), closed=[(number, "interrupted", 2.0)])
    assert both.sqlite._with_rows == set()


# ------------------------------------------------------------------------------------------------ generations, states


@pytest.mark.parametrize("in_process", [False, True])
def test_a_run_that_is_replaced_has_its_running_attempts_crashed(both, in_process):
    both.start(processes=[1] if in_process else [])
    both.create(
        NewRun(
            name=RunName("ns/w", "default", 2),
            plan=plan_of("a", "b"),
            head=RunHead(created_at=5.0),
            kept=Kept(source=both.run),
        )
    )
    assert both.told() == [row(1, "crashed", 1.0, 5.0)]
    assert both.noted() == [(1, "crashed", 1.0)]
    assert both.sqlite.read_processes() == []
    assert check(both.path).problems == ()


def test_the_second_attempt_of_a_run_that_is_replaced_is_crashed_and_the_first_stays(both):
    both.start()
    both.commit(AGAIN, started=[(2, 3.0)], closed=[(1, "failed", 2.0, *WORDS)])
    kept = Kept(source=both.run)
    both.create(NewRun(name=RunName("ns/w", "x", 2), plan=plan_of("a"), head=RunHead(created_at=5.0), kept=kept))
    assert both.told() == [row(1, "failed", 1.0, 2.0, WORDS), row(2, "crashed", 3.0, 5.0)]


def test_a_task_that_was_kept_or_told_from_outside_has_no_attempt_in_its_run(both):
    both.start()
    both.commit(COMPLETED, closed=[(1, "completed", 2.0)], results=[b"1"])
    kept = Kept(source=both.run, tasks={0: 0})
    second = both.create(NewRun(name=RunName("ns/w", "default", 2), plan=plan_of("a"), head=ACTIVE, kept=kept))
    kept = Kept(source=second, tasks={0: 0})
    third = both.create(NewRun(name=RunName("ns/w", "default", 3), plan=plan_of("a"), head=ACTIVE, kept=kept))
    told = Kept(given={0: (COMPLETED, b"2")})
    outside = both.create(NewRun(name=RunName("ns/v"), plan=plan_of("a"), head=ACTIVE, kept=told))
    told = Kept(given={0: (RUNNING, b"null")})
    running = both.create(NewRun(name=RunName("ns/u"), plan=plan_of("a"), head=ACTIVE, kept=told))

    assert [both.told(run) for run in (second, third, outside, running)] == [[], [], [], []]

    with closing(SQLiteLook(both.path)) as look:
        assert [past.run for past in look.read_history("a", 9)] == [both.run]
    # What counts attempts that it has not made goes on counting.
    both.commit(TaskState(phase=TaskPhase.CANCELLED, reason="Cleared", attempts=1), run=outside)
    both.commit(AGAIN, started=[(2, 1.0)], run=outside)
    assert both.told(outside) == [row(2, "running", 1.0)]


def test_a_task_that_was_told_of_without_attempts_has_its_first_one_like_any_other(both):
    told = Kept(given={0: (TaskState(phase=TaskPhase.CANCELLED, reason="Saved"), b"null")})
    run = both.create(NewRun(name=RunName("ns/v"), plan=plan_of("a"), head=ACTIVE, kept=told))
    both.commit(RUNNING, started=[(1, 1.0)], run=run)
    assert both.told(run) == [row(1, "running", 1.0)]
    assert both.noted(run) == []


# ------------------------------------------------------------------------------------------------ an engine, a check


def test_a_workflow_leaves_rows_of_what_did_not_complete_at_once_and_of_nothing_else(tmp_path):
    tries = []

    def flaky(plain):
        tries.append(plain)
        if len(tries) < 2:
            raise OSError("not yet")

    def bad(flaky):
        raise ValueError("never")

    workflow = Workflow("w")
    workflow.add_task(Task("plain", lambda: 1))
    workflow.add_task(Task("flaky", flaky, retries=1, retry=RetryPolicy(delay=0)), depends_on=["plain"])
    workflow.add_task(Task("bad", bad), depends_on=["flaky"])
    with pytest.raises(WorkflowExecutionError):
        workflow.execute(ThreadedExecutor(state_store=SQLiteStateStore(tmp_path / "state.db")))

    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        query = "SELECT task_name, number, {0}.status FROM {0} JOIN task_runs ON key = task ORDER BY task, number"
        [told, noted] = [connection.execute(query.format(name)).fetchall() for name in ("attempts", "noted_attempts")]
    ours = [("flaky", 1, "failed"), ("flaky", 2, "completed"), ("bad", 1, "failed")]
    assert noted == ours
    assert told == [("plain", 1, "completed"), *ours]
    assert check(tmp_path / "state.db").problems == ()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("UPDATE task_runs SET given = 1", 'its task "a" is running without a running attempt'),
        (
            "INSERT INTO noted_attempts (task, number, status, started_at) VALUES (1 << 24, 1, 'failed', 1.0)",
            "without a",
        ),
        ("INSERT INTO noted_attempts (task, number, status, started_at) VALUES (1 << 24, 3, 'failed', 1.0)", "none of"),
    ],
)
def test_a_check_finds_attempts_that_can_not_be(both, damage, sentence):
    both.start()
    assert check(both.path).problems == ()
    both.close()
    with closing(sqlite3.connect(both.path)) as connection, connection:
        connection.execute(damage)
    assert sentence in " ".join(check(both.path).problems)
    both.open()


def test_a_first_attempt_that_has_ended_is_not_running_whatever_its_task_says(both):
    both.start()
    both.commit(PENDING, closed=[(1, "crashed", 2.0)])
    both.commit(RUNNING)
    assert both.told() == [row(1, "crashed", 1.0, 2.0)]


# -------------------------------------------------------------------------------------------------------- older files

OLD = """
INSERT INTO runs (key, workflow, run_id, generation, phase, reason, message, created_at, failed_fast, suspended,
  priority, rerun_token) VALUES (1, 'ns/w', 'default', 1, 'running', '', '', 0.5, 0, 0, 0, '');
INSERT INTO plans (run, plan) VALUES (1, '{plan}');
INSERT INTO task_runs (key, run, task_name, status, attempts, failures, crashes, started_at, finished_at, reason,
  message, error_type) VALUES
  ((1 << 24) + 0, 1, 'completed', 'completed', 1, 0, 0, 1.0, 2.0, '', '', ''),
  ((1 << 24) + 1, 1, 'running', 'running', 1, 0, 0, 1.0, NULL, '', '', ''),
  ((1 << 24) + 2, 1, 'in process', 'running', 1, 0, 0, 1.0, NULL, '', '', ''),
  ((1 << 24) + 3, 1, 'failed', 'failed', 1, 1, 0, 1.0, 2.0, 'TaskFailed', 'no', 'OSError'),
  ((1 << 24) + 4, 1, 'kept', 'completed', 1, 0, 0, 1.0, 2.0, '', '', ''),
  ((1 << 24) + 5, 1, 'pending', 'pending', 0, 0, 0, NULL, NULL, '', '', '');
INSERT INTO attempts (task, number, status, started_at, ended_at, reason, message, error_type, pid, pid_started) VALUES
  ((1 << 24) + 0, 1, 'completed', 1.0, 2.0, '', '', '', NULL, NULL),
  ((1 << 24) + 1, 1, 'running', 1.0, NULL, '', '', '', NULL, NULL),
  ((1 << 24) + 2, 1, 'running', 1.0, NULL, '', '', '', 7, 8),
  ((1 << 24) + 3, 1, 'failed', 1.0, 2.0, 'TaskFailed', 'no', 'OSError', NULL, NULL);
INSERT INTO results VALUES ((1 << 24), x'31'), ((1 << 24) + 4, x'31');
PRAGMA user_version = 2;
"""


def test_a_file_of_layout_2_tells_of_the_same_attempts_and_is_gone_on_with(path, open_store):
    shutil.copyfile(Path(__file__).parents[1] / "state" / "released" / "layout-2.sqlite", path)
    names = ("completed", "running", "in process", "failed", "kept", "pending")
    plan = json.dumps({"tasks": [{"name": name, "kind": "value"} for name in names]})
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("DELETE FROM results; DELETE FROM attempts; DELETE FROM task_runs; DELETE FROM plans;")
        connection.executescript("DELETE FROM runs;" + OLD.format(plan=plan))
        before = connection.execute("SELECT * FROM attempts ORDER BY task, number").fetchall()
    assert check(path).problems == ()

    store = open_store()

    with closing(SQLiteLook(path)) as look:
        attempts = look.read_attempts(1)
        assert look.read_history("kept", 9) == []
        assert look.read_running() == {AttemptId(1, 1, 1): 1.0, AttemptId(1, 2, 1): 1.0}
    assert {task: [each.status for each in found] for task, found in attempts.items()} == {
        0: ["completed"],
        1: ["running"],
        2: ["running"],
        3: ["failed"],
    }
    assert [child.attempt for child in store.read_processes()] == [AttemptId(1, 2, 1)]
    store.commit(
        Changes(
            tasks=[TaskChanged(1, 1, AGAIN), TaskChanged(1, 2, PENDING), TaskChanged(1, 5, RUNNING)],
            closed=[AttemptClosed(AttemptId(1, task, 1), "crashed", 9.0) for task in (1, 2)],
            started=[AttemptStarted(AttemptId(1, 1, 2), 9.0), AttemptStarted(AttemptId(1, 5, 1), 1.0)],
            runs=[RunChanged(1, ACTIVE)],
        )
    )
    with closing(SQLiteLook(path)) as look:
        told = {task: [(each.number, each.status) for each in found] for task, found in look.read_attempts(1).items()}
    assert told == {
        0: [(1, "completed")],
        1: [(1, "crashed"), (2, "running")],
        2: [(1, "crashed")],
        3: [(1, "failed")],
        5: [(1, "running")],
    }
    assert check(path).problems == ()
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        assert connection.execute("SELECT * FROM noted_attempts WHERE task = 1 << 24").fetchall() == before[:1]
        assert connection.pragma("user_version") == migrations()[-1].version
    store.delete_run(1)
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        assert connection.execute("SELECT * FROM noted_attempts").fetchall() == []
