"""`flowweaver run` on a state file that can not be used: one sentence with the fix, and a status."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from flowweaver.assembly import build_engine
from flowweaver.policy import Policy
from flowweaver.ports import RunName
from tests.faults.runs import planned

HELLO = Path(__file__).resolve().parents[2] / "examples/hello.yaml"


def run(state):
    command = [sys.executable, "-m", "flowweaver", "run", HELLO, "--state", state]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("volume", ["1m"], indirect=True)
def test_a_full_disk_is_told_of_with_what_to_do(volume):
    volume.fill()
    done = run(volume.folder / "state.db")
    assert done.returncode == 2
    assert "free some space" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_file_is_told_of_with_what_to_do(tmp_path):
    state = tmp_path / "state.db"
    state.write_bytes(b"\xa5" * 8192)
    done = run(state)
    assert done.returncode == 2
    assert "restore a backup" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_run_of_another_workflow_in_the_file_is_no_matter(tmp_path):
    state = tmp_path / "state.db"
    with build_engine(state, policy=Policy.permissive(), workers=1) as assembly:
        assembly.engine.start()
        assembly.engine.submit(RunName("other"), planned({"name": "a", "value": 1}, suspend=True))
    with sqlite3.connect(state) as connection:
        connection.execute("UPDATE plans SET plan = '{'")
    connection.close()
    done = run(state)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert "left alone" in done.stderr
