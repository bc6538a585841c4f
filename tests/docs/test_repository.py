"""What a fresh clone promises: make says what it can do, and the locks name everything and no place to get it from."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

LOCKS = sorted((ROOT / "requirements").glob("*.lock"))


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)", lock.read_text(), re.MULTILINE))


def test_make_alone_lists_every_target():
    phony = set(re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))

    listed = {line.split()[0] for line in make().stdout.splitlines()}

    assert listed == phony
    assert {"demo", "test", "test-slow", "control-plane", "test-cluster", "e2e", "kind-e2e", "lint", "check"} <= listed


def test_a_python_that_is_too_old_is_refused_with_what_to_do(tmp_path):
    old = tmp_path / "python2.7"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)

    result = make("demo", f"PYTHON={old}", folder=tmp_path)

    assert result.returncode == 2
    assert "FlowWeaver needs Python 3.11 or newer" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_there_is_a_lock_for_each_way_to_install():
    assert [lock.name for lock in LOCKS] == ["cli.lock", "dev.lock", "operator.lock"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_pins_everything_by_hash_and_names_no_registry(lock):
    text = lock.read_text()

    assert "://" not in text
    assert "--index-url" not in text
    entries = re.split(r"\n(?=[a-z0-9])", text.split("\n", 2)[2])
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry)
    assert len(pins(lock)) > 10


def test_the_locks_agree_with_each_other():
    every = pins(ROOT / "requirements" / "dev.lock")

    for lock in LOCKS:
        assert pins(lock).items() <= every.items(), lock.name


def test_the_command_line_is_locked_without_the_operators_libraries():
    assert {"kopf", "kubernetes", "aiohttp"}.isdisjoint(pins(ROOT / "requirements" / "cli.lock"))


def test_the_benchmark_runs_and_its_checksums_hold():
    command = [sys.executable, str(ROOT / "benchmarks" / "steps.py"), "--rounds", "1", "--size", "200"]

    result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()[2:]] == ["chain", "fan", "dag", "multi"]
