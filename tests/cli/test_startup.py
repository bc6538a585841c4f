"""What the command imports: it must start at once, and work where the operator's libraries are not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from flowweaver.cli import main

for name in {absent!r}:
    sys.modules[name] = None  # importing it says that there is no such module
status = main(sys.argv[1:])
print(*sorted({{name.partition(".")[0] for name, module in sys.modules.items() if module}}), file=sys.stderr)
sys.exit(status)
"""
OPERATORS = {"kopf", "kubernetes", "aiohttp", "prometheus_client"}


def run(*arguments: str, absent: set[str] = frozenset(), cwd=None) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(absent=set(absent))
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_running_a_value_task_imports_nothing_of_the_operator(folder, manifest):
    result = run("run", manifest("- name: a\n  value: 1\n"), cwd=folder)

    assert result.returncode == 0, result.stderr
    assert OPERATORS.isdisjoint(result.stderr.split())


def test_all_commands_but_the_operator_work_without_the_libraries_of_the_operator(folder, manifest):
    file = manifest("- name: a\n  value: 1\n")

    more = (["graph", file], ["graph", file, "-f", "mermaid"], ["graph", file, "-f", "svg"], ["doctor", "--no-cluster"])
    statuses = [
        run(*arguments, absent=OPERATORS, cwd=folder).returncode
        for arguments in (["run", file], ["run", file, "-o", "json"], ["lint", file], ["crds"], *more)
    ]

    assert set(statuses) == {0}


def test_the_operator_says_what_to_install():
    result = run("operator", absent=OPERATORS)

    assert result.returncode == 2
    assert "pip install 'flowweaver-operator[operator]'" in result.stderr


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_without_the_extra_the_command_says_what_to_install(library, folder, manifest):
    result = run("run", manifest("- name: a\n  value: 1\n"), absent={library}, cwd=folder)

    assert result.returncode == 2
    assert "pip install 'flowweaver-operator[cli]'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["run", "--help"], ["graph", "--help"], ["doctor", "--help"]]
)
def test_help_and_version_do_not_wait_for_the_engine(arguments):
    assert {"yaml", "apsw", "cel_expr_python"}.isdisjoint(run(*arguments).stderr.split())
