"""prefect with a server of its own on this machine, results in files, threads; starting the server is told apart."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

HOME = tempfile.mkdtemp(dir=os.environ.get("BENCH_DIR"))
os.environ |= {
    "PREFECT_HOME": HOME,
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOCAL_STORAGE_PATH": f"{HOME}/results",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}

import shutil  # noqa: E402 - prefect reads the environment when it is imported

from prefect import flow, task  # noqa: E402 - the same
from prefect.task_runners import ThreadPoolTaskRunner  # noqa: E402 - the same
from workloads import Ran, Workload, main  # noqa: E402 - the same


def run(workload: Workload, _folder: Path) -> Ran:
    results: list[dict] = [{} for _ in workload.graphs]

    @task(persist_result=True)
    def step(number, given):
        return workload.body(number, given)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=workload.workers))
    def whole(position: int) -> int:
        futures: list = []
        for number, needs in enumerate(workload.graphs[position]):
            futures.append(step.submit(number, [futures[other] for other in needs]))
        for number, future in enumerate(futures):
            results[position][number] = future.result()
        return len(futures)

    @flow
    def first() -> int:
        return 1

    began = time.perf_counter()
    first()
    started = time.perf_counter()
    for position in range(len(results)):
        whole(position)
    ended = time.perf_counter()
    return Ran(0.0, ended - started, lambda graph, number: results[graph][number], started - began)


if __name__ == "__main__":
    try:
        main(run)
    finally:
        shutil.rmtree(HOME, ignore_errors=True)
    sys.exit()
