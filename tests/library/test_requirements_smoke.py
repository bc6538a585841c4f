"""The smoke test at the top of the repository: it passes here, and it would say where something is wrong."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "smoke_test.py"


@pytest.mark.slow
def test_it_passes_and_says_what_it_has_checked(tmp_path):
    command = [sys.executable, "-W", "error", str(PROGRAM)]

    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    *_, last = lines = ran.stdout.splitlines()
    assert last.startswith("42 of 42 checks passed")
    assert sum(line.startswith("ok ") for line in lines) == 42
    for executor in ("sequential", "threaded", "asynchronous"):
        for store in ("no store", "JSON", "SQLite"):
            assert any(f"{executor}, {store} " in line for line in lines)
    assert not list(tmp_path.iterdir())


def test_what_is_wrong_is_said_and_ends_it_with_one(monkeypatch, capsys):
    spec = spec_from_file_location("smoke_test", PROGRAM)
    smoke_test = module_from_spec(spec)
    spec.loader.exec_module(smoke_test)

    def wrong(folder):
        smoke_test.check(folder.is_file(), "the folder is none")

    monkeypatch.setattr(smoke_test, "checks", lambda: [("here", lambda _: "fine"), ("there", wrong)])

    assert smoke_test.main() == 1
    told = capsys.readouterr().out
    assert "the folder is none" in told
    assert "FAILED  there" in told
    assert "1 of 2 checks passed" in told
