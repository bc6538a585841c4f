"""What the JSON file is, who else may look at it, which files are refused, and what a bad disk does to it."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import threading

import pytest

from flowweaver.core.changes import AttemptClosed, AttemptStarted, Changes, ResultRecorded, RunChanged, TaskChanged
from flowweaver.core.events import AttemptId
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead
from flowweaver.errors import CommitUnknown, StoreCorrupt, StoreError, StoreLocked, StoreTooNew, StoreUnavailable
from flowweaver.ports import RunName
from flowweaver.stores import JSONStore
from flowweaver.stores.json_files import look_at_files
from flowweaver.stores.json_reading import JSONReading
from flowweaver.testing.json_disk import BadDisk
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores import COMPLETED, RICH_HEAD, RICH_TASK, finished, plan_of, rich_plan
from flowweaver.testing.stores_disk import Effect

FIRST, SECOND = RunHead(priority=1), RunHead(priority=2)

PRELUDE = """
import os, sys
from flowweaver.core.changes import Changes, RunChanged
from flowweaver.core.state import RunHead
from flowweaver.errors import StoreError, StoreLocked
from flowweaver.ports import RunName
from flowweaver.stores import JSONStore
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores import plan_of
path = sys.argv[1]
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.json"


@pytest.fixture
def journal(path):
    return path.with_name("state.json-journal")


@pytest.fixture
def open_json(path):
    opened = []

    def open_one(at=path, **options):
        opened.append(JSONStore(at, clock=ManualClock(), **options))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def disk():
    return BadDisk()


@pytest.fixture
def store(open_json, disk):
    return open_json(disk=disk)


@pytest.fixture
def key(store):
    key = store.create_run(RunName("w"), plan_of("a"), RunHead())
    store.commit(one_commit(key, FIRST))
    return key


def one_commit(key, head):
    return Changes(
        tasks=[TaskChanged(key, 0, COMPLETED)], results=[ResultRecorded(key, 0, b"1")], runs=[RunChanged(key, head)]
    )


# ------------------------------------------------------------------------------------------------------ looking at it


def test_a_person_reads_workflows_tasks_and_results_in_the_file(open_json, path, journal):
    store = open_json()
    run = store.create_run(RunName("etl", "2024-05-01"), plan_of("extract", "lädt ☃", "report"), RunHead())
    store.commit(
        Changes(
            tasks=[TaskChanged(run, 0, COMPLETED), TaskChanged(run, 1, RICH_TASK)],
            started=[AttemptStarted(AttemptId(run, 0, 1), 1.0)],
            closed=[AttemptClosed(AttemptId(run, 0, 1), "completed", 2.0)],
            results=[ResultRecorded(run, 0, b'{"rows": [1, 2.50, "x"]}')],
        )
    )
    store.checkpoint()
    (told,) = json.loads(path.read_text())["runs"]
    assert (told["workflow"], told["run_id"], told["status"]) == ("etl", "2024-05-01", "pending")
    assert list(told["tasks"]) == ["extract", "lädt ☃", "report"]
    assert told["tasks"]["extract"]["result"] == {"rows": [1, 2.5, "x"]}
    assert told["tasks"]["lädt ☃"]["status"] == "waiting"
    assert told["tasks"]["lädt ☃"]["message"] == RICH_TASK.message
    assert told["tasks"]["report"] == {"status": "pending"}
    assert len([line for line in path.read_text().splitlines() if "extract" in line and "completed" in line]) == 1
    store.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["state.json", "state.json.lock"]


@pytest.mark.parametrize(
    "result",
    [
        b"null",
        b"1.0",
        b'{"b":1,  "a":[] }',
        b'"a, \\"result\\": {"',
        b"[1,\n2]",
        b"NaN",
        b"\xff\x00",
        b"",
        b"[" * 99_999,
    ],
)
def test_a_result_comes_back_byte_for_byte(open_json, path, result):
    for head in (RunHead(), finished()):
        store = open_json()
        run = store.create_run(RunName("w", head.phase), plan_of("a", ', "result": {}'), head)
        store.commit(Changes(tasks=[TaskChanged(run, 1, COMPLETED)], results=[ResultRecorded(run, 1, result)]))
        for _ in range(2):
            assert store.read_results(run, [0, 1]) == {1: result}
            json.loads(path.read_text(), parse_constant=pytest.fail)
            store.close()
            store = open_json()
        store.close()


