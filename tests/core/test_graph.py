"""The graph: what it refuses, and in which order it lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowweaver.core.graph import Graph
from flowweaver.errors import GraphError


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([("a", []), ("a", [])], 'two tasks are named "a": give one of them another name'),
        ([("a", ["b"])], 'task "a" depends on "b", and there is no task of that name'),
        ([("a", ["a"])], 'task "a" depends on itself: remove that dependency'),
        ([("a", ["b"]), ("b", ["a"])], "tasks depend on each other in a cycle: a -> b -> a"),
        (
            [("root", []), ("a", ["c", "root"]), ("b", ["a"]), ("c", ["b"]), ("leaf", ["a"])],
            "tasks depend on each other in a cycle: a -> c -> b -> a",
        ),
        ([("below", ["a"]), ("a", ["b"]), ("b", ["a"])], "tasks depend on each other in a cycle: a -> b -> a"),
    ],
)
def test_a_graph_that_is_no_dag_is_refused_by_name(tasks, message):
    with pytest.raises(GraphError) as caught:
        Graph.build(tasks)
    assert str(caught.value) == message


def test_a_graph_error_is_a_value_error():
    with pytest.raises(ValueError, match="no task of that name"):
        Graph.build([("a", ["b"])])


def test_a_dependency_that_is_named_twice_counts_once():
    graph = Graph.build([("a", []), ("b", ["a", "a"])])
    assert graph.dependencies == ((), (0,))
    assert graph.dependants == ((1,), ())


def test_the_order_keeps_the_users_order_among_tasks_that_are_free_at_once():
    graph = Graph.build([("z", []), ("last", ["a", "z"]), ("a", []), ("m", ["z"])])
    assert [graph.names[task] for task in graph.order()] == ["z", "a", "m", "last"]


@given(st.permutations(range(12)), st.data())
def test_every_dag_is_accepted_and_ordered_dependencies_first(order, data):
    tasks = [
        (str(task), [str(other) for other in data.draw(st.lists(st.sampled_from(order[:place]), max_size=4))])
        if place
        else (str(task), [])
        for place, task in enumerate(order)
    ]
    tasks = data.draw(st.permutations(tasks))
    graph = Graph.build(tasks)
    places = {task: place for place, task in enumerate(graph.order())}
    assert sorted(places) == list(range(12))
    assert all(places[wanted] < places[task] for task in places for wanted in graph.dependencies[task])


def test_a_chain_of_fifty_thousand_tasks_is_built_without_recursion():
    graph = Graph.build([(str(task), [str(task - 1)] if task else []) for task in range(50_000)])
    assert len(graph.order()) == 50_000
    with pytest.raises(GraphError, match=r"cycle: 0 -> 49999 -> 49998 -> "):
        Graph.build([(str(task), [str((task - 1) % 50_000)]) for task in range(50_000)])


def test_tasks_that_are_in_order_make_the_same_graph_without_a_search(monkeypatch):
    built = Graph.build([("a", []), ("b", ["a"]), ("c", ["b", "a"])])
    monkeypatch.setattr(Graph, "order", lambda _: pytest.fail("it was searched for a cycle"))
    assert Graph.ordered(["a", "b", "c"], [(), (0,), (1, 0)]) == built


@pytest.mark.parametrize("wanted", [(1,), (2,), (-1,)])
def test_tasks_that_are_not_in_order_are_refused(wanted):
    with pytest.raises(GraphError, match='task "b" comes before what it depends on'):
        Graph.ordered(["a", "b", "c"], [(), wanted, ()])
