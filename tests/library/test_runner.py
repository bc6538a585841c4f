"""Workflows as programs: which run they take up, what they say, and how they end when they are told to."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from flowweaver import (
    ArgumentError,
    InMemoryStateBackend,
    SequentialExecutor,
    SQLiteStateStore,
    Task,
    TaskStatus,
    ThreadedExecutor,
    Workflow,
    WorkflowRunner,
    WorkflowStatus,
    current_task,
)

PROGRAM = Path(__file__).with_name("runner_program.py")
KINDS = ["sequential", "threaded", "async"]
PATIENCE = 60.0


class Program:
    """The program on one store, started as often as a test likes."""

    def __init__(self, folder: Path, **told):
        self.told = {"store": str(folder / "state.db"), **told}
        self.bodies = folder / "bodies.log"
        self.started = []

    def start(self, **more):
        told = {**self.told, **more}
        told["runner"] = {**self.told.get("runner", {}), **more.get("runner", {})}
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), json.dumps(told)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.started.append(process)
        return process

    def run(self, **more):
        """Run it to its end: exit status, and what it said."""
        return self.end(self.start(**more))

    @staticmethod
    def end(process):
        out, said = process.communicate(timeout=PATIENCE)
        assert not out
        assert "Traceback" not in said, said
        return process.returncode, said

    def has_completed(self):
        """Whether its newest run has."""
        workflow = Workflow("nightly")
        for name in tasks(self.told["tasks"]):
            workflow.add_task(Task(name, print))
        SQLiteStateStore(self.told["store"]).load_state(workflow)
        return workflow.status is WorkflowStatus.COMPLETED

    def lines(self, word):
        """How often each task has begun, or ended."""
        text = self.bodies.read_text() if self.bodies.exists() else ""
        return Counter(line.split()[1] for line in text.splitlines() if line.startswith(f"{word} "))

    def wait_for(self, word, number):
        until = time.monotonic() + PATIENCE
        while sum(self.lines(word).values()) < number:
            assert time.monotonic() < until, "it does not begin"
            time.sleep(0.005)


@pytest.fixture
def program(tmp_path):
    made = []

    def make(**told):
        made.append(Program(tmp_path, **told))
        return made[-1]

    yield make
    for process in (each for program in made for each in program.started):
        if process.poll() is None:
            process.kill()
        process.communicate()


def tasks(number):
    return [f"t{each}" for each in range(number)]


# ------------------------------------------------------------------------------------------------------- which run


@pytest.mark.parametrize("kind", KINDS)
def test_tonights_run_is_not_skipped_because_yesterdays_completed(program, kind):
    nightly = program(executor=kind, tasks=4)

    assert [nightly.run()[0], nightly.run()[0]] == [0, 0]
    assert nightly.lines("end") == Counter(tasks(4) * 2)


def test_a_failed_run_is_followed_by_a_new_one(program, tmp_path):
    nightly = program(tasks=4, fail=[2], width=4)

    status, said = nightly.run()
    (tmp_path / "mended").touch()

    assert status == 1
    assert "task 't2' has failed in attempt 1" in said
    assert "t2 is broken" in said
    assert nightly.run()[0] == 0
    assert nightly.lines("begin") == Counter(tasks(4) * 2)


def test_a_failed_run_goes_on_where_that_is_asked_for(program, tmp_path):
    nightly = program(tasks=4, fail=[2], width=4, runner={"resume_failed": True})

    assert nightly.run()[0] == 1
    (tmp_path / "mended").touch()

    assert nightly.run()[0] == 0
    assert nightly.lines("begin") == Counter([*tasks(4), "t2"])
    assert nightly.run()[0] == 0  # that one has completed: the next one is new
    assert nightly.lines("begin") == Counter([*tasks(4), "t2", *tasks(4)])


def test_runs_of_other_ids_are_others(program):
    nightly = program(tasks=2)

    for day in ("monday", "tuesday"):
        assert nightly.run(runner={"run_id": day})[0] == 0

    assert nightly.lines("end") == Counter(tasks(2) * 2)


def simple(steps, **settings):
    workflow = Workflow("simple")
    for name, fn in steps.items():
        workflow.add_task(Task(name, fn, **settings))
    return workflow


def test_a_run_of_other_tasks_is_refused_where_that_is_asked_for(tmp_path, caplog):
    def broken():
        raise ValueError("broken")

    executor = ThreadedExecutor(state_store=SQLiteStateStore(tmp_path / "state.db"))
    assert WorkflowRunner(simple({"a": broken, "b": print}), executor).run() == 1

    changed = WorkflowRunner(simple({"a": broken}), executor, resume_failed=True, on_change="error")

    assert changed.run() == 2
    assert "are not those that it was begun with" in caplog.text


@pytest.mark.parametrize("executor", [ThreadedExecutor, SequentialExecutor])
def test_without_a_store_each_run_is_a_new_one(executor):
    ran = []
    workflow = simple({"a": lambda: ran.append(1)})

    assert [WorkflowRunner(workflow, executor()).run() for _ in range(2)] == [0, 0]
    assert ran == [1, 1]


class TestAStoreOfTheProgramsOwn:
    """It knows tasks by name, and no runs."""

    @pytest.fixture
    def ran(self):
        return []

    @pytest.fixture
    def backend(self):
        return InMemoryStateBackend()

    def run(self, backend, ran, fail="", look=lambda: None, **settings):
        def step(name):
            def body():
                ran.append(name)
                look()
                if name == fail:
                    raise ValueError(name)

            return body

        workflow = simple({name: step(name) for name in "abc"})
        return WorkflowRunner(workflow, SequentialExecutor(state_store=backend), **settings).run()

    def test_after_a_completed_run_everything_runs_again(self, backend, ran):
        assert [self.run(backend, ran), self.run(backend, ran)] == [0, 0]
        assert ran == list("abcabc")

    def test_one_that_was_not_finished_goes_on(self, backend, ran):
        backend.save_task_state("a", TaskStatus.COMPLETED, 1)

        assert self.run(backend, ran) == 0
        assert ran == list("bc")

    def test_after_a_failure_all_of_it_runs_again(self, backend, ran):
        assert self.run(backend, ran, fail="b") == 1
        assert self.run(backend, ran) == 0
        assert ran == list("ababc")

    def test_a_failed_one_goes_on_where_that_is_asked_for(self, backend, ran):
        assert self.run(backend, ran, fail="b") == 1
        assert self.run(backend, ran, resume_failed=True) == 0
        assert ran == list("abbc")

    def test_what_is_left_of_the_last_run_is_forgotten_before_the_next_one_begins(self, backend, ran):
        seen = []
        assert self.run(backend, ran) == 0
        assert self.run(backend, ran, look=lambda: seen.append(backend.load_task_state("c")["status"])) == 0

        assert seen == [TaskStatus.PENDING] * 3  # a crash there would not find it completed


# ---------------------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_lets_what_is_running_end_and_the_next_start_goes_on(program, kind, number, status):
    nightly = program(executor=kind, tasks=12, seconds=0.3)
    process = nightly.start()
    nightly.wait_for("end", 1)
    process.send_signal(number)

    found, said = nightly.end(process)
    ended = nightly.lines("end")

    assert found == status, said
    assert nightly.lines("begin") == ended
    assert 0 < len(ended) < 12
    assert f"{number.name}: nothing more is started" in said
    found, said = nightly.run(seconds=0.01)
    assert found == 0
    assert "has not finished, and goes on" in said
    assert nightly.lines("end") == Counter(tasks(12))


@pytest.mark.parametrize("kind", ["threaded", "async", "sequential"])
def test_what_does_not_end_in_time_is_interrupted_and_runs_again(program, kind):
    nightly = program(executor=kind, tasks=2, seconds=120, width=2, runner={"grace_seconds": 0.2})
    process = nightly.start()
    nightly.wait_for("begin", 1)
    process.terminate()

    assert nightly.end(process)[0] == 143

    assert nightly.lines("end") == Counter()
    assert nightly.run(seconds=0.01)[0] == 0
    assert nightly.lines("end") == Counter(tasks(2))


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_signal_waits_for_nothing(program, kind):
    nightly = program(executor=kind, tasks=2, seconds=120, width=2, runner={"grace_seconds": 3600})
    process = nightly.start()
    nightly.wait_for("begin", 1)
    process.send_signal(signal.SIGINT)
    line = ""
    while "nothing more is started" not in line:
        line = process.stderr.readline()
        assert line
    process.terminate()

    assert nightly.end(process)[0] == 130  # the first one says why it ends
    assert nightly.run(seconds=0.01)[0] == 0


def test_an_interruption_is_no_crash_however_often_it_comes(program):
    nightly = program(executor="threaded", tasks=1, seconds=120, runner={"grace_seconds": 0})
    for attempt in range(1, 6):
        process = nightly.start()
        nightly.wait_for("begin", attempt)
        process.terminate()
        assert nightly.end(process)[0] == 143

    assert nightly.run(seconds=0)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signals_at_any_moment_under_load_lose_nothing(program, kind, number):
    moments = random.Random(f"{kind} {number}")
    nightly = program(executor=kind, tasks=150, seconds=0.01, width=25, runner={"resume_failed": True})
    rounds = killed = 0
    while not nightly.has_completed():  # the signal may come when it has, and before the process has ended
        rounds += 1
        assert rounds < 100
        before = nightly.lines("begin").total()
        process = nightly.start()
        if rounds % 4:  # else at some moment of its start
            while nightly.lines("begin").total() == before and process.poll() is None:
                time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.5))
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE)
        status = process.returncode
        if number is signal.SIGINT and "KeyboardInterrupt" in said:
            assert " INFO " not in said  # Python was loading still
            continue
        assert "Traceback" not in said
        killed += status == -signal.SIGKILL
        if number is signal.SIGKILL and status == 1:
            assert "the process died in 3 starts of this task" in said  # it looks guilty, and is tried once more
            continue
        assert status in {0, 128 + number, -number}

    begun, ended = nightly.lines("begin"), nightly.lines("end")
    assert set(ended) == set(tasks(150))
    if number is signal.SIGKILL:
        workers = {"sequential": 1, "threaded": 4, "async": 150}[kind]
        assert sum(begun.values()) - 150 <= killed * workers
    else:
        assert begun == ended == Counter(tasks(150))


def test_a_killed_run_goes_on(program):
    nightly = program(tasks=9, seconds=0.2)
    process = nightly.start()
    nightly.wait_for("end", 4)
    process.kill()
    assert nightly.end(process)[0] == -signal.SIGKILL
    before = nightly.lines("end")

    assert nightly.run()[0] == 0

    repeated = nightly.lines("end") - Counter(tasks(9))
    assert set(nightly.lines("end")) == set(tasks(9))
    assert sum(repeated.values()) <= 4
    assert sum((nightly.lines("end") - before).values()) < 9


@pytest.mark.parametrize("own", [False, True])
def test_an_interrupt_after_the_end_leaves_no_traceback(own):
    handler = "signal.signal(signal.SIGINT, lambda *_: print('mine'))" if own else ""
    text = f"""
