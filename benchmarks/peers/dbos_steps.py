"""dbos on SQLite: a workflow a graph, its steps in order; 200 workflows at once on its threads.

It has no graph of steps, so staggered sleeps use steps that were reserved in order and run from threads.
"""

from __future__ import annotations

import contextvars
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from dbos import DBOS
from workloads import Ran, Workload, main


def run(workload: Workload, folder: Path) -> Ran:
    began = time.perf_counter()
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{folder}/dbos.sqlite",
            "run_admin_server": False,
            "log_level": "CRITICAL",
            "max_executor_threads": workload.workers,
        }
    )

    def step(number, given):
        return workload.body(number, given)

    @DBOS.workflow()
    def in_order(position: int) -> int:
        found = results[position]
        for number, needs in enumerate(workload.graphs[position]):
            found[number] = DBOS.run_step({"name": "step"}, step, number, [found[other] for other in needs])
        return len(found)

    @DBOS.workflow()
    def in_threads(position: int) -> int:
        return ready_first(workload, position, results[position], step)

    flow = in_threads if workload.name == "io" else in_order
    results: list[dict] = [{} for _ in workload.graphs]
    DBOS.launch()
    started = time.perf_counter()
    for handle in [DBOS.start_workflow(flow, position) for position in range(len(results))]:
        handle.get_result(polling_interval_sec=0.01)
    ended = time.perf_counter()
    DBOS.destroy()
    return Ran(0.0, ended - started, lambda graph, number: results[graph][number], started - began)


def ready_first(workload: Workload, position: int, found: dict, step) -> int:
    graph = workload.graphs[position]
    reserved = [DBOS.reserve_step() for _ in graph]
    waiting, running = set(range(len(graph))), {}
    with ThreadPoolExecutor(workload.workers) as pool:
        while waiting or running:
            for number in [one for one in waiting if all(other in found for other in graph[one])]:
                waiting.discard(number)
                given = [found[other] for other in graph[number]]
                context = contextvars.copy_context()
                call = (context.run, reserved[number].run, {"name": "step"}, step, number, given)
                running[pool.submit(*call)] = number
            ended: set[Future]
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                found[running.pop(future)] = future.result()
    return len(found)


if __name__ == "__main__":
    sys.exit(main(run))
