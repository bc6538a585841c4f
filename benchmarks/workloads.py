"""What every contender runs: graphs, what a task does, how it is checked and what is told at the end.

Nothing but the standard library is imported, so that it adds nothing to what a contender takes. A graph is a list:
entry `i` has the numbers of the tasks that task `i` needs, all of them smaller. A task gives `{"i": i, "s": …}`, where
`s` is `i` and the sums of its dependencies, so that a wrong order, a lost result or a task left out shows at the sinks.

`PROGRAM WORKLOAD [SIZE]` runs one workload and prints one line, `RESULT` and JSON. The environment says the rest:

- WORKERS: how many at a time; BENCH_DIR: files go into a new folder in it; FIXED_DIR: into this one, which stays
- SPIN: a thread computes beside it; WARM: load what is loaded lazily before anything is measured
- TASKLOG: a file that each body appends its number and the time to
- CRASH_AFTER: SIGKILL at the start of the body after so many
"""

from __future__ import annotations

import base64
import functools
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MODULUS = 1_000_000_007
PAYLOAD_CHARACTERS = 1_000_000

Graph = list[tuple[int, ...]]
Body = Callable[[int, list[dict[str, Any]]], dict[str, Any]]


# --------------------------------------------------------------------------------------------------------------- graphs


def chain(size: int) -> list[Graph]:
    """One after the other."""
    return [[(number - 1,) if number else () for number in range(size)]]


def fan(size: int) -> list[Graph]:
    """One, then `size` that need it, then one that needs all of those."""
    return [[(), *[(0,)] * size, tuple(range(1, size + 1))]]


def layered(size: int, width: int = 100) -> list[Graph]:
    """Layers of a hundred; each task needs three of the three layers before it."""
    dice = random.Random(7)
    graph: Graph = [()] * min(width, size)
    for number in range(width, size):
        first = number // width * width
        graph.append(tuple(sorted(dice.sample(range(max(0, first - 3 * width), first), 3))))
    return [graph]


def many(size: int) -> list[Graph]:
    """`size` workflows of ten tasks."""
    ten: Graph = [(), (0,), (0,), (0,), (1, 2), (2, 3), (1, 3), (4, 5), (6,), (7, 8)]
    return [ten] * size


def staggered(size: int) -> list[Graph]:
    """`size` chains of ten in one graph; see `nap_seconds`."""
    return [[(number - 1,) if number % 10 else () for number in range(size * 10)]]


def nap_seconds(number: int) -> float:
    """How long a task of `staggered` sleeps: two slow ones in each chain, at other places than in its neighbours."""
    row, step = divmod(number, 10)
    return 0.210 if step in {row % 10, (row + 5) % 10} else 0.010


