"""Count the words of many files, a task a file, and compare the executors.

    python examples/parallel_run.py [--files 24] [--wait 0.05]

The files are the modules of Python's own library. Each is counted twice: once after a wait, as if it came over a
network, and once as it is. Waiting goes on side by side in threads and in coroutines. Counting does not: one process
of Python computes one thing at a time, however many threads it has; see ml_pipeline.py for that.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowweaver import AsyncExecutor, BaseExecutor, SequentialExecutor, Task, ThreadedExecutor, Workflow

EXECUTORS: list[tuple[str, BaseExecutor]] = [
    ("SequentialExecutor()", SequentialExecutor()),
    ("ThreadedExecutor(max_workers=8)", ThreadedExecutor(max_workers=8)),
    ("AsyncExecutor(max_concurrency=100)", AsyncExecutor(max_concurrency=100)),
]


def count(path: Path) -> dict[str, int]:
    """How often each word stands in a file."""
    return Counter(re.findall(r"[a-z]{4,}", path.read_text(encoding="utf-8", errors="replace").lower()))


def in_thread(path: Path, wait: float) -> Callable[[], Any]:
    """The body of a task: a function that waits in its thread."""

    def body() -> dict[str, int]:
        time.sleep(wait)
        return count(path)

    return body


def in_loop(path: Path, wait: float) -> Callable[[], Any]:
    """The same as a coroutine: while it waits it holds no thread."""

    async def body() -> dict[str, int]:
        await asyncio.sleep(wait)
        return count(path)

    return body


def total(**counts: dict[str, int]) -> dict[str, int]:
    """All counts as one: `**` takes the results of all dependencies, whatever their names are."""
    together: Counter[str] = Counter()
    for each in counts.values():
        together.update(each)
    return dict(together.most_common())


def build(paths: list[Path], wait: float, *, coroutines: bool) -> Workflow:
    """A task for each file, and one that waits for all of them."""
    workflow = Workflow("word-count")
    body = in_loop if coroutines else in_thread
    tasks = [workflow.add_task(Task(f"count-{path.stem}", body(path, wait))) for path in paths]
    workflow.add_task(Task("total", total), depends_on=tasks)
    return workflow


def timed(executor: BaseExecutor, paths: list[Path], wait: float) -> tuple[float, dict[str, int]]:
    """Seconds and result of one execution."""
    workflow = build(paths, wait, coroutines=isinstance(executor, AsyncExecutor))
    began = time.perf_counter()
    workflow.execute(executor)
    return time.perf_counter() - began, workflow.get_task_result("total")


def main() -> None:
    parser = argparse.ArgumentParser(description="Count words with each executor.")
    parser.add_argument("--files", type=int, default=24, help="how many files")
    parser.add_argument("--wait", type=float, default=0.05, help="seconds that each file is waited for")
    arguments = parser.parse_args()
    library = sorted(Path(os.__file__).parent.glob("*.py"), key=lambda path: (-path.stat().st_size, path.name))
    paths = library[: arguments.files]

    print(f"{len(paths)} files, each after a wait of {arguments.wait:g} s, and then without one\n")
    print(f"{'':36}{'waiting':>10}{'counting':>10}")
    results = []
    for name, executor in EXECUTORS:
        (waiting, one), (counting, other) = timed(executor, paths, arguments.wait), timed(executor, paths, 0)
        results += [one, other]
        print(f"{name:36}{waiting:8.2f} s{counting:8.2f} s")
    first = results[0]
    if any(each != first for each in results):
        raise SystemExit("the executors do not agree")
    words = ", ".join(f"{word} {times:,}" for word, times in list(first.items())[:5])
    print(f"\nAll of them counted {sum(first.values()):,} words; most of them: {words}")


if __name__ == "__main__":
    main()
