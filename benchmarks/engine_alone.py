"""FlowWeaver's engine, store and threads without the library's face; the difference to `ours.py` is what that costs.

- `python benchmarks/engine_alone.py WORKLOAD [SIZE]`
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from workloads import Graph, Ran, Workload, main

from flowweaver.core.events import Completed
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.engine import Engine, SystemClock
from flowweaver.executors.threaded import ThreadedExecutor
from flowweaver.ports import Attempt, RunName
from flowweaver.runners.results import decode_result, encode_result
from flowweaver.stores import SQLiteStore


def plan_of(name: str, graph: Graph) -> RunPlan:
    """A task for each entry, named after its number."""
    tasks = (
        TaskPlan(name=f"t{number}", kind="bench", depends_on=tuple(f"t{other}" for other in needs))
        for number, needs in enumerate(graph)
    )
    return RunPlan(name=name, tasks=tuple(tasks))


def run(workload: Workload, folder: Path) -> Ran:
    """All graphs at once through one engine; opening the file is told apart."""

    def body(attempt: Attempt) -> Completed:
        given = [decode_result(dependency.result or b"null") for dependency in attempt.dependencies.values()]
        return Completed(encode_result(workload.body(int(attempt.task.name[1:]), given)))

    clock = SystemClock()
    opened, opened_at = time.perf_counter(), time.time()
    with (
        closing(SQLiteStore(folder / "state.db", clock=clock)) as store,
        closing(ThreadedExecutor(body, workload.workers, clock)) as executor,
        Engine(store=store, executor=executor, clock=clock, workers=workload.workers, lender=executor) as engine,
    ):
        began = time.perf_counter()
        plans = [plan_of(f"{workload.name}-{k}", graph) for k, graph in enumerate(workload.graphs)]
        built = time.perf_counter()
        keys = [engine.submit(RunName(plan.name), plan) for plan in plans]
        for key in keys:
            engine.wait(key, timeout_seconds=600)
        ended = time.perf_counter()
        found = [engine.results(key, _sinks(graph)) for key, graph in zip(keys, workload.graphs, strict=True)]
        said = {"executed_at": opened_at, "commits": engine.health().commits}

    def result(graph: int, number: int) -> dict[str, Any]:
        return dict(json.loads(found[graph][f"t{number}"]))

    return Ran(built - began, ended - built, result, began - opened, said)


def _sinks(graph: Graph) -> list[str]:
    read = {other for needs in graph for other in needs}
    return [f"t{number}" for number in range(len(graph)) if number not in read]


if __name__ == "__main__":
    sys.exit(main(run))
