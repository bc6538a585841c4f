"""Kill a workflow with SIGKILL in its middle, and go on with it in another process.

    python examples/resume_after_kill.py [--tasks 60] [--state FILE]

Each task notes in a file that it begins. One of them kills its own process, without a chance to clean up. The second
process reads in the state file what has completed, and runs only the rest.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from flowweaver import SQLiteStateStore, Task, TaskStatus, ThreadedExecutor, Workflow

WORKERS = 4


def build(tasks: int, log: Path, deadly: int) -> Workflow:
    """Rows of four tasks, each row after the one before; then a sum over all."""
    workflow = Workflow("resume-after-kill")

    def body(number: int) -> Any:
        def work() -> int:
            with log.open("a") as file:  # one short line in one write: it is there even after SIGKILL
                file.write(f"task-{number}\n")
            if number == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.005)
            return number * number

        return work

    for number in range(tasks):
        row_before = range(number - number % 4 - 4, number - number % 4) if number >= 4 else ()
        workflow.add_task(Task(f"task-{number}", body(number)), depends_on=[f"task-{each}" for each in row_before])
    squares = [f"task-{number}" for number in range(tasks)]
    workflow.add_task(Task("sum", lambda **results: sum(results.values())), depends_on=squares)
    return workflow


def work(arguments: argparse.Namespace) -> None:
    """What each of the two processes does; only the first one has a deadly task."""
    workflow = build(arguments.tasks, arguments.log, arguments.deadly)
    workflow.execute(ThreadedExecutor(max_workers=WORKERS, state_store=SQLiteStateStore(arguments.state)))
    print(f"  the sum of {arguments.tasks} squares is {workflow.get_task_result('sum'):,}")


def start(arguments: argparse.Namespace, log: Path, deadly: int) -> int:
    """Run `work` in a process; its exit status, negative where a signal ended it."""
    command = [sys.executable, __file__, "--tasks", str(arguments.tasks), "--state", arguments.state]
    return subprocess.run([*command, "--log", str(log), "--deadly", str(deadly)], check=False).returncode


def completed(state: str) -> set[str]:
    """The tasks that the state file has as completed."""
    store = SQLiteStateStore(state)
    states = {name: store.load_task_state(name) for name in store.list_task_states()}
    return {name for name, known in states.items() if known and known["status"] is TaskStatus.COMPLETED}


def show(arguments: argparse.Namespace, folder: Path) -> int:
    arguments.state = arguments.state or str(folder / "state.db")
    first, second = folder / "first.log", folder / "second.log"
    deadly = arguments.tasks // 2

    print(f"The first process begins {arguments.tasks + 1} tasks; task-{deadly} will kill it.")
    status = start(arguments, first, deadly)
    if status != -signal.SIGKILL:
        print(f"It ended with {status}: is there a run in {arguments.state} already?")
        return 1
    done = completed(arguments.state)
    begun = first.read_text().split()
    print(f"  killed by SIGKILL: {len(begun)} tasks had begun, {len(done)} are recorded as completed")

    print("The second process goes on.")
    if status := start(arguments, second, deadly=-1):
        return status
    ran = Counter(second.read_text().split())
    repeated = sorted(set(begun) & set(ran))
    print(f"  it ran {sum(ran.values())} tasks and the sum")
    print(f"  recorded as completed and run again: {len(done & set(ran))}")
    print(f"  running when the process died and begun again: {len(repeated)} (at most {WORKERS}, one for each worker)")
    return 0 if not done & set(ran) and len(repeated) <= WORKERS and max(ran.values()) == 1 else 1


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a workflow in its middle and go on with it.")
    parser.add_argument("--tasks", type=int, default=60, help="how many tasks")
    parser.add_argument("--state", default="", help="the state file; without it one that goes at the end")
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)  # for the two processes
    parser.add_argument("--deadly", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.log:
        work(arguments)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return show(arguments, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
