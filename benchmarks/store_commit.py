"""What a commit of one step of a chain costs, beside the same rows and beside one row through bare apsw.

    python benchmarks/store_commit.py [STEPS] [FOLDER]

A step: one task completes with a result, the next one starts. Each step is measured three times, one after the other,
on three files in one folder, so that what else the disk does falls on all three. Prints medians in milliseconds and the
medians of the ratios of each step.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import apsw

from flowweaver.core.changes import AttemptClosed, AttemptStarted, Changes, ResultRecorded, TaskChanged
from flowweaver.core.events import AttemptId
from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.core.state import RunHead, TaskState
from flowweaver.ports import RunName
from flowweaver.stores import SQLiteStore
from flowweaver.stores.rows import task_key

RESULT = b'{"i":12,"s":123456}'
COMPLETED = TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=1.0, finished_at=2.0)
RUNNING = TaskState(phase=TaskPhase.RUNNING, attempts=1, started_at=1.0)


class Clock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class Ours:
    """The store."""

    def __init__(self, folder, steps):
        self.store = SQLiteStore(folder / "ours.db", clock=Clock())
        plan = RunPlan(tasks=tuple(TaskPlan(name=f"t{number}", kind="value") for number in range(steps + 1)))
        self.run = self.store.create_run(RunName("chain"), plan, RunHead())
        self.store.create_tasks(self.run, 0, [task.name for task in plan.tasks])

    def step(self, task):
        run = self.run
        self.store.commit(
            Changes(
                tasks=[TaskChanged(run, task, COMPLETED), TaskChanged(run, task + 1, RUNNING)],
                results=[ResultRecorded(run, task, RESULT)],
                started=[AttemptStarted(AttemptId(run, task + 1, 1), 1.0)],
                closed=[AttemptClosed(AttemptId(run, task, 1), "completed", 2.0)],
            )
        )

    def close(self):
        self.store.close()


class SameRows:
    """The statements of such a step by hand, in a file with the layout of ours."""

    def __init__(self, folder, steps):
        ours = Ours(folder, steps)
        ours.close()
        (folder / "ours.db").rename(folder / "same.db")
        self.connection = opened(folder / "same.db")
        self.cursor = self.connection.cursor()

    def step(self, task):
        cursor, key = self.cursor, task_key(1, task)
        cursor.execute("BEGIN IMMEDIATE")
        cursor.executemany(
            "UPDATE task_runs SET status=?, attempts=1, started_at=1.0, finished_at=?, small_result=? WHERE key=?",
            [("completed", 2.0, RESULT, key), ("running", None, None, key + 1)],
        )
        cursor.execute("UPDATE meta SET sequence=sequence+1")
        cursor.execute("COMMIT")

    def close(self):
        self.connection.close()


class OneRow:
    """The least that makes anything durable."""

    def __init__(self, folder, steps):  # noqa: ARG002 - as the others
        self.connection = opened(folder / "one.db")
        self.connection.execute("CREATE TABLE results (task INTEGER PRIMARY KEY, result BLOB)")
        self.cursor = self.connection.cursor()

    def step(self, task):
        self.cursor.execute("INSERT INTO results VALUES (?, ?)", (task, RESULT))

    def close(self):
        self.connection.close()


def opened(path):
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("foreign_keys", 1)
    return connection


def measured(folder, steps):
    peers = [SameRows(folder, steps), OneRow(folder, steps), Ours(folder, steps)]
    seconds = [[] for _ in peers]
    for task in range(steps):
        for peer, taken in zip(peers, seconds, strict=True):
            began = time.perf_counter()
            peer.step(task)
            taken.append(time.perf_counter() - began)
    for peer in peers:
        peer.close()
    same, one, ours = seconds
    return {
        "steps": steps,
        "store_ms": round(median(ours) * 1e3, 4),
        "same_rows_ms": round(median(same) * 1e3, 4),
        "one_row_ms": round(median(one) * 1e3, 4),
        "store_to_same_rows": round(median(a / b for a, b in zip(ours, same, strict=True)), 3),
        "store_to_one_row": round(median(a / b for a, b in zip(ours, one, strict=True)), 3),
    }


def main():
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        print(json.dumps(measured(Path(folder), steps)))


if __name__ == "__main__":
    main()
