"""A workflow's graph: what may be added, and what it says of itself."""

from __future__ import annotations

import copy
import pickle
import time

import pytest

from flowweaver import GraphError, SequentialExecutor, Task, TaskStatus, Workflow, WorkflowStatus, task


def nothing() -> None:
    """Does nothing."""


@task
def extract():
    return [1]


@task(name="load", depends_on=["extract"])
def load_it(extract):
    return len(extract)


def diamond() -> Workflow:
    workflow = Workflow("diamond")
    for name, depends_on in (("a", []), ("c", ["a"]), ("b", ["a"]), ("d", ["b", "c"])):
        workflow.add_task(Task(name, nothing), depends_on)
    return workflow


def test_a_name_that_is_taken_is_refused():
    workflow = diamond()
    with pytest.raises(GraphError, match="'a' already exists"):
        workflow.add_task(Task("a", nothing))


def test_a_dependency_must_be_there_before():
    workflow = Workflow("w")
    with pytest.raises(ValueError, match="'b' of task 'a' does not exist: add 'b' before 'a'"):
        workflow.add_task(Task("a", nothing), ["b"])
    with pytest.raises(ValueError, match="depends on itself"):
        workflow.add_task(Task("a", nothing), ["a"])
    assert len(workflow) == 0


@pytest.mark.parametrize("wrong", [nothing, "a", None, 7])
def test_only_tasks_and_marked_functions_can_be_added(wrong):
    with pytest.raises(TypeError, match="@task"):
        Workflow("w").add_task(wrong)


@pytest.mark.parametrize("wrong", ["extract", [nothing], [None]])
def test_dependencies_are_a_list_of_names_tasks_or_marked_functions(wrong):
    workflow = Workflow("w")
    workflow.add_task(extract)
    with pytest.raises(ValueError, match="depends_on"):
        workflow.add_task(Task("b", nothing), wrong)


def test_dependencies_can_be_said_in_four_ways():
    workflow = Workflow("w")
    first = workflow.add_task(extract)
    workflow.add_task(load_it)
    workflow.add_task(Task("by-task", nothing), [first])
    workflow.add_task(Task("by-function", nothing), [extract, load_it, extract])
    workflow.add_task(Task("by-own", nothing, depends_on=["by-task"]))
    found = {name: workflow.get_dependencies(name) for name in workflow.tasks}
    assert found == {
        "extract": [],
        "load": ["extract"],
        "by-task": ["extract"],
        "by-function": ["extract", "load"],
        "by-own": ["by-task"],
    }


def test_what_add_task_is_told_replaces_what_the_task_says():
    workflow = Workflow("w")
    workflow.add_task(extract)
    workflow.add_task(load_it, depends_on=[])
    assert workflow.get_task_dependencies("load") == []


def test_the_plan_has_layers_by_name():
    names = [[task.name for task in layer] for layer in diamond().get_execution_plan()]
    assert names == [["a"], ["b", "c"], ["d"]]
    assert Workflow("empty").get_execution_plan() == []


def test_what_is_not_there_is_told_softly_or_with_a_key_error():
    workflow = diamond()
    assert workflow.get_task("x") is None
    assert workflow.get_task_status("x") is None
    assert workflow.get_dependencies("x") == []
    with pytest.raises(KeyError):
        workflow.get_task_result("x")
    assert "a" in workflow
    assert "x" not in workflow


def test_the_maps_that_it_gives_are_copies():
    workflow = diamond()
    workflow.tasks.clear()
    workflow.get_all_tasks().clear()
    workflow.get_dependencies("d").clear()
    assert list(workflow.tasks) == ["a", "c", "b", "d"]
    assert workflow.get_dependencies("d") == ["b", "c"]


@pytest.mark.parametrize(
    "settings",
    [{"name": ""}, {"timeout": 0}, {"parallelism": 0}, {"failure_policy": "give_up"}, {"name": None}],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Workflow(**{"name": "w", **settings})


def test_statistics_count_every_task_once():
    workflow = diamond()
    workflow.get_task("b").fn = lambda: 1 / 0
    with pytest.raises(RuntimeError):
        SequentialExecutor().execute(workflow)
    statistics = workflow.statistics
    assert workflow.status is WorkflowStatus.FAILED
    assert statistics.total == 4
    assert statistics.failed == 1
    assert statistics.completed + statistics.pending == 3
    assert workflow.get_workflow_stats()["total_tasks"] == 4
    assert workflow.get_workflow_stats()["total_time_seconds"] == statistics.seconds > 0


def test_a_new_workflow_is_pending_and_one_of_finished_tasks_completed():
    workflow = diamond()
    assert workflow.status is WorkflowStatus.PENDING
    for each in workflow.tasks.values():
        each.status = TaskStatus.COMPLETED
    assert workflow.status is WorkflowStatus.COMPLETED
    assert bool(Workflow("empty")) is True


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_can_be_executed_by_itself(duplicate):
    workflow = diamond()
    SequentialExecutor().execute(workflow)
    twin = duplicate(workflow)
    assert twin.status is WorkflowStatus.COMPLETED
    twin.reset()
    SequentialExecutor().execute(twin)
    assert workflow.status is twin.status is WorkflowStatus.COMPLETED


def test_adding_costs_the_same_for_the_last_task_as_for_the_first():
    def seconds(number: int) -> float:
        workflow = Workflow("chain")
        began = time.process_time()
        for each in range(number):
            workflow.add_task(Task(f"t{each}", nothing), [f"t{each - 1}"] if each else [])
        return time.process_time() - began

    # Twenty times the tasks: twenty times the cost, with a square it would be four hundred times.
    assert min(seconds(20_000) for _ in range(3)) < 100 * min(seconds(1_000) for _ in range(3))
