"""The bar: the least that makes each step durable, and nothing more.

Threads, one SQLite file with `synchronous=FULL`, one row a task. Who has run a body puts its row into a pile; one
thread at a time takes the pile away, commits it as one transaction, and wakes those whose rows were in it. Nobody takes
new work before the row of the last one is durable, so no more bodies than there are threads can be lost. No retries,
timeouts, names, logs, callbacks, or record of what is running. With a file that has rows already it goes on from them.

- `python benchmarks/bar.py WORKLOAD [SIZE]`
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from workloads import Body, Graph, Ran, Workload, main

GRAPH_BITS = 24  # the key of a row is the graph's number and the task's
SCHEMA = "CREATE TABLE IF NOT EXISTS results (key INTEGER PRIMARY KEY, started REAL, ended REAL, result TEXT)"

encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
Row = tuple[int, float, float, str]


class _Running:
    """One graph: what is left, what was found, who reads it. Changes only in the thread that commits."""

    __slots__ = ("found", "graph", "left", "number", "over", "readers", "todo", "unread")

    def __init__(self, number: int, graph: Graph) -> None:
        self.number = number
        self.graph = graph
        self.left = [len(needs) for needs in graph]
        self.readers: list[list[int]] = [[] for _ in graph]
        for task, needs in enumerate(graph):
            for other in needs:
                self.readers[other].append(task)
        self.unread = [len(readers) for readers in self.readers]
        self.found: list[Any] = [None] * len(graph)
        self.todo = len(graph)
        self.over = threading.Event()


Task = tuple[_Running, int]


@dataclass(slots=True)
class _Done:
    """A body has returned; its thread waits for `turn`: its row is durable, or it is the next to commit."""

    running: _Running
    task: int
    result: Any
    row: Row
    turn: Any = field(default_factory=threading.Lock)
    leads: bool = False


class Bar:
    """The engine of the bar."""

    def __init__(self, file: Path, workers: int) -> None:
        self.commits = 0
        self._database = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute(SCHEMA)
        self._ready: SimpleQueue[Task | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._pile: list[_Done] = []
        self._committing = False
        self._body: Body
        self._threads = [threading.Thread(target=self._work) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, running: _Running, body: Body) -> None:
        """Start what has no row yet."""
        self._body = body
        first = running.number << GRAPH_BITS
        stored = self._database.execute(
            "SELECT key, result FROM results WHERE key BETWEEN ? AND ?", (first, first + (1 << GRAPH_BITS) - 1)
        ).fetchall()
        done = {key - first: text for key, text in stored}
        for task, text in done.items():
            running.todo -= 1
            for reader in running.readers[task]:
                running.left[reader] -= 1
                running.unread[task] -= reader in done
            if running.unread[task] or not running.readers[task]:
                running.found[task] = json.loads(text)
        if not running.todo:
            running.over.set()
        for task, left in enumerate(running.left):
            if not left and task not in done:
                self._ready.put((running, task))

    def close(self) -> None:
        """End the threads and close the file."""
        for _ in self._threads:
            self._ready.put(None)
        for thread in self._threads:
            thread.join()
        self._database.close()

    def _work(self) -> None:
        while (item := self._ready.get()) is not None:
            while item is not None:
                item = self._step(*item)

    def _step(self, running: _Running, task: int) -> Task | None:
        """Run one body and see it committed; gives the next task where this thread has made one ready."""
        started = time.time()
        result = self._body(task, [running.found[other] for other in running.graph[task]])
        row = (running.number << GRAPH_BITS | task, started, time.time(), encode(result))
        done = _Done(running, task, result, row)
        with self._lock:
            self._pile.append(done)
            waits = self._committing
            self._committing = True
            if waits:
                done.turn.acquire()
        if waits:
            done.turn.acquire()  # until whoever commits releases it
            if not done.leads:
                return None
        return self._commit(done)

    def _commit(self, mine: _Done) -> Task | None:
        with self._lock:
            pile, self._pile = self._pile, []
        database = self._database
        if len(pile) == 1:
            database.execute("INSERT INTO results VALUES (?, ?, ?, ?)", pile[0].row)
        else:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT INTO results VALUES (?, ?, ?, ?)", [done.row for done in pile])
            database.execute("COMMIT")
        self.commits += 1
        follow = self._count_down(pile)
        for done in pile:
            if done is not mine:
                done.turn.release()
        with self._lock:
            if self._pile:
                self._pile[0].leads = True
                self._pile[0].turn.release()
            else:
                self._committing = False
        return follow

    def _count_down(self, pile: list[_Done]) -> Task | None:
        follow: Task | None = None
        for done in pile:
            running = done.running
            running.found[done.task] = done.result
            running.todo -= 1
            for other in running.graph[done.task]:
                running.unread[other] -= 1
                if not running.unread[other]:
                    running.found[other] = None
            for reader in running.readers[done.task]:
                running.left[reader] -= 1
                if running.left[reader]:
                    continue
                if follow is None:
                    follow = (running, reader)
                else:
                    self._ready.put((running, reader))
            if not running.todo:
                running.over.set()
        return follow


def run(workload: Workload, folder: Path) -> Ran:
    """All graphs at once on one file."""
    began = time.perf_counter()
    bar = Bar(folder / "bar.db", workload.workers)
    started = time.perf_counter()
    every = [_Running(number, graph) for number, graph in enumerate(workload.graphs)]
    built = time.perf_counter()
    for running in every:
        bar.submit(running, workload.body)
    for running in every:
        running.over.wait()
    ended = time.perf_counter()
    bar.close()
    said = {"commits": bar.commits}
    return Ran(built - started, ended - built, lambda g, task: every[g].found[task], started - began, said)


if __name__ == "__main__":
    sys.exit(main(run))
