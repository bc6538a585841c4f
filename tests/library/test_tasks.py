"""A task: what it may be given, what it shows, and what the decorator leaves of a function."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from flowweaver import ArgumentError, RetryPolicy, SequentialExecutor, Task, TaskStatus, Workflow, task

DELAY = RetryPolicy(delay=0.0)


def one() -> int:
    return 1


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "(outputs)"}, "parenthesis"),
        ({"retries": -1}, "retries"),
        ({"retries": 1.5}, "retries"),
        ({"retries": True}, "retries"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": "5"}, "timeout"),
        ({"depends_on": "a"}, "depends_on"),
        ({"trigger_rule": "sometimes"}, '"all_completed", "all_finished"'),
        ({"on_crash": "weep"}, "on_crash"),
        ({"isolation": "container"}, '"thread", "process"'),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_name(settings, named):
    with pytest.raises(ArgumentError, match=named):
        Task(**{"name": "a", "fn": one, **settings})


@pytest.mark.parametrize(
    "settings", [{"delay": -1}, {"factor": 0.5}, {"maximum": float("nan")}, {"on": ("Exception",)}]
)
def test_a_retry_policy_that_makes_no_sense_is_refused(settings):
    with pytest.raises(ArgumentError, match=f"RetryPolicy\\({next(iter(settings))}="):
        RetryPolicy(**settings)


def test_an_argument_error_is_a_value_error():
    assert issubclass(ArgumentError, ValueError)


def test_a_timeout_of_zero_means_none_as_it_always_did():
    assert Task("a", one, timeout=0).timeout is None


def test_the_decorator_gives_the_function_itself_back():
    def plain(a: int) -> int:
        return a + 1

    assert task(plain) is plain
    assert task(name="other", retries=2, timeout=5.0)(plain) is plain
    assert plain(1) == 2
    marked = plain.__flowweaver__
    assert (marked["name"], marked["retries"], marked["timeout"]) == ("other", 2, 5.0)


def test_settings_that_a_task_does_not_take_are_refused_where_they_are_written():
    with pytest.raises(ArgumentError, match="retry_count"):
        task(retry_count=3)(one)


@pytest.mark.slow
def test_a_type_checker_sees_the_signature_of_a_decorated_function(tmp_path: Path):
    program = tmp_path / "typed.py"
    program.write_text(
        "from flowweaver import task\n"
        "@task\ndef bare(a: int) -> str:\n    return str(a)\n"
        "@task(name='x', retries=2)\ndef told(a: int, *, b: bytes = b'') -> list[int]:\n    return [a]\n"
        "reveal_type(bare)\nreveal_type(told)\n"
        "bare('no')\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file", "", str(program)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout
    assert 'Revealed type is "def (a: int) -> str"' in told.replace("builtins.", "")
    assert "def (a: int, *, b: bytes =) -> list[int]" in told.replace("builtins.", "")
    assert "Found 1 error" in told


def test_what_became_of_a_task_can_be_set_by_hand_and_reset():
    done = Task("a", one)
    done.status, done.result = TaskStatus.COMPLETED, [0]
    assert (done.status, done.result) == (TaskStatus.COMPLETED, [0])
    done.reset()
    assert (done.status, done.result, done.error) == (TaskStatus.PENDING, None, None)


def test_setting_one_thing_keeps_the_others_of_the_execution():
    workflow = Workflow("w")
    done = workflow.add_task(Task("a", one))
    SequentialExecutor().execute(workflow)
    done.error = "by hand"
    assert (done.status, done.result, done.error) == (TaskStatus.COMPLETED, 1, "by hand")
    assert isinstance(done.started_at, datetime)


def test_what_a_callback_sets_is_that_field_alone():
    workflow = Workflow("w")
    noted = workflow.add_task(Task("a", one, on_status_change=lambda *_: setattr(noted, "error", "noted")))
    SequentialExecutor().execute(workflow)
    assert (noted.status, noted.result, noted.error) == (TaskStatus.COMPLETED, 1, "noted")


def test_another_execution_takes_the_place_of_what_was_set():
    workflow = Workflow("w")
    done = workflow.add_task(Task("a", one))
    SequentialExecutor().execute(workflow)
    done.result, done.error = 7, "by hand"
    workflow.reset()
    SequentialExecutor().execute(workflow)
    assert (done.status, done.result, done.error) == (TaskStatus.COMPLETED, 1, None)


def test_times_are_local_and_in_order():
    workflow = Workflow("w")
    done = workflow.add_task(Task("a", one))
    before = datetime.now()
    SequentialExecutor().execute(workflow)
    assert before <= done.started_at <= done.completed_at <= datetime.now()


def test_a_result_is_a_copy_of_ones_own():
    workflow = Workflow("w")
    done = workflow.add_task(Task("a", lambda: {"rows": [1]}))
    SequentialExecutor().execute(workflow)
    done.result["rows"].append(2)
    assert done.result == {"rows": [1]}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_keeps_what_became_of_it(duplicate):
    workflow = Workflow("w")
    done = workflow.add_task(Task("a", one))
    SequentialExecutor().execute(workflow)
    twin = duplicate(done)
    assert (twin.name, twin.status, twin.result, twin.started_at) == ("a", TaskStatus.COMPLETED, 1, done.started_at)


# ----------------------------------------------------------------------------------------------- a task by itself


def test_a_task_runs_by_itself_with_results_by_name():
    added = Task("sum", lambda a, b=10: a + b)
    added.execute({"a": 1, "other": 2})
    assert (added.status, added.result) == (TaskStatus.COMPLETED, 11)


def test_a_task_by_itself_tries_again_and_tells():
    calls, told = [], []

    def flaky():
        calls.append(1)
        if len(calls) < 3:
            raise KeyError(len(calls))
        return "at last"

    tried = Task(
        "flaky",
        flaky,
        retries=2,
        retry=DELAY,
        on_retry=lambda name, attempt: told.append((name, attempt)),
        on_status_change=lambda name, status: told.append((name, status)),
    )
    tried.execute()
    assert (tried.status, tried.result, tried.error) == (TaskStatus.COMPLETED, "at last", None)
    expected = [TaskStatus.RUNNING, 1, 2, TaskStatus.COMPLETED]
    assert told == [("flaky", each) for each in expected]


def test_a_task_by_itself_fails_without_raising():
    failing = Task("bad", lambda: 1 / 0)
    failing.execute()
    assert (failing.status, failing.error) == (TaskStatus.FAILED, "division by zero")


def test_a_task_by_itself_keeps_its_timeout_and_no_attempt_runs_beside_another():
    lock, beside = threading.Lock(), []

    def slow():
        beside.append(lock.locked())
        with lock:
            time.sleep(0.3)

    late = Task("slow", slow, retries=1, timeout=0.05, retry=DELAY)
    late.execute()
    assert late.status is TaskStatus.FAILED
    assert "timeout" in late.error
    assert beside == [False, False]


def test_an_error_that_is_not_worth_it_is_not_tried_again():
    calls = []

    def wrong():
        calls.append(1)
        raise ValueError("for good")

    Task("wrong", wrong, retries=5, retry=RetryPolicy(delay=0, on=(OSError,))).execute()
    assert len(calls) == 1


def test_a_coroutine_function_is_refused_by_execute_and_run_by_execute_async():
    import asyncio

    async def later(a):
        await asyncio.sleep(0)
        return a + 1

    waits = Task("later", later)
    with pytest.raises(RuntimeError, match="execute_async"):
        waits.execute({"a": 1})
    asyncio.run(waits.execute_async({"a": 1}))
    assert waits.result == 2


@pytest.mark.parametrize("asynchronous", [True, False])
def test_execute_async_keeps_timeouts_of_coroutines_and_functions(asynchronous):
    import asyncio

    async def waits():
        await asyncio.sleep(60)

    late = Task("late", waits if asynchronous else lambda: time.sleep(0.2), timeout=0.05)
    asyncio.run(late.execute_async())
    assert late.status is TaskStatus.FAILED
    assert "timeout" in late.error
