"""Bare threads: the order is kept and nothing is durable. What the same bodies cost without any engine.

- `python benchmarks/threads.py WORKLOAD [SIZE]`
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from workloads import Graph, Ran, Workload, main

Item = tuple["_Running", int]


class _Running:
    """A graph with what is left of it. Counts change under the lock of all."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.left = [len(needs) for needs in graph]
        self.readers: list[list[int]] = [[] for _ in graph]
        for number, needs in enumerate(graph):
            for other in needs:
                self.readers[other].append(number)
        self.results: list[Any] = [None] * len(graph)


class _Threads:
    """Each thread takes what is ready, runs it, counts its dependants down."""

    def __init__(self, workload: Workload, every: list[_Running]) -> None:
        self._body = workload.body
        self._workers = workload.workers
        self._unfinished = workload.tasks
        self._lock = threading.Lock()
        self._ready: SimpleQueue[Item | None] = SimpleQueue()
        for running in every:
            for number, needs in enumerate(running.graph):
                if not needs:
                    self._ready.put((running, number))

    def run(self) -> None:
        """Until everything is done."""
        threads = [threading.Thread(target=self._work) for _ in range(self._workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        while (item := self._ready.get()) is not None:
            running, number = item
            running.results[number] = self._body(number, [running.results[other] for other in running.graph[number]])
            with self._lock:
                self._count_down(running, number)

    def _count_down(self, running: _Running, number: int) -> None:
        self._unfinished -= 1
        for reader in running.readers[number]:
            running.left[reader] -= 1
            if not running.left[reader]:
                self._ready.put((running, reader))
        if not self._unfinished:
            for _ in range(self._workers):
                self._ready.put(None)


def run(workload: Workload, _folder: Path) -> Ran:
    """All graphs at once."""
    began = time.perf_counter()
    every = [_Running(graph) for graph in workload.graphs]
    built = time.perf_counter()
    _Threads(workload, every).run()
    return Ran(built - began, time.perf_counter() - built, lambda graph, number: every[graph].results[number])


if __name__ == "__main__":
    sys.exit(main(run))
