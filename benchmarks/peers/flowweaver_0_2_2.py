"""flowweaver 0.2.2 with its SQLite store. Workflows share no store: it answers by task name alone."""

from __future__ import annotations

import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from workloads import Ran, Workload, function_of, main

from flowweaver import SQLiteStateStore, Task, ThreadedExecutor, Workflow


def workflow_of(name, graph, body):
    workflow = Workflow(name)
    for number, needs in enumerate(graph):
        names = [f"t{other}" for other in needs]
        workflow.add_task(Task(f"t{number}", function_of(number, names, body)), depends_on=names)
    return workflow


def run(workload: Workload, folder: Path) -> Ran:
    logging.disable(logging.CRITICAL)
    began = time.perf_counter()
    workflows = [workflow_of(f"w{k}", graph, workload.body) for k, graph in enumerate(workload.graphs)]
    built = time.perf_counter()

    def execute(position: int) -> None:
        store = SQLiteStateStore(str(folder / f"{position}.db"))
        ThreadedExecutor(max_workers=workload.workers, storage=store).execute(workflows[position])

    with ThreadPoolExecutor(workload.workers) as pool:
        list(pool.map(execute, range(len(workflows))))
    ended = time.perf_counter()
    return Ran(built - began, ended - built, lambda graph, number: workflows[graph].get_task_result(f"t{number}"))


if __name__ == "__main__":
    sys.exit(main(run))