import os, signal
from flowweaver import Task, Workflow, WorkflowRunner
{handler}
workflow = Workflow("w")
workflow.add_task(Task("a", lambda: 1))
try:
    WorkflowRunner(workflow).main()
finally:
    os.kill(os.getpid(), signal.SIGINT)
"""
    process = subprocess.run(
        [sys.executable, "-c", text], check=False, capture_output=True, text=True, timeout=PATIENCE
    )

    assert (process.returncode, process.stdout) == ((0, "mine\n") if own else (-signal.SIGINT, ""))
    assert "INFO" in process.stderr
    assert "Traceback" not in process.stderr


def test_an_interrupt_that_is_ignored_from_outside_stays_ignored(program):
    nightly = program(tasks=3, seconds=0.3, width=1)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for what it runs in the background
    try:
        process = nightly.start()
    finally:
        signal.signal(signal.SIGINT, before)
    nightly.wait_for("begin", 1)
    process.send_signal(signal.SIGINT)

    assert nightly.end(process)[0] == 0


def test_handlers_are_put_back():
    def mine(*_):
        """Somebody else's."""

    before = {number: signal.signal(number, mine) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert WorkflowRunner(simple({"a": lambda: signal.getsignal(signal.SIGTERM) is mine and 1 / 0})).run() == 0
        assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGINT) is mine
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_in_another_thread_it_runs_without_signals_and_stop_ends_it():
    begun, statuses = threading.Event(), []

    def body():
        begun.set()
        current_task().wait(0.2)
        return 1

    workflow = simple({"a": body})
    workflow.add_task(Task("b", print), depends_on=["a"])
    runner = WorkflowRunner(workflow)
    thread = threading.Thread(target=lambda: statuses.append(runner.run()))
    thread.start()
    assert begun.wait(PATIENCE)
    runner.stop()
    thread.join(PATIENCE)

    assert statuses == [143]
    assert [task.status for task in workflow.tasks.values()] == [TaskStatus.COMPLETED, TaskStatus.PENDING]
    assert workflow.status is WorkflowStatus.PENDING
    assert runner.run() == 0  # the same objects go on


