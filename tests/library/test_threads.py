"""Twenty threads, one executor, one store: right results, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import gc, os, random, sys, threading, time, warnings
from pathlib import Path
import flowweaver
from flowweaver import Task, Workflow, WorkflowRunningError

kind, store, path, seconds, interval = sys.argv[1:6]
if float(interval):
    sys.setswitchinterval(float(interval))
state = None
if store != "none":
    state = {"json": flowweaver.JSONStateStore, "sqlite": flowweaver.SQLiteStateStore}[store](path)
executor = getattr(flowweaver, kind)(state_store=state)
THREADS, until = 20, time.monotonic() + float(seconds)
errors, done, refused = [], [0] * THREADS, [0] * THREADS
ran = {}

def build(owner, number):
    workflow = Workflow(f"owner-{owner}")
    def body(step):
        def run(**results):
            key = (owner, number, step)
            ran[key] = ran.get(key, 0) + 1
            return {"owner": owner, "number": number, "sum": step + sum(each["sum"] for each in results.values())}
        return run
    workflow.add_task(Task("t0", body(0)))
    for step in range(1, 5):
        workflow.add_task(Task(f"t{step}", body(step)), [f"t{other}" for other in range(step)])
    return workflow

EXPECTED = {"t0": 0, "t1": 1, "t2": 3, "t3": 7, "t4": 15}

def check(workflow, owner, number):
    for task, total in EXPECTED.items():
        result = workflow.get_task_result(task)
        if result != {"owner": owner, "number": number, "sum": total}:
            errors.append((owner, number, task, result))

def work(owner):
    dice = random.Random(owner)
    number = 0
    try:
        while time.monotonic() < until:
            mine = build(owner, number)
            executor.execute(mine, run_id=f"run-{number}")
            check(mine, owner, number)
            number += 1
            done[owner] = number
            if state is None:
                continue
            other = dice.randrange(THREADS)
            if not done[other]:
                continue
            wanted = dice.randrange(done[other])
            theirs = build(other, wanted)
            try:
                executor.execute(theirs, run_id=f"run-{wanted}")
            except WorkflowRunningError:
                refused[owner] += 1
                continue
            check(theirs, other, wanted)
    except BaseException as error:
        errors.append((owner, repr(error)))

def descriptors():
    return len(os.listdir("/proc/self/fd"))

executor.execute(build(999, 0), run_id="warm-up")
gc.collect()
before = threading.active_count(), descriptors()
threads = [threading.Thread(target=work, args=(owner,)) for owner in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
gc.collect()
after = threading.active_count(), descriptors()
twice = {key: times for key, times in ran.items() if times > 1}
print("workflows", sum(done), "refused", sum(refused), "threads and descriptors", before, after)
assert not errors, errors[:5]
assert not twice, dict(list(twice.items())[:5])
assert after == before, (before, after)
assert all(done), done
"""


def stormed(tmp_path: Path, kind: str, store: str, seconds: float, interval: float) -> str:
    program = tmp_path / "storm.py"
    program.write_text(PROGRAM)
    state = tmp_path / "state"
    command = [sys.executable, "-W", "error", str(program), kind, store, str(state), str(seconds), str(interval)]
    environment = {**os.environ, "PYTHONDEVMODE": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=seconds + 120)
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert "Warning" not in ended.stderr, ended.stderr[-4000:]
    assert ended.stderr == ""
    return ended.stdout.strip()


@pytest.mark.parametrize("store", ["none", "json", "sqlite"])
@pytest.mark.parametrize("kind", ["SequentialExecutor", "ThreadedExecutor", "AsyncExecutor"])
def test_twenty_threads_share_one_executor_and_one_store_for_a_moment(tmp_path, kind, store):
    stormed(tmp_path, kind, store, 1.0, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("store", ["json", "sqlite"])
def test_twenty_threads_share_one_executor_and_one_store_for_a_minute(tmp_path, store, measured):
    measured(f"20 threads, 60 s, {store}: {stormed(tmp_path, 'ThreadedExecutor', store, 60.0, 0.0)}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["SequentialExecutor", "ThreadedExecutor", "AsyncExecutor"])
def test_twenty_threads_with_a_switch_at_every_moment(tmp_path, kind, measured):
    told = stormed(tmp_path, kind, "sqlite", 20.0, 1e-6)
    measured(f"20 threads, 20 s, switch interval 1e-6, {kind}: {told}")
