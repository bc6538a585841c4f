"""Arguments that make no sense are refused where they are given, with the fix: none is lost without a word."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

import flowweaver
from flowweaver import (
    ArgumentError,
    AsyncExecutor,
    RetryPolicy,
    SequentialExecutor,
    SQLiteStateStore,
    Task,
    ThreadedExecutor,
    Workflow,
    WorkflowRunner,
    task,
)


async def coroutine_function(*_):
    raise AssertionError("nobody awaits it")


class WithCoroutine:
    async def __call__(self, *_):
        raise AssertionError("nobody awaits it")


def nothing():
    pass


REFUSED = {
    "a function that was called": (lambda: Task("a", nothing()), "fn is None: use a function"),
    "a function's name": (lambda: Task("a", "os:getcwd"), "use a function"),
    "a number of retries as the policy": (lambda: Task("a", nothing, retry=3), "use RetryPolicy"),
    "a coroutine function to call back": (
        lambda: Task("a", nothing, on_status_change=coroutine_function),
        "'a': on_status_change is the coroutine function",
    ),
    "a coroutine to call back at retries": (lambda: Task("a", nothing, on_retry=WithCoroutine()), "nobody would await"),
    "a partial of a coroutine to call back": (
        lambda: task(on_retry=partial(coroutine_function, 1))(nothing),
        "nobody would await",
    ),
    "no function to call back": (lambda: Task("a", nothing, on_retry=3), "on_retry is 3: use a function"),
    "a listener that is a coroutine function": (
        lambda: Workflow("w").add_listener(coroutine_function),
        "a listener of workflow 'w' is the coroutine function",
    ),
    "no listener": (lambda: Workflow("w").add_listener(None), "use a function"),
    "one dependency that is no list": (
        lambda: Workflow("w").add_task(Task("a", nothing), Task("b", nothing)),
        r"use a list, \[Task",
    ),
    "a number as dependencies": (lambda: Task("a", nothing, depends_on=3), r"use a list, \[3\]"),
    "@task on a builtin": (lambda: task(len), r"write Task\('len', …\)"),
    "@task with a number": (lambda: task(3), "give it a function"),
    "a text as the timeout": (lambda: Workflow("w", timeout="3"), "use a number of seconds"),
    "an endless timeout": (lambda: Workflow("w", timeout=float("inf")), "use a number of seconds"),
    "a timeout that is no number": (lambda: Workflow("w", timeout=float("nan")), "use a number of seconds"),
    "yes as the timeout": (lambda: Workflow("w", timeout=True), "use a number of seconds"),
    "yes as the parallelism": (lambda: Workflow("w", parallelism=True), "use a whole number"),
    "a word as jitter": (lambda: RetryPolicy(jitter="full"), "use True or False"),
    "yes as the delay": (lambda: RetryPolicy(delay=True), "use a number"),
    "an error as what is worth a retry": (lambda: RetryPolicy(on=ValueError()), "name classes"),
    "nothing as what is worth a retry": (lambda: RetryPolicy(on=None), "name classes"),
    "a word as what is worth a retry": (lambda: RetryPolicy(on="ValueError"), "name classes"),
    "a task in place of a workflow": (lambda: ThreadedExecutor().execute(Task("a", nothing)), "what is executed is a"),
    "no workflow": (lambda: SequentialExecutor().execute(None), "what is executed is a Workflow, not None"),
    "no workflow to run": (lambda: WorkflowRunner(None), "what is executed is a Workflow, not None"),
    "a text as the grace period": (lambda: WorkflowRunner(Workflow("w"), grace_seconds="3"), "use a number"),
    "a class as the executor": (lambda: Workflow("w").execute(ThreadedExecutor), r"like ThreadedExecutor\(\)"),
    "a word as the executor": (lambda: Workflow("w").execute("threaded"), r"like ThreadedExecutor\(\)"),
    "a text as the largest result": (lambda: ThreadedExecutor(max_result_bytes="1MB"), "use a whole number"),
    "nothing as the largest result": (lambda: AsyncExecutor(max_result_bytes=0), "use a whole number"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_what_makes_no_sense_is_refused_with_the_fix(wrong):
    give, fix = REFUSED[wrong]
    with pytest.raises(ArgumentError, match=fix):
        give()


@pytest.mark.parametrize("argument", ["state_store", "storage"])
@pytest.mark.parametrize("kind", [SequentialExecutor, ThreadedExecutor, AsyncExecutor])
@pytest.mark.parametrize("wrong", ["runs.db", Path("runs.db"), SQLiteStateStore, object()])
def test_what_keeps_nothing_is_no_state_store(kind, argument, wrong):
    """Without a word nothing would be kept."""
    with pytest.raises(ArgumentError, match=r"state_store is .*: use a state store, like SQLiteStateStore\("):
        kind(**{argument: wrong})


def test_whoever_has_only_the_two_methods_of_old_is_a_state_store():
    class Old:
        saved = False

        def load_state(self, workflow):
            pass

        def save_state(self, workflow):
            self.saved = True

    store = Old()
    workflow = Workflow("w")
    workflow.add_task(Task("a", nothing))
    workflow.execute(ThreadedExecutor(storage=store))
    assert store.saved


@pytest.mark.parametrize("kind", [ThreadedExecutor, AsyncExecutor])
def test_a_state_store_in_the_place_of_another_argument_is_not_lost(kind, tmp_path):
    with pytest.raises(ArgumentError, match="state_store=… for a state store"):
        kind(SQLiteStateStore(tmp_path / "state.db"))


def test_no_workflow_can_be_awaited_either():
    with pytest.raises(ArgumentError, match="what is executed is a Workflow"):
        asyncio.run(ThreadedExecutor().execute_async(None))


def test_one_workflow_may_be_given_where_several_may():
    workflow = Workflow("w")
    assert ThreadedExecutor().execute_all(workflow) == [workflow]
    assert workflow.status is flowweaver.WorkflowStatus.COMPLETED


def test_dependencies_are_found_without_looking_at_all_tasks():
    workflow = Workflow("w")
    for number in range(20_000):
        workflow.add_task(Task(f"t{number}", nothing), [f"t{number - 1}"] if number else [])
    assert [workflow.get_dependencies(name) for name in workflow.tasks][1:] == [
        [f"t{number}"] for number in range(19_999)
    ]
