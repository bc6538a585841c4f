"""The state stores: what they tell, who may use a file at one time, and what a store of a program's own is told."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest

from flowweaver import (
    ArgumentError,
    BaseStateStore,
    InMemoryStateBackend,
    JSONStateStore,
    SequentialExecutor,
    SQLiteStateStore,
    StateBackend,
    StoreLocked,
    Task,
    TaskStatus,
    ThreadedExecutor,
    Workflow,
    WorkflowExecutionError,
    WorkflowRunningError,
)
from flowweaver.library import open_files
from flowweaver.library.state_stores import opened_store

THEN = datetime(2026, 1, 2, 3, 4, 5, 678901)  # states carry local times without a zone
PATIENCE = 30


def chain(*names, body=lambda name: name):
    workflow = Workflow("chain")
    for number, name in enumerate(names):
        workflow.add_task(Task(name, lambda name=name, **_: body(name)), names[max(0, number - 1) : number])
    return workflow


@pytest.fixture
def run(tmp_path):
    """Runs a program beside, in the folder of the stores; gives what it printed."""

    def run(code):
        prelude = "from flowweaver import JSONStateStore, SQLiteStateStore, TaskStatus, StoreLocked\n"
        command = [sys.executable, "-c", prelude + textwrap.dedent(code)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout

    return run


@pytest.fixture
def executing(store_of):
    """An executor that holds the file until the test is over, in the middle of a task; gives the workflow's name."""
    inside, go_on = threading.Event(), threading.Event()

    def body(name):
        if name == "second":
            inside.set()
            assert go_on.wait(PATIENCE)
        return name

    workflow = chain("first", "second", "third", body=body)
    thread = threading.Thread(target=ThreadedExecutor(2, store_of()).execute, args=(workflow,))
    thread.start()
    assert inside.wait(PATIENCE)
    yield workflow
    go_on.set()
    thread.join()
    assert workflow.get_task_status("third") is TaskStatus.COMPLETED


# ------------------------------------------------------------------------------------------------------------- costs


def test_importing_the_stores_loads_nothing_heavy(run):
    said = run(
        """
        import sys
        JSONStateStore("a.json"), SQLiteStateStore("a.db")
        print([name for name in ("asyncio", "pydantic", "apsw", "sqlite3", "httpx") if name in sys.modules])
        JSONStateStore("a.json").save_task_state("a", TaskStatus.COMPLETED, 1)
        print("apsw" in sys.modules)
        SQLiteStateStore("a.db").save_task_state("a", TaskStatus.COMPLETED, 1)
        print("apsw" in sys.modules, "asyncio" in sys.modules, "pydantic" in sys.modules)
        """
    )
    assert said.splitlines() == ["[]", "False", "True False False"]


def test_looking_where_nothing_is_makes_no_file(store_of, tmp_path):
    store = store_of()
    assert (store.load_task_state("a"), store.list_task_states(), store.query_task_history("a")) == (None, [], [])
    store.load_state(chain("a"))
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------------- who may use the file


def test_two_objects_on_one_path_share_the_file_and_the_last_one_closes_it(store_of, tmp_path, run):
    first, second = store_of(), store_of()
    link = tmp_path / "link"
    link.symlink_to(first.identity)
    alias = type(first)(link)
    assert alias.identity == first.identity
    with first.opened(exclusive=True) as one:
        with second.opened() as other, alias.opened() as third:
            assert one is other is third
        second.save_task_state("a", TaskStatus.COMPLETED, 1)
        assert alias.load_task_state("a")["result"] == 1
        assert "is held by pid" in run(_TRY.format(type(first).__name__, first.identity))
    assert open_files._files == {}
    assert run(_TRY.format(type(first).__name__, first.identity)) == "saved\n"
    assert first.load_task_state("b")["result"] == 2


_TRY = """
try:
    {}("{}").save_task_state("b", TaskStatus.COMPLETED, 2)
    print("saved")
except StoreLocked as error:
    print(error)
"""


def test_a_second_engine_on_a_file_is_refused_and_told_what_to_do(store_of):
    with opened_store(store_of()):
        refused = pytest.raises(StoreLocked, match="another executor of this process: share that executor")
        with refused, opened_store(store_of()):
            pass
        with store_of().opened():
            pass
    with opened_store(store_of()):
        pass


def test_a_file_that_can_not_be_opened_is_held_by_nobody(tmp_path):
    (tmp_path / "state.json").write_text('{"theirs": 1}')
    for _ in range(2):
        with pytest.raises(Exception, match="another program"):
            JSONStateStore(tmp_path / "state.json").save_task_state("a", TaskStatus.COMPLETED)
    assert open_files._files == {}


