"""Ctrl-C: nothing more is handed out, the run can be gone on with, and the interrupt is raised again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import flowweaver
from flowweaver import SequentialExecutor, SQLiteStateStore, Task, Workflow, WorkflowStatus

PROGRAM = """
import sys, time, pathlib
import flowweaver
from flowweaver import Task, Workflow

kind, store, folder, slow = sys.argv[1:5]
folder = pathlib.Path(folder)
state = {{"json": flowweaver.JSONStateStore, "sqlite": flowweaver.SQLiteStateStore}}[store](str(folder / "state"))
workflow = Workflow("w")

def body(number):
    with open(folder / "log", "a") as log:
        log.write(f"{{number}}\\n")
    print(number, flush=True)
    time.sleep(float(slow))

for number in range(20):
    before = [f"t{{number - 1}}"] if number else []
    workflow.add_task(Task(f"t{{number}}", lambda number=number, **_: body(number)), before)
executor = getattr(flowweaver, kind)(state_store=state)
try:
    executor.execute(workflow)
except KeyboardInterrupt:
    print("interrupted", workflow.status.value, flush=True)
    sys.exit(130)
print("done", flush=True)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM.replace("{{", "{").replace("}}", "}")))
    return path


@pytest.mark.parametrize("store", ["json", "sqlite"])
@pytest.mark.parametrize("kind", ["SequentialExecutor", "ThreadedExecutor", "AsyncExecutor"])
def test_after_ctrl_c_the_run_goes_on_where_it_was(program, tmp_path, kind, store):
    command = [sys.executable, str(program), kind, store, str(tmp_path)]
    with subprocess.Popen([*command, "0.2"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "3":
            assert process.poll() is None
        time.sleep(0.05)  # into the body
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130, rest
    assert "interrupted" in rest
    assert "done" not in rest
    second = subprocess.run([*command, "0"], capture_output=True, text=True, check=True)
    assert second.stdout.endswith("done\n")
    ran = (tmp_path / "log").read_text().split()
    assert sorted(set(map(int, ran))) == list(range(20))
    repeated = sorted({number for number in ran if ran.count(number) > 1})
    assert len(repeated) <= 1, "more than the body that was interrupted ran again"


def test_an_interrupt_in_a_body_in_the_callers_thread_comes_out_of_execute(tmp_path):
    interrupted = [True]
    store = SQLiteStateStore(str(tmp_path / "state.db"))

    def body():
        if interrupted:
            signal.raise_signal(signal.SIGINT)
        return 1

    workflow = Workflow("w")
    workflow.add_task(Task("a", body))
    workflow.add_task(Task("b", lambda a: a + 1), ["a"])
    with pytest.raises(KeyboardInterrupt):
        SequentialExecutor(state_store=store).execute(workflow)
    assert workflow.status not in {WorkflowStatus.COMPLETED, WorkflowStatus.FAILED}
    interrupted.clear()
    SequentialExecutor(state_store=store).execute(workflow)
    assert workflow.get_task_result("b") == 2


def test_one_interrupted_execution_leaves_the_others_of_its_executor_alone():
    executor = flowweaver.ThreadedExecutor(max_workers=2)
    gate = threading.Event()
    other = Workflow("other")
    other.add_task(Task("a", lambda: gate.wait(20)))
    other.add_task(Task("b", lambda a: "went on"), ["a"])
    thread = threading.Thread(target=executor.execute, args=(other,))
    thread.start()
    mine = Workflow("mine")
    mine.add_task(Task("a", lambda: os.kill(os.getpid(), signal.SIGINT) or time.sleep(0.5)))
    mine.add_task(Task("b", lambda a: 1), ["a"])
    with pytest.raises(KeyboardInterrupt):
        executor.execute(mine)
    gate.set()
    thread.join(20)
    assert other.get_task_result("b") == "went on"
    assert mine.get_task_status("b") is flowweaver.TaskStatus.PENDING
