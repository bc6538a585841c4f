"""Results that an object has from before, where nothing is stored: they are given on as they are."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from flowweaver import InMemoryStateBackend, SQLiteStateStore, Task, TaskStatus, ThreadedExecutor, Workflow


class Pair(NamedTuple):
    left: int
    right: int


@pytest.mark.parametrize("store", [lambda: None, InMemoryStateBackend], ids=["none", "memory"])
@pytest.mark.parametrize("value", [(1, 2), Pair(1, 2), {1: "one"}, {"a": (1,)}, "\ud800", {1, 2}, [1, "a"]], ids=repr)
def test_a_result_of_an_earlier_execution_keeps_its_type(executor_of, store, value):
    kept = store()
    workflow = Workflow("w")
    workflow.add_task(Task("a", lambda: value))
    workflow.execute(executor_of(state_store=kept))
    workflow.add_task(Task("b", lambda a: a), ["a"])
    workflow.execute(executor_of(state_store=kept))
    assert workflow.results == {"a": value, "b": value}
    assert [type(result) for result in workflow.results.values()] == [type(value)] * 2


def test_a_large_result_that_was_set_by_hand_counts(tmp_path):
    workflow = Workflow("w")
    given = workflow.add_task(Task("a", lambda: 1 / 0))
    given.status, given.result = TaskStatus.COMPLETED, "x" * (2 << 20)
    workflow.add_task(Task("b", lambda a: len(a)), ["a"])
    workflow.execute(ThreadedExecutor(state_store=SQLiteStateStore(tmp_path / "state.db")))
    assert workflow.results["b"] == 2 << 20
