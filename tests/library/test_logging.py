"""What the log says of an execution: every failure, by names and types, and nothing that may be a secret."""

from __future__ import annotations

import contextlib
import logging
import threading

import pytest

from flowweaver import RetryPolicy, SQLiteStateStore, Task, ThreadedExecutor, Workflow, WorkflowExecutionError
from flowweaver.library.run_log import on_one_line

SECRET = "hunter2"


def lines(caplog, *levels: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno in levels]


@pytest.fixture(autouse=True)
def at_every_level(caplog):
    caplog.set_level(logging.DEBUG)


def failing(times: int, error: Exception | None = None):
    left = [error or KeyError(SECRET)] * times

    def body():
        if left:
            raise left.pop()
        return SECRET

    return body


def test_each_failed_attempt_is_a_warning_and_the_last_one_an_error(executor, caplog):
    workflow = Workflow("w")
    workflow.add_task(Task("x", failing(9), retries=3, retry=RetryPolicy(delay=0.01)))
    with executor, pytest.raises(WorkflowExecutionError):
        executor.execute(workflow)
    assert lines(caplog, logging.WARNING) == [
        "task 'x' of workflow 'w': attempt 1 failed (KeyError), retry 1 of 3 in 0.01 s",
        "task 'x' of workflow 'w': attempt 2 failed (KeyError), retry 2 of 3 in 0.02 s",
        "task 'x' of workflow 'w': attempt 3 failed (KeyError), retry 3 of 3 in 0.04 s",
    ]
    assert lines(caplog, logging.ERROR) == ["task 'x' of workflow 'w' failed in attempt 4: KeyError"]
    assert lines(caplog, logging.INFO)[0] == "workflow 'w': its run is created"
    assert lines(caplog, logging.INFO)[-1] == "workflow 'w': its run has failed"


def test_a_task_that_completes_at_last_is_no_error(executor, caplog):
    workflow = Workflow("w")
    workflow.add_task(Task("x", failing(1), retries=1, retry=RetryPolicy(delay=0.0)))
    with executor:
        executor.execute(workflow)
    retried = "task 'x' of workflow 'w': attempt 1 failed (KeyError), retry 1 of 1 in 0 s"
    assert lines(caplog, logging.WARNING, logging.ERROR) == [retried]
    assert lines(caplog, logging.INFO)[-1] == "workflow 'w': its run has completed"


def test_no_line_has_an_argument_a_result_or_the_message_of_an_error(executor, caplog):
    workflow = Workflow("w")
    workflow.add_task(Task("made", lambda: SECRET))
    workflow.add_task(Task("handed", lambda made: f"{made}!"), depends_on=["made"])
    workflow.add_task(Task("broken", failing(9, ValueError(SECRET)), retries=1, retry=RetryPolicy(delay=0.0)))
    workflow.add_task(Task("skipped", lambda broken: broken), depends_on=["broken"])
    workflow.add_task(Task("unsaid", failing(9, ExceptionGroup(SECRET, [OSError(SECRET)])), allow_failure=True))
    with executor, pytest.raises(WorkflowExecutionError):
        executor.execute(workflow)
    assert "ValueError" in caplog.text
    shown = [logging.Formatter("%(message)s").format(record) for record in caplog.records]  # with tracebacks
    assert not [line for line in shown if SECRET in line]


def test_each_execution_says_how_it_begins_and_ends(tmp_path, caplog):
    broken = [KeyError("x")]

    def body():
        if broken:
            raise broken.pop()

    workflow = Workflow("w")
    workflow.add_task(Task("x", body))
    with ThreadedExecutor(state_store=SQLiteStateStore(f"{tmp_path}/state.db")) as executor:
        for _ in range(2):
            with pytest.raises(WorkflowExecutionError) if broken else contextlib.nullcontext():
                executor.execute(workflow)
    assert lines(caplog, logging.INFO) == [
        "workflow 'w': its run is created",
        "workflow 'w': its run has failed",
        "workflow 'w': its run is resumed",
        "workflow 'w': its run has completed",
    ]


def test_a_timeout_says_that_its_retry_waits_for_the_body(caplog):
    may_end = threading.Event()
    calls: list[int] = []

    def body():
        calls.append(1)
        if len(calls) == 1:
            assert may_end.wait(60)

    workflow = Workflow("w")
    task = Task("x", body, retries=1, timeout=0.5, retry=RetryPolicy(delay=0.5, jitter=True))
    task.on_retry = lambda *_: may_end.set()
    workflow.add_task(task)
    with ThreadedExecutor() as executor:
        executor.execute(workflow)
    said = "attempt 1 failed (Timeout), retry 1 of 1 in at most 0.5 s, when its body has returned"
    assert lines(caplog, logging.WARNING) == [f"task 'x' of workflow 'w': {said}"]


def test_a_name_stays_on_one_line():
    assert on_one_line("étape 'a'") == "étape 'a'"
    assert on_one_line("a\nERROR b\x1b[2J") == "a\\nERROR b\\x1b[2J"
