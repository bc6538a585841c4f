"""The SQL of the docs is answered by a state file, beside the engine that has it open."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flowweaver.cli import main
from tests.cluster.processes import await_true
from tests.docs.blocks import ROOT, of

UNDER_WAY = """
apiVersion: flowweaver.io/v1alpha1
kind: Workflow
metadata: {name: under-way}
spec:
  tasks:
    - {name: runs, shell: {script: sleep 600}}
    - {name: waits, wait: {duration: 1h}}
"""
STATUSES = "SELECT DISTINCT status FROM tasks"


def answers(state: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as connection:
        return connection.execute(statement).fetchall()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """With a run that has completed, one that has failed and one that is under way."""
    state = tmp_path / "state.db"
    for name, status in (("hello", 0), ("failures", 1)):
        assert main(["run", str(ROOT / "examples" / f"{name}.yaml"), "--state", str(state)]) == status
    (tmp_path / "under-way.yaml").write_text(UNDER_WAY)
    command = [Path(sys.executable).with_name("flowweaver"), "run", tmp_path / "under-way.yaml", "--state", state]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            wanted = {"running", "waiting", "completed", "failed"}
            await_true("both tasks are under way", lambda: wanted <= {word for (word,) in answers(state, STATUSES)})
            yield state
        finally:
            process.kill()  # its tasks die with it


def test_each_query_of_the_docs_finds_something(state):
    for block in of("sql"):
        assert answers(state, block.text), str(block)
