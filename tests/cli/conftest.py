"""The command as its users run it: a process of its own, in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]

DEADLINE_SECONDS = 90


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the command runs."""
    return tmp_path


@pytest.fixture
def flowweaver(folder: Path) -> Run:
    """Run the command to its end."""

    def run(*arguments: str, text: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flowweaver", *arguments],
            cwd=folder,
            env=_environment(environment),
            input=text,
            stdin=None if text is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    return run


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start the command and leave it running."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "flowweaver", *arguments],
            cwd=folder,
            env=_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def on_a_terminal(folder: Path) -> Iterator[Callable[..., Terminal]]:
    """Start any program on a terminal of its own."""
    started: list[Terminal] = []

    def begin(
        command: list[str], columns: int = 100, rows: int = 24, streams: dict[str, int] | None = None, **more: str
    ) -> Terminal:
        inherited = _environment({})
        inherited.pop("COLUMNS")
        started.append(Terminal(command, folder, {**inherited, **more}, columns, rows, **(streams or {})))
        return started[-1]

    yield begin
    for each in started:
        each.close()


@pytest.fixture
def terminal(on_a_terminal: Callable[..., Terminal]) -> Callable[..., Terminal]:
    """Start the command on a terminal of its own."""
    return lambda *arguments, **more: on_a_terminal([sys.executable, "-m", "flowweaver", *arguments], **more)


@pytest.fixture
def shell(on_a_terminal: Callable[..., Terminal]) -> Callable[[str], Terminal]:
    """Have a shell with job control run a line on a terminal of its own."""
    return lambda line: on_a_terminal(["bash", "-m", "-c", line])


@pytest.fixture
def manifest(folder: Path) -> Callable[..., str]:
    """Write a manifest of these tasks and give its file's name."""

    def write(tasks: str, name: str = "probe", more: str = "") -> str:
        file = folder / f"{name}.yaml"
        lines = "".join(f"    {line}\n" for line in tasks.strip("\n").splitlines())
        head = f"apiVersion: flowweaver.io/v1alpha1\nkind: Workflow\nmetadata: {{name: {name}}}\n"
        file.write_text(f"{head}spec:\n{more}  tasks:\n{lines}")
        return file.name

    return write


def _environment(given: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLOWWEAVER_")}
    for colour in ("FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "GITHUB_ACTIONS"):
        inherited.pop(colour, None)
    return {**inherited, "COLUMNS": "200", **given}
