"""Each measurement is a process of its own that prints one `RESULT` line; here is how it is started and read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = ROOT / ".cache" / "benchmarks"
TIMEOUT_SECONDS = 300

KILLED = -9  # what a process that was ended by SIGKILL returns


class Failed(Exception):
    """A measurement gave no result."""


@dataclass(frozen=True, slots=True)
class Program:
    """How a contender is called: words before the workload, words after its size."""

    command: tuple[str, ...]
    after: tuple[str, ...] = ()
    path: tuple[str, ...] = ()  # where packages are looked for before they are looked for elsewhere

    def words(self, arguments: Sequence[object]) -> list[str]:
        """The whole command."""
        return [*self.command, *map(str, arguments), *self.after]

    @property
    def python_path(self) -> str:
        """Where Python looks first; `workloads` is here."""
        return os.pathsep.join([str(HERE), *self.path])


def python(name: str, *, interpreter: str | Path = sys.executable, source: Path | None = None) -> Program:
    """A program of this folder; `source` is a folder whose packages it takes in place of the installed ones."""
    path = () if source is None else (str(source.resolve()),)
    return Program((str(interpreter), str(HERE / name)), path=path)


def bar_program() -> tuple[Program, str]:
    """The bar, and which one it is: the one named by FLOWWEAVER_BENCH_BAR, the one beside the checkout, or ours."""
    named = os.environ.get("FLOWWEAVER_BENCH_BAR", "")
    beside = ROOT.parent / "shared" / "bench" / "conductor.py"
    if named and not Path(named).is_file():
        raise SystemExit(f"FLOWWEAVER_BENCH_BAR names {named}, which is no file: name the bar's program, or unset it")
    found = Path(named) if named else beside
    if found.is_file():
        return Program((sys.executable, str(found)), ("full-fair",)), f"{found.name}, mode full-fair, unchanged"
    return python("bar.py"), "benchmarks/bar.py"


class Box:
    """Starts measurements with their files in one folder, on the disk that is meant."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made where it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def new_folder(self) -> Path:
        """An empty one, for what must outlive a process. Its user removes it."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def run(
        self, program: Program, arguments: Sequence[object], *, extra: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """What it tells, with `spawned_at` beside it. Raises `Failed` where it tells nothing."""
        spawned_at = time.time()
        ended = self.start(program, arguments, extra)
        for line in ended.stdout.splitlines():
            if line.startswith("RESULT "):
                return {**json.loads(line[len("RESULT ") :]), "spawned_at": spawned_at}
        said = (ended.stderr or ended.stdout).strip().splitlines()[-1:] or ["nothing"]
        raise Failed(f"{' '.join(map(str, arguments))} ended with {ended.returncode}: {said[0][:300]}")

    def run_until_killed(self, program: Program, arguments: Sequence[object], extra: Mapping[str, str]) -> None:
        """The same for one that ends itself by SIGKILL (CRASH_AFTER). Raises `Failed` where it did not."""
        ended = self.start(program, arguments, extra)
        if ended.returncode != KILLED:
            said = (ended.stderr or ended.stdout).strip()[-300:]
            raise Failed(f"{' '.join(map(str, arguments))} should have been killed, {ended.returncode}: {said}")

    def start(
        self, program: Program, arguments: Sequence[object], extra: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, whatever that is."""
        environment = {**os.environ, "BENCH_DIR": str(self.folder), "PYTHONPATH": program.python_path, **(extra or {})}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or our own modules are compiled each time, a peer's are not
        try:
            return subprocess.run(
                program.words(arguments),
                env=environment,
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{' '.join(map(str, arguments))} has not ended in {TIMEOUT_SECONDS} s") from late
        except OSError as missing:
            raise Failed(f"{program.command[0]} can not be started: {missing.strerror}") from missing
