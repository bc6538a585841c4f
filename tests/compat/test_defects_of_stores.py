"""What 0.2.2 got wrong when it kept something. Each test fails there, in the way that its mark says."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
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
    Workflow,
    export_mermaid,
    view_mermaid,
)

defect = pytest.mark.defect


@defect(AssertionError, says="came back")
@pytest.mark.parametrize("value", [0, "", [], {}, False, 0.0], ids=repr)
def test_what_is_false_comes_back_from_a_database_as_it_was(tmp_path, value):
    def build():
        workflow = Workflow("false")
        workflow.add_task(Task("value", lambda: value))
        return workflow

    SequentialExecutor(storage=SQLiteStateStore(str(tmp_path / "state.db"))).execute(build())
    restored = build()
    SequentialExecutor(storage=SQLiteStateStore(str(tmp_path / "state.db"))).execute(restored)

    result = restored.get_task_result("value")
    assert (type(result), result) == (type(value), value), "it came back as something else"


@defect(AssertionError, says="for the other one")
def test_two_workflows_in_one_file_do_not_answer_for_each_other(executor_class, open_store):
    results = {}
    for name in ("sales", "stock"):
        workflow = Workflow(name)
        workflow.add_task(Task("extract", lambda name=name: f"{name} rows"))
        executor_class(storage=open_store()).execute(workflow)
        results[name] = workflow.get_task_result("extract")

    assert results == {"sales": "sales rows", "stock": "stock rows"}, "one answered for the other one"


@defect(RuntimeError, says="second")
def test_the_asynchronous_executor_resumes(open_store, outcome):
    broken, ran = [True], []

    def build():
        workflow = Workflow("resumed")
        workflow.add_task(Task("first", lambda: ran.append("first") or 1))
        workflow.add_task(Task("second", lambda first: 1 / 0 if broken else first + 1), depends_on=["first"])
        return workflow

    outcome(AsyncExecutor(storage=open_store()), build())
    broken.clear()
    workflow = build()
    AsyncExecutor(storage=open_store()).execute(workflow)

    assert ran == ["first"]
    assert workflow.get_task_result("second") == 2


@defect(AssertionError, says="ran again")
def test_what_completed_is_kept_when_a_sibling_fails(executor_class, open_store, outcome):
    broken, ran, done = [True], [], threading.Event()

    def good():
        ran.append("a good one")
        done.set()
        return "good"

    def bad():
        done.wait(20)
        return 1 / 0 if broken else "mended"

    def build():
        workflow = Workflow("siblings")
        workflow.add_task(Task("a good one", good))
        workflow.add_task(Task("bad", bad))
        return workflow

    assert isinstance(outcome(executor_class(storage=open_store()), build()), RuntimeError)
    broken.clear()
    workflow = build()
    executor_class(storage=open_store()).execute(workflow)

    assert ran == ["a good one"], "it ran again"
    assert [one.result for one in workflow.get_all_tasks().values()] == ["good", "mended"]


@defect(AssertionError, says="no record")
def test_an_attempt_that_runs_is_on_record(executor_class, open_store):
    store, seen = open_store(), {}

    def look():
        seen.update(store.load_task_state("second") or {})

    workflow = Workflow("recorded")
    workflow.add_task(Task("first", lambda: 1))
    workflow.add_task(Task("second", look), depends_on=["first"])
    executor_class(storage=store).execute(workflow)

    assert seen.get("status") is TaskStatus.RUNNING, "there was no record of it"


KILLED = """
    import os, signal, sys
    from flowweaver import JSONStateStore, SequentialExecutor, SQLiteStateStore, Task, Workflow

    def run(name, last):
        with open("ran", "a") as file:
            file.write(name + "\\n")
        if last and not os.path.exists("killed"):
            open("killed", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return name

    workflow = Workflow("killed")
    for name in "abc":
        workflow.add_task(Task(name, lambda name=name: run(name, name == "c")))
    SequentialExecutor(storage={store}).execute(workflow)
    print(*[task.result for task in workflow.get_all_tasks().values()])
"""


@defect(AssertionError, says="again")
@pytest.mark.parametrize("store", ['JSONStateStore("state.json")', 'SQLiteStateStore("state.db")'])
def test_what_completed_before_the_process_was_killed_is_not_run_again(tmp_path, store):
    program = textwrap.dedent(KILLED.format(store=store))
    command = [sys.executable, "-c", program]
    options = {"cwd": tmp_path, "timeout": 60}

    assert subprocess.run(command, check=False, **options).returncode == -9
    second = subprocess.run(command, check=False, **options, capture_output=True, text=True)

    assert (second.returncode, second.stdout) == (0, "a b c\n"), second.stderr
    assert (tmp_path / "ran").read_text().split() == ["a", "b", "c", "c"], "it ran again"


@defect(AssertionError, says="without a word")
def test_a_result_that_can_not_be_stored_is_no_string_without_a_word(tmp_path, outcome):
    def build():
        workflow = Workflow("typed")
        workflow.add_task(Task("ids", lambda: {1, 2}))
        return workflow

    failure = outcome(SequentialExecutor(storage=JSONStateStore(str(tmp_path / "state.json"))), build())
    restored = build()
    if failure is None:
        SequentialExecutor(storage=JSONStateStore(str(tmp_path / "state.json"))).execute(restored)

    told = restored.get_task_result("ids") == {1, 2} if failure is None else "ids" in str(failure)
    assert told, "it is a string without a word"


@defect(AttributeError, says="load_state")
def test_a_backend_can_be_the_store_of_an_executor(executor_class):
    ran, backend = [], InMemoryStateBackend()
    for _ in range(2):
        workflow = Workflow("backed")
        workflow.add_task(Task("a", lambda: ran.append("a") or {1}))
        executor_class(storage=backend).execute(workflow)
        assert workflow.get_task_result("a") == {1}

    assert ran == ["a"]
    state = backend.load_task_state("a")
    assert (state["status"], state["result"], state["error"]) == (TaskStatus.COMPLETED, {1}, None)


@defect(AssertionError, says="only the last")
def test_the_history_of_a_task_is_more_than_its_last_state(tmp_path):
    store = SQLiteStateStore(str(tmp_path / "state.db"))
    store.save_task_state("fetch", TaskStatus.FAILED, error="the first time")
    store.save_task_state("fetch", TaskStatus.FAILED, error="the second time")
    store.save_task_state("fetch", TaskStatus.COMPLETED, result=7)

    told = [(state["status"].name, state["result"], state["error"]) for state in store.query_task_history("fetch")]

    assert told == [
        ("COMPLETED", 7, None),
        ("FAILED", None, "the second time"),
        ("FAILED", None, "the first time"),
    ], "only the last is there"
    assert len(store.query_task_history("fetch", limit=2)) == 2


@defect(AssertionError, says="only the last")
def test_the_history_tells_of_every_execution(tmp_path, outcome):
    store, broken = SQLiteStateStore(str(tmp_path / "state.db")), [True]

    def build():
        workflow = Workflow("again")
        workflow.add_task(Task("fetch", lambda: 1 / 0 if broken else 7))
        return workflow

    for _ in range(2):
        outcome(SequentialExecutor(storage=store), build())
        broken.clear()

    told = {state["status"].name for state in store.query_task_history("fetch")}

    assert {"FAILED", "COMPLETED"} <= told, "only the last is there"


def written() -> int:
    """The bytes that this process has written so far."""
    return int(Path("/proc/self/io").read_text().split("wchar:")[1].split()[0])


@defect(AssertionError, says="quadratic")
@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts what a process writes")
def test_keeping_a_task_costs_the_same_however_many_there_are(open_store, tmp_path):
    def bytes_of(number):
        store = open_store(f"of {number}")
        workflow = Workflow("long")
        for index in range(number):
            workflow.add_task(Task(f"t{index}", lambda: "x" * 10_000), depends_on=[f"t{index - 1}"] if index else [])
        before = written()
        SequentialExecutor(storage=store).execute(workflow)
        return written() - before

    few, many = bytes_of(10), bytes_of(60)

    assert many < 12 * few, "six times as many are more than twelve times the work: that is quadratic"


@defect(AssertionError, says="one node")
def test_two_tasks_of_similar_names_are_two_nodes():
    workflow = Workflow("similar")
    for name in ("a-b", "a_b", "a b"):
        workflow.add_task(Task(name, lambda: 1))

    nodes = {line.strip().partition("[")[0] for line in export_mermaid(workflow).splitlines() if "[" in line}

    assert len(nodes) == 3, "they are one node"


@defect(AssertionError, says="a script")
def test_a_name_in_a_diagram_is_text_and_nothing_else(monkeypatch, tmp_path):
    monkeypatch.setattr("webbrowser.open", lambda url, *others: True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    workflow = Workflow("<script>alert(1)</script>")
    workflow.add_task(Task("<script>alert(2)</script>", lambda: 1))

    page = view_mermaid(workflow).read_text()

    assert "<script>alert" not in page, "a name is a script"
