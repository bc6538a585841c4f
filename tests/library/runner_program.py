"""A program that runs a workflow by a `WorkflowRunner`, as scripts do: `runner_program.py JSON`.

Each body writes a line when it begins and one when it ends, so that a test sees what ran, whatever became of this.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from flowweaver import (
    AsyncExecutor,
    JSONStateStore,
    SequentialExecutor,
    SQLiteStateStore,
    Task,
    ThreadedExecutor,
    Workflow,
    WorkflowRunner,
)

EXECUTORS = {"sequential": SequentialExecutor, "threaded": ThreadedExecutor, "async": AsyncExecutor}
STORES = {".db": SQLiteStateStore, ".json": JSONStateStore}


def main() -> None:
    told = {"executor": "threaded", "tasks": 20, "seconds": 0.02, "width": 3, "fail": [], "runner": {}}
    told.update(json.loads(sys.argv[1]))
    store = Path(told["store"])
    log = os.open(store.parent / "bodies.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def body(number: int):
        def run(**_: object) -> str:
            os.write(log, f"begin t{number}\n".encode())
            until = time.monotonic() + told["seconds"]
            while time.monotonic() < until:
                time.sleep(min(0.05, told["seconds"]))
            if number in told["fail"] and not (store.parent / "mended").exists():
                raise ValueError(f"t{number} is broken")
            os.write(log, f"end t{number}\n".encode())
            return "SECRET-RESULT"

        return run

    workflow = Workflow(told.get("name", "nightly"))
    for number in range(told["tasks"]):
        before = [f"t{number - told['width']}"] if number >= told["width"] else []
        workflow.add_task(Task(f"t{number}", body(number)), depends_on=before)
    executor = EXECUTORS[told["executor"]](state_store=STORES[store.suffix](store))
    WorkflowRunner(workflow, executor, **told["runner"]).main()


if __name__ == "__main__":
    main()