def test_a_stop_before_it_has_begun_is_not_lost(tmp_path):
    class Slow(SQLiteStateStore):
        @contextlib.contextmanager
        def opened(self, *, exclusive=False):
            opening.set()
            assert stopped.wait(PATIENCE)
            with super().opened(exclusive=exclusive) as store:
                yield store

    opening, stopped, ran = threading.Event(), threading.Event(), []
    executor = ThreadedExecutor(state_store=Slow(tmp_path / "state.db"))
    runner = WorkflowRunner(simple({"a": lambda: ran.append(1)}), executor)
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(runner.run()))
    thread.start()
    assert opening.wait(PATIENCE)
    runner.stop()
    stopped.set()
    thread.join(PATIENCE)

    assert statuses == [143]
    assert ran == []


# --------------------------------------------------------------------------------------------------------- the lock


def test_a_second_runner_on_the_same_store_says_who_has_it_and_comes_back_with_75(program):
    nightly = program(tasks=6, seconds=0.3, width=1)
    first = nightly.start()
    nightly.wait_for("begin", 1)

    status, said = nightly.run()

    assert status == 75
    (line,) = said.splitlines()
    assert f"is held by pid {first.pid} on {socket.gethostname()}" in line
    assert nightly.end(first)[0] == 0
    assert nightly.lines("begin") == Counter(tasks(6))


