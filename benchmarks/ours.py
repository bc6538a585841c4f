"""FlowWeaver as its users have it: `Workflow`, `Task`, `ThreadedExecutor`, `SQLiteStateStore`.

- `python benchmarks/ours.py WORKLOAD [SIZE]`
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from workloads import Body, Graph, Ran, Workload, add, function_of, main

from flowweaver import SQLiteStateStore, Task, ThreadedExecutor, Workflow


def workflow_of(name: str, graph: Graph, body: Body) -> Workflow:
    """A task for each entry, named after its number; results come as keyword arguments."""
    workflow = Workflow(name)
    for number, needs in enumerate(graph):
        names = [f"t{other}" for other in needs]
        workflow.add_task(Task(f"t{number}", function_of(number, names, body)), depends_on=names)
    return workflow


def run(workload: Workload, folder: Path) -> Ran:
    """All graphs at once through one executor; opening the file and closing it are told apart, as the bar does it."""
    file = folder / "state.db"
    if os.environ.get("WARM"):
        load_modules()
    opened = time.perf_counter()
    with ThreadedExecutor(max_workers=workload.workers, state_store=SQLiteStateStore(str(file))) as executor:
        began = time.perf_counter()
        names = [f"{workload.name}-{position}" for position in range(len(workload.graphs))]
        declared = zip(names, workload.graphs, strict=True)
        workflows = [workflow_of(name, graph, workload.body) for name, graph in declared]
        built, built_at = time.perf_counter(), time.time()
        if len(workflows) == 1:
            executor.execute(workflows[0])
        else:
            executor.execute_all(workflows)
        ended = time.perf_counter()
    return Ran(
        built - began,
        ended - built,
        lambda graph, number: workflows[graph].get_task(f"t{number}").result,
        began - opened,
        {
            "executed_at": built_at - (began - opened),
            "stop_s": time.perf_counter() - ended,
            "commits": commits_in(file),
        },
    )


def load_modules() -> None:
    """Run one task on a file of its own, so that what is measured next imports nothing."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        store = SQLiteStateStore(str(Path(folder, "state.db")))
        ThreadedExecutor(max_workers=1, state_store=store).execute(workflow_of("warm", [(), (0,)], add))


def commits_in(file: Path) -> int:
    """How many commits of the engine the file counts."""
    with closing(sqlite3.connect(file)) as database:
        return int(database.execute("SELECT sequence FROM meta").fetchone()[0])


if __name__ == "__main__":
    sys.exit(main(run))
