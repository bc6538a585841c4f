"""Which run an execution goes on with, as the documentation promises it."""

from __future__ import annotations

import logging
import threading

import pytest

from flowweaver import PlanChanged, Task, TaskStatus, ThreadedExecutor, Workflow, WorkflowRunningError, WorkflowStatus


class Program:
    """A program that is started several times: each time it builds its workflow anew."""

    def __init__(self, executor_of, store_of) -> None:
        self.ran: list[str] = []
        self.broken: set[str] = set()
        self._executor_of = executor_of
        self._store_of = store_of

    def build(self, *tasks: tuple, name: str = "w") -> Workflow:
        """A workflow of (name, dependencies, version)."""
        workflow = Workflow(name)
        for task, depends_on, version in tasks or CHAIN:
            workflow.add_task(Task(task, self._body(task), version=version), depends_on)
        return workflow

    def _body(self, task: str):
        def body(**results):
            self.ran.append(task)
            if task in self.broken:
                raise ValueError(f"{task} is broken")
            return {"task": task, "from": sorted(results), "run": len(self.ran)}

        return body

    def execute(self, *tasks: tuple, name: str = "w", **options) -> Workflow:
        """One start of the program; gives the workflow, whatever became of it. `ran` tells of this start alone."""
        self.ran.clear()
        workflow = self.build(*tasks, name=name)
        try:
            self._executor_of(state_store=self._store_of()).execute(workflow, **options)
        except RuntimeError:
            assert self.broken
        return workflow


CHAIN = (("a", [], ""), ("b", ["a"], ""), ("c", ["b"], ""))


@pytest.fixture
def program(executor_of, store_of) -> Program:
    return Program(executor_of, store_of)


def test_a_completed_run_is_restored_and_nothing_runs(program, caplog):
    first = program.execute()
    with caplog.at_level(logging.INFO, "flowweaver"):
        second = program.execute()
    assert program.ran == []
    assert second.status is WorkflowStatus.COMPLETED
    assert second.results == first.results
    assert [record.message for record in caplog.records if "already completed" in record.message] == [
        "workflow 'w' has already completed: nothing runs, its results are restored"
    ]


def test_a_failed_run_goes_on_and_what_has_completed_does_not_run_again(program):
    program.broken = {"b"}
    failed = program.execute()
    assert program.ran == ["a", "b"]
    assert failed.get_task_status("c") is TaskStatus.PENDING
    program.broken = set()
    assert program.execute().status is WorkflowStatus.COMPLETED
    assert program.ran == ["b", "c"]


def test_fresh_begins_a_new_run(program):
    program.execute()
    program.execute(fresh=True)
    assert program.ran == ["a", "b", "c"]
    program.execute()
    assert program.ran == []


def test_a_run_id_is_a_run_of_its_own(program):
    program.execute(run_id="monday")
    program.execute(run_id="tuesday")
    assert program.ran == ["a", "b", "c"]
    program.execute(run_id="monday")
    assert program.ran == []


def test_two_workflows_in_one_file_do_not_answer_for_each_other(program):
    program.execute(name="one")
    other = program.execute(name="other")
    assert program.ran == ["a", "b", "c"]
    assert other.get_task_result("a")["run"] == 1


def test_a_task_with_another_version_runs_again_and_all_below_it(program, caplog):
    program.broken = {"c"}
    program.execute()
    program.broken = set()
    with caplog.at_level(logging.WARNING, "flowweaver"):
        program.execute(("a", [], ""), ("b", ["a"], "2"), ("c", ["b"], ""))
    assert program.ran == ["b", "c"]
    told = [record.message for record in caplog.records if "has changed" in record.message]
    assert told == ["workflow 'w' has changed since its run began: 1 kept (a); 2 to run (b, c); 0 removed"]


def test_other_dependencies_run_a_task_again(program):
    program.broken = {"c"}
    program.execute()
    program.broken = set()
    program.execute(("a", [], ""), ("x", [], ""), ("b", ["a", "x"], ""), ("c", ["b"], ""))
    assert sorted(program.ran) == ["b", "c", "x"]


def test_a_removed_task_goes_and_the_others_stay(program):
    program.broken = {"c"}
    program.execute(("a", [], ""), ("lonely", [], ""), ("b", ["a"], ""), ("c", ["b"], ""))
    program.broken = set()
    done = program.execute()
    assert program.ran == ["c"]
    assert sorted(done.results) == ["a", "b", "c"]


def test_a_completed_run_with_a_new_task_runs_that_alone(program):
    program.execute()
    done = program.execute(*CHAIN, ("d", ["c"], ""))
    assert program.ran == ["d"]
    assert done.get_task_result("d")["from"] == ["c"]


def test_a_change_can_be_refused(program):
    program.broken = {"c"}
    program.execute()
    program.broken = set()
    changed = (("a", [], ""), ("b", ["a"], "2"), ("c", ["b"], ""))
    with pytest.raises(PlanChanged, match="b"):
        program.execute(*changed, on_change="error")
    assert program.ran == []
    program.execute()
    assert program.ran == ["c"]


def test_a_change_can_begin_a_new_run(program):
    program.broken = {"c"}
    program.execute()
    program.broken = set()
    program.execute(("a", [], ""), ("b", ["a"], "2"), ("c", ["b"], ""), on_change="fresh")
    assert program.ran == ["a", "b", "c"]


@pytest.mark.parametrize("options", [{"on_change": "shrug"}, {"run_id": ""}, {"run_id": 7}])
def test_options_that_make_no_sense_are_refused(program, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        program.execute(**options)


def test_a_run_that_is_being_executed_is_refused_from_another_object(store_of):
    executor = ThreadedExecutor(state_store=store_of())
    begun, gate = threading.Event(), threading.Event()

    def body():
        begun.set()
        gate.wait(20)

    slow, twin = Workflow("w"), Workflow("w")
    slow.add_task(Task("a", body))
    twin.add_task(Task("a", body))
    thread = threading.Thread(target=executor.execute, args=(slow,))
    thread.start()
    assert begun.wait(20)
    with pytest.raises(WorkflowRunningError, match="w"):
        executor.execute(twin)
    gate.set()
    thread.join(20)
    assert executor.execute(twin).status is WorkflowStatus.COMPLETED


def test_a_result_read_after_a_resume_is_what_the_first_execution_saw(program):
    program.broken = {"c"}
    failed = program.execute()
    program.broken = set()
    done = program.execute()
    assert done.get_task_result("a") == failed.get_task_result("a") == {"task": "a", "from": [], "run": 1}


def test_what_an_object_says_is_done_counts_where_the_run_is_new(program, store_of):
    workflow = program.build()
    first = workflow.get_task("a")
    first.status, first.result = TaskStatus.COMPLETED, {"by": "hand"}
    ThreadedExecutor(state_store=store_of()).execute(workflow)
    assert program.ran == ["b", "c"]
    assert program.execute().get_task_result("a") == {"by": "hand"}