def test_a_run_that_has_finished_is_held_as_text_and_changes_all_the_same(open_json):
    store = open_json()
    run = store.create_run(RunName("w"), rich_plan(), finished())
    store.commit(Changes(tasks=[TaskChanged(run, 0, RICH_TASK)], started=[AttemptStarted(AttemptId(run, 0, 1), 1.0)]))
    before = store.read_run(run)
    store.checkpoint()
    assert store._contents.runs[run].rows is None
    assert store.read_run(run) == before
    assert store.task_named("b") == (run, 1)
    assert store.task_named("c") is None
    store.commit(Changes(runs=[RunChanged(run, RICH_HEAD)]))
    store.commit(Changes(closed=[AttemptClosed(AttemptId(run, 0, 1), "failed", 2.0)]))
    assert store.read_run(run) == replace(before, head=RICH_HEAD)
    assert [past.attempt.status for past in store.read_history("a", 9)] == ["failed"]


def test_the_permissions_of_the_file_stay_and_are_those_of_its_journal(open_json, path, journal):
    open_json().close()
    path.chmod(0o600)
    store = open_json()
    store.create_run(RunName("w"), plan_of("a"), RunHead())
    for file in (path, journal):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


LOOK = """
from pathlib import Path
from flowweaver.stores.json_files import look_at_files
for line in sys.stdin:
    contents = look_at_files(Path(path))
    print(contents.sequence, [run.head.priority for run in contents.runs.values()], flush=True)
"""


def test_another_process_looks_at_a_live_store_and_sees_the_newest_commit(store, key, path):
    command = [sys.executable, "-c", PRELUDE + LOOK, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        for number in range(2, 6):
            store.commit(one_commit(key, RunHead(priority=number)))
            if number == 4:
                store.checkpoint()
            process.stdin.write("\n")
            assert process.stdout.readline() == f"{number} [{number}]\n"
        process.stdin.close()


def test_whoever_looks_while_the_file_is_written_anew_sees_whole_commits(store, key, path, monkeypatch):
    monkeypatch.setattr("flowweaver.stores.json_store.LEAST_JOURNAL_BYTES", 500)
    store.checkpoint()
    over, seen, trouble = threading.Event(), [], []

    def look():
        try:
            while not over.is_set():
                contents = look_at_files(path)
                assert contents.runs[key].head.priority == contents.sequence
                seen.append(contents.sequence)
        except BaseException as exc:  # noqa: BLE001 - it is looked at below
            trouble.append(exc)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    for number in range(2, 300):
        store.commit(one_commit(key, RunHead(priority=number)))
    over.set()
    for looker in lookers:
        looker.join()
    assert trouble == []
    assert seen == sorted(seen) or len(set(seen)) > 1
    assert look_at_files(path).sequence == 299


def test_whoever_looks_changes_nothing(store, key, path, journal):
    before = path.read_bytes(), journal.read_bytes()
    reading = JSONReading(look_at_files(path))
    assert reading.read_run(key) == store.read_run(key)
    assert reading.position() == store.position()
    assert (path.read_bytes(), journal.read_bytes()) == before
    assert look_at_files(path.with_name("nothing.json")) is None


# ---------------------------------------------------------------------------------------------------------- refusals


def test_a_newer_file_is_refused_and_left_as_it_is(open_json, path):
    open_json().close()
    path.write_text(path.read_text().replace('"format": 1', '"format": 999'))
    before = path.read_bytes()
    with pytest.raises(StoreTooNew, match=r"newer FlowWeaver \(layout 999, this one knows 1\): upgrade FlowWeaver"):
        open_json()
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["{}", '{"theirs": 1}', "[]", "kind: Workflow\n", "\x00" * 100, '{"flowweaver": 3}'])
def test_a_file_of_another_program_is_refused_and_left_as_it_is(open_json, path, text):
    path.write_text(text)
    with pytest.raises(StoreError, match=r"another program|is damaged"):
        open_json()
    assert path.read_text() == text


def test_an_empty_file_is_a_new_store(open_json, path):
    path.touch()
    assert open_json().position().epoch == 1


