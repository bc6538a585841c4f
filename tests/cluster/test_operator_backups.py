"""The operator's own backups: taken under load, put in the place of a volume that is gone, and gone on with."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from flowweaver.stores.backups import origin_of
from flowweaver.stores.checks import check
from flowweaver.stores.looking import looking_at
from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import Operator
from tests.cluster.processes import await_true
from tests.cluster.test_operator_volumes import is_lost, wipe
from tests.cluster.workflows import await_phase, finish, status_of, workflow

pytestmark = pytest.mark.control_plane

WORKFLOWS, TASKS = 4, 60


def noting(file: Path, name: str) -> list[dict[str, object]]:
    """Four chains of tasks that each note that they ran; the last one of all waits for the file `go`."""
    tasks: list[dict[str, object]] = [
        {"name": f"t{number}", "dependsOn": [f"t{number - 4}"] if number >= 4 else []} for number in range(TASKS)
    ]
    for task in tasks:
        task["shell"] = {"script": f"echo {name}/{task['name']} >> {file}"}
    tasks[-1]["shell"] = {"script": f"until test -e {file}.go; do sleep 0.05; done; echo {name}/t{TASKS - 1} >> {file}"}
    return tasks


def newest(folder: Path) -> Path | None:
    return max(folder.glob("auto-*.db"), default=None)


def completed_in(path: Path) -> set[str]:
    with looking_at(path) as look:
        return {
            f"{stored.name.workflow.partition('/')[2]}/{task.name}"
            for key, _, _ in look.list_runs()
            for stored in [look.read_run(key)]
            for task, state in zip(stored.plan.tasks, stored.tasks, strict=True)
            if state.phase == "completed" and not task.internal
        }


def reported(kubectl: Kubectl, names: list[str]) -> dict[str, str]:
    return {
        f"{name}/{task['name']}": task["phase"] for name in names for task in status_of(kubectl, name).get("tasks", [])
    }


def metric(operator: Operator, name: str) -> float:
    [line] = [line for line in operator.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[-1])


@pytest.mark.slow
def test_a_backup_that_was_taken_under_load_is_restored_and_repeats_nothing_that_it_knows(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    folder, ran = tmp_path / "backups", tmp_path / "ran"
    environment = {"FLOWWEAVER_BACKUP_FOLDER": str(folder)}
    running = operator(env=environment, unsafeBodies=["shell"], backup={"enabled": True, "every": "1s", "keep": 2})
    kubectl.apply(workflow("before", {"name": "a", "value": 1}))
    history = finish(kubectl, "before")
    names = [f"load-{number}" for number in range(WORKFLOWS)]
    kubectl.apply(*(workflow(name, *noting(ran, name)) for name in names))
    total = WORKFLOWS * TASKS

    def in_the_middle() -> bool:
        found = newest(folder)
        return found is not None and total // 5 < len(completed_in(found)) < total

    await_true("a backup is taken in the middle", in_the_middle, seconds=120)
    assert metric(running, "flowweaver_backup_last_success_timestamp_seconds") > 0
    backup = newest(folder)
    assert backup is not None
    kept = tmp_path / "kept.db"
    kept.write_bytes(backup.read_bytes())
    there = completed_in(kept) - {"before/a"}
    sequence = origin_of(kept).sequence
    kubectl.apply(workflow("later", {"name": "a", "shell": {"script": f"echo later/a >> {ran}; sleep 600"}}))
    await_true("its body runs", lambda: "later/a" in ran.read_text())
    for name in names:
        await_true(
            f"more is reported of {name} than the backup knows",
            lambda name=name: status_of(kubectl, name)["store"]["sequence"] > sequence,
            seconds=120,
        )
    running.kill()
    acknowledged = {task for task, phase in reported(kubectl, names).items() if phase == "Completed"}
    before = Counter(ran.read_text().split())
    wipe(running)

    command = [sys.executable, "-m", "flowweaver", "state", "restore", str(kept), "--state", str(running.state)]
    subprocess.run(command, check=True)

    assert completed_in(running.state) == there | {"before/a"}
    assert check(running.state).problems == ()
    assert check(running.state).position.sequence == sequence
    running.start()
    for name in [*names, "later"]:
        await_true(f"{name} is held back", lambda name=name: is_lost(kubectl, name))
    assert status_of(kubectl, "before") == history
    assert Counter(ran.read_text().split()) == before, "what is held back runs nothing"

    running.terminate()
    Path(f"{ran}.go").touch()
    running.environment["FLOWWEAVER_ADOPT"] = "true"
    running.start()
    await_true("its body runs again", lambda: ran.read_text().count("later/a") == 2)
    for name in names:
        await_phase(kubectl, name, "Completed", seconds=180)
    after = Counter(ran.read_text().split())
    every = {f"{name}/t{number}" for name in names for number in range(TASKS)}
    assert after - before == Counter({*every, "later/a"} - there), "what the backup knows does not run again"
    measured(
        f"{len(there)} of {total} tasks in the backup, {len(acknowledged)} reported before the volume was wiped, "
        f"{len(names)} workflows held back; adopted, {sum((after - before).values())} ran, none of the backup's again"
    )


def runs_in(path: Path) -> list[str]:
    with looking_at(path) as look:
        return sorted(name.workflow.partition("/")[2] for _, name, _ in look.list_runs())


@pytest.mark.slow
def test_the_store_forgets_a_run_whose_workflow_is_gone_also_where_nobody_saw_it_go(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    running = operator()
    names = ["kept", "seen", "unseen"]
    kubectl.apply(*(workflow(name, {"name": "a", "value": 1}) for name in names))
    for name in names:
        finish(kubectl, name)
    assert runs_in(running.state) == names

    kubectl("delete", "fw", "seen")
    await_true("it is forgotten", lambda: runs_in(running.state) == ["kept", "unseen"])
    running.kill()
    kubectl("delete", "fw", "unseen")
    assert runs_in(running.state) == ["kept", "unseen"]
    running.start()
    await_true("the other one is too", lambda: runs_in(running.state) == ["kept"])
    assert check(running.state).problems == ()
