"""Executors, stores and backends of a program's own."""

from __future__ import annotations

import threading

import pytest

from flowweaver import (
    BaseExecutor,
    BaseStateStore,
    SequentialExecutor,
    StateBackend,
    Task,
    TaskStatus,
    ThreadedExecutor,
    Workflow,
)


class Plain(BaseExecutor):
    """Goes through the plan by itself, with nothing but public names."""

    def execute(self, workflow):
        if self.storage:
            self.storage.load_state(workflow)
        for layer in workflow.get_execution_plan():
            for one in layer:
                if one.status is TaskStatus.COMPLETED:
                    continue
                found = {name: workflow.get_task_result(name) for name in workflow.get_task_dependencies(one.name)}
                one.execute(found)
                if one.status is TaskStatus.FAILED:
                    raise RuntimeError(f"{one.name} failed: {one.error}")
            if self.storage:
                self.storage.save_state(workflow)


class Loud(SequentialExecutor):
    """Notes what it is asked to execute."""

    def __init__(self, storage=None):
        super().__init__(storage)
        self.heard = []

    def execute(self, workflow):
        self.heard.append(workflow.name)
        super().execute(workflow)


class Dictionary(BaseStateStore):
    """Keeps states in a dictionary, task by task."""

    def __init__(self):
        self.states = {}
        self.lock = threading.Lock()

    def save_task_state(self, task_name, status, result=None, error=None, timestamp=None):
        with self.lock:
            self.states[task_name] = {"status": status, "result": result, "error": error, "timestamp": timestamp}

    def load_task_state(self, task_name):
        return self.states.get(task_name)

    def clear_task_state(self, task_name):
        self.states.pop(task_name, None)

    def clear_all_states(self):
        self.states.clear()

    def list_task_states(self):
        return list(self.states)

    def load_state(self, workflow):
        for name, one in workflow.get_all_tasks().items():
            if state := self.load_task_state(name):
                one.status, one.result, one.error = state["status"], state["result"], state["error"]

    def save_state(self, workflow):
        for name, one in workflow.get_all_tasks().items():
            self.save_task_state(name, one.status, one.result, one.error, one.completed_at)


class Wholesale(Dictionary):
    """Only ever writes whole workflows, which was all that an executor asked for."""

    def save_task_state(self, task_name, status, result=None, error=None, timestamp=None):
        raise NotImplementedError

    def load_task_state(self, task_name):
        raise NotImplementedError

    def load_state(self, workflow):
        for name, one in workflow.get_all_tasks().items():
            if name in self.states:
                one.status, one.result, one.error = self.states[name]

    def save_state(self, workflow):
        self.states = {
            name: (one.status, one.result, one.error)
            for name, one in workflow.get_all_tasks().items()
            if one.status is TaskStatus.COMPLETED
        }


class Duck:
    """No subclass of anything."""

    load_state = Wholesale.load_state
    save_state = Wholesale.save_state

    def __init__(self):
        self.states = {}


def chain(ran, *, broken=False):
    def body(name, result):
        def call():
            ran.append(name)
            if broken and name == "c":
                raise ValueError("boom")
            return result

        return call

    workflow = Workflow("chain")
    workflow.add_task(Task("a", body("a", 1)))
    workflow.add_task(Task("b", body("b", {2, 3})), depends_on=["a"])  # a set: no store of a program's own needs JSON
    workflow.add_task(Task("c", body("c", 3)), depends_on=["b"])
    workflow.add_task(Task("d", lambda b, c: (b, c)), depends_on=["b", "c"])
    return workflow


def test_an_executor_of_a_program_s_own_goes_through_the_plan():
    ran = []
    workflow = chain(ran)

    Plain().execute(workflow)

    assert ran == ["a", "b", "c"]
    assert workflow.get_task_result("d") == ({2, 3}, 3)


def test_an_executor_of_a_program_s_own_uses_a_store():
    ran, store = [], Dictionary()
    with pytest.raises(RuntimeError, match="c failed: boom"):
        Plain(store).execute(chain(ran, broken=True))

    Plain(storage=store).execute(chain(ran))

    assert ran == ["a", "b", "c", "c"]


def test_an_executor_of_a_program_s_own_may_use_the_stores_that_come_with_it(open_store):
    runs = []
    for _ in range(2):
        workflow = Workflow("plain")
        workflow.add_task(Task("a", lambda: runs.append("a") or 5))
        workflow.add_task(Task("b", lambda a: runs.append("b") or a + 1), depends_on=["a"])
        Plain(storage=open_store()).execute(workflow)
        assert workflow.get_task_result("b") == 6

    assert runs == ["a", "b"]


def test_an_executor_can_be_built_on_one_of_ours():
    ran, executor = [], Loud(Dictionary())
    workflow = chain(ran)

    executor.execute(workflow)

    assert executor.heard == ["chain"]
    assert workflow.get_workflow_stats()["completed"] == 4


@pytest.mark.parametrize("store_class", [Dictionary, Wholesale, Duck])
@pytest.mark.parametrize("executor_class", [SequentialExecutor, ThreadedExecutor])  # 0.2.2's third one could not resume
def test_a_store_of_a_program_s_own_restores_what_completed(executor_class, store_class, outcome):
    ran, store = [], store_class()
    failure = outcome(executor_class(storage=store), chain(ran, broken=True))
    assert isinstance(failure, RuntimeError)
    assert "c" in str(failure)

    workflow = chain(ran)
    executor_class(storage=store).execute(workflow)

    assert ran == ["a", "b", "c", "c"]
    assert workflow.get_task_result("d") == ({2, 3}, 3)


@pytest.mark.parametrize("store_class", [Dictionary, Wholesale, Duck])
def test_a_store_of_a_program_s_own_knows_a_completed_run(executor_class, store_class):
    ran, store = [], store_class()
    executor_class(storage=store).execute(chain(ran))

    again = chain(ran)
    executor_class(storage=store).execute(again)

    assert ran == ["a", "b", "c"]
    assert again.get_task_result("d") == ({2, 3}, 3)
    assert set(store.states) == {"a", "b", "c", "d"}


def test_a_store_that_fails_to_load_stops_the_execution_before_anything_runs(executor_class):
    class Broken(Dictionary):
        def load_state(self, workflow):
            raise OSError("the store is not reachable")

    ran = []
    with pytest.raises(OSError, match="not reachable"):
        executor_class(storage=Broken()).execute(chain(ran))

    assert ran == []


def test_a_backend_of_a_program_s_own_is_three_methods():
    class Listed(StateBackend):
        def __init__(self):
            self.saved = []

        def save_task_state(self, task_name, status, result=None, error=None, timestamp=None):
            self.saved.append((task_name, status))

        def load_task_state(self, task_name):
            return None

        def clear(self):
            self.saved.clear()

    backend = Listed()
    backend.save_task_state("a", TaskStatus.RUNNING)

    assert backend.saved == [("a", TaskStatus.RUNNING)]
