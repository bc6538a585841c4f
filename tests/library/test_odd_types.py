"""What a type checker says of a user's program: nothing where it is right, and every slip where it is not."""

from __future__ import annotations

import subprocess
import sys

import pytest

import flowweaver

RIGHT = f"""
from datetime import datetime
from pathlib import Path
from typing import Any
from flowweaver import {", ".join(flowweaver.__all__)}

@task(name="n", retries=3, retry=RetryPolicy(on=(OSError,)), depends_on=["a"], isolation="process")
async def doubled(a: int) -> int:
    return 2 * a

def changed(name: str, status: TaskStatus) -> None: ...
def heard(event: StatusEvent) -> None:
    at: datetime = event.at

workflow = Workflow("w", failure_policy="continue", timeout=3, parallelism=2)
first: Task = workflow.add_task(Task("a", lambda: 1, timeout=1, on_status_change=changed))
workflow.add_task(doubled, depends_on=[first])
workflow.add_listener(heard)
executor = ThreadedExecutor(max_workers=None, state_store=SQLiteStateStore(Path("a.db")))
with executor as kept:
    whole: Workflow = workflow.execute(kept, run_id="x", on_change="error")
async def main() -> Workflow:
    return await workflow.execute_async(AsyncExecutor(max_concurrency=3, storage=JSONStateStore("x")))
tasks: dict[str, Task] = workflow.tasks
seconds: float = workflow.statistics.seconds
def failed(error: WorkflowExecutionError) -> tuple[str, int]:
    return error.failures[0].task, error.failures[0].attempt

class Kept(BaseStateStore):
    def save_task_state(
        self, task_name: str, status: TaskStatus, result: Any = None, error: str | None = None,
        timestamp: datetime | None = None,
    ) -> None: ...
    def load_task_state(self, task_name: str) -> dict[str, Any] | None: ...
    def clear_task_state(self, task_name: str) -> None: ...
    def clear_all_states(self) -> None: ...
    def list_task_states(self) -> list[str]: ...
    def load_state(self, workflow: Workflow) -> None: ...
    def save_state(self, workflow: Workflow) -> None: ...

class OneByOne(BaseExecutor):
    def execute(self, workflow: Workflow) -> Workflow:
        self.restore(workflow)
        for each in workflow.tasks.values():
            if not self.should_skip(each):
                each.execute({{}})
                self.save(workflow, each)
        return workflow

workflow.execute(OneByOne(Kept()))
"""
WRONG = """
from flowweaver import Task, TaskStatus, ThreadedExecutor, Workflow, task
async def changed(name: str, status: TaskStatus) -> None: ...
Task("a", 3)
Task("a", print, on_status_change=changed)
task(retires=3)
ThreadedExecutor(max_workers="4")
ThreadedExecutor(state_store="x.db")
Workflow("w").execute(on_change="ask")
"""


@pytest.mark.slow
def test_a_type_checker_sees_every_slip_and_nothing_else(tmp_path):
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text(WRONG)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-incremental",
        "--config-file",
        "",
        "--disable-error-code=empty-body",
    ]
    told = subprocess.run([*command, "right.py", "wrong.py"], capture_output=True, text=True, check=False, cwd=tmp_path)
    errors = [line for line in told.stdout.splitlines() if ": error:" in line]
    assert [line.split(":")[:2] for line in errors] == [["wrong.py", str(number)] for number in range(4, 10)], (
        told.stdout
    )