def test_another_process_reads_while_a_workflow_is_executed(executing, store_of, run):
    store = store_of()
    said = run(
        f"""
        store = {type(store).__name__}("{store.identity}")
        for name in ("first", "second", "third"):
            state = store.load_task_state(name)
            print(state["status"].name, state["result"])
        print(store.list_task_states(), len(store.query_task_history("first")), store.query_task_history("third"))
        try:
            store.save_task_state("first", TaskStatus.COMPLETED, 1)
        except StoreLocked as error:
            print("is held by pid {os.getpid()}" in str(error))
        """
    )
    assert said.splitlines() == [
        "COMPLETED first",
        "RUNNING None",
        "PENDING None",
        "['first', 'second', 'third'] 1 []",
        "True",
    ]


def test_whoever_reads_does_not_stop_a_workflow_from_starting(store_of, run):
    store = store_of()
    store.save_task_state("a", TaskStatus.COMPLETED, 1)
    with store._look() as look:
        assert look.task_named("a") is not None
        assert run(_TRY.format(type(store).__name__, store.identity)) == "saved\n"
    before = store.identity.read_bytes()
    for _ in range(3):
        store.load_task_state("a")
    assert store.identity.read_bytes() == before


def test_a_forked_child_reads_and_the_parent_goes_on(run, store_of):
    store = store_of()
    said = run(
        f"""
        import os
        store = {type(store).__name__}("{store.identity}")
        with store.opened(exclusive=True):
            store.save_task_state("a", TaskStatus.COMPLETED, [1])
            if os.fork() == 0:
                print(store.load_task_state("a")["result"], flush=True)
                try:
                    store.save_task_state("a", TaskStatus.COMPLETED, [2])
                except StoreLocked as error:
                    print("locked", flush=True)
                os._exit(0)
            os.wait()
            store.save_task_state("a", TaskStatus.COMPLETED, [3])
        print(store.load_task_state("a")["result"])
        """
    )
    assert said.splitlines() == ["[1]", "locked", "[3]"]


def test_in_one_process_states_can_be_read_and_saved_beside_a_workflow_but_not_cleared(executing, store_of):
    store = store_of()
    assert store.load_task_state("second")["status"] is TaskStatus.RUNNING
    store.save_task_state("other", TaskStatus.COMPLETED, 5)
    assert store.load_task_state("other")["result"] == 5
    for call in (
        lambda: store.clear_task_state("first"),
        store.clear_all_states,
        lambda: store.save_state(chain("first", "second", "third")),
    ):
        with pytest.raises(WorkflowRunningError, match="chain.*is being executed"):
            call()
    assert store.load_task_state("first")["status"] is TaskStatus.COMPLETED


def test_nothing_is_left_open(store_of):
    def descriptors():
        gc.collect()
        return sorted(os.path.realpath(link) for link in Path("/proc/self/fd").iterdir() if link.exists())

    store = store_of()
    before = descriptors()
    for number in range(3):
        store.save_task_state("a", TaskStatus.COMPLETED, number)
        store.load_task_state("a")
        store.query_task_history("a")
        store.load_state(chain("a"))
    assert descriptors() == before
    assert sorted(file.name for file in store.identity.parent.iterdir()) == sorted(
        [store.identity.name, f"{store.identity.name}.lock"]
    )


# --------------------------------------------------------------------------------------------------------- the states


@pytest.mark.parametrize("value", [0, "", [], {}, False, None])
def test_a_result_that_is_falsy_stays_what_it_is(store_of, value):
    SequentialExecutor(store_of()).execute(chain("a", body=lambda _: value))
    state = store_of().load_task_state("a")
    assert state["result"] == value
    assert type(state["result"]) is type(value)
    again = chain("a")
    store_of().load_state(again)
    assert again.get_task_result("a") == value
    assert again.get_task_status("a") is TaskStatus.COMPLETED


def test_a_workflow_is_told_of_its_own_run_only(store_of):
    for name in ("red", "blue"):
        workflow = Workflow(name)
        workflow.add_task(Task("paint", lambda name=name: name))
        SequentialExecutor(store_of()).execute(workflow)
    for name, result in (("red", "red"), ("blue", "blue"), ("green", None)):
        workflow = Workflow(name)
        workflow.add_task(Task("paint", lambda: 0))
        store_of().load_state(workflow)
        assert workflow.get_task_result("paint") == result


