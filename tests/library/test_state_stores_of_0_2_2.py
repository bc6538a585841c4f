"""Files that FlowWeaver 0.2.2 has written: `of_0_2_2` was made by that version."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from flowweaver import JSONStateStore, SequentialExecutor, SQLiteStateStore, StoreError, Task, TaskStatus, Workflow
from flowweaver.library import old_files

FILES = Path(__file__).parent / "of_0_2_2"
KINDS = {"json": (JSONStateStore, "state.json"), "sqlite": (SQLiteStateStore, "state.sqlite")}


@pytest.fixture(params=KINDS)
def old(request, tmp_path):
    """A state store on a copy of an old file."""
    kind, name = KINDS[request.param]
    shutil.copy(FILES / name, tmp_path / name)
    return kind(tmp_path / name)


def etl(ran):
    workflow = Workflow("etl")
    workflow.add_task(Task("extract", lambda: ran.append("extract") or {"rows": "abcd"}))
    workflow.add_task(Task("count", lambda extract: ran.append("count")), ["extract"])
    workflow.add_task(Task("load", lambda extract: ran.append("load") or extract), ["extract"])
    workflow.add_task(Task("report", lambda load: ran.append("report") or load["rows"][3]), ["load"])
    return workflow


def check(store):
    assert sorted(store.list_task_states()) == ["count", "extract", "load", "report"]
    assert store.load_task_state("extract")["result"] == {"rows": [1, 2.5, None, "ü"]}
    assert store.load_task_state("count") == {
        "status": TaskStatus.COMPLETED,
        "result": 0,
        "error": None,
        "timestamp": datetime(2026, 1, 2, 3, 4, 5, 678901),  # local, as it was
    }
    failed = store.load_task_state("load")
    assert (failed["status"], failed["error"]) == (TaskStatus.FAILED, "no table ☃")
    assert store.load_task_state("report")["status"] is TaskStatus.PENDING


def test_the_old_states_are_there_and_the_old_file_is_kept(old, caplog):
    before = old.identity.read_bytes()
    check(old)
    assert Path(f"{old.identity}.old").read_bytes() == before
    assert "was written by FlowWeaver 0.2: its 4 states are taken over" in caplog.text
    caplog.clear()
    check(type(old)(old.identity))
    assert caplog.text == ""
    assert sorted(file.name for file in old.identity.parent.iterdir()) == [
        old.identity.name,
        f"{old.identity.name}.lock",
        f"{old.identity.name}.old",
    ]


def test_a_workflow_goes_on_where_0_2_2_has_left_it(old):
    ran = []
    workflow = etl(ran)
    SequentialExecutor(old).execute(workflow)
    assert ran == ["load", "report"]
    assert workflow.get_task_result("report") == "ü"
    SequentialExecutor(old).execute(etl(ran), fresh=True)
    assert sorted(ran[2:]) == ["count", "extract", "load", "report"]


def test_writing_takes_the_old_states_over_too(old):
    old.save_task_state("more", TaskStatus.COMPLETED, 1)
    old.clear_task_state("more")
    check(old)


@pytest.mark.parametrize("step", ["save_states", "_set_aside"])
def test_a_crash_while_they_are_taken_over_changes_nothing(old, monkeypatch, step):
    before = old.identity.read_bytes()

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(old_files, step, crash)
        with pytest.raises(KeyboardInterrupt):
            old.load_task_state("count")
    assert old.identity.read_bytes() == before
    check(old)


def test_an_older_file_that_was_kept_is_never_overwritten(old):
    Path(f"{old.identity}.old").write_text("mine")
    check(old)
    assert Path(f"{old.identity}.old").read_text() == "mine"
    assert Path(f"{old.identity}.old2").exists()


def test_a_file_without_states_is_a_new_store(tmp_path):
    (tmp_path / "state.json").write_text("{}")
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection, connection:
        connection.execute("CREATE TABLE task_states (task_name, status, result, error, timestamp, updated_at)")
    for store in (JSONStateStore(tmp_path / "state.json"), SQLiteStateStore(tmp_path / "state.db")):
        assert store.list_task_states() == []
        store.save_task_state("a", TaskStatus.COMPLETED, 1)
        assert store.load_task_state("a")["result"] == 1


@pytest.mark.parametrize("content", ["not json", "[1, 2]", '{"a": ', "\x00\x01", "null"])
def test_what_can_not_be_read_is_kept_and_said(tmp_path, caplog, content):
    path = tmp_path / "state.json"
    path.write_text(content)
    store = JSONStateStore(path)
    assert store.list_task_states() == []
    assert (tmp_path / "state.json.old").read_text() == content
    assert "has no states that can be read: it is kept under another name" in caplog.text
    store.save_task_state("a", TaskStatus.COMPLETED, 1)
    assert JSONStateStore(path).load_task_state("a")["result"] == 1


@pytest.mark.parametrize("content", [{"name": "theirs"}, {"a": {"status": "COMPLETED"}}])
def test_the_json_file_of_another_program_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "package.json"
    path.write_text(json.dumps(content))
    with pytest.raises(StoreError, match="another program: name another file"):
        JSONStateStore(path).list_task_states()
    assert json.loads(path.read_text()) == content
    assert [file for file in tmp_path.iterdir() if file.suffix != ".lock"] == [path]


def test_a_database_that_has_more_than_the_states_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "state.db"
    shutil.copy(FILES / "state.sqlite", path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program: name another file"):
        SQLiteStateStore(path).save_task_state("a", TaskStatus.COMPLETED)
    assert path.read_bytes() == before


def test_a_state_that_makes_no_sense_is_named_and_nothing_is_changed(tmp_path):
    path = tmp_path / "state.json"
    path.write_text('{"a": {"status": "DREAMING", "result": 1, "error": null, "timestamp": "2026-01-02T03:04:05"}}')
    before = path.read_bytes()
    with pytest.raises(StoreError, match="the state of task 'a' can not be taken over.*DREAMING.*move the file away"):
        JSONStateStore(path).list_task_states()
    assert path.read_bytes() == before
