"""What somebody would write without any engine, for the workloads where the disk or the decoding is the work.

- `python benchmarks/by_hand.py payload [SIZE]`: insert the same bytes, a transaction a row, with the store's pragmas
- `python benchmarks/by_hand.py resume FILE`: select and decode every task row and result of a state file of ours
- `python benchmarks/by_hand.py hold SIZE`: keep the functions and results of a layered graph in memory
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from workloads import Ran, Workload, add, function_of, layered, main, tell

SELECT = """
SELECT
  task_runs.key, task_runs.task_name, task_runs.status, task_runs.attempts,
  coalesce(task_runs.small_result, large_results.result)
FROM task_runs LEFT JOIN large_results ON large_results.task = task_runs.key ORDER BY task_runs.key
"""


def insert(workload: Workload, folder: Path) -> Ran:
    """One row a result. Only the inserts are timed: the bytes are there before."""
    graph = workload.graphs[0]
    encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
    opened = time.perf_counter()
    with closing(sqlite3.connect(folder / "rows.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE results (task INTEGER PRIMARY KEY, result BLOB) STRICT")
        texts = [encode(workload.body(number, [])).encode() for number in range(len(graph))]
        began = time.perf_counter()
        for number, text in enumerate(texts):
            database.execute("INSERT INTO results VALUES (?, ?)", (number, text))
        ended = time.perf_counter()
    right = Ran(0.0, ended - began, lambda _graph, number: _summed(workload, number), began - opened)
    right.said["commits"] = len(texts)
    return right


def _summed(workload: Workload, number: int) -> dict[str, object]:
    needs = workload.graphs[0][number]
    return add(number, [add(other, []) for other in needs])


def read(file: Path) -> None:
    """Open, select, decode."""
    began = time.perf_counter()
    with closing(sqlite3.connect(file)) as database:
        rows = database.execute(SELECT).fetchall()
    results = [json.loads(row[4]) for row in rows if row[4] is not None]
    ended, ended_at = time.perf_counter(), time.time()
    tell("resume", len(rows), 0.0, ended - began, ended_at=ended_at, decoded=len(results))


def hold(size: int) -> None:
    """The graph, and for each task its name, function and result: what any caller has anyway."""
    began = time.perf_counter()
    graph = layered(size)[0]
    held = [
        (f"t{number}", function_of(number, [f"t{other}" for other in needs], add), add(number, []))
        for number, needs in enumerate(graph)
    ]
    tell("hold", len(held), 0.0, time.perf_counter() - began)


if __name__ == "__main__":
    if sys.argv[1] == "resume":
        read(Path(sys.argv[2]))
    elif sys.argv[1] == "hold":
        hold(int(sys.argv[2]))
    else:
        main(insert)
