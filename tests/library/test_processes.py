"""`Task(isolation="process")`: a function in a process of its own behaves as it does in a thread, and can be ended."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from flowweaver import RetryPolicy, Task, TaskExecutionError, ThreadedExecutor, Workflow, WorkflowExecutionError
from flowweaver.errors import ArgumentError
from flowweaver.runners.environment import MARK
from flowweaver.runners.processes import LAUNCHER
from tests.library import process_bodies as bodies
from tests.runners.attempts import eventually, is_alive, number_in

AT_ONCE = RetryPolicy(delay=0)


def in_process(name, function, **options):
    return Task(name, function, isolation="process", **options)


def workflow_of(folder, function, **options):
    """A workflow with a task "body", which gets the folder."""
    workflow = Workflow("isolated")
    workflow.add_task(Task("folder", lambda: str(folder)))
    workflow.add_task(in_process("body", function, **options), depends_on=["folder"])
    return workflow


def failure_of(executor, workflow):
    with pytest.raises(WorkflowExecutionError) as caught:
        executor.execute(workflow)
    [failure] = caught.value.failures
    return failure


def lines(folder):
    return (folder / "log").read_text().split()


# ------------------------------------------------------------------------------------------------------------- retries


@pytest.mark.parametrize("isolation", ["thread", "process"])
@pytest.mark.parametrize(
    ("function", "on", "attempts"),
    [
        (bodies.raises_key_error, (Exception,), 3),
        (bodies.raises_key_error, (OSError,), 1),
        (bodies.raises_key_error, (OSError, LookupError), 3),
        (bodies.raises_one_of_its_own, (OSError,), 3),
        (bodies.raises_one_of_its_own, (bodies.OnlyHere,), 3),
        (bodies.raises_one_of_its_own, (ConnectionResetError, ValueError), 1),
        (bodies.exits, (Exception,), 1),
        (bodies.exits, (BaseException,), 3),
    ],
)
def test_the_errors_that_are_worth_a_retry_are_the_same_as_in_a_thread(tmp_path, isolation, function, on, attempts):
    workflow = workflow_of(tmp_path, function, retries=2, retry=RetryPolicy(delay=0, on=on))
    workflow.get_task("body").isolation = isolation  # as it may be set later, in any spelling
    failure = failure_of(ThreadedExecutor(), workflow)
    assert lines(tmp_path) == ["began"] * attempts
    assert failure.attempt == attempts


@pytest.mark.parametrize(("on", "attempts"), [((Exception,), 3), ((OSError,), 1)])
@pytest.mark.parametrize("function", [bodies.gone, bodies.killed])
def test_a_process_that_dies_is_tried_again_where_every_error_is(tmp_path, function, on, attempts):
    workflow = workflow_of(tmp_path, function, retries=2, retry=RetryPolicy(delay=0, on=on))
    assert failure_of(ThreadedExecutor(), workflow).error_type == "ProcessDied"
    assert lines(tmp_path) == ["began"] * attempts


# ---------------------------------------------------------------------------------------------------- its surroundings


def test_a_body_sees_the_environment_that_the_program_has_now(monkeypatch):
    def seen_by(function):
        workflow = Workflow("environment")
        workflow.add_task(in_process("body", function))
        return workflow.execute().results["body"]

    def own_environment():
        return {name: ascii(text) for name, text in os.environ.items()} | {MARK: "'1'"}

    LAUNCHER.close()  # the next one begins with what is set now
    monkeypatch.setenv("TERM", "begins with this")
    monkeypatch.setenv("FLOWWEAVER_TEST_DATABASE_URL", "first")
    assert seen_by(bodies.environment) == own_environment()
    monkeypatch.setenv("FLOWWEAVER_TEST_DATABASE_URL", "second\udcff")
    monkeypatch.setenv("FLOWWEAVER_TEST_EMPTY", "")
    assert seen_by(bodies.environment) == own_environment()
    monkeypatch.setenv("FLOWWEAVER_TEST_DATABASE_URL", "third")
    monkeypatch.delenv("FLOWWEAVER_TEST_EMPTY")
    monkeypatch.delenv("TERM")
    told = seen_by(bodies.environment_of_a_program)
    assert told["FLOWWEAVER_TEST_DATABASE_URL"] == "third"
    assert {"FLOWWEAVER_TEST_EMPTY", "TERM"}.isdisjoint(told)


def test_a_body_can_ask_which_attempt_it_is_also_in_a_coroutine(executor, tmp_path):
    workflow = workflow_of(tmp_path, bodies.about_itself, retries=1, retry=AT_ONCE)
    executor.execute(workflow)
    name, attempt, key, cancelled, pid = workflow.results["body"]
    assert (name, attempt, cancelled) == ("body", 2, False)
    assert key.endswith(":body")
    assert pid != os.getpid()
    assert lines(tmp_path) == ["1", "2"]


def test_what_a_body_prints_is_no_part_of_its_result_nor_of_the_programs_output(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""\
        import sys
        sys.path[:] = {sys.path!r}
        from flowweaver import Task, Workflow
        from tests.library import process_bodies as bodies
        workflow = Workflow("prints")
        workflow.add_task(Task("folder", lambda: "here"))
        workflow.add_task(Task("body", bodies.prints, isolation="process"), depends_on=["folder"])
        print(workflow.execute().results["body"])
        """)
    )
    done = subprocess.run([sys.executable, program], check=True, capture_output=True, text=True)
    assert done.stdout == "here\n"
    assert sorted(done.stderr.splitlines()) == ["and to the side", "past Python", "said aloud"]


