"""A state file that a released version has left, killed in the middle of its work, is gone on with by this one.

The files in `released` were written by the code of those versions, with the manifests beside them: one run completed,
one failed, and in one a body was running, a timer waiting and a task pending when the process was killed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from flowweaver import JSONStateStore, SQLiteStateStore, Task, ThreadedExecutor, Workflow
from flowweaver.stores import SQLiteStore
from flowweaver.stores.checks import check
from flowweaver.stores.json_files import FORMAT
from flowweaver.stores.looking import looking_at
from flowweaver.stores.statements import migrations
from flowweaver.testing.simulation import ManualClock
from tests.state.conftest import RELEASED

SQLITE = {
    int(found[1]): path for path in RELEASED.iterdir() if (found := re.fullmatch(r"layout-(\d+)\.sqlite", path.name))
}


def run(folder: Path, manifest: str) -> tuple[int, dict[str, dict[str, object]]]:
    """Run a manifest on the state file; gives the exit status, and what is told of each task."""
    shutil.copy(RELEASED / manifest, folder)
    command = [sys.executable, "-m", "flowweaver", "run", manifest, "--state", "state.db", "-o", "json"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=90)
    assert result.stdout, result.stderr
    return result.returncode, {task["name"]: task for task in json.loads(result.stdout)["status"]["tasks"]}


@pytest.fixture(params=SQLITE, ids=lambda version: f"layout-{version}")
def folder(request, tmp_path):
    shutil.copyfile(SQLITE[request.param], tmp_path / "state.db")
    return tmp_path


def test_there_is_a_file_of_each_layout():
    """A new migration needs one too, written by the code before it is released."""
    assert sorted(SQLITE) == [step.version for step in migrations()]
    assert (RELEASED / f"json-{FORMAT}.json").exists()


def test_each_step_to_this_layout_keeps_everything(folder):
    with looking_at(folder / "state.db") as look:
        before = [look.read_run(key) for key, _, _ in look.list_runs()]
        results = [look.read_results(run.key, range(len(run.tasks))) for run in before]
    assert len(before) == 3

    with closing(SQLiteStore(folder / "state.db", clock=ManualClock())) as store:
        assert [store.read_run(key) for key, _, _ in store.list_runs()] == before
        assert [store.read_results(run.key, range(len(run.tasks))) for run in before] == results

    found = check(folder / "state.db")
    assert (found.layout, found.problems) == (migrations()[-1].version, ())


def test_a_state_store_tells_of_a_file_that_nobody_has_opened_yet_and_leaves_it_as_it_is(folder):
    before = (folder / "state.db").read_bytes()
    store = SQLiteStateStore(folder / "state.db")

    assert store.load_task_state("flaky")["result"]["stdout"] == "42\n"
    assert [state["status"].value for state in store.query_task_history("flaky")] == ["completed", "failed"]
    assert [state["status"].value for state in store.query_task_history("greeting")] == ["completed"]
    assert len(store.query_task_history("running")) == 1
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {"state.db": before}


@pytest.mark.slow
def test_what_had_completed_stays_so(folder):
    status, tasks = run(folder, "orders.yaml")

    assert status == 0
    assert {name: task["attempts"] for name, task in tasks.items()} == {
        "greeting": 1,
        "pause": 1,
        "flaky": 2,
        "last": 1,
    }
    assert not (folder / "flag").exists(), "no body has run"


@pytest.mark.slow
def test_what_was_under_way_goes_on_and_repeats_nothing_that_had_completed(folder):
    (folder / "go").touch()

    status, tasks = run(folder, "killed.yaml")

    assert status == 0
    assert {name: task["attempts"] for name, task in tasks.items()} == {
        "first": 1,
        "running": 2,
        "waiting": 1,
        "end": 1,
    }
    assert (folder / "ran").read_text() == "ran\n"
    assert check(folder / "state.db").problems == ()


@pytest.mark.slow
def test_what_had_failed_is_taken_up_again(folder):
    (folder / "mended").touch()

    status, tasks = run(folder, "broken.yaml")

    assert status == 0
    assert {name: task["attempts"] for name, task in tasks.items()} == {"good": 1, "bad": 2, "after": 1}


def test_a_json_store_is_gone_on_with(tmp_path):
    for suffix in ("", "-journal"):
        shutil.copyfile(RELEASED / f"json-1.json{suffix}", tmp_path / f"state.json{suffix}")
    ran = []
    workflow = Workflow("killed")
    workflow.add_task(Task("greeting", lambda: ran.append("greeting")))
    workflow.add_task(Task("flaky", lambda greeting: ran.append("flaky")), depends_on=["greeting"])
    workflow.add_task(Task("hang", lambda flaky: ran.append(flaky)), depends_on=["flaky"])

    workflow.execute(ThreadedExecutor(state_store=JSONStateStore(tmp_path / "state.json")))

    assert ran == [42]
    assert check(tmp_path / "state.json").problems == ()
