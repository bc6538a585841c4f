"""The two stores that keep states in a file, and the backend that keeps them in memory."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path

import pytest

from flowweaver import (
    AsyncExecutor,
    InMemoryStateBackend,
    JSONStateStore,
    SequentialExecutor,
    SQLiteStateStore,
    Task,
    TaskStatus,
    ThreadedExecutor,
    Workflow,
)

THEN = datetime(2026, 1, 2, 3, 4, 5, 678901)


class Chain:
    """The same three tasks each time they are asked for, as the next start of a program would make them."""

    def __init__(self):
        self.ran = []
        self.broken = False

    def build(self, name="chain"):
        workflow = Workflow(name)
        workflow.add_task(Task("a", self._body("a", 1)))
        workflow.add_task(Task("b", self._body("b", 2)), depends_on=["a"])
        workflow.add_task(Task("c", self._body("c", 3)), depends_on=["b"])
        return workflow

    def _body(self, name, result):
        def body():
            self.ran.append(name)
            if self.broken and name == "c":
                raise ValueError("boom")
            return result

        return body


@pytest.fixture
def chain():
    return Chain()


def test_a_state_that_was_saved_is_there_for_whoever_opens_the_file_next(open_store):
    open_store().save_task_state("fetch", TaskStatus.COMPLETED, result={"rows": [1, None, "x"]}, timestamp=THEN)

    assert open_store().load_task_state("fetch") == {
        "status": TaskStatus.COMPLETED,
        "result": {"rows": [1, None, "x"]},
        "error": None,
        "timestamp": THEN,
    }


def test_what_is_not_said_is_none_and_the_time_is_now(open_store):
    store = open_store()
    before = datetime.now()

    store.save_task_state("fetch", TaskStatus.RUNNING)

    state = store.load_task_state("fetch")
    assert (state["status"], state["result"], state["error"]) == (TaskStatus.RUNNING, None, None)
    assert before <= state["timestamp"] <= datetime.now()


def test_a_state_can_be_given_by_position(open_store):
    store = open_store()

    store.save_task_state("fetch", TaskStatus.FAILED, None, "boom", THEN)

    assert store.load_task_state("fetch") == {
        "status": TaskStatus.FAILED,
        "result": None,
        "error": "boom",
        "timestamp": THEN,
    }


@pytest.mark.parametrize("status", ["PENDING", "RUNNING", "COMPLETED", "FAILED"])
def test_each_status_comes_back(open_store, status):
    store = open_store()

    store.save_task_state("fetch", TaskStatus[status])

    assert store.load_task_state("fetch")["status"] is TaskStatus[status]


@pytest.mark.parametrize("value", [0, "", [], {}, False, None, 1.5, "text", [1, [2]], {"a": {"b": None}}], ids=repr)
def test_a_result_that_was_saved_by_name_comes_back(open_store, value):
    open_store().save_task_state("fetch", TaskStatus.COMPLETED, result=value)

    state = open_store().load_task_state("fetch")

    assert state["result"] == value
    assert type(state["result"]) is type(value)


def test_the_newest_state_of_a_task_counts(open_store):
    store = open_store()
    store.save_task_state("fetch", TaskStatus.RUNNING)
    store.save_task_state("fetch", TaskStatus.FAILED, error="boom")
    store.save_task_state("fetch", TaskStatus.COMPLETED, result=7)

    state = store.load_task_state("fetch")

    assert (state["status"], state["result"], state["error"]) == (TaskStatus.COMPLETED, 7, None)
    assert store.list_task_states() == ["fetch"]


def test_an_unknown_task_has_no_state_and_can_be_cleared(open_store):
    store = open_store()

    assert store.load_task_state("nobody") is None
    assert store.list_task_states() == []
    store.clear_task_state("nobody")
    store.clear_all_states()


def test_states_can_be_listed_and_cleared(open_store):
    store = open_store()
    for name in ("a", "b", "c"):
        store.save_task_state(name, TaskStatus.COMPLETED, result=name)

    assert sorted(store.list_task_states()) == ["a", "b", "c"]
    store.clear_task_state("b")
    assert sorted(open_store().list_task_states()) == ["a", "c"]
    assert store.load_task_state("b") is None
    store.clear_all_states()
    assert open_store().list_task_states() == []


@pytest.mark.parametrize("name", ["with space", "with/slash", "ünï→", "' OR 1=1 --", "a" * 300])
def test_a_task_may_be_called_anything(open_store, name):
    store = open_store()

    store.save_task_state(name, TaskStatus.COMPLETED, result=1)

    assert store.load_task_state(name)["result"] == 1
    assert store.list_task_states() == [name]


@pytest.mark.parametrize("store", [JSONStateStore, SQLiteStateStore])
def test_the_folders_on_the_way_are_made_and_the_path_is_known(store, tmp_path):
    path = tmp_path / "deep" / "deeper" / "state"

    opened = store(str(path))

    assert path.parent.is_dir()
    assert (opened.file_path if store is JSONStateStore else opened.db_path) == path
    opened.save_task_state("a", TaskStatus.COMPLETED)
    assert path.exists()


def test_a_path_object_will_do(tmp_path):
    JSONStateStore(tmp_path / "state.json").save_task_state("a", TaskStatus.COMPLETED)
    SQLiteStateStore(tmp_path / "state.db").save_task_state("a", TaskStatus.COMPLETED)

    assert JSONStateStore(tmp_path / "state.json").list_task_states() == ["a"]
    assert SQLiteStateStore(tmp_path / "state.db").list_task_states() == ["a"]


def test_without_a_path_the_file_is_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    JSONStateStore().save_task_state("a", TaskStatus.COMPLETED)
    SQLiteStateStore().save_task_state("a", TaskStatus.COMPLETED)

    assert Path("workflow_state.json").is_file()
    assert Path("workflow_state.db").is_file()


def test_a_json_file_that_is_gone_is_an_empty_one(tmp_path):
    path = tmp_path / "state.json"
    store = JSONStateStore(str(path))
    path.unlink(missing_ok=True)

    assert store.load_task_state("a") is None
    assert store.list_task_states() == []
    store.save_task_state("a", TaskStatus.COMPLETED, result=1)
    assert store.load_task_state("a")["result"] == 1


@pytest.mark.parametrize("content", ["", "not json", "[1, 2]", '{"a": ', "\x00\x01"])
def test_a_json_file_that_holds_something_else_ends_no_program(tmp_path, chain, content):
    path = tmp_path / "state.json"
    path.write_text(content)

    store = JSONStateStore(str(path))
    assert store.list_task_states() == []
    assert store.load_task_state("a") is None
    workflow = chain.build()
    SequentialExecutor(storage=store).execute(workflow)

    assert chain.ran == ["a", "b", "c"]
    assert JSONStateStore(str(path)).load_task_state("c")["result"] == 3


def test_a_database_that_is_none_is_refused(tmp_path):
    path = tmp_path / "state.db"
    path.write_text("not a database, but long enough to be taken for one" * 50)

    with pytest.raises(Exception, match="database"):
        SQLiteStateStore(str(path)).list_task_states()

    assert path.read_text().startswith("not a database")


@pytest.mark.parametrize("executor_class", [SequentialExecutor, ThreadedExecutor])  # 0.2.2's third one could not resume
def test_what_completed_is_restored_by_the_next_program(executor_class, open_store, outcome, chain):
    chain.broken = True
    first = chain.build()
    assert isinstance(outcome(executor_class(storage=open_store()), first), RuntimeError)

    chain.broken = False
    second = chain.build()
    executor_class(storage=open_store()).execute(second)

    assert chain.ran == ["a", "b", "c", "c"]
    assert [one.result for one in second.get_all_tasks().values()] == [1, 2, 3]
    assert {one.status for one in second.get_all_tasks().values()} == {TaskStatus.COMPLETED}
    assert second.get_task("a").completed_at == pytest.approx(first.get_task("a").completed_at, abs=_milliseconds(2))


def _milliseconds(number):
    from datetime import timedelta

    return timedelta(milliseconds=number)


def test_a_run_that_completed_is_restored_as_a_whole(executor_class, open_store, chain):
    executor_class(storage=open_store()).execute(chain.build())

    again = chain.build()
    executor_class(storage=open_store()).execute(again)

    assert chain.ran == ["a", "b", "c"]
    assert [one.result for one in again.get_all_tasks().values()] == [1, 2, 3]
    assert again.get_workflow_stats()["completed"] == 3


def test_one_executor_can_go_on_with_its_own_store(executor_class, open_store, chain):
    executor = executor_class(storage=open_store())

    executor.execute(chain.build())
    again = chain.build()
    executor.execute(again)

    assert chain.ran == ["a", "b", "c"]
    assert again.get_task_result("c") == 3


def test_executors_of_different_kinds_can_share_a_file(open_store, chain):
    store = open_store()
    for executor in (SequentialExecutor(store), ThreadedExecutor(2, store), AsyncExecutor(False, store)):
        workflow = chain.build()
        executor.execute(workflow)
        assert workflow.get_task_result("c") == 3

    assert chain.ran == ["a", "b", "c"]


@pytest.mark.parametrize("executor_class", [SequentialExecutor, ThreadedExecutor])  # 0.2.2's third one could not resume
def test_what_was_restored_goes_to_the_parameters_of_what_is_left(executor_class, open_store, outcome):
    broken = [True]

    def build():
        workflow = Workflow("handed on")
        workflow.add_task(Task("a", lambda: {"n": 20}))
        workflow.add_task(Task("b", lambda a: 1 / 0 if broken else a["n"] + 1), depends_on=["a"])
        return workflow

    assert isinstance(outcome(executor_class(storage=open_store()), build()), RuntimeError)
    broken.clear()
    workflow = build()
    executor_class(storage=open_store()).execute(workflow)

    assert workflow.get_task_result("b") == 21


def test_after_a_run_the_store_answers_for_its_tasks(executor_class, open_store, chain):
    before = datetime.now()
    executor_class(storage=open_store()).execute(chain.build())

    store = open_store()
    state = store.load_task_state("b")

    assert sorted(store.list_task_states()) == ["a", "b", "c"]
    assert (state["status"], state["result"], state["error"]) == (TaskStatus.COMPLETED, 2, None)
    assert before - _milliseconds(2) <= state["timestamp"] <= datetime.now()


def test_when_the_states_are_cleared_everything_runs_again(executor_class, open_store, chain):
    executor_class(storage=open_store()).execute(chain.build())

    open_store().clear_all_states()
    executor_class(storage=open_store()).execute(chain.build())

    assert chain.ran == ["a", "b", "c", "a", "b", "c"]


def test_when_one_state_is_cleared_that_task_runs_again_and_none_before_it(executor_class, open_store, chain):
    executor_class(storage=open_store()).execute(chain.build())

    open_store().clear_task_state("c")
    workflow = chain.build()
    executor_class(storage=open_store()).execute(workflow)

    assert chain.ran == ["a", "b", "c", "c"]
    assert workflow.get_workflow_stats()["completed"] == 3


def test_a_program_may_save_and_load_by_itself(open_store, chain):
    done = chain.build()
    SequentialExecutor().execute(done)
    open_store().save_state(done)

    fresh = chain.build()
    open_store().load_state(fresh)

    assert [one.status for one in fresh.get_all_tasks().values()] == [TaskStatus.COMPLETED] * 3
    assert [one.result for one in fresh.get_all_tasks().values()] == [1, 2, 3]
    assert fresh.get_task("a").completed_at == pytest.approx(done.get_task("a").completed_at, abs=_milliseconds(2))


def test_what_was_saved_by_hand_is_not_run(open_store, chain):
    done = chain.build()
    SequentialExecutor().execute(done)
    open_store().save_state(done)

    SequentialExecutor(storage=open_store()).execute(chain.build())

    assert chain.ran == ["a", "b", "c"]


def test_a_failure_that_was_saved_by_hand_comes_back_too(open_store, outcome, chain):
    chain.broken = True
    failed = chain.build()
    outcome(SequentialExecutor(), failed)
    open_store().save_state(failed)

    fresh = chain.build()
    open_store().load_state(fresh)

    assert [one.status.name for one in fresh.get_all_tasks().values()] == ["COMPLETED", "COMPLETED", "FAILED"]
    assert fresh.get_task("c").error == "boom"


def test_the_state_of_one_task_that_was_saved_by_hand_is_restored(open_store):
    ran = []
    open_store().save_task_state("a", TaskStatus.COMPLETED, result=10)
    workflow = Workflow("seeded")
    workflow.add_task(Task("a", lambda: ran.append("a")))
    workflow.add_task(Task("b", lambda a: a + 1), depends_on=["a"])

    SequentialExecutor(storage=open_store()).execute(workflow)

    assert ran == []
    assert workflow.get_task_result("b") == 11


def test_a_task_that_is_added_between_two_programs_is_all_that_runs(open_store, chain):
    SequentialExecutor(storage=open_store()).execute(chain.build())

    longer = chain.build()
    longer.add_task(Task("d", lambda c: c + 1), depends_on=["c"])
    SequentialExecutor(storage=open_store()).execute(longer)

    assert chain.ran == ["a", "b", "c"]
    assert longer.get_task_result("d") == 4


def test_two_workflows_with_names_and_tasks_of_their_own_share_a_file(open_store):
    ran = []

    def build(which):
        workflow = Workflow(which)
        workflow.add_task(Task(f"{which} one", lambda: ran.append(which) or which))
        return workflow

    for _ in range(2):
        for which in ("first", "second"):
            workflow = build(which)
            SequentialExecutor(storage=open_store()).execute(workflow)
            assert workflow.get_task_result(f"{which} one") == which

    assert ran == ["first", "second"]


def test_the_history_of_a_task_is_newest_first_and_says_when_it_was_written(tmp_path):
    store = SQLiteStateStore(str(tmp_path / "state.db"))
    assert store.query_task_history("fetch") == []

    store.save_task_state("fetch", TaskStatus.COMPLETED, result=[1], timestamp=THEN)

    newest = store.query_task_history("fetch", limit=1)[0]
    assert newest.keys() == {"status", "result", "error", "timestamp", "updated_at"}
    assert (newest["status"], newest["result"], newest["error"]) == (TaskStatus.COMPLETED, [1], None)
    assert newest["timestamp"] == THEN
    assert isinstance(newest["updated_at"], datetime)
    assert newest["updated_at"].tzinfo is None


def test_files_that_0_2_2_wrote_are_restored(tmp_path, chain):
    (tmp_path / "state.json").write_text(
        '{"a": {"status": "COMPLETED", "result": 1, "error": null, "timestamp": "2026-01-02T03:04:05.678901"},'
        ' "b": {"status": "COMPLETED", "result": 2, "error": null, "timestamp": "2026-01-02T03:04:06.678901"},'
        ' "c": {"status": "FAILED", "result": null, "error": "boom", "timestamp": "2026-01-02T03:04:07.678901"}}'
    )
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute(
            "CREATE TABLE task_states (task_name TEXT PRIMARY KEY, status TEXT NOT NULL, result TEXT, error TEXT,"
            " timestamp TEXT NOT NULL, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)"
        )
        connection.executemany(
            "INSERT INTO task_states (task_name, status, result, error, timestamp) VALUES (?, ?, ?, ?, ?)",
            [
                ("a", "COMPLETED", "1", None, "2026-01-02T03:04:05.678901"),
                ("b", "COMPLETED", "2", None, "2026-01-02T03:04:06.678901"),
                ("c", "FAILED", None, "boom", "2026-01-02T03:04:07.678901"),
            ],
        )
    connection.close()

    for store in (JSONStateStore(str(tmp_path / "state.json")), SQLiteStateStore(str(tmp_path / "state.db"))):
        workflow = chain.build()
        SequentialExecutor(storage=store).execute(workflow)
        assert [one.result for one in workflow.get_all_tasks().values()] == [1, 2, 3]

    assert chain.ran == ["c", "c"]


def test_the_backend_in_memory_keeps_the_very_objects():
    backend = InMemoryStateBackend()
    result = object()

    backend.save_task_state("a", TaskStatus.COMPLETED, result, None, THEN)
    backend.save_task_state(task_name="b", status=TaskStatus.FAILED, result=None, error="boom", timestamp=THEN)

    assert backend.load_task_state("a") == {
        "status": TaskStatus.COMPLETED,
        "result": result,
        "error": None,
        "timestamp": THEN,
    }
    assert backend.load_task_state("a")["result"] is result
    assert backend.load_task_state("b")["error"] == "boom"
    assert backend.load_task_state("nobody") is None
    backend.clear()
    assert backend.load_task_state("a") is None
