"""Whatever happens, in whatever order, the engine does what the reference model says."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from flowweaver.ports import Store
from flowweaver.stores.json_store import JSONStore
from flowweaver.stores.sqlite import SQLiteStore
from flowweaver.testing.simulation import ManualClock
from tests.simulation.disk import TROUBLES
from tests.simulation.history import History

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PLANTED = sorted((ROOT / "tests/mutants").glob("*.patch"))


def play(seed: int, disk: Store | None = None) -> History:
    history = History(seed, disk)
    try:
        history.play()
    except Exception as error:
        story = "\n".join(history.story)
        raise AssertionError(f"{story}\n{error}\nseed {seed}: python -m tests.simulation --seed {seed}") from error
    return history


def test_three_hundred_histories_go_as_the_model_says_and_all_that_can_happen_does():
    seen: Counter[str] = Counter()
    for seed in range(300):
        history = play(seed)
        seen.update(history.store.seen)
        for _, _, head in history.disk.list_runs():
            seen.update([f"run {head.phase}", head.reason])
        for task in history.model.tasks("completed", "failed", "skipped", "cancelled"):
            seen.update([task.phase, task.reason, f"{task.crashes} crashes"])
    reasons = {"TaskFailed", "Timeout", "CrashLoop", "Interrupted", "DependencyNotCompleted", "WorkflowTimeout"}
    reasons |= {"FailFast", "Stopped", "Terminated", "Replaced"}
    runs = {"run completed", "run failed", "run cancelled"}
    missing = {*TROUBLES, *reasons, *runs, "1 crashes", "2 crashes", "3 crashes"} - set(seen)
    assert not missing, f"nothing happened of {missing}"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", range(4))
def test_ten_thousand_histories_go_as_the_model_says(part: int):
    for seed in range(2500 * part, 2500 * (part + 1)):
        play(seed)


@pytest.mark.parametrize("store", [SQLiteStore, JSONStore])
def test_over_a_file_histories_go_the_same_way(store, tmp_path: Path):
    for seed in range(20):
        with closing(store(tmp_path / f"{seed}.db", clock=ManualClock())) as disk:
            assert play(seed, disk).story == play(seed).story


def test_a_seed_tells_the_same_story_each_time():
    for seed in (7, 8, 9):
        assert play(seed).story == play(seed).story


def test_the_model_is_small_enough_to_be_read():
    source = (HERE / "model.py").read_text()
    documentation = len((ast.get_docstring(ast.parse(source)) or "").splitlines())
    lines = [line for line in source.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) - documentation <= 100


def test_the_model_knows_nothing_of_the_core_but_plans_and_outcomes():
    imported = [
        node for node in ast.walk(ast.parse((HERE / "model.py").read_text())) if isinstance(node, ast.ImportFrom)
    ]
    ours = {
        (node.module, name.name) for node in imported for name in node.names if node.module.startswith("flowweaver")
    }
    assert ours == {("flowweaver.core.events", "Deferred"), ("flowweaver.core.events", "Failed")}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("patch", PLANTED, ids=lambda patch: patch.stem)
def test_each_planted_bug_is_found_in_three_hundred_histories(patch: Path, tmp_path: Path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["patch", "-p1", "--fuzz=0", "-i", str(patch)], cwd=tmp_path, check=True, capture_output=True)
    for first in (0, 300, 600):
        command = [sys.executable, "-m", "tests.simulation", "--first", str(first), "--histories", "300"]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
        result = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 1, f"{patch.stem} survived:\n{result.stdout[-2000:]}"
        assert "python -m tests.simulation --seed" in result.stdout, result.stderr[-2000:]
