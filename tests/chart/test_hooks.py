"""What helm runs before it takes a release away, and when it is asked to test one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chart.hooks import hook_objects, pod_of_hook, prepare_hook, run_hook
from tests.cluster import assets
from tests.cluster.control_plane import Access, ControlPlane
from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import CHART, Operator, inherited, render_chart
from tests.cluster.processes import await_true
from tests.cluster.workflows import await_phase, workflow

pytestmark = pytest.mark.control_plane

FINALIZER = "flowweaver.io/engine"
LONG = {"name": "long", "wait": {"duration": "1h"}}


def finalizers(kubectl: Kubectl, name: str) -> list[str]:
    found: list[str] = kubectl.json("get", "fw", name)["metadata"].get("finalizers", [])
    return found


def held(name: str, instance: str = "default") -> dict[str, Any]:
    """A Workflow as an operator that is gone left it."""
    found = workflow(name, LONG)
    found["metadata"] |= {"finalizers": [FINALIZER], "labels": {"flowweaver.io/instance": instance}}
    return found


def install_statefulset(kubectl: Kubectl, pods: int) -> None:
    """The release's, and how many pods its controller would count: there is no such controller here."""
    rendered = render_chart("operator", kubectl.namespace, {"crds": {"install": False}})
    kubectl.apply(*(item for item in rendered if item["kind"] == "StatefulSet"))
    count_pods(kubectl, pods)


def count_pods(kubectl: Kubectl, pods: int) -> None:
    status = json.dumps({"status": {"replicas": pods}})
    kubectl("patch", "statefulset", "operator-flowweaver", "--subresource=status", "--type=merge", "-p", status)


def wanted_pods(kubectl: Kubectl) -> int:
    number: int = kubectl.json("get", "statefulset", "operator-flowweaver")["spec"]["replicas"]
    return number


@pytest.mark.slow
def test_an_uninstallation_stops_the_operator_and_then_lets_go_of_what_is_under_way(
    control_plane: Access, operator: Callable[..., Operator], kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    running = operator()
    install_statefulset(kubectl, pods=1)
    kubectl.apply(workflow("mine", LONG), held("foreign", instance="elsewhere"))
    await_phase(kubectl, "mine", "Running")

    command = prepare_hook(control_plane, namespace, tmp_path, "pre-delete")
    with subprocess.Popen(list(map(str, command)), env=inherited(), stdout=subprocess.PIPE, text=True) as hook:
        await_true("the operator is told to end", lambda: wanted_pods(kubectl) == 0)
        assert finalizers(kubectl, "mine") == [FINALIZER], "an operator that is at work would put it on again"
        running.terminate()
        count_pods(kubectl, 0)
        said, _ = hook.communicate(timeout=60)
    assert (hook.returncode, said) == (0, "1 Workflow let go\n")
    assert finalizers(kubectl, "mine") == []
    assert finalizers(kubectl, "foreign") == [FINALIZER]

    running.start()  # installed again on the same claim
    await_true("it has taken it up again", lambda: finalizers(kubectl, "mine") == [FINALIZER])
    assert await_phase(kubectl, "mine", "Running")["tasks"][0]["attempts"] == 1


@pytest.mark.slow
def test_an_operator_that_does_not_end_does_not_hold_up_the_uninstallation(
    control_plane: Access, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    install_statefulset(kubectl, pods=1)
    kubectl.apply(held("mine"))
    command = prepare_hook(control_plane, namespace, tmp_path, "pre-delete")
    ended = run_hook(command, "--wait-seconds=1")
    assert (ended.returncode, ended.stdout) == (0, "1 Workflow let go\n")
    assert "the operator may still be at work: its pod has not ended within 1 s" in ended.stderr
    assert finalizers(kubectl, "mine") == []
    by_hand = run_hook([part for part in command if part != "--go-on"], "--wait-seconds=0")
    assert by_hand.returncode == 1, "a person is told by the exit status too"


def test_an_uninstallation_goes_on_where_there_is_nothing_to_stop_and_nothing_to_let_go(
    control_plane: Access, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    ended = run_hook(prepare_hook(control_plane, namespace, tmp_path, "pre-delete"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "0 Workflows let go\n", "")


@pytest.mark.slow
def test_definitions_that_go_with_the_release_are_not_held_up_by_what_was_under_way(
    own_control_plane: ControlPlane, tmp_path: Path
) -> None:
    access, kubectl = own_control_plane.access, own_control_plane.access.kubectl.within("default")
    install = [
        "install",
        "operator",
        CHART,
        "--set",
        "crds.keep=false",
        "--set",
        "fullnameOverride=operator-flowweaver",
    ]
    helm(access, *install)
    await_true("the kind is there", lambda: kubectl.run("get", "fw").returncode == 0)
    kubectl.apply(held("mine"))
    assert run_hook(prepare_hook(access, "default", tmp_path, "pre-delete")).stdout == "1 Workflow let go\n"
    helm(access, "uninstall", "operator", "--no-hooks", "--wait", "--timeout", "60s")
    assert "NotFound" in kubectl.run("get", "crd", "workflows.flowweaver.io").stderr


def helm(access: Access, *arguments: str | Path) -> None:
    command = [assets.find("helm"), *arguments, "--kubeconfig", access.kubeconfig, "--namespace", "default"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_helm_test_has_a_workflow_run_and_leaves_nothing(
    control_plane: Access, operator: Callable[..., Operator], kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    operator(instance="blue")
    ended = run_hook(prepare_hook(control_plane, namespace, tmp_path, "test", instance="blue"))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{namespace}/flowweaver-test-")
    assert ": Completed: " in ended.stdout
    await_true("it is gone", lambda: not kubectl.json("get", "fw")["items"])


@pytest.mark.slow
def test_helm_test_says_that_nobody_has_looked_at_its_workflow(
    control_plane: Access, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    ended = run_hook(prepare_hook(control_plane, namespace, tmp_path, "test", instance="blue"), "--timeout-seconds=1")
    assert ended.returncode == 1
    assert f"is there an operator of the instance blue that watches {namespace}?" in ended.stderr
    assert kubectl.json("get", "fw")["items"] == []


def test_the_pods_of_hooks_are_no_pods_of_the_operator_and_have_no_more_rights_than_one() -> None:
    rendered = render_chart("flowweaver", "workflows", {}, hooks=True)
    (service,) = (item for item in rendered if item["kind"] == "Service")
    for event in ("pre-delete", "test"):
        objects = hook_objects(rendered, event)
        (runner,) = (item for item in objects if item["kind"] in {"Job", "Pod"})
        labels = (runner["spec"]["template"] if runner["kind"] == "Job" else runner)["metadata"]["labels"]
        assert not service["spec"]["selector"].items() <= labels.items()
        pod = pod_of_hook(objects)
        assert pod["serviceAccountName"] == f"flowweaver-{ {'pre-delete': 'uninstall'}.get(event, event) }"
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_nothing_waits_for_ever_for_a_hook() -> None:
    objects = hook_objects(render_chart("x", "y", {"uninstall": {"waitSeconds": 10}}, hooks=True), "pre-delete")
    (job,) = (item for item in objects if item["kind"] == "Job")
    assert job["spec"]["activeDeadlineSeconds"] == 130
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert "--go-on" in pod_of_hook(objects)["containers"][0]["args"]


@pytest.mark.parametrize("values", [{"uninstall": {"releaseFinalizers": False}}, {"rbac": {"create": False}}])
def test_the_hook_of_the_end_is_left_out_where_that_is_said(values: dict[str, Any]) -> None:
    assert hook_objects(render_chart("x", "y", values, hooks=True), "pre-delete") == []