def test_parameters_are_filled_as_they_are_in_a_thread():
    results = []
    for isolation in ("thread", "process"):
        workflow = Workflow("parameters")
        for number, name in enumerate(["a-b", "c", "e-f"]):
            workflow.add_task(Task(name, lambda number=number: number))
        workflow.add_task(Task("body", bodies.keywords, isolation=isolation), depends_on=["a-b", "c", "e-f"])
        results.append(workflow.execute().results["body"])
    assert results == [[0, 1, 4, {"e-f": 2}]] * 2


def test_a_parameter_that_nothing_fills_is_told_as_in_a_thread():
    failures = []
    for isolation in ("thread", "process"):
        workflow = Workflow("parameters")
        workflow.add_task(Task("body", bodies.length, retries=3, isolation=isolation))
        failures.append(failure_of(ThreadedExecutor(), workflow))
    told = [(str(each), each.attempt, each.error_type) for each in failures]
    assert told[0] == told[1]
    assert "needs the parameter 'big'" in told[0][0]


# ------------------------------------------------------------------------------------------------------------- results


def test_large_results_come_out_of_a_process_and_go_into_one(executor):
    workflow = Workflow("large")
    workflow.add_task(in_process("big", bodies.big))
    workflow.add_task(in_process("length", bodies.length), depends_on=["big"])
    executor.execute(workflow)
    assert workflow.results["length"] == len(workflow.results["big"]) == 5 << 20


def test_a_result_ends_at_the_executors_limit():
    workflow = Workflow("large")
    workflow.add_task(in_process("big", bodies.big, retries=3))
    failure = failure_of(ThreadedExecutor(max_result_bytes=1000), workflow)
    assert failure.reason == "ResultTooLarge"
    assert "at most 1000 bytes" in str(failure)
    assert failure.attempt == 1


@pytest.mark.parametrize(
    ("value", "result"), [((1, (2, 3)), [1, [2, 3]]), ({"a": None}, {"a": None}), (object, None), ({1}, None)]
)
def test_an_object_in_memory_goes_into_a_process_as_json_or_not_at_all(value, result):
    workflow = Workflow("objects")
    workflow.add_task(Task("given", lambda: value))
    workflow.add_task(in_process("body", bodies.echo, retries=3), depends_on=["given"])
    if result is not None:
        assert workflow.execute().results["body"] == result
        return
    failure = failure_of(ThreadedExecutor(), workflow)
    assert "does not run in this process and can not be given the result of 'given'" in str(failure)
    assert failure.attempt == 1


