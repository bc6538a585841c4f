"""Whether every commit reaches the disk: counts the syncs that strace sees, beside the commits that the file counts.

    python benchmarks/syncs.py [WORKLOAD [SIZE]]

Needs strace. Exits with 1 where there were fewer `fdatasync` calls than commits.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from children import CACHE, Program, python

TRACED = ["strace", "-f", "-c", "-e", "trace=fdatasync,fsync"]


def counted(program: Program, workload: str, size: int, folder: Path) -> tuple[int, int, str]:
    """Syncs, commits, and the table of strace. Raises `SystemExit` where the program gives no result."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as box:
        counts = Path(box, "counts")
        command = [*TRACED, "-o", str(counts), *program.words([workload, size])]
        environment = {**os.environ, "BENCH_DIR": box, "PYTHONPATH": program.python_path}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        lines = [line for line in ended.stdout.splitlines() if line.startswith("RESULT ")]
        if not lines:
            raise SystemExit(f"no result under strace: {(ended.stderr or ended.stdout).strip()[-300:]}")
        table = counts.read_text(encoding="utf-8")
    syncs = sum(int(calls) for calls in re.findall(r"^\s*\S+\s+\S+\s+\S+\s+(\d+)\s.*fdatasync$", table, re.MULTILINE))
    return syncs, int(json.loads(lines[0][len("RESULT ") :])["commits"]), table


def main() -> int:
    """Print what was counted."""
    if not shutil.which("strace"):
        print("strace is not installed, so no syncs were counted")
        return 0
    workload, size = (sys.argv[1:2] or ["chain"])[0], int((sys.argv[2:3] or ["1000"])[0])
    syncs, commits, table = counted(python("ours.py"), workload, size, CACHE / "boxes")
    print(table)
    print(f"{workload} {size}: {syncs} fdatasync, {commits} commits")
    return 0 if syncs >= commits > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
