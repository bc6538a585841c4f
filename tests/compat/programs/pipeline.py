"""A file goes through four tasks into a database; when a step fails, the program says which and why."""

import csv
import sqlite3
from pathlib import Path

from flowweaver import SequentialExecutor, Task, Workflow

Path("readings.csv").write_text("station,value\nnorth,3\nsouth,\neast,5\n")


def read(path: str) -> list[dict]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def check(read: list[dict]) -> list[dict]:
    return [row for row in read if row["value"]]


def convert(check: list[dict]) -> list[dict]:
    return [{**row, "value": int(row["value"])} for row in check]


def store(convert: list[dict]) -> int:
    if not convert:
        raise ValueError("nothing to store")
    with sqlite3.connect("readings.db") as database:
        database.execute("CREATE TABLE IF NOT EXISTS readings (station TEXT PRIMARY KEY, value INTEGER)")
        database.executemany("INSERT OR REPLACE INTO readings VALUES (:station, :value)", convert)
    database.close()
    return len(convert)


def pipeline(path: str) -> Workflow:
    workflow = Workflow(name="readings")
    workflow.add_task(Task(name="read", fn=lambda: read(path)))
    workflow.add_task(Task(name="check", fn=check), depends_on=["read"])
    workflow.add_task(Task(name="convert", fn=convert), depends_on=["check"])
    workflow.add_task(Task(name="store", fn=store, retries=2, timeout=30.0), depends_on=["convert"])
    return workflow


for path in ("readings.csv", "empty.csv", "missing.csv"):
    Path("empty.csv").write_text("station,value\n")
    workflow = pipeline(path)
    try:
        SequentialExecutor().execute(workflow)
    except RuntimeError:
        failed = [task for task in workflow.get_all_tasks().values() if task.status.value == "failed"]
        print(path, "failed:", failed[0].name, failed[0].error)
    else:
        print(path, "stored:", workflow.get_task_result("store"))
    stats = workflow.get_workflow_stats()
    print({key: stats[key] for key in ("total_tasks", "completed", "failed", "pending", "running")})
