"""What the operator does while the API server is away, slow, busy or forgetful."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.cluster.control_plane import Access, ControlPlane
from tests.cluster.faults import ALL, WATCHES, FaultProxy, Match
from tests.cluster.fixtures import install_crds, operators_of
from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import Operator
from tests.cluster.processes import await_true
from tests.cluster.test_operator_lifecycle import HELLO, LONG, is_gone
from tests.cluster.workflows import await_phase, finish, status_of, workflow

pytestmark = pytest.mark.control_plane

STATUSES = Match(method="PATCH", path="/status$")


def test_a_run_goes_on_without_the_api_server_and_the_status_catches_up(
    operator: Callable[..., Operator], kubectl: Kubectl, control_plane: Access, tmp_path: Path
) -> None:
    steps = [
        {"name": f"t{n}", "dependsOn": [f"t{n - 1}"] if n else [], "shell": {"script": f"touch {tmp_path / str(n)}"}}
        for n in range(4)
    ]
    gate = {"name": "gate", "shell": {"script": f"until test -e {tmp_path / 'go'}; do sleep 0.05; done"}}
    steps[0]["dependsOn"] = ["gate"]
    with FaultProxy(control_plane) as proxy:
        operator(api=proxy.url, unsafeBodies=["shell"])
        kubectl.apply(workflow("through", gate, *steps))
        await_phase(kubectl, "through", "Running")
        with proxy.away():
            (tmp_path / "go").touch()
            await_true("the run has gone on", (tmp_path / "3").exists)
            time.sleep(3)  # long enough that attempts to write have failed
            assert status_of(kubectl, "through")["phase"] == "Running"
        began = time.monotonic()
        assert finish(kubectl, "through")["phase"] == "Completed"
        assert time.monotonic() - began < 30


@pytest.mark.slow
def test_a_watch_whose_history_has_expired_starts_again_and_misses_no_deletion(
    operator: Callable[..., Operator], kubectl: Kubectl, control_plane: Access
) -> None:
    with FaultProxy(control_plane) as proxy:
        running = operator(api=proxy.url)
        kubectl.apply(workflow("gap", LONG))
        await_phase(kubectl, "gap", "Running")
        assert proxy.expire()
        kubectl.apply(workflow("after", HELLO))
        assert finish(kubectl, "after")["phase"] == "Completed"
        kubectl("delete", "fw", "gap", "--timeout=60s")
        assert is_gone(kubectl, "gap")
        assert running.running


@pytest.mark.slow
def test_a_workflow_that_vanished_while_the_history_of_the_watch_expired_stops_running(
    operator: Callable[..., Operator], kubectl: Kubectl, control_plane: Access
) -> None:
    with FaultProxy(control_plane) as proxy:
        running = operator(api=proxy.url)
        kubectl.apply(workflow("vanished", LONG))
        await_phase(kubectl, "vanished", "Running")
        assert proxy.stall()
        kubectl("patch", "fw", "vanished", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        kubectl("delete", "fw", "vanished")
        assert proxy.expire(), "what it said of the deletion is lost"
        kubectl.apply(workflow("after", LONG))
        await_phase(kubectl, "after", "Running")
        assert 'flowweaver_workflows{phase="running"} 2.0' in running.get("/metrics").text

        proxy.answer(400, WATCHES)  # what kopf does not try again: a new start, and a sweep
        proxy.drop(WATCHES)
        one = ('flowweaver_workflows{phase="running"} 1.0', 'flowweaver_workflows{phase="cancelled"} 0.0')
        await_true("its run is forgotten", lambda: all(line in running.get("/metrics").text for line in one))
        assert 'flowweaver_resync_drift_total{kind="gone"} 1.0' in running.get("/metrics").text


@pytest.mark.slow
def test_a_watch_that_is_refused_with_410_or_500_is_started_again(
    operator: Callable[..., Operator], kubectl: Kubectl, control_plane: Access
) -> None:
    with FaultProxy(control_plane) as proxy:
        running = operator(api=proxy.url)
        proxy.answer(410, WATCHES, times=2)
        proxy.answer(500, WATCHES, times=2)
        proxy.drop(WATCHES)
        await_true("the answers were used", lambda: proxy.answers_left() == 0)
        kubectl.apply(workflow("later", HELLO))
        assert finish(kubectl, "later")["phase"] == "Completed"
        assert running.running


@pytest.mark.parametrize("status", [503, *(pytest.param(status, marks=pytest.mark.slow) for status in (409, 429, 500))])
def test_a_status_that_is_not_taken_is_written_again(
    operator: Callable[..., Operator], kubectl: Kubectl, control_plane: Access, status: int
) -> None:
    with FaultProxy(control_plane) as proxy:
        operator(api=proxy.url)
        proxy.answer(status, STATUSES, times=3)
        kubectl.apply(workflow("stubborn", HELLO))
        assert finish(kubectl, "stubborn")["phase"] == "Completed"
        assert proxy.answers_left() == 0


@pytest.mark.slow
def test_a_claim_that_fails_is_made_again(
    operator: Callable[..., Operator], kubectl: Kubectl, control_plane: Access
) -> None:
    with FaultProxy(control_plane) as proxy:
        operator(api=proxy.url)
        proxy.answer(503, Match(method="PATCH", path="/workflows/claimed"), times=2)
        kubectl.apply(workflow("claimed", HELLO))
        assert finish(kubectl, "claimed")["phase"] == "Completed"
        assert proxy.answers_left() == 0


@pytest.mark.slow
def test_an_engine_starts_and_goes_on_while_the_api_server_is_away(
    operator: Callable[..., Operator], kubectl: Kubectl, control_plane: Access, tmp_path: Path
) -> None:
    waits = {"name": "gate", "shell": {"script": f"until test -e {tmp_path / 'go'}; do sleep 0.05; done"}}
    last = {"name": "last", "dependsOn": ["gate"], "shell": {"script": f"touch {tmp_path / 'done'}"}}
    with FaultProxy(control_plane) as proxy:
        running = operator(api=proxy.url, unsafeBodies=["shell"])
        kubectl.apply(workflow("blind", waits, last))
        await_phase(kubectl, "blind", "Running")
        running.kill()
        (tmp_path / "go").touch()
        with proxy.away():
            running.start(ready=False)
            await_true("the run has gone on", (tmp_path / "done").exists)
            assert running.get("/healthz").status_code == 200
            assert running.get("/readyz").status_code == 503
        assert finish(kubectl, "blind")["phase"] == "Completed"
        running.await_ready()


def test_a_silent_api_server_stops_no_run_and_no_probe(
    operator: Callable[..., Operator], kubectl: Kubectl, control_plane: Access, tmp_path: Path
) -> None:
    waits = {"name": "gate", "shell": {"script": f"until test -e {tmp_path / 'go'}; do sleep 0.05; done"}}
    last = {"name": "last", "dependsOn": ["gate"], "shell": {"script": f"touch {tmp_path / 'done'}"}}
    with FaultProxy(control_plane) as proxy:
        running = operator(api=proxy.url, unsafeBodies=["shell"])
        kubectl.apply(workflow("silent", waits, last))
        await_phase(kubectl, "silent", "Running")
        with proxy.hold(ALL):
            (tmp_path / "go").touch()
            await_true("the run has gone on", (tmp_path / "done").exists)
            assert running.get("/healthz").status_code == 200
        assert finish(kubectl, "silent")["phase"] == "Completed"


@pytest.mark.slow
def test_the_crd_may_go_and_come_back(
    own_control_plane: ControlPlane, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    access = own_control_plane.access
    install_crds(access.kubectl)
    kubectl = access.kubectl.within("default")
    with operators_of(access, "default", tmp_path, request) as start:
        running = start()
        kubectl.apply(workflow("before", LONG))
        await_phase(kubectl, "before", "Running")
        access.kubectl("delete", "crd", "workflows.flowweaver.io", "--timeout=90s")
        await_true("it says that it is not ready", lambda: not running.is_ready())
        assert "CRD" in running.get("/readyz").text
        install_crds(access.kubectl)
        running.await_ready()
        kubectl.apply(workflow("before", HELLO), workflow("after", HELLO))
        assert finish(kubectl, "before")["phase"] == "Completed"
        assert finish(kubectl, "after")["phase"] == "Completed"
        none = 'flowweaver_workflows{phase="running"} 0.0'
        await_true("nothing of the old one is left", lambda: none in running.get("/metrics").text)


@pytest.mark.slow
def test_an_operator_that_starts_before_its_crd_waits_for_it(
    own_control_plane: ControlPlane, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    access = own_control_plane.access
    kubectl = access.kubectl.within("default")
    running = Operator.prepare(access, "default", tmp_path)
    try:
        running.start(ready=False)
        await_true("it says what is missing", lambda: "CRD" in _readiness(running))
        install_crds(access.kubectl)
        running.await_ready()
        kubectl.apply(workflow("early", HELLO))
        assert finish(kubectl, "early")["phase"] == "Completed"
    finally:
        running.close()


def _readiness(running: Operator) -> str:
    try:
        return running.get("/readyz").text
    except httpx.HTTPError:
        return ""
