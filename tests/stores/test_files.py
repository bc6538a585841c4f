"""What the file is, who else may look at it, and which files are refused."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from flowweaver.core.changes import AttemptClosed, AttemptStarted, Changes, ResultRecorded, RunChanged, TaskChanged
from flowweaver.core.events import AttemptId
from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead, TaskState
from flowweaver.errors import InternalError, StoreCorrupt, StoreError, StoreTooNew, StoreUnavailable
from flowweaver.ports import RunName
from flowweaver.stores import connections, migrations
from flowweaver.stores.filesystems import filesystem_of, refuse_network
from flowweaver.stores.statements import Migration
from flowweaver.stores.statements import migrations as all_migrations
from flowweaver.testing.stores import COMPLETED, RICH_TASK, finished, plan_of

LOOK = """
import json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], uri=True, isolation_level=None)
for query in sys.stdin:
    print(json.dumps(connection.execute(query).fetchall()), flush=True)
"""


@pytest.fixture
def look():
    """Another program, with another SQLite, that reads the file and may not write; gives the rows of each query.

    It has to be another process: two copies of SQLite in one process do not know of each other's locks and let them go.
    """
    started = []

    def look(path):
        command = [sys.executable, "-c", LOOK, f"{path.as_uri()}?mode=ro"]
        program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        started.append(program)

        def ask(query):
            program.stdin.write(f"{query}\n")
            return [tuple(row) for row in json.loads(program.stdout.readline())]

        return ask

    yield look
    for program in started:
        program.stdin.close()
        program.wait()
        program.stdout.close()


@pytest.fixture
def looked_at(look):
    return lambda path, query: look(path)(query)


# ------------------------------------------------------------------------------------------------------ looking at it


def test_another_program_reads_the_tasks_of_the_newest_runs_beside_a_live_store(open_store, path, looked_at):
    store = open_store()
    old = store.create_run(RunName("w", "1"), plan_of("gone"), finished())
    store.create_tasks(old, 0, ["gone"])
    plan = RunPlan(tasks=(*plan_of("extract", "load").tasks, TaskPlan(name="(outputs)", kind="outputs", internal=True)))
    for workflow in ("w", "v"):
        run = store.create_run(RunName(workflow, "2"), plan, RunHead())
        store.create_tasks(run, 0, [task.name for task in plan.tasks])
        store.commit(Changes(tasks=[TaskChanged(run, 0, COMPLETED)]))
    query = "SELECT task_name, status FROM tasks;"
    assert looked_at(path, query) == [("extract", "completed"), ("load", "pending")] * 2
    assert looked_at(path, "SELECT DISTINCT workflow, run_id FROM tasks ORDER BY 1") == [("v", "2"), ("w", "2")]
    store.commit(Changes(tasks=[TaskChanged(run, 1, RICH_TASK)]))
    assert looked_at(path, f"{query[:-1]} WHERE workflow = 'v'")[1] == ("load", "waiting")


def test_attempts_are_kept_with_how_they_ended(open_store, path, looked_at):
    store = open_store()
    run = store.create_run(RunName("w"), plan_of("a"), RunHead())
    first, second = AttemptId(run, 0, 1), AttemptId(run, 0, 2)
    running = TaskState(phase=TaskPhase.RUNNING, attempts=1, started_at=1.0)
    store.commit(Changes(tasks=[TaskChanged(run, 0, running)], started=[AttemptStarted(first, 1.0)]))
    store.commit(
        Changes(
            tasks=[TaskChanged(run, 0, replace(running, attempts=2))],
            started=[AttemptStarted(second, 3.0)],
            closed=[AttemptClosed(first, "retried", 2.0, "TaskFailed", "no", "OSError")],
        )
    )
    assert looked_at(
        path, "SELECT number, status, started_at, ended_at, reason, message, error_type FROM attempts"
    ) == [
        (1, "retried", 1.0, 2.0, "TaskFailed", "no", "OSError"),
        (2, "running", 3.0, None, "", "", ""),
    ]


def test_the_file_is_synced_at_each_commit_and_keeps_its_references(open_store, path):
    store = open_store()
    settings = {
        name: store._writer._connection.pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys")
    }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    run = store.create_run(RunName("w"), plan_of("a"), RunHead())
    for result in (b"1", b"1" * 10_000):
        with pytest.raises(InternalError, match=rf"a result of a task that is not there, one of \[\({run}, 7\)\]"):
            store.commit(Changes(results=[ResultRecorded(run, 7, result)]))


def test_a_look_at_the_file_from_outside_stops_no_commit(open_store, path, look):
    store = open_store()
    run = store.create_run(RunName("w"), plan_of("a"), RunHead())
    ask, query = look(path), "SELECT priority FROM runs"
    ask("BEGIN")
    assert ask(query) == [(0,)]
    for number in range(1, 4):
        store.commit(Changes(runs=[RunChanged(run, RunHead(priority=number))]))
    store.checkpoint()
    assert store.wal_bytes() > 0
    assert ask(query) == [(0,)]
    ask("COMMIT")
    store.checkpoint()
    assert store.wal_bytes() == 0
    assert ask(query) == [(3,)]


def test_a_checkpoint_waits_for_no_reader(open_store, path, look, monkeypatch):
    monkeypatch.setattr("flowweaver.stores.connections.BUSY_MILLISECONDS", 3_600_000)
    store = open_store()
    store.create_run(RunName("w"), plan_of("a"), RunHead())
    ask = look(path)
    ask("BEGIN")
    ask("SELECT * FROM runs")
    store.checkpoint()
    assert store.wal_bytes() > 0


def test_closing_brings_everything_into_the_main_file_beside_one_who_has_it_open(open_store, path, look):
    store = open_store()
    ask = look(path)
    assert ask("SELECT count(*) FROM runs") == [(0,)]
    store.create_run(RunName("w"), plan_of("a"), RunHead())
    store.close()
    assert store.wal_bytes() == 0
    assert ask("SELECT count(*) FROM runs") == [(1,)]


def test_while_another_program_writes_a_commit_is_refused_and_can_be_tried_again(
    open_store, path, start_program, monkeypatch
):
    monkeypatch.setattr("flowweaver.stores.connections.BUSY_MILLISECONDS", 50)
    store = open_store()
    run = store.create_run(RunName("w"), plan_of("a"), RunHead())
    other = start_program("""
