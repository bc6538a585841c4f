"""The properties bite: each planted bug makes them fail, whatever the seed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SEEDS = (1, 2, 3, 4, 5)
PATCHES = sorted(HERE.glob("*.patch"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run_the_properties(source: Path, seed: int) -> subprocess.CompletedProcess[str]:
    """The state machine over the code in `source`, without shrinking: that it fails is all that is asked."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(source),
        "FLOWWEAVER_EXAMPLES": "1000",
        "FLOWWEAVER_NO_SHRINK": "1",
    }
    options = ["-q", "-x", "--noconftest", "-p", "no:cacheprovider", "-p", "no:xdist", f"--hypothesis-seed={seed}"]
    command = [sys.executable, "-m", "pytest", *options, str(ROOT / "tests/properties/test_runs.py")]
    # Hypothesis would replay a failure of another mutant from its database: each run has a folder of its own.
    return subprocess.run(
        command, env=environment, cwd=source, capture_output=True, text=True, timeout=600, check=False
    )


def copy_of_the_source(folder: Path) -> Path:
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder / "src"


def test_five_bugs_are_planted():
    assert len(PATCHES) == 5


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_each_planted_bug_is_found_with_every_seed(patch: Path, tmp_path: Path):
    source = copy_of_the_source(tmp_path)
    subprocess.run(["patch", "-p1", "--fuzz=0", "-i", str(patch)], cwd=tmp_path, check=True, capture_output=True)
    for seed in SEEDS:
        result = run_the_properties(source, seed)
        assert result.returncode == 1, f"{patch.stem} survived seed {seed}:\n{result.stdout[-2000:]}"
        assert "AssertionError" in result.stdout, result.stdout[-3000:]
        assert "1 failed" in result.stdout


def test_the_code_as_it_is_passes_in_the_same_harness(tmp_path: Path):
    result = run_the_properties(copy_of_the_source(tmp_path), seed=SEEDS[0])
    assert result.returncode == 0, result.stdout[-3000:]
    assert "1 passed" in result.stdout
