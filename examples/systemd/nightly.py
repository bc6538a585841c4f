"""What is in a folder, by kind of file, as a report each night: a program for systemd or cron.

    python nightly.py FOLDER [--state-dir DIRECTORY] [--port 5000]

The state is in DIRECTORY, which systemd names by $STATE_DIRECTORY (StateDirectory=). A run that was interrupted, by a
reboot say, goes on with the next start; otherwise each start is a run of its own. The exit status says how it went:
0 completed, 1 failed, 75 another one is at it, 143 told to stop.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from flowweaver import RetryPolicy, SQLiteStateStore, Task, ThreadedExecutor, Workflow, WorkflowRunner


def build(folder: Path, report: Path) -> Workflow:
    def scan() -> dict[str, list[int]]:
        sizes: dict[str, list[int]] = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                sizes.setdefault(path.suffix or "(none)", []).append(path.stat().st_size)
        return sizes

    def count(scan: dict[str, list[int]]) -> list[list]:
        return sorted([[sum(sizes), len(sizes), suffix] for suffix, sizes in scan.items()], reverse=True)

    def newest(scan: dict[str, list[int]]) -> str:
        del scan  # it only has to be there
        changed = max((path.stat().st_mtime for path in folder.rglob("*")), default=time.time())
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(changed))

    def write(count: list[list], newest: str) -> str:
        lines = [f"{total:>14,} bytes {number:>8,} files  {suffix}" for total, number, suffix in count]
        beside = report.with_suffix(".new")
        beside.write_text(f"{folder}, last changed {newest}\n" + "\n".join(lines) + "\n")
        beside.replace(report)  # whoever reads it sees the old one or the new one
        return str(report)

    workflow = Workflow("nightly")
    again = RetryPolicy(delay=1, on=(OSError,))  # a file may go while it is looked at
    workflow.add_task(Task("scan", scan, retries=3, retry=again))
    workflow.add_task(Task("count", count), depends_on=["scan"])
    workflow.add_task(Task("newest", newest, retries=3, retry=again), depends_on=["scan"])
    workflow.add_task(Task("write", write, retries=3, retry=again), depends_on=["count", "newest"])
    return workflow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--state-dir", type=Path, default=Path(os.environ.get("STATE_DIRECTORY", ".")))
    parser.add_argument("--port", type=int, help="answer /health and /metrics there, on this machine alone")
    told = parser.parse_args()
    executor = ThreadedExecutor(state_store=SQLiteStateStore(told.state_dir / "nightly.db"))
    workflow = build(told.folder, told.state_dir / "report.txt")
    WorkflowRunner(workflow, executor, port=told.port, grace_seconds=30).main()


if __name__ == "__main__":
    main()