def test_a_run_that_this_process_has_under_way_is_75_too(caplog):
    begun, goes_on = threading.Event(), threading.Event()

    def body():
        begun.set()
        assert goes_on.wait(PATIENCE)

    workflow = simple({"a": body})
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(WorkflowRunner(workflow).run()))
    thread.start()
    assert begun.wait(PATIENCE)

    assert WorkflowRunner(workflow).run() == 75
    goes_on.set()
    thread.join(PATIENCE)
    assert statuses == [0]
    assert "is being executed already" in caplog.text


def test_a_store_that_can_not_be_read_is_a_failure_in_one_line(program, tmp_path):
    (tmp_path / "state.db").write_bytes(b"no database at all " * 1000)

    status, said = program(tasks=1).run()

    assert status == 1
    assert len(said.splitlines()) == 1


# ---------------------------------------------------------------------------------------------------------- the log


def test_each_step_has_a_line_and_no_line_has_a_result(program):
    status, said = program(tasks=3, width=1).run()

    assert status == 0
    told = [re.sub(r"^\S+ (\w+) (.*?)( after \d+\.\d{3} s)?$", r"\1 \2\3", line) for line in said.splitlines()]
    steps = [re.sub(r" after \d+\.\d{3} s", " after …", line) for line in told if "its run is" not in line]
    assert steps == [
        "INFO workflow 'nightly' has started",
        "INFO task 't0' has started",
        "INFO task 't0' has completed after …",
        "INFO task 't1' has started",
        "INFO task 't1' has completed after …",
        "INFO task 't2' has started",
        "INFO task 't2' has completed after …",
        "INFO workflow 'nightly' has completed after …",
    ]
    assert "SECRET-RESULT" not in said


def test_retries_failures_and_what_is_skipped_are_told(caplog):
    caplog.set_level(logging.INFO, logger="flowweaver.runner")

    def broken():
        raise ValueError("no route\nto host " + "x" * 5000)

    workflow = Workflow("nightly", failure_policy="continue")
    from flowweaver import RetryPolicy

    workflow.add_task(Task("fetch\nINFO forged", broken, retries=1, retry=RetryPolicy(delay=0)))
    workflow.add_task(Task("report", print), depends_on=["fetch\nINFO forged"])

    assert WorkflowRunner(workflow, SequentialExecutor()).run() == 1

    lines = [record.getMessage() for record in caplog.records]
    assert all("\n" not in line and len(line) < 1500 for line in lines)
    assert any(r"task 'fetch\nINFO forged': attempt 1 failed, another one follows: " in line for line in lines)
    assert any(r"task 'fetch\nINFO forged' has started (attempt 2)" in line for line in lines)
    assert any(r"has failed in attempt 2 after" in line and r"no route\nto host" in line for line in lines)
    assert any("task 'report' was skipped" in line for line in lines)


def test_a_log_that_is_set_up_already_is_left_alone(tmp_path):
    code = (
        "import logging, sys; logging.basicConfig(format='MINE %(message)s', level=logging.INFO)\n"
        "from flowweaver import *\n"
        "w = Workflow('w'); w.add_task(Task('a', print)); WorkflowRunner(w).main()"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert done.stderr.splitlines()
    assert all(line.startswith("MINE ") for line in done.stderr.splitlines())


# -------------------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    "told",
    [{"port": -1}, {"port": 70000}, {"port": True}, {"port": "5000"}, {"grace_seconds": -1}, {"executor": print}],
    ids=lambda told: next(iter(told)),
)
def test_what_makes_no_sense_is_refused_when_it_is_made(told):
    with pytest.raises(ArgumentError):
        WorkflowRunner(Workflow("w"), **told)


def test_what_can_not_run_as_it_is_comes_back_with_2(caplog):
    assert WorkflowRunner(simple({"a": lambda: 1}, isolation="process")).run() == 2
    assert "move it into a module" in caplog.text or "at the top of a module" in caplog.text


def test_an_object_that_has_completed_runs_again_under_another_id(tmp_path):
    ran = []
    workflow = simple({"a": lambda: ran.append(1)})
    executor = ThreadedExecutor(state_store=SQLiteStateStore(tmp_path / "state.db"))

    assert [WorkflowRunner(workflow, executor, run_id=day).run() for day in ("monday", "tuesday")] == [0, 0]

    assert ran == [1, 1]
