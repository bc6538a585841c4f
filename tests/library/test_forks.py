"""A forked child: it has none of its parent's threads, and its parent's files are not its own."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

import pytest

from flowweaver import SQLiteStateStore, StoreLocked, Task, ThreadedExecutor, Workflow


def in_child(work: Callable[[], bool]) -> bool:
    """Whether that is true in a forked child."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # newer Pythons warn of forks with threads: that is the test
        child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def one_task() -> Workflow:
    workflow = Workflow("w")
    workflow.add_task(Task("a", lambda: 1))
    return workflow


def test_a_child_executes_with_an_engine_of_its_own():
    with ThreadedExecutor() as executor:
        executor.execute(one_task())
        assert in_child(lambda: executor.execute(one_task()).get_task_result("a") == 1)
        executor.execute(one_task())


def test_a_child_is_refused_the_file_that_its_parent_has_open(tmp_path):
    def refused() -> bool:
        with pytest.raises(StoreLocked):
            executor.execute(one_task(), run_id="child")
        return True

    with ThreadedExecutor(state_store=SQLiteStateStore(str(tmp_path / "state.db"))) as executor:
        executor.execute(one_task())
        assert in_child(refused)
        executor.execute(one_task(), run_id="parent")
    assert in_child(lambda: executor.execute(one_task(), run_id="child").get_task_result("a") == 1)