import sqlite3
connection = sqlite3.connect(path, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("writing", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
print("done", flush=True)
sys.stdin.readline()
""")
    other.stdout.readline()
    with pytest.raises(StoreUnavailable, match="another process is writing to it"):
        store.commit(Changes(runs=[RunChanged(run, finished())]))
    assert store.position().sequence == 0
    other.stdin.write("\n")
    other.stdout.readline()
    store.commit(Changes(runs=[RunChanged(run, finished())]))
    assert store.position().sequence == 1


def test_the_log_does_not_grow_for_ever(open_store, path, monkeypatch):
    monkeypatch.setattr("flowweaver.stores.log_room.CHECKPOINT_PAGES", 20)
    store = open_store()
    run = store.create_run(RunName("w"), plan_of("a"), RunHead())
    biggest = 0
    for number in range(200):
        store.commit(Changes(runs=[RunChanged(run, RunHead(priority=number))]))
        biggest = max(biggest, store.wal_bytes())
    assert biggest < 150 * 4200  # with the room for the next commits
    assert store.database_bytes() == path.stat().st_size


def test_after_closing_the_main_file_has_everything(open_store, path):
    store = open_store()
    store.create_run(RunName("w"), plan_of("a"), RunHead())
    store.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["state.db", "state.db.lock"]


# ---------------------------------------------------------------------------------------------------- making, migrating


@pytest.mark.parametrize("start", ["missing", "empty", "in WAL mode"])
def test_a_file_with_nothing_in_it_is_brought_to_the_newest_layout(open_store, path, start, looked_at):
    if start != "missing":
        path.touch()
    if start == "in WAL mode":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=wal")
    store = open_store()
    assert (store.position().epoch, store.position().sequence) == (1, 0)
    assert looked_at(path, "PRAGMA user_version") == [(all_migrations()[-1].version,)]
    assert looked_at(path, "PRAGMA application_id") == [(migrations.APPLICATION_ID,)]


def test_each_migration_happens_as_a_whole_and_only_once(open_store, path, monkeypatch):
    open_store().close()
    grown = [
        *all_migrations(),
        Migration(len(all_migrations()) + 1, "x", "CREATE TABLE x (y); INSERT INTO x VALUES (1);"),
    ]
    broken = [*grown, Migration(len(grown) + 1, "z", "CREATE TABLE z (y); INSERT INTO nowhere VALUES (1);")]
    monkeypatch.setattr(migrations, "migrations", lambda: broken)
    with pytest.raises(InternalError, match="nowhere"):
        open_store()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchall() == [(len(grown),)]
        assert connection.execute("SELECT name FROM sqlite_schema WHERE name IN ('x', 'z')").fetchall() == [("x",)]
    monkeypatch.setattr(migrations, "migrations", lambda: grown)
    for _ in range(2):
        open_store().close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT y FROM x").fetchall() == [(1,)]


# ---------------------------------------------------------------------------------------------------------- refusals


def test_a_newer_file_is_refused_and_left_as_it_is(open_store, path):
    open_store().close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")
    before = path.read_bytes()
    with pytest.raises(StoreTooNew, match=r"newer FlowWeaver \(layout 999, this one knows \d+\): upgrade FlowWeaver"):
        open_store()
    assert path.read_bytes() == before


def test_a_file_of_another_program_is_refused(open_store, path, looked_at):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StoreError, match="another program: name another file"):
        open_store()
    assert looked_at(path, "SELECT name FROM sqlite_schema") == [("theirs",)]


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(open_store, path):
    path.write_text("kind: Workflow\n" * 100)
    with pytest.raises(StoreCorrupt, match=r"damaged or no SQLite file.*restore a backup"):
        open_store()
    assert path.read_text().startswith("kind: Workflow")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("UPDATE task_runs SET status = 'dreaming'", "run 1, task 0: 'dreaming' is no phase"),
        ("UPDATE runs SET phase = 'dreaming'", "run 1: 'dreaming' is no phase"),
        ("UPDATE runs SET shutdown = 'maybe'", "run 1: 'maybe' is not a valid Shutdown"),
        ("UPDATE plans SET plan = '{'", "run 1: its plan can not be read"),
        ("""UPDATE plans SET plan = '{"tasks": [{}]}'""", "run 1: its plan can not be read"),
        ("DELETE FROM plans", "run 1 has no plan"),
        ("UPDATE task_runs SET key = key + 5", "run 1 has 1 tasks in its plan, and a row of task 5"),
        ("DELETE FROM meta", "does not say which store it is"),
    ],
)
def test_a_row_that_can_not_be_true_is_named(open_store, path, damage, message):
    store = open_store()
    run = store.create_run(RunName("w"), plan_of("a"), RunHead())
    store.commit(Changes(tasks=[TaskChanged(run, 0, RICH_TASK)]))
    store.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)
    with pytest.raises(StoreCorrupt, match=message):
        open_store().read_run(run)


def test_a_folder_that_is_not_there_is_named(open_store, path):
    with pytest.raises(StoreError, match="nowhere is no folder: make it first"):
        open_store(path.parent / "nowhere" / "state.db")
    with pytest.raises(StoreError, match="is a folder: name a file in it"):
        open_store(path.parent)


@pytest.mark.parametrize("version", ["3.51.3", "3.52.0", "4.0.0", "3.100.0"])
def test_an_sqlite_without_the_wal_race_is_accepted(version):
    connections.require_sqlite(version)


@pytest.mark.parametrize("version", ["3.51.2", "3.9.3", "3.40.1"])
def test_an_sqlite_with_the_wal_race_is_refused(open_store, monkeypatch, version):
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    with pytest.raises(StoreError, match=rf"SQLite {version} is too old: 3.51.3 or later is needed"):
        open_store()


# ---------------------------------------------------------------------------------------------------- network volumes

MOUNTINFO = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:50 / /mnt/a\\040b rw,relatime shared:7 master:1 - nfs4 server:/export rw,vers=4.2
41 27 0:51 / /mnt/a\\040b/block rw,relatime - xfs /dev/vdb rw
42 27 0:52 / /mnt/bucket rw - fuse.s3fs s3fs rw
43 27 0:53 / /mnt/twice rw - ext4 /dev/vdc rw
44 27 0:54 / /mnt/twice rw - cifs //server/share rw
garbage
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/lib", "ext4"),
        ("/mnt/a b", "nfs4"),
        ("/mnt/a b/deeper", "nfs4"),
        ("/mnt/a bc", "ext4"),
        ("/mnt/a b/block/x", "xfs"),
        ("/mnt/bucket", "fuse.s3fs"),
        ("/mnt/twice", "cifs"),
        ("relative", ""),
    ],
)
def test_the_file_system_of_a_folder_is_that_of_the_last_mount_above_it(folder, kind):
    assert filesystem_of(Path(folder), MOUNTINFO) == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.gcsfuse", "fuse.sshfs"])
def test_a_network_file_system_is_refused_with_the_reason(open_store, path, tmp_path, monkeypatch, kind):
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / {path.parent} rw shared:1 - {kind} server rw\n")
    monkeypatch.setattr("flowweaver.stores.filesystems.MOUNTINFO", mountinfo)
    with pytest.raises(StoreError, match=f'network file system of type "{kind}".*ReadWriteOnce'):
        open_store()
    assert not path.exists()


def test_where_no_mounts_are_listed_nothing_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("flowweaver.stores.filesystems.MOUNTINFO", tmp_path / "missing")
    refuse_network(tmp_path)


def test_a_state_is_a_plain_pending_one_where_its_row_says_so(open_store):
    store = open_store()
    run = store.create_run(RunName("w"), plan_of("a"), RunHead())
    state = TaskState(crashes=1)
    store.commit(Changes(tasks=[TaskChanged(run, 0, state)]))
    assert store.read_run(run).tasks == (state,)
