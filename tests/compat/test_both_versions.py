"""The tests of this folder, run on the published 0.2.2 as well.

What the page of 0.2.2 promised passes there as it does here; what it got wrong (the tests marked `defect`) fails there,
each in the way that its mark says. The environment for it is made once and kept in `.cache/compat`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "compat"
OLD = "0.2.2"
WANTED = [f"flowweaver=={OLD}", *(f"{name}=={version(name)}" for name in ("pytest", "pytest-timeout"))]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of an environment with 0.2.2 in it; made on the first use."""
    name = "-".join([f"{sys.version_info.major}.{sys.version_info.minor}", *(one.replace("==", "-") for one in WANTED)])
    place = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            shutil.rmtree(place, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", place], check=True, timeout=120)
            install(place)
            (place / "complete").touch()
    return place / "bin" / "python"


def install(place: Path) -> None:
    command = [
        place / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--retries",
        "1",
        "--timeout",
        "20",
        *WANTED,
    ]
    installed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if installed.returncode == 0:
        return
    lacking = f"flowweaver {OLD} could not be installed to compare with: {installed.stderr.strip()}"
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(lacking, pytrace=False)
    pytest.skip(lacking)


@pytest.fixture(scope="module")
def report(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What every other test of this folder said about 0.2.2."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [python, "-m", "pytest", "-q", "-c", folder / "pytest.ini", f"--rootdir={HERE}", f"--confcutdir={HERE}"]
    command += ["--import-mode=importlib", "-p", "no:cacheprovider", f"--basetemp={folder / 'work'}", "--timeout=60"]
    command += [f"--ignore={HERE / 'test_both_versions.py'}", HERE]
    settings = {"COMPAT_REPORT": str(folder / "report.json"), "COMPAT_PATIENCE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
    ran = subprocess.run(command, env=clean | settings, capture_output=True, text=True, check=False, timeout=500)
    assert (folder / "report.json").exists(), ran.stdout + ran.stderr
    told: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return told


def as_said(one: dict[str, Any]) -> bool:
    if one["defect"] is None:
        return bool(one["outcome"] == "passed")
    raises, says = one["defect"]
    return (one["outcome"], one["phase"], one["raised"]) == ("failed", "call", raises) and says in one["message"]


def test_0_2_2_passes_what_its_page_promised_and_fails_what_it_got_wrong_in_the_way_that_is_said(report):
    tests = report["tests"]
    defects = {one["test"].partition("[")[0] for one in tests if one["defect"] is not None}

    assert report["version"] == OLD
    assert len(tests) > 400
    assert len(defects) >= 30
    assert not [
        f"{one['test']}: {one['outcome']} in its {one['phase']} {one['raised']}: {one['message'][:300]}"
        for one in tests
        if not as_said(one)
    ]
