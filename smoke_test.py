"""Whether this FlowWeaver works here: a few real workflows by each executor with each store, in half a minute.

    python smoke_test.py

It needs nothing but the installed package, writes into a temporary folder alone, prints a line for each thing that it
has checked, and exits with 0, or with 1 where something was not as it should be.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import flowweaver
from flowweaver import (
    AsyncExecutor,
    JSONStateStore,
    SequentialExecutor,
    SQLiteStateStore,
    Task,
    TaskStatus,
    ThreadedExecutor,
    Workflow,
    WorkflowExecutionError,
    task,
)

EXECUTORS: dict[str, Callable[..., Any]] = {
    "sequential": SequentialExecutor,
    "threaded": ThreadedExecutor,
    "asynchronous": AsyncExecutor,
}
STORES: dict[str, Callable[[Path], Any]] = {
    "no store": lambda _: None,
    "JSON": lambda folder: JSONStateStore(str(folder / "state.json")),
    "SQLite": lambda folder: SQLiteStateStore(str(folder / "state.db")),
}
WORDS = ("durable", "workflows", "inside", "one", "process", "a", "b", "c")
CHUNKS = 12

Open = Callable[[], Any]
"""Makes an executor; each call one of the same kind on the same store, as the next start of a program would."""


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - printing is what this program is for


def check(holds: bool, what: str) -> None:  # noqa: FBT001 - it reads like an assertion
    if not holds:
        raise AssertionError(what)


# ---------------------------------------------------------------------------------------------------- by each executor


def count_words(open_executor: Open, folder: Path) -> str:
    """Files are counted one by one, and the counts come together."""
    words = [WORDS[(number * number) % len(WORDS)] for number in range(CHUNKS * 200)]
    workflow = Workflow("count words")

    def write(number: int) -> str:
        path = folder / f"chunk{number}.txt"
        path.write_text(" ".join(words[number::CHUNKS]))
        return str(path)

    def count(**written: str) -> dict[str, int]:
        (path,) = written.values()
        return Counter(Path(path).read_text().split())

    for number in range(CHUNKS):
        workflow.add_task(Task(f"write{number}", lambda number=number: write(number)))
        workflow.add_task(Task(f"count{number}", count), [f"write{number}"])

    @task(name="total")
    def total(**counted: dict[str, int]) -> dict[str, int]:
        return dict(sum(map(Counter, counted.values()), Counter()))

    workflow.add_task(total, [f"count{number}" for number in range(CHUNKS)])
    open_executor().execute(workflow)
    check(workflow.get_task_result("total") == dict(Counter(words)), "the words are counted wrongly")
    return f"{len(words):,} words in {CHUNKS} files counted"


def fail_and_go_on(open_executor: Open, folder: Path) -> str:
    """A step fails; the next execution does that step, and not what had completed."""
    ran: list[str] = []
    mended = folder / "mended"

    def load(transform: list[int]) -> int:
        ran.append("load")
        if not mended.exists():
            raise ConnectionError("the target does not answer")
        return sum(transform)

    workflow = Workflow("go on")
    workflow.add_task(Task("extract", lambda: ran.append("extract") or [3, 1, 2]))
    workflow.add_task(Task("transform", lambda extract: ran.append("transform") or sorted(extract)), ["extract"])
    workflow.add_task(Task("load", load), ["transform"])
    try:
        open_executor().execute(workflow)
    except WorkflowExecutionError as error:
        check("load" in str(error), f"the error does not name the task: {error}")
        check(isinstance(error.__cause__.__cause__, ConnectionError), "the error does not lead to its cause")
    else:
        raise AssertionError("a failure went unnoticed")
    check(workflow.get_task_status("load") is TaskStatus.FAILED, "the failed task does not say so")
    mended.touch()
    open_executor().execute(workflow)
    check(ran == ["extract", "transform", "load", "load"], f"it ran {ran}")
    check(workflow.get_task_result("load") == 6, "the result is wrong")
    return "went on after a failure, and repeated nothing"


def try_again_and_time_out(open_executor: Open, _: Path) -> str:
    """Failed attempts are repeated; one that takes too long is given up."""
    attempts, told = [], []
    gate = threading.Event()

    def flaky() -> str:
        attempts.append(time.monotonic())
        if len(attempts) < 3:
            raise OSError("busy")
        return "answered"

    workflow = Workflow("retries")
    workflow.add_task(Task("flaky", flaky, retries=2, on_retry=lambda name, attempt: told.append((name, attempt))))
    open_executor().execute(workflow)
    check(told == [("flaky", 1), ("flaky", 2)], f"of the retries was told {told}")
    check(attempts[2] - attempts[1] > attempts[1] - attempts[0] > 0.05, "the pauses between attempts do not grow")

    late = Workflow("timeout")
    late.add_task(Task("late", lambda: gate.wait(30), timeout=0.2))
    try:
        open_executor().execute(late)
    except WorkflowExecutionError:
        check("0.2" in str(late.get_task("late").error), "the error does not tell of the timeout")
    else:
        raise AssertionError("a timeout went unnoticed")
    finally:
        gate.set()
    return "3 attempts with growing pauses; a body of 30 s given up after 0.2 s"


def await_coroutines(open_executor: Open, _: Path) -> str:
    """Coroutines and plain functions feed each other."""

    async def fetch(number: int) -> bytes | str:
        await asyncio.sleep(0.01)
        return hashlib.sha256(str(number).encode()).hexdigest()

    workflow = Workflow("coroutines")
    for number in range(50):
        workflow.add_task(Task(f"page{number}", lambda number=number: fetch(number)))
    workflow.add_task(
        Task("joined", lambda **pages: "".join(pages.values())), [f"page{number}" for number in range(50)]
    )
    open_executor().execute(workflow)
    check(len(workflow.get_task_result("joined")) == 50 * 64, "a coroutine's result is missing")
    return "50 coroutines awaited"


# --------------------------------------------------------------------------------------------------- over processes

KILLED = """
import os, signal
from flowweaver import *

