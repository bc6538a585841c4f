"""A backup under full load, the volume wiped, the backup restored.

All that was acknowledged before the backup's instant is there, nothing of what was acknowledged after it is claimed,
and what is there does not run again.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flowweaver.stores.backups import origin_of
from flowweaver.stores.checks import check
from flowweaver.stores.looking import looking_at

TASKS = 20_000
BEFORE, AFTER = 3_000, 1_000  # acknowledged before the backup is begun, and after it has ended

PROGRAM = """
import os, sys
import flowweaver
from flowweaver import Task, TaskStatus, Workflow

store, name, tasks = sys.argv[1:4]
journal = os.open("journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def body_of(number):
    def body(**results):
        os.write(journal, b"%d\\n" % number)
        return [number, "x" * 500]
    return body

def acknowledge(event):
    if event.status is TaskStatus.COMPLETED and event.task:
        os.write(1, event.task[1:].encode() + b"\\n")

workflow = Workflow("load")
for number in range(int(tasks)):
    below = [f"t{number - 1}"] if number % 10 else []
    workflow.add_task(Task(f"t{number}", body_of(number)), below)
workflow.add_listener(acknowledge)
executor = flowweaver.ThreadedExecutor(max_workers=4, state_store=getattr(flowweaver, store)("volume/" + name))
executor.execute(workflow)
"""
STORES = {"sqlite": ("SQLiteStateStore", "state.db"), "json": ("JSONStateStore", "state.json")}


class Load:
    """The program, and what it has acknowledged."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.acknowledged: list[int] = []
        self._changed = threading.Condition()
        command = [sys.executable, "-c", PROGRAM, *STORES[kind], str(TASKS)]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.acknowledged.append(int(line))
                self._changed.notify_all()

    def await_more(self, count: int) -> int:
        """Wait until so many more have been acknowledged; gives how many have been by now."""
        with self._changed:
            wanted = len(self.acknowledged) + count
            assert self._changed.wait_for(lambda: len(self.acknowledged) >= wanted, timeout=300)
            return len(self.acknowledged)

    def end(self) -> None:
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


def state(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "flowweaver", "state", *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


def journal(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "journal").read_text().split()]


@pytest.mark.slow
@pytest.mark.parametrize("kind", STORES)
def test_what_was_acknowledged_before_a_backup_is_there_and_nothing_that_was_after_it(kind, tmp_path, measured):
    name = STORES[kind][1]
    volume = tmp_path / "volume"
    volume.mkdir()
    load = Load(tmp_path, kind)
    try:
        before = load.await_more(BEFORE)
        state(tmp_path, "backup", "backup", "--state", f"volume/{name}")
        during = load.await_more(1)
        load.await_more(AFTER)
        assert load.process.poll() is None, "it was still at work"
    finally:
        load.process.send_signal(signal.SIGKILL)
        load.end()
    acknowledged = load.acknowledged
    shutil.rmtree(volume)
    volume.mkdir()

    state(tmp_path, "restore", "backup", "--state", f"volume/{name}")

    with looking_at(volume / name) as look:
        [(key, _, _)] = look.list_runs()
        stored = look.read_run(key)
        results = look.read_results(key, range(TASKS))
        there = {at for at, task in enumerate(stored.tasks) if task.phase == "completed"}
        assert look.position().sequence == origin_of(tmp_path / "backup").sequence
    missing = set(acknowledged[:before]) - there
    claimed = there & set(acknowledged[during:])
    assert missing == set(), "acknowledged before the backup was begun"
    assert claimed == set(), "acknowledged after the backup had ended"
    assert {at: json.loads(result)[0] for at, result in results.items()} == {at: at for at in there}
    assert check(volume / name).problems == ()

    ran = len(journal(tmp_path))
    load = Load(tmp_path, kind)
    load.end()
    assert load.process.returncode == 0
    again = journal(tmp_path)[ran:]
    assert set(again) & there == set(), "what is there does not run again"
    assert sorted(again) == sorted(set(range(TASKS)) - there), "all else runs once"
    size = (tmp_path / "backup").stat().st_size
    measured(
        f"{before} acknowledged before the backup, {len(there)} in it, {during - before} acknowledged meanwhile, "
        f"{len(acknowledged)} before the volume was wiped; after the restore {len(again)} of {TASKS} ran, none again; "
        f"the backup had {size >> 10} KiB"
    )