def pairs(size: int) -> list[Graph]:
    """Half of them give 1 MB each, the other half take one of those and give 1 MB too."""
    return [[()] * (size // 2) + [(number,) for number in range(size // 2)]]


# --------------------------------------------------------------------------------------------------------------- bodies


def add(number: int, given: list[dict[str, Any]]) -> dict[str, Any]:
    """Next to nothing."""
    return {"i": number, "s": (number + sum(one["s"] for one in given)) % MODULUS}


def sleep_and_add(number: int, given: list[dict[str, Any]]) -> dict[str, Any]:
    """Wait for something outside."""
    time.sleep(nap_seconds(number))
    return add(number, given)


def carry(number: int, given: list[dict[str, Any]]) -> dict[str, Any]:
    """Take and give 1 MB of text."""
    if any(len(one["data"]) != PAYLOAD_CHARACTERS for one in given):
        raise ValueError("a large result did not arrive whole")
    return {**add(number, given), "data": payload(number)}


@functools.cache
def _noise() -> str:
    return base64.b64encode(random.Random(3).randbytes(1_500_000)).decode()


def payload(number: int) -> str:
    """1 MB of text that does not compress, another one for each task."""
    start = number * 997 % 900_000
    return _noise()[start : start + PAYLOAD_CHARACTERS]


def function_of(number: int, names: list[str], body: Body) -> Callable[..., dict[str, Any]]:
    """A function that takes the results of its dependencies by keyword."""
    if not names:
        return lambda: body(number, [])
    return lambda **given: body(number, [given[name] for name in names])


def _noted(body: Body, log: str, crash_after: int) -> Body:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    started = itertools.count(1)

    def noted(number: int, given: list[dict[str, Any]]) -> dict[str, Any]:
        if crash_after and next(started) > crash_after:
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()
        os.write(descriptor, b"%d %f\n" % (number, time.time()))
        return body(number, given)

    return noted


# ------------------------------------------------------------------------------------------------------------ workloads


@dataclass(frozen=True, slots=True)
class Workload:
    """Graphs to run at once, what each of their tasks does, and how many at a time."""

    name: str
    size: int
    graphs: list[Graph]
    body: Body
    workers: int

    @property
    def tasks(self) -> int:
        """Of all graphs."""
        return sum(map(len, self.graphs))


@dataclass(frozen=True, slots=True)
class _Kind:
    graphs: Callable[[int], list[Graph]]
    size: int
    body: Body = add
    workers: int = 4


KINDS = {
    "chain": _Kind(chain, 1000),
    "fan": _Kind(fan, 1000),
    "dag": _Kind(layered, 5000),
    "multi": _Kind(many, 200),
    "io": _Kind(staggered, 20, sleep_and_add, workers=16),
    "payload": _Kind(pairs, 100, carry),
}


def workload(name: str, size: int | None = None) -> Workload:
    """One of `KINDS`, of that size or its usual one."""
    kind = KINDS[name]
    size = size or kind.size
    body = kind.body
    if log := os.environ.get("TASKLOG"):
        body = _noted(body, log, int(os.environ.get("CRASH_AFTER", "0")))
    workers = kind.workers if name == "io" else int(os.environ.get("WORKERS", kind.workers))
    return Workload(name, size, kind.graphs(size), body, workers)


def right_sums(graph: Graph) -> list[int]:
    """What each task of a graph must give."""
    sums: list[int] = []
    for number, needs in enumerate(graph):
        sums.append((number + sum(sums[other] for other in needs)) % MODULUS)
    return sums


def check(graph: Graph, result: Callable[[int], dict[str, Any]]) -> None:
    """Look at the results that nobody else has read; raises `SystemExit` where one is wrong."""
    sums = right_sums(graph)
    read = {other for needs in graph for other in needs}
    for number in set(range(len(graph))) - read:
        found = result(number)
        if (found["i"], found["s"]) != (number, sums[number]):
            raise SystemExit(f"task {number} of {len(graph)} gave {found['i']}, {found['s']}; {sums[number]} is right")


# -------------------------------------------------------------------------------------------------------------- running


@dataclass(slots=True)
class Ran:
    """What a contender says of one workload. `result(graph, task)` is asked for the sinks."""

    build_seconds: float  # declaring the graph
    run_seconds: float  # until all results are in
    result: Callable[[int, int], dict[str, Any]]
    start_seconds: float = 0.0  # opening files, making threads
    said: dict[str, Any] = field(default_factory=dict)  # what else it tells


def main(run: Callable[[Workload, Path], Ran], arguments: Sequence[str] = tuple(sys.argv[1:])) -> None:
    """Run what the arguments name, check it, print the line."""
    if os.environ.get("SPIN"):
        threading.Thread(target=_spin, daemon=True).start()
    asked = workload(arguments[0], int(arguments[1]) if len(arguments) > 1 else None)
    fixed = os.environ.get("FIXED_DIR")
    folder = Path(fixed or tempfile.mkdtemp(dir=os.environ.get("BENCH_DIR")))
    try:
        ran = run(asked, folder)
        for position, graph in enumerate(asked.graphs):
            check(graph, functools.partial(ran.result, position))
        tell(asked.name, asked.tasks, ran.build_seconds, ran.run_seconds, start_s=ran.start_seconds, **ran.said)
    finally:
        if not fixed:
            shutil.rmtree(folder, ignore_errors=True)


def tell(name: str, tasks: int, build_s: float, run_s: float, **more: Any) -> None:
    """The line that the runner reads."""
    line = {"w": name, "tasks": tasks, "build_s": build_s, "run_s": run_s, "rss_kb": peak_rss_kb(), **more}
    print("RESULT " + json.dumps(line), flush=True)


def peak_rss_kb() -> int:
    """The most memory that this process has had."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise SystemExit("/proc/self/status has no VmHWM line: this needs Linux")


def _spin() -> None:
    number = 0
    while True:
        number += 1