def test_a_result_that_json_can_not_carry_is_refused_by_name_and_changes_nothing(store_of):
    store = store_of()
    store.save_task_state("fetch", TaskStatus.COMPLETED, 1)
    for value in ({1, 2}, object(), float("nan"), {1: "x"}, b"x"):
        with pytest.raises(ArgumentError, match="the result of task 'fetch'"):
            store.save_task_state("fetch", TaskStatus.COMPLETED, value)
    done = chain("a", "b", body=lambda _: {1})
    SequentialExecutor().execute(done)
    with pytest.raises(ArgumentError, match="the result of task 'a'"):
        store.save_state(done)
    assert store.load_task_state("fetch")["result"] == 1
    assert store.list_task_states() == ["fetch"]


def test_the_history_has_every_attempt_of_every_run_newest_first(store_of):
    def body(name, tries=[]):  # noqa: B006 - it counts
        tries.append(name)
        if len(tries) < 4:
            raise ValueError(f"try {len(tries)}")
        return len(tries)

    store = store_of()
    store.save_task_state("fetch", TaskStatus.FAILED, error="by hand", timestamp=THEN)
    for _ in range(2):
        workflow = Workflow("w")
        workflow.add_task(Task("fetch", lambda: body("fetch"), retries=1))
        with suppress(WorkflowExecutionError):
            SequentialExecutor(store).execute(workflow)
    told = [(state["status"].name, state["result"], state["error"]) for state in store.query_task_history("fetch")]
    assert told == [
        ("COMPLETED", 4, None),
        ("FAILED", None, "try 3"),
        ("FAILED", None, "try 2"),
        ("FAILED", None, "try 1"),
        ("FAILED", None, "by hand"),
    ]
    assert store.query_task_history("fetch")[-1]["timestamp"] == THEN
    times = [state["timestamp"] for state in store.query_task_history("fetch")]
    assert times == sorted(times, reverse=True)
    assert len(store.query_task_history("fetch", 2)) == 2
    assert store.query_task_history("fetch", limit=0) == []


def test_a_task_that_was_kept_by_a_changed_workflow_is_no_second_attempt(store_of):
    for names in (("a",), ("a", "b")):
        SequentialExecutor(store_of()).execute(chain(*names))
    assert len(store_of().query_task_history("a")) == 1
    assert store_of().load_task_state("a")["status"] is TaskStatus.COMPLETED


def test_of_saved_states_the_newest_hundred_are_kept(store_of):
    store = store_of()
    with store.opened():
        for number in range(103):
            store.save_task_state("a", TaskStatus.COMPLETED, number)
    assert [state["result"] for state in store.query_task_history("a", 1000)] == list(range(102, 2, -1))
    assert store.load_task_state("a")["result"] == 102


def test_a_cleared_task_runs_again_and_no_other(store_of):
    ran = []
    SequentialExecutor(store_of()).execute(chain("a", "b", "c", body=ran.append))
    store_of().clear_task_state("b")
    assert store_of().load_task_state("b") is None
    assert store_of().list_task_states() == ["a", "c"]
    again = chain("a", "b", "c", body=ran.append)
    SequentialExecutor(store_of()).execute(again)
    assert ran == ["a", "b", "c", "b"]
    assert store_of().load_task_state("b")["status"] is TaskStatus.COMPLETED
    assert again.get_workflow_stats()["completed"] == 3


def test_names_are_listed_run_by_run_and_in_each_as_tasks_were_added(store_of):
    SequentialExecutor(store_of()).execute(chain("extract", "load", "both"))
    store_of().save_task_state("by hand", TaskStatus.COMPLETED, 1)
    other = Workflow("other")
    for name in ("z", "both", "a"):
        other.add_task(Task(name, lambda: 1))
    SequentialExecutor(store_of()).execute(other)
    assert store_of().list_task_states() == ["extract", "load", "by hand", "z", "both", "a"]
    store_of().clear_task_state("z")
    store_of().save_task_state("load", TaskStatus.FAILED, error="again")
    assert store_of().list_task_states() == ["extract", "by hand", "both", "a", "load"]


def test_a_task_of_a_failed_run_can_be_cleared(store_of):
    ran, broken = [], [True]

    def body(name):
        ran.append(name)
        if name == "b" and broken:
            raise ValueError("boom")

    with pytest.raises(WorkflowExecutionError):
        SequentialExecutor(store_of()).execute(chain("a", "b", "c", body=body))
    broken.clear()
    store_of().clear_task_state("a")
    SequentialExecutor(store_of()).execute(chain("a", "b", "c", body=body))
    assert ran == ["a", "b", "a", "b", "c"]


def test_saving_a_workflow_again_and_again_keeps_one_run(store_of):
    store, workflow = store_of(), chain("a", "b", "c")
    for name in ("a", "b", "c"):
        workflow.get_task(name).execute({})
        store.save_state(workflow)
        store.save_state(workflow)
        statuses = [store.load_task_state(each)["status"].name for each in ("a", "b", "c")]
        assert statuses == [task.status.name for task in workflow.tasks.values()]
    with store.opened() as runs:
        assert [(name.workflow, name.generation) for _, name, _ in runs.list_runs()] == [("chain", 1)]
    ran = []
    SequentialExecutor(store).execute(chain("a", "b", "c", body=ran.append))
    assert ran == []