def test_a_file_that_was_changed_is_refused(open_json, path):
    store = open_json()
    store.create_run(RunName("w"), plan_of("a"), finished())
    store.close()
    whole = path.read_text()
    for changed in (whole.replace("completed", "cancelled"), json.dumps(json.loads(whole), indent=2), whole[:-9]):
        path.write_text(changed)
        with pytest.raises(StoreError, match=r"damaged.*Restore a backup|another program"):
            open_json()
        assert path.read_text() == changed


def test_files_that_do_not_belong_together_are_refused(open_json, path, journal, tmp_path):
    store = open_json()
    old = path.read_bytes()
    run = store.create_run(RunName("w"), plan_of("a"), RunHead())
    store.checkpoint()
    store.commit(one_commit(run, FIRST))
    newer, lines = path.read_bytes(), journal.read_bytes()
    store.close()
    path.write_bytes(old)
    journal.write_bytes(lines)
    with pytest.raises(StoreCorrupt, match="do not belong together"):
        open_json()
    other = open_json(tmp_path / "other.json")
    other.close()
    path.write_bytes((tmp_path / "other.json").read_bytes())
    with pytest.raises(StoreCorrupt, match="do not belong together"):
        open_json()
    path.unlink()
    with pytest.raises(StoreCorrupt, match=r"state.json-journal is there, and .* is not"):
        open_json()
    path.write_bytes(newer)
    assert open_json().read_run(run).head == FIRST


def test_a_folder_that_is_not_there_is_named(open_json, path):
    with pytest.raises(StoreError, match="nowhere is no folder: make it first"):
        open_json(path.parent / "nowhere" / "state.json")
    with pytest.raises(StoreError, match="is a folder: name a file in it"):
        open_json(path.parent)


def test_a_network_file_system_is_refused_with_the_reason(open_json, path, tmp_path, monkeypatch):
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / {path.parent} rw shared:1 - nfs4 server rw\n")
    monkeypatch.setattr("flowweaver.stores.filesystems.MOUNTINFO", mountinfo)
    with pytest.raises(StoreError, match=r'network file system of type "nfs4".*ReadWriteOnce'):
        open_json()
    assert not path.exists()


# --------------------------------------------------------------------------------------------------------- one engine


def test_a_second_store_on_the_file_is_refused(open_json, path):
    open_json()
    with pytest.raises(StoreLocked, match="is open in this process"):
        open_json()
    program = "try: JSONStore(path, clock=ManualClock())\nexcept StoreLocked as error: print(error)"
    said = subprocess.run(
        [sys.executable, "-c", PRELUDE + program, str(path)], capture_output=True, text=True, check=True
    )
    assert f"is held by pid {os.getpid()}" in said.stdout, said


FORK = """
store = JSONStore(path, clock=ManualClock())
key = store.create_run(RunName("w"), plan_of("a"), RunHead())
changes = Changes(runs=[RunChanged(key, RunHead(priority=1))])
store._writing.acquire()
if os.fork() == 0:
    for call in (store.position, store.reopen, store.checkpoint, lambda: store.read_run(key),
                 lambda: store.delete_run(key), lambda: store.commit(changes)):
        try:
            call()
            print("worked", flush=True)
        except StoreError as error:
            print(error, flush=True)
    store.close()
    sys.exit()
os.wait()
store._writing.release()
store.commit(changes)
store.close()
"""


