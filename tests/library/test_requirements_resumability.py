"""Requirement by requirement: that nothing which has completed is done again, whatever ended the program before."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from flowweaver import StoreLocked, Task, TaskStatus, ThreadedExecutor, Workflow, WorkflowExecutionError

PATIENCE = 60


def test_the_second_start_of_a_program_calls_nothing_and_knows_everything(executor_of, store_of):
    calls = []

    def build():
        workflow = Workflow("three")
        workflow.add_task(Task("a", lambda: calls.append("a") or {"zero": 0, "none": None, "empty": []}))
        workflow.add_task(Task("b", lambda a: calls.append("b") or a["zero"]), ["a"])
        workflow.add_task(Task("c", lambda **found: calls.append("c") or found), ["a", "b"])
        return workflow

    first, second = build(), build()
    executor_of(state_store=store_of()).execute(first)
    executor_of(state_store=store_of()).execute(second)

    assert calls == ["a", "b", "c"]
    assert second.results == first.results
    assert type(second.get_task_result("b")) is int
    assert {one.status for one in second.tasks.values()} == {TaskStatus.COMPLETED}


def test_a_program_that_fails_again_and_again_completes_each_task_once(executor_of, store_of):
    chance, completed, starts = Random(4), Counter(), 0
    needed = {
        f"t{number}": [f"t{one}" for one in {number // 2, number - 3} if 0 <= one < number] for number in range(60)
    }

    def body(name, results):
        if chance.random() < 0.15:
            raise ValueError("not this time")
        completed[name] += 1
        return 1 + sum(results.values())

    def build():
        workflow = Workflow("stubborn")
        for name, depends_on in needed.items():
            workflow.add_task(Task(name, lambda name=name, **results: body(name, results)), depends_on)
        return workflow

    while len(completed) < len(needed):
        starts += 1
        workflow = build()
        try:
            executor_of(state_store=store_of()).execute(workflow)
        except WorkflowExecutionError:
            assert len(completed) < len(needed)

    expected: dict[str, int] = {}
    for name, depends_on in needed.items():
        expected[name] = 1 + sum(expected[each] for each in depends_on)
    assert starts > 3
    assert set(completed.values()) == {1}
    assert workflow.results == expected


PROGRAM = """
    import os, random, signal, sys, threading
    from flowweaver import AsyncExecutor, SequentialExecutor, ThreadedExecutor
    from flowweaver import JSONStateStore, SQLiteStateStore, Task, Workflow

    left = random.Random(int(sys.argv[1])).randint(40, 80)
    lock = threading.Lock()

    def body(name, results):
        global left
        with lock:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.{signal})
        with open("ran", "a") as file:
            file.write(name + "\\n")
        return 1 + sum(results.values())

    workflow = Workflow("killed")
    for number in range(150):
        needed = sorted({{one for one in (number // 2, number - 5) if 0 <= one < number}})
        name = f"t{{number}}"
        workflow.add_task(Task(name, lambda name=name, **results: body(name, results)), [f"t{{one}}" for one in needed])
    {executor}.execute(workflow)
    print(sum(workflow.results.values()))
"""
EXECUTORS = {
    "SequentialExecutor(state_store={})": 1,
    "ThreadedExecutor(4, {})": 4,
    "AsyncExecutor(max_concurrency=4, state_store={})": 4,
}
STORES = ['JSONStateStore("state.json")', 'SQLiteStateStore("state.db")']


def start(folder: Path, executor: str, seed: int, stopped_by: str) -> subprocess.CompletedProcess[str]:
    program = textwrap.dedent(PROGRAM.format(executor=executor, signal=stopped_by))
    command = [sys.executable, "-c", program, str(seed)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)


def expected_sum() -> int:
    values: list[int] = []
    for number in range(150):
        values.append(1 + sum(values[one] for one in {number // 2, number - 5} if 0 <= one < number))
    return sum(values)


@pytest.mark.slow
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_program_that_is_killed_again_and_again_repeats_no_more_than_was_running(tmp_path, executor, store):
    ended = [start(tmp_path, executor.format(store), seed, "SIGKILL") for seed in range(6)]

    kills = sum(one.returncode == -signal.SIGKILL for one in ended)
    assert kills >= 2
    assert ended[-1].stdout == f"{expected_sum()}\n", ended[-1].stderr
    ran = (tmp_path / "ran").read_text().split()
    assert set(ran) == {f"t{number}" for number in range(150)}
    assert len(ran) <= 150 + kills * EXECUTORS[executor]


@pytest.mark.slow
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_program_that_is_interrupted_goes_on_and_repeats_nothing(tmp_path, executor, store):
    ended = [start(tmp_path, executor.format(store), seed, "SIGINT") for seed in range(6)]

    # It may be noticed when everything is done only: then no later start has enough left to be interrupted.
    assert sum(one.returncode != 0 and "KeyboardInterrupt" in one.stderr for one in ended) >= 1
    assert ended[-1].stdout == f"{expected_sum()}\n", ended[-1].stderr
    ran = Counter((tmp_path / "ran").read_text().split())
    assert len(ran) == 150
    # Where bodies run in the caller's thread the interrupt lands in one of them.
    assert ran.total() <= 150 + (len(ended) if executor.startswith("Sequential") else 0)


def test_a_query_by_hand_answers_which_task_stands_where(tmp_path, executor_of):
    from flowweaver import SQLiteStateStore

    workflow = Workflow("queried")
    workflow.add_task(Task("good", lambda: 1))
    workflow.add_task(Task("bad", lambda: 1 / 0), ["good"])
    with pytest.raises(WorkflowExecutionError):
        executor_of(state_store=SQLiteStateStore(str(tmp_path / "state.db"))).execute(workflow)

    with sqlite3.connect(f"file:{tmp_path / 'state.db'}?mode=ro", uri=True) as connection:
        rows = dict(connection.execute("SELECT task_name, status FROM tasks"))
    connection.close()

    assert {name: status.casefold() for name, status in rows.items()} == {"good": "completed", "bad": "failed"}


def test_a_second_process_is_told_that_the_first_one_holds_the_store(tmp_path, store_of):
    store = store_of()
    (path,) = [getattr(store, name) for name in ("file_path", "db_path") if hasattr(store, name)]
    other = textwrap.dedent(f"""
        from flowweaver import *
        workflow = Workflow("other")
        workflow.add_task(Task("t", lambda: print("ran")))
        store = {type(store).__name__}({str(path)!r})
        try:
            SequentialExecutor(state_store=store).execute(workflow)
        except {StoreLocked.__name__} as error:
            print("refused", {path.name!r} in str(error))
        print(store.load_task_state("before")["result"])
    """)

    def ask(before):
        command = [sys.executable, "-c", other]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        return [ended.stdout, ended.stderr]

    workflow = Workflow("first")
    workflow.add_task(Task("before", lambda: 7))
    workflow.add_task(Task("ask", ask), ["before"])
    ThreadedExecutor(state_store=store).execute(workflow)

    assert workflow.get_task_result("ask") == ["refused True\n7\n", ""]
