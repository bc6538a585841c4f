"""The graph where it meets its limits, and what of a plan counts as the same tasks."""

from __future__ import annotations

import pytest

from flowweaver.core.graph import Graph
from flowweaver.core.plan import RunPlan, TaskPlan, digest
from flowweaver.errors import GraphError


def test_a_graph_that_is_in_order_is_taken_as_it_is():
    ordered = Graph.ordered(["a", "b", "c"], [(), (0,), (0, 1)])
    assert ordered == Graph.build([("a", []), ("b", ["a"]), ("c", ["a", "b"])])
    assert ordered.dependants == ((1, 2), (2,), ())


@pytest.mark.parametrize("dependency", [-1, 1, 2])
def test_a_task_before_what_it_depends_on_is_refused(dependency):
    with pytest.raises(GraphError, match='^task "b" comes before what it depends on: put it behind that$'):
        Graph.ordered(["a", "b", "c"], [(), (dependency,), ()])


def test_a_dependency_that_is_named_twice_counts_once():
    assert Graph.build([("a", []), ("b", ["a", "a"])]).dependencies == ((), (0,))


def test_the_cycle_that_is_named_leaves_out_what_leads_to_it_and_what_is_in_order():
    tasks = [("first", []), ("leads", ["x", "first"]), ("x", ["first", "y"]), ("y", ["first", "x"])]
    with pytest.raises(GraphError, match="^tasks depend on each other in a cycle: x -> y -> x$"):
        Graph.build(tasks)


def test_two_plans_with_the_same_tasks_have_one_digest_and_any_other_task_another_one():
    def of(*tasks: TaskPlan, **fields: object) -> bytes:
        return digest(RunPlan(tasks=tasks, **fields))

    a, b = TaskPlan(name="a", kind="value"), TaskPlan(name="b", kind="value", depends_on=("a",))
    same = of(a, TaskPlan(name="b", kind="shell", depends_on=("a",), timeout_seconds=1.0), priority=3)
    assert of(a, b) == same
    others = [
        of(a),
        of(b, a),
        of(a, TaskPlan(name="b", kind="value")),
        of(a, TaskPlan(name="c", kind="value", depends_on=("a",))),
        of(a, TaskPlan(name="b", kind="value", depends_on=("a",), version="2")),
    ]
    assert same not in others
    assert len({*others, same}) == 6


def test_a_digest_is_the_same_in_every_version_for_it_is_in_the_file():
    plan = RunPlan(
        tasks=(TaskPlan(name="a", kind="value"), TaskPlan(name="é", kind="value", depends_on=("a",), version="2"))
    )
    assert digest(plan).hex() == "d04b5329104bd130f97c753cf59a5c78308c7bc3d0c1750fff00a5d13475deef"
