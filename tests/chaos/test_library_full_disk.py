"""A disk that fills up while a program executes: it says so once, waits, and goes on when there is room again.

The disk is a small tmpfs, which only root can mount; in CI a test that can not do that fails.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import flowweaver
from flowweaver import Task, TaskStatus, Workflow

PATIENCE_SECONDS = 60.0
SIZE = 40
PROGRAM = """
import os, sys
import flowweaver
from flowweaver import Task, Workflow

kind, store, disk, log, size = sys.argv[1:]
out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def body_of(number):
    def body(**before):
        os.write(out, b"%d\\n" % number)
        return {"number": number, "filling": chr(97 + number % 26) * 100_000}
    return body

workflow = Workflow("filling")
for number in range(int(size)):
    workflow.add_task(Task(f"t{number}", body_of(number)), [f"t{number - 1}"] if number else [])
getattr(flowweaver, kind)(state_store=getattr(flowweaver, store)(disk + "/state")).execute(workflow)
"""

both_stores = pytest.mark.parametrize("store", ["JSONStateStore", "SQLiteStateStore"])


class SmallDisk:
    """A mounted file system of two megabytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "flowweaver-test", path],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            say = pytest.fail if os.environ.get("CI") else pytest.skip
            say(f"no file system can be mounted here: {done.stderr.strip()}")

    def grow(self) -> None:
        subprocess.run(["mount", "-o", "remount,size=64m", self.path], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=True)


class Filling:
    """A program that writes more than the disk can hold."""

    def __init__(self, folder: Path, disk: SmallDisk, kind: str, store: str) -> None:
        self.store, self.disk = store, disk
        self.log, self.errors = folder / "log", folder / "errors"
        program = folder / "program.py"
        program.write_text(PROGRAM)
        self._command = [sys.executable, program, kind, store, disk.path, self.log, str(SIZE)]

    def start(self) -> subprocess.Popen[bytes]:
        with self.errors.open("w") as errors:
            return subprocess.Popen(self._command, stderr=errors)

    def started(self) -> list[int]:
        """The bodies that were started, in order."""
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []

    def complaints(self) -> list[str]:
        """What the program, which has set up no logging, has written about its store."""
        return [line for line in self.errors.read_text().splitlines() if "can not be used" in line]

    def fill(self) -> subprocess.Popen[bytes]:
        """Start it, and wait until the disk is full."""
        process = self.start()
        until = time.monotonic() + PATIENCE_SECONDS
        while not self.complaints():
            assert process.poll() is None, self.errors.read_text()
            assert time.monotonic() < until, "the disk did not fill up"
            time.sleep(0.01)
        return process

    def states(self) -> Workflow:
        """The workflow, as the state file says that it stands."""
        workflow = Workflow("filling")
        for number in range(SIZE):
            workflow.add_task(Task(f"t{number}", int))
        getattr(flowweaver, self.store)(self.disk.path / "state").load_state(workflow)
        return workflow

    def check_completed(self) -> None:
        for number, task in enumerate(self.states().tasks.values()):
            assert task.status is TaskStatus.COMPLETED
            assert task.result == {"number": number, "filling": chr(97 + number % 26) * 100_000}


@pytest.fixture
def disk(tmp_path):
    made = SmallDisk(tmp_path / "disk")
    yield made
    made.unmount()


@both_stores
@pytest.mark.parametrize("kind", ["SequentialExecutor", "ThreadedExecutor", "AsyncExecutor"])
def test_a_program_waits_while_the_disk_is_full_and_goes_on_by_itself(tmp_path, disk, kind, store):
    filling = Filling(tmp_path, disk, kind, store)
    process = filling.fill()
    try:
        before = filling.started()
        time.sleep(1.2)  # it tries again twice a second
        assert process.poll() is None
        assert filling.started() == before, "something was started that could not be recorded"
        assert 0 < len(before) < SIZE
        disk.grow()
        assert process.wait(PATIENCE_SECONDS) == 0, filling.errors.read_text()
    finally:
        process.kill()
        process.wait()
    assert filling.started() == list(range(SIZE)), "a body has run twice, or out of order"
    [complaint] = filling.complaints()
    assert "nothing is started until it can" in complaint
    assert "full" in complaint
    filling.check_completed()


@both_stores
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_that_is_stopped_while_the_disk_is_full_has_lost_nothing(tmp_path, disk, store, number):
    filling = Filling(tmp_path, disk, "ThreadedExecutor", store)
    process = filling.fill()
    process.send_signal(number)
    assert process.wait(PATIENCE_SECONDS) == -number
    before = filling.started()
    disk.grow()
    recorded = [task.name for task in filling.states().tasks.values() if task.status is TaskStatus.COMPLETED]
    assert recorded[: len(before) - 1] == [f"t{number}" for number in before[:-1]], "the next was started too early"
    again = filling.start()
    assert again.wait(PATIENCE_SECONDS) == 0, filling.errors.read_text()
    times = Counter(filling.started())
    assert times.keys() == set(range(SIZE))
    assert {number for number, count in times.items() if count > 1} <= {before[-1]} - {
        int(name[1:]) for name in recorded
    }
    filling.check_completed()
