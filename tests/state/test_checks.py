"""A check finds what can not be true, and has nothing to say of what is."""

from __future__ import annotations

import shutil

import apsw
import pytest

from flowweaver.core.changes import Changes, RunChanged, TaskChanged
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.state import RunHead, TaskState
from flowweaver.errors import StoreCorrupt, StoreTooNew, StoreUnavailable
from flowweaver.stores.backups import Kind
from flowweaver.stores.checks import check
from tests.state.conftest import RELEASED, complete

FILES = {
    "layout-1.sqlite": (Kind.SQLITE, 1, 3),
    "layout-2.sqlite": (Kind.SQLITE, 2, 3),
    "layout-3.sqlite": (Kind.SQLITE, 3, 3),
    "json-1.json": (Kind.JSON, 1, 2),
}


def damaged(path, *statements):
    connection = apsw.Connection(str(path))
    connection.pragma("foreign_keys", 0)
    for statement in statements:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("name", FILES)
def test_real_files_hold_together(name, tmp_path):
    for file in RELEASED.glob(f"{name}*"):
        shutil.copy(file, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    found = check(tmp_path / name)

    assert (found.kind, found.layout, found.runs) == FILES[name]
    assert found.problems == ()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_store_that_another_process_writes_to_holds_together(holder, begin, path):
    store, key = begin()
    store.close()
    process = holder(f"[(complete(store, {key}, n % 4), n or print('ready')) for n in range(1000000)]")
    assert process.stdout.readline() == "ready\n"

    seen = set()
    for _ in range(500):
        found = check(path)
        assert found.problems == ()
        seen.add(found.position.sequence)
        if len(seen) == 5:
            break

    assert len(seen) == 5
    assert process.poll() is None


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("DELETE FROM plans WHERE run = 1", "run 1 has no plan"),
        ("UPDATE task_runs SET run = 2 WHERE task_name = 'greeting'", 'run 2 its task "greeting" has the key of run 1'),
        ("DELETE FROM runs WHERE key = 2", "belongs to a row of runs that is not there"),
        (
            """
            INSERT INTO runs SELECT
              9, workflow, run_id, 2, phase, reason, message, created_at, started_at, finished_at, deadline, shutdown,
              failed_fast, suspended, priority, parallelism, rerun_token
            FROM runs WHERE key = 3
            """,
            "run 3 is running, though generation 2 has taken its place",
        ),
        (
            "UPDATE attempts SET number = 7 WHERE task = (SELECT key FROM task_runs WHERE task_name = 'greeting')",
            'run 1 attempt 7 of its task "greeting" is none of the 1 that were started',
        ),
        (
            "UPDATE attempts SET status = 'completed' WHERE status = 'running'",
            'run 3 its task "running" is running without a running attempt',
        ),
        ("DELETE FROM results WHERE task = 1 << 24", 'run 1 (orders): task "greeting" is completed without a result'),
        ("UPDATE results SET result = x'7b' WHERE task = 1 << 24", 'task "greeting" has a result that is no JSON'),
        (
            "UPDATE runs SET phase = 'completed' WHERE key = 3",
            "run 3 (killed): it is completed with 3 unfinished tasks",
        ),
        ("UPDATE runs SET phase = 'odd' WHERE key = 3", "'odd' is no phase"),
        ("UPDATE task_runs SET failures = 5 WHERE task_name = 'flaky'", "has 5 failures and 0 crashes in 2 attempts"),
        ("UPDATE task_runs SET not_before = NULL WHERE status = 'waiting'", "is waiting with not_before None"),
        (
            "UPDATE task_runs SET status = 'pending' WHERE task_name = 'first'",
            'task "running" is running before "first" has finished',
        ),
        ("UPDATE plans SET plan = '{' WHERE run = 2", "run 2: its plan can not be read"),
        ("DROP INDEX runs_unfinished; CREATE INDEX runs_unfinished ON runs (key) WHERE key < 0", None),
    ],
)
def test_what_can_not_be_true_of_a_sqlite_store_is_told(damage, told, tmp_path):
    path = tmp_path / "state.db"
    shutil.copyfile(RELEASED / "layout-2.sqlite", path)
    damaged(path, damage)

    problems = check(path).problems

    if told is None:
        assert problems == ()
    else:
        assert any(told in problem for problem in problems), problems


def test_two_stores_in_one_file_are_none(tmp_path):
    path = tmp_path / "state.db"
    shutil.copyfile(RELEASED / "layout-2.sqlite", path)
    damaged(path, "DELETE FROM meta")

    with pytest.raises(StoreCorrupt, match="does not say which store it is"):
        check(path)


def test_pages_that_are_wrong_are_told_and_nothing_else(tmp_path):
    path = tmp_path / "state.db"
    shutil.copyfile(RELEASED / "layout-2.sqlite", path)
    connection = apsw.Connection(str(path))
    [(page,)] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'task_runs_of_run'").fetchall()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096 + 8)  # where the page says where its first cell is
        file.write(b"\xff\xff")

    problems = check(path).problems

    assert problems
    assert all(problem.startswith("the file: ") for problem in problems)


def test_a_newer_layout_is_too_new(tmp_path):
    path = tmp_path / "state.db"
    shutil.copyfile(RELEASED / "layout-2.sqlite", path)
    damaged(path, "PRAGMA user_version = 99")

    with pytest.raises(StoreTooNew):
        check(path)


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path):
    with pytest.raises(StoreUnavailable, match="is not there"):
        check(tmp_path / "state.db")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_can_not_be_is_found_in_either_kind_of_store(begin, path):
    store, key = begin()
    complete(store, key, 0)
    odd = TaskState(phase=TaskPhase.COMPLETED, attempts=1, failures=2)
    store.commit(
        Changes(
            tasks=[TaskChanged(key, 1, odd)],
            runs=[RunChanged(key, RunHead(phase=RunPhase.COMPLETED, created_at=1.0, finished_at=2.0))],
        )
    )
    store.close()

    assert check(path).problems == (
        f"run {key} (ns/w): it is completed with 3 unfinished tasks",
        f'run {key} (ns/w): task "b" is completed without a result',
        f'run {key} (ns/w): task "b" has 2 failures and 0 crashes in 1 attempts',
    )


def test_a_damaged_json_store_is_told(tmp_path):
    path = tmp_path / "state.json"
    path.write_bytes((RELEASED / "json-1.json").read_bytes().replace(b"orders", b"ordres"))

    with pytest.raises(StoreCorrupt, match="checksum"):
        check(path)
