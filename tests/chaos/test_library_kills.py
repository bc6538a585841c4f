"""`kill -9` at any moment, again and again: nothing that was recorded as completed runs again, and nothing is lost.

Each life is a program that goes on with one workflow. The test kills it, looks into the state file, and holds the next
life to what stood there.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import flowweaver
from flowweaver import Task, TaskStatus, Workflow

WORKERS = 4
PROGRAM = """
import asyncio, os, random, sys, time
import flowweaver
from flowweaver import Task, Workflow

kind, store, folder, run_id, seed, size, pause = sys.argv[1:8]
log = os.open(folder + "/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def note(what, name):
    os.write(log, f"{what} {name}\\n".encode())

def body_of(name):
    def body(**results):
        note("start", name)
        time.sleep(float(pause) * random.random())
        note("end", name)
        return {"name": name, "below": sum(each["below"] + 1 for each in results.values())}
    async def waits(**results):
        note("start", name)
        await asyncio.sleep(float(pause) * random.random())
        note("end", name)
        return {"name": name, "below": sum(each["below"] + 1 for each in results.values())}
    return waits if kind == "AsyncExecutor" and hash(name) % 2 else body

dice = random.Random(int(seed))
workflow = Workflow("storm")
for number in range(int(size)):
    below = [f"t{each}" for each in dice.sample(range(number), min(number, 2))]
    workflow.add_task(Task(f"t{number}", body_of(f"t{number}")), below)
state = {"json": flowweaver.JSONStateStore, "sqlite": flowweaver.SQLiteStateStore}[store](folder + "/state")
limits = {"ThreadedExecutor": {"max_workers": 4}, "AsyncExecutor": {"max_concurrency": 4}}
getattr(flowweaver, kind)(state_store=state, **limits.get(kind, {})).execute(workflow, run_id=run_id)
print("completed", sum(task.result["below"] for task in workflow.tasks.values()), flush=True)
"""


class Storm:
    """One state file, and the programs that work on it."""

    def __init__(self, folder: Path, kind: str, store: str, size: int, pause: float, prelude: str = "") -> None:
        self.folder, self.kind, self.store, self.size, self.pause = folder, kind, store, size, pause
        self.run = 0
        self.repeated = 0
        self.program = folder / "program.py"
        self.program.write_text(prelude + PROGRAM)
        self._read = 0

    def start(self) -> subprocess.Popen[str]:
        seed = str(self.run)
        arguments = [self.kind, self.store, str(self.folder), f"run-{self.run}", seed, str(self.size), str(self.pause)]
        return subprocess.Popen(
            [sys.executable, str(self.program), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def lines(self) -> list[tuple[str, str]]:
        """What bodies have written since this was asked last; what a kill has cut is no line."""
        log = self.folder / "log"
        text = log.read_bytes()[self._read :] if log.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        return [tuple(line.split()) for line in whole.decode().splitlines()]

    def recorded(self) -> set[str]:
        """The tasks of the present run that the state file says are completed."""
        state: flowweaver.BaseStateStore
        path = str(self.folder / "state")
        state = flowweaver.JSONStateStore(path) if self.store == "json" else flowweaver.SQLiteStateStore(path)
        workflow = Workflow("storm")
        for number in range(self.size):
            workflow.add_task(Task(f"t{number}", int))
        state.load_state(workflow)
        return {name for name, task in workflow.tasks.items() if task.status is TaskStatus.COMPLETED}

    def dependencies(self, name: str) -> list[str]:
        """What a task of the present run depends on: drawn as the program draws it."""
        dice = random.Random(self.run)
        drawn = {f"t{each}": dice.sample(range(each), min(each, 2)) for each in range(self.size)}
        return [f"t{each}" for each in drawn[name]]

    def check_file(self) -> None:
        """A file in SQLite's own eyes."""
        if self.store == "sqlite":
            with sqlite3.connect(f"file:{self.folder / 'state'}?mode=ro", uri=True) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            connection.close()


def storm(
    folder: Path,
    kind: str,
    store: str,
    kills: int,
    seed: int,
    *,
    prelude: str = "",
    number: signal.Signals = signal.SIGKILL,
) -> tuple[int, Counter[str]]:
    """Kill so often; gives how many kills hit a running body, and how often each body was started in excess."""
    dice = random.Random(seed)
    here = Storm(folder, kind, store, size=40, pause=0.15, prelude=prelude)
    hits = killed = 0
    done: set[str] = set()
    starts: Counter[str] = Counter()
    excess: Counter[str] = Counter()
    while killed < kills:
        lines: list[tuple[str, str]] = []
        with here.start() as process:
            try:
                deadline = time.monotonic() + 30
                while not lines and process.poll() is None and time.monotonic() < deadline:
                    lines += here.lines()
                    time.sleep(0.002)
                time.sleep(dice.uniform(0.0, 0.25))
                process.send_signal(number)
                said, complained = process.communicate()
            finally:
                process.kill()
        lines += here.lines()
        started = [name for what, name in lines if what == "start"]
        again = done.intersection(started)
        assert not again, f"recorded as completed, and run again: {sorted(again)}; seed {seed}"
        starts.update(started)
        running = Counter(started) - Counter(name for what, name in lines if what == "end")
        if process.returncode == -number:
            killed += 1
            hits += bool(running)
            assert sum(running.values()) <= (1 if kind == "SequentialExecutor" else WORKERS)
            here.check_file()
            now = here.recorded()
            assert done <= now, f"lost: {sorted(done - now)}; seed {seed}"
            for name in started:
                early = set(here.dependencies(name)) - now
                assert not early, f"{name} started before {early} was recorded as completed; seed {seed}"
            done = now
            continue
        # It was quicker than the kill: completed, or a task that was hit three times has failed as a crash loop.
        if process.returncode == 0:
            assert said.startswith("completed"), complained
            excess.update({f"{here.run}/{name}": times - 1 for name, times in starts.items() if times > 1})
            here.run += 1
            done, starts = set(), Counter()
        else:
            assert "CrashLoop" in complained or "killed" in complained or "process" in complained, complained
            done = here.recorded()
            if not started:  # a store that loses what it was told forgets each time that this run was resumed
                here.run += 1
                done, starts = set(), Counter()
    return hits, excess


KINDS = ["ThreadedExecutor", "AsyncExecutor"]
STORES = ["json", "sqlite"]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("kind", ["SequentialExecutor", *KINDS])
def test_a_few_kills_lose_nothing_and_repeat_nothing_that_was_recorded(tmp_path, kind, store):
    storm(tmp_path, kind, store, kills=4, seed=int.from_bytes(os.urandom(4)))


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("kind", ["SequentialExecutor", *KINDS])
def test_a_program_without_a_handler_may_be_ended_by_sigterm_as_well(tmp_path, kind, store):
    storm(tmp_path, kind, store, kills=2, seed=int.from_bytes(os.urandom(4)), number=signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_kills_lose_nothing_and_repeat_nothing_that_was_recorded(
    tmp_path, kind, store, measured: Callable[[str], None]
):
    seed = int.from_bytes(os.urandom(4))
    hits, excess = storm(tmp_path, kind, store, kills=100, seed=seed)
    repeated = sum(excess.values())
    measured(f"{kind}, {store}: {hits} of 100 kills with an attempt running, {repeated} bodies repeated, seed {seed}")
    assert hits >= 80
    assert repeated <= 100 * WORKERS


@pytest.mark.slow
@pytest.mark.parametrize("store", STORES)
def test_a_kill_after_900_of_1002_bodies_repeats_at_most_as_many_as_there_are_workers(tmp_path, store, measured):
    program = tmp_path / "fan.py"
    program.write_text(
        "import itertools, os, signal, sys, time\n"
        "import flowweaver\n"
        "from flowweaver import Task, Workflow\n"
        "folder, store, after = sys.argv[1:4]\n"
        "log = os.open(folder + '/log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        "count = itertools.count(1)\n"
        "def body(number):\n"
        "    def run():\n"
        "        if next(count) > int(after):\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "            time.sleep(9)\n"
        "        os.write(log, b'%d\\n' % number)\n"
        "    return run\n"
        "workflow = Workflow('fan')\n"
        "workflow.add_task(Task('first', body(0)))\n"
        "for number in range(1, 1001):\n"
        "    workflow.add_task(Task(f't{number}', body(number)), ['first'])\n"
        "workflow.add_task(Task('last', body(1001)), [f't{number}' for number in range(1, 1001)])\n"
        "state = {'json': flowweaver.JSONStateStore, 'sqlite': flowweaver.SQLiteStateStore}[store](folder + '/state')\n"
        "flowweaver.ThreadedExecutor(4, state_store=state).execute(workflow)\n"
    )
    command = [sys.executable, str(program), str(tmp_path), store]
    assert subprocess.run([*command, "900"], check=False).returncode == -signal.SIGKILL
    assert subprocess.run([*command, "100000"], check=False).returncode == 0
    ran = Counter((tmp_path / "log").read_text().split())
    repeated = sum(times - 1 for times in ran.values())
    measured(f"{store}: killed after 900 of 1,002 bodies, {repeated} ran again")
    assert len(ran) == 1002
    assert repeated <= WORKERS


SAYS_SO_TOO_EARLY = """
from flowweaver.stores import {store} as _Store
_commit, _waiting = _Store.commit, []
def _later(self, changes, processes=()):
    if _waiting:
        _commit(self, *_waiting.pop(0))
    _waiting.append((changes, processes))
_Store.commit = _later
"""


@pytest.mark.parametrize(("store", "name"), [("json", "JSONStore"), ("sqlite", "SQLiteStore")])
def test_a_store_that_lets_the_engine_act_before_it_has_committed_is_found_out(tmp_path, store, name):
    with pytest.raises(AssertionError, match="recorded as completed"):
        storm(tmp_path, "ThreadedExecutor", store, 100, seed=1, prelude=SAYS_SO_TOO_EARLY.format(store=name))