# ------------------------------------------------------------------------------------------------------------ failures


def test_the_traceback_of_another_process_is_in_the_debug_log_alone(tmp_path, caplog):
    with caplog.at_level(logging.DEBUG, logger="flowweaver"):
        failure = failure_of(ThreadedExecutor(), workflow_of(tmp_path, bodies.raises_key_error))
    assert isinstance(failure, TaskExecutionError)
    assert failure.__cause__ is None
    assert failure.error_type == "KeyError"
    told = [record for record in caplog.records if "raises_key_error" in record.getMessage()]
    assert [record.levelno for record in told] == [logging.DEBUG]
    assert 'raise KeyError("secret-of-the-body")' in told[0].getMessage()
    assert "raises_key_error" not in str(failure)


@pytest.mark.parametrize(("function", "words"), [(bodies.gone, "exit code 7"), (bodies.killed, "signal 9")])
def test_a_failure_says_how_the_process_ended(executor, tmp_path, function, words):
    failure = failure_of(executor, workflow_of(tmp_path, function))
    assert words in str(failure)
    assert ("memory" in str(failure)) is (function is bodies.killed)


# ----------------------------------------------------------------------------------------------------- what is refused


def nested():
    def inner():
        return 1

    return inner


def from_main():
    return 1


from_main.__module__ = "__main__"

REFUSED = {
    "lambda": bodies.nameless,
    "nested": nested(),
    "bound method": bodies.Methods().method,
    "method": bodies.Methods.method,
    "object": bodies.Methods(),
    "partial": bodies.partial,
    "hidden by a decorator": bodies.hidden,
    "under another name": bodies.replaced,
}


@pytest.mark.parametrize("function", REFUSED.values(), ids=REFUSED)
def test_a_function_that_can_not_be_imported_is_refused_before_anything_runs(executor_of, function):
    executor = executor_of()
    ran = []
    workflow = Workflow("refused")
    workflow.add_task(Task("first", lambda: ran.append(1)))
    workflow.add_task(in_process("second", function))
    with pytest.raises(ArgumentError, match=r"task 'second'.* define it with def at the top of a module"):
        executor.execute(workflow)
    assert ran == []
    workflow.get_task("second").isolation = "thread"
    if function is not bodies.Methods.method:
        assert executor.execute(workflow).results["second"] in {1, 3}


def test_a_function_of_the_script_is_refused_with_the_fix(executor_of):
    workflow = Workflow("refused")
    workflow.add_task(in_process("only", from_main))
    with pytest.raises(ArgumentError, match=r"task 'only'.*the script that is run: move it into a module"):
        executor_of().execute(workflow)


def test_decorators_that_keep_the_name_are_fine():
    workflow = Workflow("decorated")
    workflow.add_task(in_process("wrapped", bodies.wrapped))
    workflow.add_task(in_process("decorated", bodies.decorated))
    assert workflow.execute().results == {"wrapped": ["wrapped", 1], "decorated": "decorated"}


# --------------------------------------------------------------------------------------------------------- being ended


def test_at_its_timeout_a_process_is_killed_with_all_that_it_started(executor_of, tmp_path):
    failure = failure_of(executor_of(), workflow_of(tmp_path, bodies.sleeps, timeout=2.0))
    assert failure.reason == "Timeout"
    child, program = (eventually(lambda name=name: number_in(tmp_path / name)) for name in ("child", "program"))
    until = time.monotonic() + 1.0
    while is_alive(child) or is_alive(program):
        assert time.monotonic() < until, "it is alive a second after its timeout"
        time.sleep(0.005)


def test_a_retry_waits_until_the_process_before_it_is_gone(executor_of, tmp_path):
    workflow = workflow_of(tmp_path, bodies.deaf_at_first, timeout=0.5, retries=9, retry=AT_ONCE)
    executor_of().execute(workflow)
    assert workflow.results["body"] is False, "the attempt before was alive"


