"""`flowweaver state`, as its users run it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from flowweaver.cli import main
from tests.state.conftest import RELEASED

STORE = "620bdb90-64f0-49fe-bfbb-972af295dfb7"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copyfile(RELEASED / "layout-2.sqlite", tmp_path / "state.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("FLOWWEAVER_STATE", raising=False)
    return tmp_path


@pytest.fixture
def state(folder, capsys):
    """Run the command; gives its exit status, and what it printed to both streams."""

    def run(*arguments):
        status = main(["state", *arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_a_backup_tells_what_it_is_of(state, folder):
    status, out, err = state("backup", "copy.db", "--state", "state.db")

    assert (status, err) == (0, "")
    assert out.startswith("copy.db: taken 20")
    assert f"of store {STORE} at commit 18, " in out
    status, out, _ = state("check", "--state", "copy.db")
    assert (status, out.splitlines()[0]) == (0, "copy.db holds together: sqlite, layout 2, 3 runs")
    assert "a backup: taken 20" in out


def test_in_a_folder_it_gets_a_name_with_the_time_and_the_store(state, folder):
    (folder / "backups").mkdir()

    status, out, _ = state("backup", "backups", "--state", "state.db")

    [made] = (folder / "backups").iterdir()
    assert (status, out.partition(":")[0]) == (0, f"backups/{made.name}")
    assert made.match("state-20??????T??????Z-620bdb90.db")


def test_a_backup_is_no_way_to_lose_a_file(state, folder):
    (folder / "copy.db").write_text("mine")

    assert state("backup", "copy.db", "--state", "state.db")[0] == 2

    assert (folder / "copy.db").read_text() == "mine"


def test_a_restore_tells_what_was_there_and_where_it_is(state, folder):
    state("backup", "copy.db", "--state", "state.db")

    status, out, _ = state("restore", "copy.db", "--state", "state.db")

    assert status == 0
    first, second, third = out.splitlines()
    assert first == f"state.db is what copy.db is: store {STORE}, commit 18"
    assert second.startswith("the backup: taken 20")
    assert third.startswith(f"what was there (store {STORE}, commit 18) is kept as state.db.before-20")


def test_of_a_folder_the_newest_backup_is_restored(state, folder):
    (folder / "backups").mkdir()
    state("backup", "backups/b.db", "--state", "state.db")
    state("backup", "backups/a.db", "--state", "state.db")
    for name in ("notes.txt", ".c.db.x.partial"):
        (folder / "backups" / name).write_text("mine")

    status, out, _ = state("restore", "backups", "--state", "state.db")

    assert status == 0
    assert out.startswith("state.db is what backups/a.db is: ")


def test_of_a_folder_with_backups_of_several_stores_one_has_to_be_named(state, folder):
    (folder / "backups").mkdir()
    shutil.copyfile(RELEASED / "layout-1.sqlite", folder / "other.db")
    state("backup", "backups/full.db", "--state", "state.db")
    state("backup", "backups/empty.db", "--state", "other.db")

    status, _, err = state("restore", "backups", "--state", "state.db")

    assert status == 2
    assert "are of several stores: name the one to be restored" in err
    assert f"full.db (store {STORE}, commit 18)" in err
    assert state("restore", "backups/full.db", "--state", "state.db")[0] == 0


def test_a_folder_without_backups_is_none(state, folder):
    (folder / "backups").mkdir()
    shutil.copy(folder / "state.db", folder / "backups")

    assert state("restore", "backups", "--state", "state.db")[0] == 2


def test_the_file_may_be_named_by_the_environment(state, monkeypatch):
    monkeypatch.setenv("FLOWWEAVER_STATE", "state.db")

    assert state("check")[0] == 0


def test_a_check_tells_each_problem_and_its_status_says_so(state, folder):
    import apsw

    connection = apsw.Connection("state.db")
    connection.execute("DELETE FROM results WHERE task = 1 << 24")
    connection.close()

    status, out, err = state("check", "--state", "state.db")

    assert status == 1
    assert out == 'state.db: run 1 (orders): task "greeting" is completed without a result\n'
    assert err.startswith("flowweaver: state.db does not hold together: restore a backup of it")


@pytest.mark.parametrize("command", [["check"], ["list"], ["export"], ["backup", "x"], ["prune", "--keep", "1"]])
def test_a_file_that_is_not_there_is_not_made(state, folder, command):
    status, _, err = state(*command, "--state", "gone.db")

    assert status == 1
    assert "gone.db is not there" in err
    assert not (folder / "gone.db").exists()


def test_runs_are_listed_as_a_table(state):
    status, out, _ = state("list", "--state", "state.db")

    assert status == 0
    assert [line.split()[:3] for line in out.splitlines()] == [
        ["WORKFLOW", "RUN", "PHASE"],
        ["orders", "default", "Completed"],
        ["broken", "default", "Failed"],
        ["killed", "default", "Running"],
    ]


def test_runs_are_listed_for_programs_by_phase_and_name(state):
    def found(*arguments):
        return [
            run["workflow"] for run in json.loads(state("list", "--state", "state.db", "-o", "json", *arguments)[1])
        ]

    assert found() == ["orders", "broken", "killed"]
    assert found("--phase", "failed", "--phase", "running") == ["broken", "killed"]
    assert found("--workflow", "*r*") == ["orders", "broken"]
    assert found("--workflow", "*r*", "--phase", "completed") == ["orders"]
    assert found("--workflow", "nothing") == []


def test_what_would_be_forgotten_is_shown_first(state, folder):
    before = (folder / "state.db").read_bytes()

    status, out, _ = state("prune", "--older-than", "0s", "--state", "state.db")

    assert status == 0
    assert "orders" in out
    assert "broken" in out
    assert "killed" not in out
    assert out.endswith("2 runs would be forgotten; --yes does it\n")
    assert (folder / "state.db").read_bytes() == before


def test_with_yes_it_is_forgotten_and_the_rest_goes_on(state, folder):
    status, out, _ = state(
        "prune", "--older-than", "0s", "--phase", "failed", "--yes", "--vacuum", "--state", "state.db"
    )

    assert status == 0
    assert out.startswith("1 run forgotten\n")
    assert state("check", "--state", "state.db")[0] == 0
    assert [run["workflow"] for run in json.loads(state("list", "--state", "state.db", "-o", "json")[1])] == [
        "orders",
        "killed",
    ]


@pytest.mark.parametrize(
    "arguments", [[], ["--phase", "failed"], ["--older-than", "30"], ["--older-than", "3d4"], ["--keep", "0"]]
)
def test_what_is_to_be_forgotten_has_to_be_said(state, folder, arguments):
    before = (folder / "state.db").read_bytes()

    assert state("prune", "--state", "state.db", "--yes", *arguments)[0] == 2

    assert (folder / "state.db").read_bytes() == before


def test_days_are_a_time(state):
    assert "0 runs would" in state("prune", "--state", "state.db", "--older-than", "3650d12h")[1]


def test_a_line_for_each_run_has_its_tasks_attempts_and_results(state):
    status, out, _ = state("export", "--state", "state.db")

    assert status == 0
    orders, broken, killed = map(json.loads, out.splitlines())
    assert {task["name"]: task.get("result") for task in orders["tasks"]} == {
        "greeting": {"text": "Hello ✓"},
        "pause": None,
        "flaky": {"exitCode": 0, "stdout": "42\n", "stderr": ""},
        "last": "Hello ✓",
        "(outputs)": [{"name": "said", "value": "Hello ✓"}],
    }
    flaky = next(task for task in orders["tasks"] if task["name"] == "flaky")
    assert [(attempt["number"], attempt["status"]) for attempt in flaky["attempts"]] == [
        (1, "failed"),
        (2, "completed"),
    ]
    assert (broken["phase"], broken["tasks"][1]["reason"]) == ("failed", "TaskFailed")
    assert killed["tasks"][1]["attempts"][0]["endedAt"] is None


def test_what_bodies_are_made_of_and_results_where_not_wanted_are_left_out(state):
    whole = state("export", "--state", "state.db")[1]
    without = state("export", "--state", "state.db", "--no-results")[1]

    assert "test -e flag" not in whole, "a script"
    assert "Hello" in whole
    assert "Hello" not in without


def test_one_list_is_json_also_where_it_is_empty(state):
    assert len(json.loads(state("export", "--state", "state.db", "-o", "json")[1])) == 3
    assert json.loads(state("export", "--state", "state.db", "-o", "json", "--phase", "pending")[1]) == []


def test_a_json_store_is_looked_after_by_the_same_commands(state, folder):
    for suffix in ("", "-journal"):
        shutil.copyfile(RELEASED / f"json-1.json{suffix}", folder / f"state.json{suffix}")

    assert state("check", "--state", "state.json")[1].startswith("state.json holds together: json, layout 1, 2 runs\n")
    assert state("backup", "copy.json", "--state", "state.json")[0] == 0
    assert state("restore", "copy.json", "--state", "state.json")[0] == 0
    assert "killed" in state("list", "--state", "state.json")[1]
    assert len(state("export", "--state", "state.json")[1].splitlines()) == 2


def test_these_commands_need_nothing_of_the_operator(folder):
    program = """
import sys
for name in ("kopf", "kubernetes", "aiohttp", "prometheus_client"):
    sys.modules[name] = None
from flowweaver.cli import main
sys.exit(main(["state", "list", "--state", "state.db"]))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
