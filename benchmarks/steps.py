"""What a step costs: engine, SQLite store and threads, with bodies that do next to nothing.

No time is good or bad by itself: it is what this disk, this machine and this moment make of it. So each round measures,
right before and right after each workload, what the disk charges for the least that durability needs (4 KiB written and
fdatasync), and what is printed is the ratio to that. A chain needs one sync a step, because a step may not start before
the one before it is durable. Where steps are independent, one sync can carry the completions of all workers.

    benchmarks/steps.py [--rounds 5] [--size 1000] [--workers 4] [--folder DIR]

Every workload ends with a checksum, so that a wrong order or a lost result shows.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flowweaver.core.events import Completed
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.engine import Engine, SystemClock
from flowweaver.executors.threaded import ThreadedExecutor
from flowweaver.ports import Attempt, RunName
from flowweaver.stores import SQLiteStore

MODULUS = 1_000_003
SYNCS = 200


@dataclass(frozen=True)
class Workload:
    """Runs that are submitted at once. `parallel` says whether one sync may carry the steps of all workers."""

    name: str
    plans: Sequence[RunPlan]
    parallel: bool

    @property
    def steps(self) -> int:
        return sum(len(plan.tasks) for plan in self.plans)


@dataclass(frozen=True)
class Measured:
    seconds: float
    commits: int
    sync_seconds: float  # what one sync cost around it


def body(attempt: Attempt) -> Completed:
    """One more than the sum of what the dependencies gave."""
    total = 1 + sum(int(dependency.result or b"0") for dependency in attempt.dependencies.values())
    return Completed(b"%d" % (total % MODULUS))


def expected(plan: RunPlan) -> int:
    """What the last task must give."""
    results: dict[str, int] = {}
    for task in plan.tasks:
        results[task.name] = (1 + sum(results[name] for name in task.depends_on)) % MODULUS
    return results[plan.tasks[-1].name]


def plan_of(edges: Sequence[Sequence[int]], name: str) -> RunPlan:
    tasks = tuple(
        TaskPlan(name=f"t{number}", kind="bench", depends_on=tuple(f"t{other}" for other in others))
        for number, others in enumerate(edges)
    )
    return RunPlan(name=name, tasks=tasks)


def workloads(size: int) -> list[Workload]:
    """One after the other; one, all, one; layers of a hundred with three dependencies each; many small ones."""
    dice = random.Random(7)
    chain = [[number - 1] if number else [] for number in range(size)]
    fan = [[], *([0] for _ in range(size - 2)), list(range(1, size - 1))]
    layers = [_three_of_the_layer_before(number, dice) for number in range(size - 1)]
    dag = [*layers, list(range(max(0, len(layers) - 100), len(layers)))]
    small = [[number - 1] if number else [] for number in range(10)]
    return [
        Workload("chain", [plan_of(chain, "chain")], parallel=False),
        Workload("fan", [plan_of(fan, "fan")], parallel=True),
        Workload("dag", [plan_of(dag, "dag")], parallel=True),
        Workload("multi", [plan_of(small, f"multi-{number}") for number in range(size // 10)], parallel=True),
    ]


def _three_of_the_layer_before(number: int, dice: random.Random) -> list[int]:
    start = number // 100 * 100
    return dice.sample(range(start - 100, start), 3) if start else []


def sync_seconds(folder: Path) -> float:
    """What 4 KiB and an fdatasync cost on this disk, the mean of many in a row."""
    descriptor = os.open(folder / "probe", os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(descriptor, 0, 4096 * SYNCS)
        os.fsync(descriptor)
        began = time.perf_counter()
        for number in range(SYNCS):
            os.pwrite(descriptor, b"\0" * 4096, number * 4096)
            os.fdatasync(descriptor)
        return (time.perf_counter() - began) / SYNCS
    finally:
        os.close(descriptor)
        (folder / "probe").unlink()


@contextmanager
def engine_on(file: Path, workers: int) -> Iterator[Engine]:
    clock = SystemClock()
    store = SQLiteStore(file, clock=clock)
    executor = ThreadedExecutor(body, workers, clock)
    try:
        with Engine(store=store, executor=executor, clock=clock, workers=workers) as engine:
            yield engine
    finally:
        executor.close()
        store.close()


def measure(workload: Workload, folder: Path, workers: int) -> Measured:
    before = sync_seconds(folder)
    with tempfile.TemporaryDirectory(dir=folder) as box, engine_on(Path(box, "state.db"), workers) as engine:
        began = time.perf_counter()
        keys = [engine.submit(RunName(plan.name), plan) for plan in workload.plans]
        for key in keys:
            engine.wait(key, timeout_seconds=600)
        seconds = time.perf_counter() - began
        commits = engine.health().commits
        for key, plan in zip(keys, workload.plans, strict=True):
            last = plan.tasks[-1].name
            found = int(engine.results(key, [last])[last])
            if found != expected(plan):
                raise SystemExit(f"{workload.name}: {found} came out, {expected(plan)} is right")
    return Measured(seconds, commits, (before + sync_seconds(folder)) / 2)


def spread(values: Sequence[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def report(workload: Workload, rounds: Sequence[Measured], workers: int) -> str:
    needed = workload.steps / (workers if workload.parallel else 1)  # syncs
    ratio: Callable[[Measured], float] = lambda one: one.seconds / (needed * one.sync_seconds)  # noqa: E731 - used twice below
    return "  ".join(
        [
            f"{workload.name:6}",
            f"{workload.steps:6}",
            f"{spread([one.seconds / workload.steps * 1000 for one in rounds], 3):>22}",
            f"{spread([one.commits / workload.steps for one in rounds]):>18}",
            f"{spread([one.sync_seconds * 1000 for one in rounds], 3):>22}",
            f"{spread([ratio(one) for one in rounds]):>20}",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=1000, help="steps of each workload")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk that is meant")
    given = parser.parse_args()
    every = workloads(given.size)
    measured: dict[str, list[Measured]] = {workload.name: [] for workload in every}
    for number in range(given.rounds):
        print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
        for workload in every:  # in turn, so that what the machine does besides falls on all of them
            measured[workload.name].append(measure(workload, given.folder, given.workers))
    print(f"{given.workers} workers, {given.rounds} rounds in turn; median (min-max)")
    print(f"{'':6}  {'steps':>6}  {'ms/step':>22}  {'commits/step':>18}  {'ms/sync':>22}  {'x what syncs need':>20}")
    for workload in every:
        print(report(workload, measured[workload.name], given.workers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
