"""Building a workflow and asking it."""

from __future__ import annotations

import asyncio

import pytest

from flowweaver import SequentialExecutor, Task, TaskStatus, Workflow, task

KEYS = ("total_tasks", "completed", "failed", "pending", "running", "total_time_seconds")


def layers(workflow):
    return [[one.name for one in layer] for layer in workflow.get_execution_plan()]


def of_tasks(**dependencies):
    """A workflow of tasks that return their own names; `of_tasks(a=[], b=["a"])`."""
    workflow = Workflow("built")
    for name, depends_on in dependencies.items():
        workflow.add_task(Task(name, lambda name=name: name), depends_on=depends_on)
    return workflow


def test_a_workflow_without_a_name_has_one():
    assert Workflow().name == "Workflow"
    assert Workflow("nightly").name == "nightly"


def test_what_was_added_can_be_asked_for():
    workflow = Workflow("asked")
    first = Task("first", lambda: 1)
    workflow.add_task(first)
    workflow.add_task(Task("second", lambda: 2), depends_on=["first"])

    assert workflow.get_task("first") is first
    assert workflow.get_dependencies("second") == ["first"]
    assert workflow.get_task_dependencies("second") == ["first"]
    assert workflow.get_dependencies("first") == []
    assert list(workflow.get_all_tasks()) == ["first", "second"]
    assert workflow.get_task_status("first") is TaskStatus.PENDING
    assert workflow.get_task_result("first") is None


def test_what_was_never_added_is_none_and_its_result_an_error():
    workflow = Workflow()

    assert workflow.get_task("nobody") is None
    assert workflow.get_task_status("nobody") is None
    assert workflow.get_dependencies("nobody") == []
    with pytest.raises(KeyError):
        workflow.get_task_result("nobody")


def test_the_tasks_come_as_a_copy():
    workflow = of_tasks(a=[])

    workflow.get_all_tasks().clear()

    assert list(workflow.get_all_tasks()) == ["a"]


def test_a_list_of_dependencies_may_change_after_it_was_given():
    workflow = of_tasks(a=[], b=[])
    wanted = ["a"]

    workflow.add_task(Task("c", lambda: None), wanted)
    wanted.append("b")

    assert workflow.get_dependencies("c") == ["a"]


@pytest.mark.parametrize("depends_on", [None, []])
def test_no_dependencies_can_be_said_in_two_ways(depends_on):
    workflow = Workflow()

    workflow.add_task(Task("alone", lambda: 1), depends_on=depends_on)

    assert workflow.get_dependencies("alone") == []


def test_a_decorated_function_is_added_with_what_the_decorator_says():
    seen = []

    @task(name="fetch", retries=2, timeout=5.0, on_status_change=lambda name, status: seen.append(status))
    def fetch_page():
        return "page"

    @task
    def count(fetch):
        return len(fetch)

    workflow = Workflow("decorated")
    workflow.add_task(fetch_page)
    workflow.add_task(count, depends_on=["fetch"])
    SequentialExecutor().execute(workflow)

    added = workflow.get_task("fetch")
    assert isinstance(added, Task)
    assert (added.retries, added.timeout) == (2, 5.0)
    assert workflow.get_task_result("count") == 4
    assert seen == [TaskStatus.RUNNING, TaskStatus.COMPLETED]


@pytest.mark.parametrize("other", [lambda: 1, "name", None, 3])
def test_anything_else_is_a_type_error(other):
    with pytest.raises(TypeError, match="Task"):
        Workflow().add_task(other)


@pytest.mark.parametrize(
    ("name", "depends_on", "says"),
    [("a", [], "a"), ("c", ["nobody"], "nobody"), ("c", ["c"], "c"), ("c", ["a", "nobody"], "nobody")],
    ids=["a name twice", "an unknown dependency", "itself", "a known and an unknown dependency"],
)
def test_what_makes_no_graph_is_a_value_error_that_leaves_the_workflow_as_it_was(name, depends_on, says):
    workflow = of_tasks(a=[], b=["a"])

    with pytest.raises(ValueError, match=says):
        workflow.add_task(Task(name, lambda: None), depends_on=depends_on)

    assert list(workflow.get_all_tasks()) == ["a", "b"]
    assert layers(workflow) == [["a"], ["b"]]
    workflow.add_task(Task("c", lambda: None), depends_on=["b"])
    assert layers(workflow) == [["a"], ["b"], ["c"]]


def test_the_plan_is_in_layers_sorted_by_name():
    workflow = of_tasks(z=[], a=[], m=["z"], b=["a", "z"], last=["m", "b"], lone=[])

    assert layers(workflow) == [["a", "lone", "z"], ["b", "m"], ["last"]]
    assert workflow.get_execution_plan()[0][0] is workflow.get_task("a")


def test_a_task_is_in_the_layer_after_its_latest_dependency():
    workflow = of_tasks(a=[], b=["a"], c=["b"], d=["a", "c"], e=["a"])

    assert layers(workflow) == [["a"], ["b", "e"], ["c"], ["d"]]


def test_an_empty_workflow_has_an_empty_plan_and_can_be_executed(executor_class):
    workflow = Workflow("empty")

    assert workflow.get_execution_plan() == []
    executor_class().execute(workflow)
    assert workflow.get_workflow_stats()["total_tasks"] == 0


def test_a_new_workflow_counts_nothing_but_what_waits():
    stats = of_tasks(a=[], b=["a"]).get_workflow_stats()

    assert {key: stats[key] for key in KEYS} == dict(zip(KEYS, (2, 0, 0, 2, 0, 0.0), strict=True))


def test_the_counts_follow_the_statuses_of_the_tasks():
    workflow = of_tasks(a=[], b=[], c=[], d=[])
    for name, status in [("a", "COMPLETED"), ("b", "FAILED"), ("c", "RUNNING")]:
        workflow.get_task(name).status = TaskStatus[status]

    stats = workflow.get_workflow_stats()

    assert [stats[key] for key in ("total_tasks", "completed", "failed", "running", "pending")] == [4, 1, 1, 1, 1]


def test_an_execution_shows_in_the_statistics(executor_class):
    workflow = of_tasks(a=[], b=["a"])

    executor_class().execute(workflow)

    stats = workflow.get_workflow_stats()
    assert stats.keys() >= set(KEYS)
    assert (stats["total_tasks"], stats["completed"], stats["pending"]) == (2, 2, 0)
    assert 0 <= stats["total_time_seconds"] < 60


def test_a_workflow_executes_itself_when_awaited():
    async def fetch(page):
        await asyncio.sleep(0)
        return f"fetched {page}"

    workflow = Workflow("awaited")
    workflow.add_task(Task("page", lambda: 3))
    workflow.add_task(Task("fetch", fetch), depends_on=["page"])
    workflow.add_task(Task("every", lambda **found: found), depends_on=["page", "fetch"])

    asyncio.run(workflow.execute_async())

    assert workflow.get_task_result("every") == {"page": 3, "fetch": "fetched 3"}
    assert workflow.get_workflow_stats()["completed"] == 3


def test_an_awaited_workflow_that_fails_names_the_task_and_the_reason():
    workflow = of_tasks(a=[])
    workflow.add_task(Task("risky", lambda: 1 / 0), depends_on=["a"])

    with pytest.raises(RuntimeError, match="risky") as caught:
        asyncio.run(workflow.execute_async())

    assert "division by zero" in str(caught.value)
    assert workflow.get_task_status("a") is TaskStatus.COMPLETED
    assert workflow.get_task_status("risky") is TaskStatus.FAILED