def test_a_forked_child_can_not_use_the_store(open_json, path):
    command = [sys.executable, "-c", PRELUDE + FORK, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = said.stdout.splitlines()
    assert len(lines) == 6, said
    assert all("a store can not be shared with a child" in line for line in lines)
    assert open_json().find_run(RunName("w")).head.priority == 1


COMMIT_FOR_EVER = """
import flowweaver.stores.json_store
flowweaver.stores.json_store.LEAST_JOURNAL_BYTES = 2000
store = JSONStore(path, clock=ManualClock())
found = store.find_run(RunName("w"))
key = found.key if found else store.create_run(RunName("w"), plan_of("a"), RunHead())
while True:
    number = store.position().sequence + 1
    store.commit(Changes(runs=[RunChanged(key, RunHead(priority=number))]))
    print(number, flush=True)
"""


def test_what_was_acknowledged_before_a_kill_is_there_after_it(open_json, path):
    for life in range(6):
        command = [sys.executable, "-c", PRELUDE + COMMIT_FOR_EVER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
            for _ in range(20 + 37 * life):
                acknowledged = int(process.stdout.readline())
            process.kill()
            acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
        store = open_json()
        assert store.position().sequence in {acknowledged, acknowledged + 1}
        assert store.find_run(RunName("w")).head.priority == store.position().sequence
        assert store.position().epoch == 2 * life + 2
        store.close()


# ---------------------------------------------------------------------------------------------------------- bad disks


def test_a_full_disk_changes_nothing_and_the_same_commit_succeeds_when_there_is_room(store, disk, key, journal):
    before, size = (store.position(), store.read_run(key)), journal.stat().st_size
    disk.will(Effect.FILL, "write")
    with pytest.raises(StoreUnavailable, match=r"the disk is full.*free some space") as raised:
        store.commit(one_commit(key, SECOND))
    assert not isinstance(raised.value, CommitUnknown)
    assert (store.position(), store.read_run(key)) == before
    assert journal.stat().st_size == size
    store.commit(one_commit(key, SECOND))
    assert (store.position().sequence, store.read_run(key).head) == (2, SECOND)


def test_a_full_disk_whose_torn_line_can_not_be_taken_back_is_opened_again(store, disk, key, open_json):
    disk.will(Effect.FILL, "write")
    disk.will(Effect.FAIL, "truncate")
    with pytest.raises(StoreUnavailable):
        store.commit(one_commit(key, SECOND))
    with pytest.raises(StoreUnavailable, match="opened again first"):
        store.commit(one_commit(key, SECOND))
    store.reopen()
    assert (store.position().sequence, store.read_run(key).head) == (1, FIRST)
    store.commit(one_commit(key, SECOND))
    store.close()
    assert open_json().read_run(key).head == SECOND


@pytest.mark.parametrize("effect", [Effect.FAIL, Effect.TEAR, Effect.FAIL_AFTER])
@pytest.mark.parametrize("operation", ["write", "sync"])
def test_after_an_io_error_the_sequence_tells_whether_the_commit_happened(store, disk, key, operation, effect):
    disk.will(effect, operation)
    with pytest.raises(CommitUnknown):
        store.commit(one_commit(key, SECOND))
    disk.operations.clear()
    for call in (
        lambda: store.commit(one_commit(key, SECOND)),
        lambda: store.create_run(RunName("v"), plan_of("a"), RunHead()),
        lambda: store.delete_run(key),
        store.checkpoint,
    ):
        with pytest.raises(StoreUnavailable, match="has to be opened again first"):
            call()
    assert disk.operations == []
    assert store.read_run(key).head == FIRST
    store.reopen()
    happened = store.position().sequence - 1
    assert happened == (1 if operation == "sync" or effect is Effect.FAIL_AFTER else 0)
    assert store.read_run(key).head == (SECOND if happened else FIRST)
    store.commit(one_commit(key, FIRST))
    assert store.position().sequence == 2 + happened


def test_after_a_failed_sync_nothing_is_synced_on_that_descriptor_and_what_is_believed_is_written_anew(
    store, disk, key, path
):
    disk.will(Effect.FAIL, "sync")
    with pytest.raises(CommitUnknown):
        store.commit(one_commit(key, SECOND))
    disk.operations.clear()
    inode = path.stat().st_ino
    store.reopen()
    written = disk.operations.index(("main", "sync"))
    assert ("journal", "sync") not in disk.operations[:written]
    assert path.stat().st_ino != inode
    assert store.read_run(key).head == SECOND


def test_a_store_that_can_not_be_opened_again_yet_is_opened_later(store, disk, key):
    disk.will(Effect.FAIL, "sync")
    with pytest.raises(CommitUnknown):
        store.commit(one_commit(key, SECOND))
    for file, operation in (
        ("main", "open"),
        ("main", "write"),
        ("main", "sync"),
        ("main", "replace"),
        ("folder", "sync"),
        ("journal", "open"),
        ("journal", "truncate"),
        ("journal", "sync"),
    ):
        disk.will(Effect.FAIL, operation, file=file)
        with pytest.raises(StoreUnavailable):
            store.reopen()
        assert not disk.faults[-1].times, (file, operation)
        assert store.read_run(key).head == FIRST
        with pytest.raises(StoreUnavailable):
            store.commit(one_commit(key, SECOND))
    store.reopen()
    store.commit(one_commit(key, SECOND))
    assert store.read_run(key).head == SECOND


@pytest.mark.parametrize("effect", [Effect.FILL, Effect.FAIL, Effect.TEAR, Effect.FAIL_AFTER])
def test_writing_the_file_anew_on_a_bad_disk_loses_nothing(open_json, disk, path, monkeypatch, effect):
    steps = (
        ("main", "open"),
        ("main", "write"),
        ("main", "sync"),
        ("main", "replace"),
        ("folder", "sync"),
        ("journal", "truncate"),
        ("journal", "sync"),
    )
    store = open_json(disk=disk)
    run = store.create_run(RunName("w"), plan_of("a"), RunHead())
    for number, (file, operation) in enumerate(steps, 1):
        store.commit(one_commit(run, RunHead(priority=number)))
        disk.will(effect, operation, file=file)
        with pytest.raises(StoreUnavailable):
            store.checkpoint()
        assert not disk.faults[-1].times, (file, operation)
        assert store.read_run(run).head.priority == number
        look = look_at_files(path)
        assert (look.sequence, look.runs[run].head.priority) == (number, number)
        store.reopen()
        assert store.read_run(run).head.priority == number
    assert not path.with_name("state.json-new").exists()


def test_a_full_disk_while_the_file_is_written_anew_stops_no_commit(open_json, disk, journal, monkeypatch):
    monkeypatch.setattr("flowweaver.stores.json_store.LEAST_JOURNAL_BYTES", 1000)
    store = open_json(disk=disk)
    run = store.create_run(RunName("w"), plan_of("a"), RunHead())
    disk.will(Effect.FILL, "write", file="main", times=1000)
    for number in range(1, 60):
        store.commit(one_commit(run, RunHead(priority=number)))
    tried = 1000 - disk.faults[-1].times
    assert 3 < tried < 20, "it is tried again, and not at each commit"
    disk.heal()
    for number in range(60, 80):
        store.commit(one_commit(run, RunHead(priority=number)))
    assert journal.stat().st_size < 2000
    assert store.read_run(run).head.priority == store.position().sequence == 79


def test_a_file_that_has_lost_a_commit_or_is_another_one_is_not_used(
    store, key, disk, path, journal, tmp_path, open_json
):
    snapshot, lines = path.read_bytes(), journal.read_bytes()
    store.commit(one_commit(key, SECOND))
    journal.write_bytes(lines)
    with pytest.raises(StoreCorrupt, match="has lost commits: it is at 1, and 2 was durable"):
        store.reopen()
    open_json(tmp_path / "other.json").close()
    path.write_bytes((tmp_path / "other.json").read_bytes())
    journal.unlink()
    with pytest.raises(StoreCorrupt, match="was replaced by another store"):
        store.reopen()
    path.unlink()
    with pytest.raises(StoreUnavailable, match="is gone"):
        store.reopen()
    assert not path.exists()
    assert re.match(rb'\{"flowweaver": ', snapshot)


# --------------------------------------------------------------------------------------------------------------- costs


def test_the_bytes_written_grow_with_the_work_and_not_with_its_square(tmp_path, open_json):
    def written(tasks):
        disk = BadDisk()
        store = open_json(tmp_path / f"{tasks}.json", disk=disk)
        run = store.create_run(RunName("w"), plan_of(*(f"t{number}" for number in range(tasks))), RunHead())
        for task in range(tasks):
            attempt = AttemptId(run, task, 1)
            store.commit(
                Changes(
                    tasks=[TaskChanged(run, task, COMPLETED)],
                    started=[AttemptStarted(attempt, 1.0)],
                    closed=[AttemptClosed(attempt, "completed", 2.0)],
                    results=[ResultRecorded(run, task, b'"%s"' % (b"x" * 1000))],
                )
            )
        assert disk.operations.count(("journal", "sync")) >= tasks
        store.close()
        return disk.written_bytes, disk.operations.count(("main", "replace"))

    (few, _), (many, replaced) = written(1000), written(4000)
    assert many < 5 * few
    assert 2 <= replaced < 12
    assert many < 6 * 4000 * 1300


def test_one_commit_is_one_write_and_one_sync(store, disk, key):
    disk.operations.clear()
    store.commit(one_commit(key, SECOND))
    assert disk.operations == [("journal", "write"), ("journal", "sync")]
