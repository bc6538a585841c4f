"""What becomes of a Workflow from the first look at it to its end, on a real API server."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import Operator
from tests.cluster.processes import await_true
from tests.cluster.workflows import await_phase, condition, events_of, finish, phase_of, status_of, workflow

pytestmark = pytest.mark.control_plane

FINALIZER = "flowweaver.io/engine"
LONG = {"name": "long", "wait": {"duration": "1h"}}
HELLO = {"name": "hello", "value": "hello"}


def edit(kubectl: Kubectl, name: str, **spec: object) -> None:
    kubectl("patch", "fw", name, "--type=merge", "-p", json.dumps({"spec": spec}))


def finalizers(kubectl: Kubectl, name: str) -> list[str]:
    found: list[str] = kubectl.json("get", "fw", name)["metadata"].get("finalizers", [])
    return found


def is_gone(kubectl: Kubectl, name: str) -> bool:
    return "NotFound" in kubectl.run("get", "fw", name).stderr


def test_a_spec_that_can_not_run_is_refused_and_runs_once_it_is_mended(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    operator()
    kubectl.apply(workflow("mended", {**HELLO, "dependsOn": ["nobody"]}))
    status = finish(kubectl, "mended")
    assert status["phase"] == "Failed"
    assert condition(status, "Accepted")[0] == "False"
    assert condition(status, "Finished") == ("True", "Invalid")
    assert condition(status, "Stalled")[0] == "True"
    assert "nobody" in status["message"]
    reason = condition(status, "Accepted")[1]
    await_true("an Event tells of it", lambda: reason in events_of(kubectl, "mended"))
    assert finalizers(kubectl, "mended") == []

    kubectl.apply(workflow("mended", HELLO))
    status = await_phase(kubectl, "mended", "Completed")
    assert status["observedGeneration"] == 2
    assert condition(status, "Accepted") == ("True", "Accepted")


def test_the_finalizer_is_on_a_workflow_only_while_it_is_active(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    operator()
    kubectl.apply(workflow("held", LONG))
    await_phase(kubectl, "held", "Running")
    assert finalizers(kubectl, "held") == [FINALIZER]
    edit(kubectl, "held", shutdown="Terminate")
    status = finish(kubectl, "held")
    assert status["phase"] == "Cancelled"
    await_true("the finalizer is off", lambda: finalizers(kubectl, "held") == [])


def test_deleting_a_running_workflow_cancels_it_and_lets_it_go(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path
) -> None:
    running = operator(unsafeBodies=["shell"])
    marker = tmp_path / "ended"
    script = f"trap 'echo ended > {marker}; exit 1' TERM; sleep 600 & wait"
    kubectl.apply(workflow("doomed", {"name": "sleeper", "shell": {"script": script}}))
    await_phase(kubectl, "doomed", "Running")
    kubectl("delete", "fw", "doomed", "--timeout=60s")
    assert is_gone(kubectl, "doomed")
    await_true("the engine has nothing to do", lambda: "flowweaver_workers_busy 0.0" in running.get("/metrics").text)


def test_a_suspended_workflow_starts_nothing_until_it_is_resumed(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    operator()
    kubectl.apply(workflow("paused", HELLO, suspend=True))
    status = await_phase(kubectl, "paused", "Suspended")
    assert "startedAt" not in status
    assert condition(status, "Finished") == ("False", "Suspended")
    edit(kubectl, "paused", suspend=False)
    assert finish(kubectl, "paused")["phase"] == "Completed"


def test_a_workflow_that_was_edited_before_it_began_runs_as_it_was_edited(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    operator()
    outputs = [{"name": "said", "value": "${tasks.hello.result}"}]
    kubectl.apply(workflow("drafted", HELLO, suspend=True, outputs=outputs))
    await_phase(kubectl, "drafted", "Suspended")
    kubectl.apply(workflow("drafted", {**HELLO, "dependsOn": ["nobody"]}, suspend=True, outputs=outputs))
    status = await_phase(kubectl, "drafted", "Failed")
    assert condition(status, "Accepted")[0] == "False"
    kubectl.apply(workflow("drafted", {**HELLO, "value": "good morning"}, suspend=False, outputs=outputs))
    status = await_phase(kubectl, "drafted", "Completed")
    assert status["outputs"] == [{"name": "said", "value": "good morning"}]
    assert status["observedGeneration"] == 3


def test_a_workflow_that_is_created_stopped_starts_nothing(operator: Callable[..., Operator], kubectl: Kubectl) -> None:
    operator()
    kubectl.apply(workflow("never", HELLO, shutdown="Stop"))
    status = finish(kubectl, "never")
    assert status["phase"] == "Cancelled"
    assert "startedAt" not in status


def test_a_rerun_runs_only_what_did_not_complete(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path
) -> None:
    operator(unsafeBodies=["shell"])
    ran, mended = tmp_path / "ran", tmp_path / "mended"
    kubectl.apply(
        workflow(
            "again",
            {"name": "first", "shell": {"script": f"echo first >> {ran}"}},
            {"name": "second", "dependsOn": ["first"], "shell": {"script": f"test -e {mended}"}},
        )
    )
    assert finish(kubectl, "again")["phase"] == "Failed"
    mended.touch()
    edit(kubectl, "again", rerun="one")
    await_true("the rerun has completed", lambda: phase_of(kubectl, "again") == "Completed")
    status = status_of(kubectl, "again")
    assert (status["observedRerun"], status["observedGeneration"]) == ("one", 2)
    assert ran.read_text() == "first\n"


def test_an_edit_of_a_finished_workflow_is_observed_and_runs_nothing(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    operator()
    kubectl.apply(workflow("done", HELLO))
    before = finish(kubectl, "done")
    edit(kubectl, "done", priority=7)
    await_true("it is observed", lambda: status_of(kubectl, "done")["observedGeneration"] == 2)
    after = status_of(kubectl, "done")
    assert after["tasks"] == before["tasks"]
    assert {found["observedGeneration"] for found in after["conditions"]} == {2}


@pytest.mark.slow
def test_a_finished_workflow_is_deleted_after_its_time_to_live(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    operator()
    kubectl.apply(workflow("brief", HELLO, ttlSecondsAfterFinished=2), workflow("kept", HELLO))
    finish(kubectl, "kept")
    await_true("it is gone", lambda: is_gone(kubectl, "brief"))
    assert not is_gone(kubectl, "kept")


def test_another_instance_leaves_a_workflow_alone(operator: Callable[..., Operator], kubectl: Kubectl) -> None:
    operator()
    other = workflow("foreign", HELLO)
    other["metadata"]["labels"] = {"flowweaver.io/instance": "elsewhere"}
    kubectl.apply(other, workflow("own", HELLO))
    finish(kubectl, "own")
    found = kubectl.json("get", "fw", "foreign")
    assert found["status"]["observedGeneration"] == -1
    assert "finalizers" not in found["metadata"]


@pytest.mark.slow
def test_a_workflow_that_was_deleted_while_the_operator_was_down_is_let_go(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    running = operator()
    kubectl.apply(workflow("orphan", LONG))
    await_phase(kubectl, "orphan", "Running")
    running.kill()
    kubectl("delete", "fw", "orphan", "--wait=false")
    running.start()
    await_true("it is gone", lambda: is_gone(kubectl, "orphan"))


def test_a_workflow_that_vanished_while_the_operator_was_down_stops_running(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    running = operator()
    kubectl.apply(workflow("vanished", LONG))
    await_phase(kubectl, "vanished", "Running")
    running.kill()
    kubectl("patch", "fw", "vanished", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    kubectl("delete", "fw", "vanished")
    running.start()
    none = 'flowweaver_workflows{phase="running"} 0.0'
    gone = 'flowweaver_workflows{phase="cancelled"} 0.0'
    await_true("its run is forgotten", lambda: all(line in running.get("/metrics").text for line in (none, gone)))


def test_the_metrics_tell_the_size_of_the_state_file_and_of_its_log(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    running = operator()
    kubectl.apply(workflow("sized", HELLO))
    finish(kubectl, "sized")
    log = running.state.with_name(f"{running.state.name}-wal")

    def is_true() -> bool:
        lines = running.get("/metrics").text.splitlines()
        shown = {name: float(value) for name, _, value in (line.partition(" ") for line in lines) if "_store_" in name}
        sizes = running.state.stat().st_size, log.stat().st_size
        return (shown["flowweaver_store_database_bytes"], shown["flowweaver_store_wal_bytes"]) == sizes

    await_true("they are what the files have", is_true)
    assert running.state.stat().st_size > 0


def test_sigterm_lets_a_running_attempt_end_and_reports_it(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path
) -> None:
    running = operator(unsafeBodies=["shell"])
    started, go = tmp_path / "started", tmp_path / "go"
    script = f"touch {started}; until test -e {go}; do sleep 0.05; done"
    kubectl.apply(
        workflow(
            "graceful",
            {"name": "last", "shell": {"script": script}},
            {"name": "next", "dependsOn": ["last"], "value": 1},
        )
    )
    await_true("the attempt runs", started.exists)
    os.kill(running.pid, signal.SIGTERM)
    await_true("it says so", lambda: "the operator stops" in running.output())
    go.touch()
    assert running.wait() == 0
    tasks = {task["name"]: task["phase"] for task in status_of(kubectl, "graceful")["tasks"]}
    assert tasks == {"last": "Completed", "next": "Pending"}