def test_a_half_done_workflow_that_was_saved_by_hand_is_gone_on_with(store_of):
    workflow, ran = chain("a", "b", "c"), []
    workflow.get_task("a").execute({})
    workflow.get_task("b").status = TaskStatus.RUNNING
    store_of().save_state(workflow)
    SequentialExecutor(store_of()).execute(chain("a", "b", "c", body=ran.append))
    assert ran == ["b", "c"]


def test_what_an_execution_has_done_counts_more_than_what_was_saved_before(store_of):
    store, ran = store_of(), []
    store.save_task_state("b", TaskStatus.COMPLETED, "by hand")
    SequentialExecutor(store).execute(chain("a", "b", body=ran.append))
    assert ran == ["a"]
    SequentialExecutor(store).execute(chain("a", "b", body=ran.append), fresh=True)
    assert ran == ["a", "a", "b"]
    other = Workflow("other")
    other.add_task(Task("b", lambda: ran.append("other b")))
    SequentialExecutor(store).execute(other)
    assert ran == ["a", "a", "b", "other b"]


# --------------------------------------------------------------------------------------- stores of a program's own


class Noting(BaseStateStore):
    def __init__(self):
        self.states, self.calls = {}, []

    def save_task_state(self, task_name, status, result=None, error=None, timestamp=None):
        self.calls.append(task_name)
        self.states[task_name] = (status, result, error, timestamp)

    def load_task_state(self, task_name):
        return None

    def clear_task_state(self, task_name):
        self.states.pop(task_name, None)

    def clear_all_states(self):
        self.states.clear()

    def list_task_states(self):
        return list(self.states)

    def load_state(self, workflow):
        self.calls.append("load")

    def save_state(self, workflow):
        self.calls.append("save")


def test_a_task_is_saved_before_what_depends_on_it_starts(executor_of):
    store = Noting()

    def body(name):
        store.calls.append(f"run {name}")
        return {name}

    executor_of(state_store=store).execute(chain("a", "b", body=body))
    assert store.calls == ["load", "run a", "a", "run b", "b", "save"]
    status, result, error, timestamp = store.states["a"]
    assert (status, result, error) == (TaskStatus.COMPLETED, {"a"}, None)
    assert isinstance(timestamp, datetime)
    assert timestamp.tzinfo is None


def test_a_failure_is_saved_with_its_text(executor_of):
    store = Noting()
    with pytest.raises(WorkflowExecutionError):
        executor_of(state_store=store).execute(chain("a", body=lambda _: 1 / 0))
    assert store.states["a"][:3] == (TaskStatus.FAILED, None, "division by zero")


def test_a_store_of_its_own_that_can_not_save_stops_the_execution_and_says_why(executor_of):
    class Full(Noting):
        def save_task_state(self, task_name, status, result=None, error=None, timestamp=None):
            raise OSError("no room left")

    ran = []
    with pytest.raises(Exception, match="could not save task 'a': OSError: no room left"):
        executor_of(state_store=Full()).execute(chain("a", "b", body=ran.append))
    assert ran == ["a"]


def test_only_what_0_2_2_had_must_be_overridden():
    assert BaseStateStore.__abstractmethods__ == {
        "save_task_state",
        "load_task_state",
        "clear_task_state",
        "clear_all_states",
        "list_task_states",
        "load_state",
        "save_state",
    }
    assert StateBackend.__abstractmethods__ == {"save_task_state", "load_task_state", "clear"}


def test_the_backend_in_memory_hands_on_and_restores_the_very_objects(executor_of):
    backend, thing, ran = InMemoryStateBackend(), object(), []
    executor_of(state_store=backend).execute(chain("a", body=lambda _: thing))
    again = chain("a", "b", body=ran.append)
    executor_of(state_store=backend).execute(again)
    assert ran == ["b"]
    assert again.get_task_result("a") is thing
    assert backend.load_task_state("a")["result"] is thing
    backend.clear()
    assert backend.load_task_state("a") is None


@pytest.mark.parametrize("kind", [JSONStateStore, SQLiteStateStore])
def test_a_store_is_as_good_as_its_path(kind, tmp_path):
    store = kind(tmp_path / "deep" / "state")
    store.save_task_state("a", TaskStatus.COMPLETED, 1)
    assert pickle.loads(pickle.dumps(store)).load_task_state("a")["result"] == 1
