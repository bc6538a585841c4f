"""A volume that is empty, older or somebody else's never runs history again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.control_plane import Access
from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import Operator
from tests.cluster.processes import await_true
from tests.cluster.test_operator_lifecycle import HELLO, LONG, edit
from tests.cluster.workflows import await_phase, condition, events_of, finish, phase_of, status_of, workflow

pytestmark = pytest.mark.control_plane


def wipe(operator: Operator) -> None:
    for found in operator.state.parent.glob(f"{operator.state.name}*"):
        found.unlink()


def is_stalled_by_loss(status: dict[str, Any]) -> bool:
    return condition(status, "Stalled") == ("True", "StateLost")


def is_lost(kubectl: Kubectl, name: str) -> bool:
    return is_stalled_by_loss(status_of(kubectl, name))


def noting(name: str, file: Path) -> dict[str, object]:
    return {"name": name, "shell": {"script": f"echo {name} >> {file}; sleep 600"}}


@pytest.mark.slow
def test_an_empty_volume_runs_nothing_again_and_a_rerun_works(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path
) -> None:
    running = operator(unsafeBodies=["shell"])
    ran = tmp_path / "ran"
    kubectl.apply(workflow("history", HELLO), workflow("lost", noting("body", ran)))
    before = finish(kubectl, "history")
    await_phase(kubectl, "lost", "Running")
    await_true("its body runs", ran.exists)
    running.kill()
    wipe(running)
    running.start()

    await_true("it is reported as lost", lambda: is_lost(kubectl, "lost"))
    assert ran.read_text() == "body\n"
    assert status_of(kubectl, "history") == before
    await_true("an Event tells of it", lambda: "StateLost" in events_of(kubectl, "lost"))

    edit(kubectl, "lost", rerun="again")
    await_phase(kubectl, "lost", "Running")
    await_true("its body runs again", lambda: ran.read_text() == "body\nbody\n")
    status = status_of(kubectl, "lost")
    assert status["observedRerun"] == "again"
    assert condition(status, "Stalled")[0] == "False"


def test_a_new_life_of_a_pod_waits_for_no_lease_of_its_last_one_also_on_an_empty_volume(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    running = operator()
    first = holder(kubectl)
    running.kill()
    wipe(running)
    running.start()
    assert "another operator of this instance" not in running.output()
    second = holder(kubectl)
    assert first.rpartition("_")[0] == second.rpartition("_")[0] == running.environment["POD_NAME"]
    assert first != second, "the Lease says which store its holder has"
    assert running.terminate() == 0
    assert holder(kubectl) == ""


def holder(kubectl: Kubectl) -> str:
    return str(kubectl.json("get", "lease", "flowweaver-default")["spec"].get("holderIdentity", ""))


@pytest.mark.slow
def test_an_administrator_may_adopt_what_another_volume_held(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    first = operator()
    kubectl.apply(workflow("moved", {"name": "soon", "wait": {"duration": "5s"}}))
    await_phase(kubectl, "moved", "Running")
    first.kill()
    wipe(first)
    first.environment["FLOWWEAVER_ADOPT"] = "true"
    first.start()
    assert finish(kubectl, "moved")["phase"] == "Completed"


def test_a_restored_backup_does_not_run_again_what_was_done_since(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path
) -> None:
    running = operator(unsafeBodies=["shell"])
    ran, go = tmp_path / "ran", tmp_path / "go"
    tasks = [
        {"name": "gate", "shell": {"script": f"until test -e {go}; do sleep 0.05; done"}},
        {"name": "once", "dependsOn": ["gate"], "shell": {"script": f"echo once >> {ran}"}},
        {**LONG, "dependsOn": ["once"]},
    ]
    kubectl.apply(workflow("older", *tasks))
    await_phase(kubectl, "older", "Running")
    running.kill()
    backup = tmp_path / "backup"
    backup.mkdir()
    for found in running.state.parent.glob(f"{running.state.name}*"):
        shutil.copy(found, backup)
    go.touch()
    running.start()
    await_true("more is reported than the backup has", lambda: _phase(kubectl, "older", "long") == "Waiting")
    running.kill()
    wipe(running)
    for found in backup.iterdir():
        shutil.copy(found, running.state.parent)

    running.start()
    await_true("it is reported as lost", lambda: is_lost(kubectl, "older"))
    assert ran.read_text() == "once\n"

    running.kill()
    running.start()
    assert is_lost(kubectl, "older")
    edit(kubectl, "older", rerun="go on")
    await_true("it goes on from what the volume knows", lambda: ran.read_text() == "once\nonce\n")
    await_true("it says so", lambda: status_of(kubectl, "older").get("observedRerun") == "go on")


def _phase(kubectl: Kubectl, name: str, task: str) -> str:
    tasks = {found["name"]: found["phase"] for found in status_of(kubectl, name).get("tasks", [])}
    return str(tasks.get(task, ""))


@pytest.mark.slow
def test_a_second_installation_leaves_the_first_one_s_workflows_alone(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path
) -> None:
    operator(unsafeBodies=["shell"])
    ran = tmp_path / "ran"
    script = f"echo body >> {ran}; sleep 20"
    kubectl.apply(workflow("shared", {"name": "body", "shell": {"script": script}}))
    await_true("its body runs", ran.exists)
    # In another namespace the second one does not see the first one's Lease.
    second = operator("second", env={"POD_NAMESPACE": "default"}, unsafeBodies=["shell"])
    raced = [
        workflow(f"raced-{number}", {"name": "a", "shell": {"script": f"echo {number} >> {ran}"}})
        for number in range(10)
    ]
    kubectl.apply(*raced)
    for number in range(10):
        assert finish(kubectl, f"raced-{number}")["phase"] == "Completed"
    assert finish(kubectl, "shared")["phase"] == "Completed"
    assert sorted(ran.read_text().split()) == sorted(["body", *map(str, range(10))])
    assert second.running


@pytest.mark.slow
def test_an_operator_waits_a_moment_for_the_state_file(
    operator: Callable[..., Operator], kubectl: Kubectl, control_plane: Access, tmp_path: Path
) -> None:
    first = operator()
    second = Operator.prepare(control_plane, kubectl.namespace, tmp_path, release="second", state=first.state)
    try:
        second.start(ready=False)
        await_true("it says for what it waits", lambda: "waiting up to" in second.output())
        first.kill()
        second.await_ready()
    finally:
        second.close()


@pytest.mark.slow
def test_a_second_engine_on_the_same_file_is_refused_with_a_clear_error(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    first = operator()
    with pytest.raises(AssertionError, match="is held by pid"):
        operator("second", state=first.state)
    kubectl.apply(workflow("still", HELLO))
    assert finish(kubectl, "still")["phase"] == "Completed"
    assert phase_of(kubectl, "still") == "Completed"


@pytest.mark.slow
def test_a_second_operator_of_an_instance_waits_for_the_first_to_end(
    operator: Callable[..., Operator], kubectl: Kubectl, control_plane: Access, tmp_path: Path
) -> None:
    first = operator()
    second = Operator.prepare(control_plane, kubectl.namespace, tmp_path, release="second")
    try:
        second.start(ready=False)
        await_true("it says that it waits", lambda: "another operator of this instance is at work" in second.output())
        assert "another operator" in second.get("/readyz").text
        assert second.get("/healthz").status_code == 200
        kubectl.apply(workflow("meanwhile", HELLO))
        assert finish(kubectl, "meanwhile")["phase"] == "Completed"
        assert first.terminate() == 0
        second.await_ready()
        kubectl.apply(workflow("afterwards", HELLO))
        assert finish(kubectl, "afterwards")["phase"] == "Completed"
    finally:
        second.close()