@pytest.mark.slow
def test_the_next_execution_waits_until_a_process_of_the_one_before_is_gone(executor, tmp_path):
    workflow = workflow_of(tmp_path, bodies.deaf_at_first, timeout=60)
    with executor:
        stopping = threading.Thread(
            target=lambda: eventually(lambda: number_in(tmp_path / "child")) and executor.stop(grace_seconds=0)
        )
        stopping.start()
        with pytest.raises(WorkflowExecutionError, match="stopped before its end"):
            executor.execute(workflow)
        stopping.join()
        assert is_alive(number_in(tmp_path / "child")), "there is nothing to wait for"
        executor.execute(workflow)
    assert workflow.results["body"] is False, "the attempt before was alive"


def test_an_execution_that_is_cancelled_ends_its_processes(tmp_path):
    workflow = workflow_of(tmp_path, bodies.sleeps)

    async def main():
        running = asyncio.create_task(workflow.execute_async(ThreadedExecutor()))
        while number_in(tmp_path / "child") is None:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    child, program = number_in(tmp_path / "child"), number_in(tmp_path / "program")
    eventually(lambda: not is_alive(child) and not is_alive(program))


PROGRAM = """\
import sys
sys.path[:] = {path!r}
import flowweaver
from flowweaver import Task, Workflow
from tests.library import process_bodies as bodies

folder, kind, store = sys.argv[1:]
workflow = Workflow("survivor")
workflow.add_task(Task("folder", lambda: folder))
workflow.add_task(Task("body", bodies.deaf_survivor, isolation="process"), depends_on=["folder"])
state = getattr(flowweaver, store)(folder + "/state")
print(getattr(flowweaver, kind)(state_store=state).execute(workflow).results["body"])
"""


@pytest.mark.parametrize(
    ("kind", "store", "how"),
    [
        ("SequentialExecutor", "JSONStateStore", "killed"),
        ("ThreadedExecutor", "SQLiteStateStore", "killed"),
        ("AsyncExecutor", "JSONStateStore", "killed"),
        ("ThreadedExecutor", "JSONStateStore", "terminated"),
        ("SequentialExecutor", "SQLiteStateStore", "terminated"),
        ("ThreadedExecutor", "JSONStateStore", "killed after its launcher"),
        ("AsyncExecutor", "SQLiteStateStore", "killed after its launcher"),
        ("SequentialExecutor", "SQLiteStateStore", "killed after its launcher"),
    ],
)
def test_a_program_that_is_stopped_leaves_nothing_that_runs_beside_its_rerun(tmp_path, kind, store, how):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(path=sys.path))
    command = [sys.executable, program, tmp_path, kind, store]
    first = subprocess.Popen(command)
    pids = [eventually(lambda name=name: number_in(tmp_path / name)) for name in ("lives", "program")]
    if how == "killed after its launcher":
        os.kill(_parent_of(pids[0]), signal.SIGKILL)
    first.send_signal(signal.SIGTERM if how == "terminated" else signal.SIGKILL)
    first.wait(30)
    if how != "killed after its launcher":  # which would have ended what they started
        eventually(lambda: not any(is_alive(pid) for pid in pids))
    second = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert second.stdout == "False\n", "something of the first life was there"
    assert not any(is_alive(pid) for pid in pids)


def _parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_many_processes_take_turns(tmp_path):
    workflow = Workflow("many")
    workflow.add_task(Task("folder", lambda: str(tmp_path)))
    for number in range(50):
        workflow.add_task(in_process(f"t{number}", bodies.own_number), depends_on=["folder"])
    ThreadedExecutor(4).execute(workflow)
    pids = [workflow.results[f"t{number}"] for number in range(50)]
    assert len(set(pids)) == 50
    assert sorted(map(int, lines(tmp_path))) == sorted(pids)
    eventually(lambda: not any(is_alive(pid) for pid in pids))