def body(number, before):
    with open("ran", "a") as file:
        file.write(f"{number} ")
    if number == 25 and not os.path.exists("killed"):
        open("killed", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return number + sum(before.values())

workflow = Workflow("killed")
for number in range(40):
    workflow.add_task(
        Task(f"t{number}", lambda number=number, **before: body(number, before)), [f"t{number - 1}"] if number else []
    )
EXECUTOR.execute(workflow)
print(workflow.get_task_result("t39"))
"""


def survive_a_kill(executor: str, store: str, folder: Path) -> str:
    """A process is killed in the middle of a chain; the next one goes on with what was running."""
    store_text = {"JSON": 'JSONStateStore("state.json")', "SQLite": 'SQLiteStateStore("state.db")'}[store]
    program = KILLED.replace("EXECUTOR", f"{EXECUTORS[executor].__name__}(state_store={store_text})")
    command = [sys.executable, "-c", program]
    killed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - it is ours
    check(killed.returncode == -signal.SIGKILL, f"it was not killed: {killed.stderr}")
    second = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - it is ours
    check(second.stdout == "780\n", f"the second start said {second.stdout!r} {second.stderr}")
    ran = [int(number) for number in (folder / "ran").read_text().split()]
    check(ran == [*range(26), *range(25, 40)], f"it ran {ran}")
    return "killed after 25 of 40 tasks: 15 were left, and 25 were not repeated"


# -------------------------------------------------------------------------------------------------------- all of it


def checks() -> Iterator[tuple[str, Callable[[Path], str]]]:
    """Each with its name; what it is given is a folder of its own."""
    for kind, make in EXECUTORS.items():
        for store, open_store in STORES.items():
            for run in (count_words, fail_and_go_on, try_again_and_time_out, await_coroutines):
                yield f"{kind}, {store}", partial(check_by, run, make, open_store)
        for store in ("JSON", "SQLite") if os.name == "posix" else ():
            yield f"{kind}, {store}", partial(survive_a_kill, kind, store)


def check_by(
    run: Callable[[Open, Path], str], make: Callable[..., Any], open_store: Callable[[Path], Any], folder: Path
) -> str:
    return run(lambda: make(state_store=open_store(folder)), folder)


def main() -> int:
    say(f"flowweaver {flowweaver.__version__} on Python {sys.version.split()[0]}")
    began, failed, done = time.monotonic(), 0, 0
    for where, run in checks():
        done += 1
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="flowweaver-smoke-") as folder:
            try:
                what = run(Path(folder))
                say(f"ok      {where:22}  {time.monotonic() - started:4.1f} s  {what}")
            except Exception:  # noqa: BLE001 - whatever it is, the others are checked too
                failed += 1
                say(f"FAILED  {where:22}  {traceback.format_exc()}")
    say(f"{done - failed} of {done} checks passed in {time.monotonic() - began:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
