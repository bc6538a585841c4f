"""Of every right that the chart gives to somebody else than the operator: what it is for, and what fails without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.chart.hooks import Objects, hook_objects, prepare_hook, run_hook
from tests.chart.test_hooks import finalizers, held, install_statefulset
from tests.cluster.control_plane import Access
from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import render_chart
from tests.cluster.processes import await_true
from tests.cluster.rights import verbs, without
from tests.cluster.workflows import workflow

pytestmark = [pytest.mark.control_plane, pytest.mark.slow]

UNINSTALLING = {
    ("workflows", "list"): "the Workflows could not be let go",
    ("workflows", "patch"): "the Workflows could not be let go",
    ("statefulsets/scale", "patch"): "the operator was not stopped",
    ("statefulsets/scale", "get"): "the operator was not stopped",
}
TESTING = {
    ("workflows", "create"): "cannot create resource",
    ("workflows", "get"): "cannot get resource",
    ("workflows", "delete"): "cannot delete resource",
}
"""What is said where the right is missing."""


def without_right(resource: str, verb: str) -> Callable[[Objects], None]:
    def change(objects: Objects) -> None:
        less = without(objects, resource, verb)
        objects[:] = [item for item in objects if item["kind"] not in {"Role", "ClusterRole"}] + less

    return change


def test_of_each_right_of_a_hook_it_is_known_what_fails_without_it() -> None:
    rendered = render_chart("x", "y", {}, hooks=True)
    assert verbs(hook_objects(rendered, "pre-delete")) == set(UNINSTALLING)
    assert verbs(hook_objects(rendered, "test")) == set(TESTING)


@pytest.mark.parametrize(("resource", "verb"), UNINSTALLING, ids=lambda part: str(part).replace("/", "-"))
def test_without_one_verb_an_uninstallation_leaves_something_says_so_and_goes_on(
    control_plane: Access, kubectl: Kubectl, namespace: str, tmp_path: Path, resource: str, verb: str
) -> None:
    install_statefulset(kubectl, pods=0)
    kubectl.apply(held("mine"))
    change = without_right(resource, verb)
    command = prepare_hook(control_plane, namespace, tmp_path, "pre-delete", change=change)
    ended = run_hook(command)
    assert ended.returncode == 0
    assert UNINSTALLING[resource, verb] in ended.stderr
    assert f'cannot {verb} resource "{resource}"' in ended.stderr
    assert (finalizers(kubectl, "mine") == []) is (resource != "workflows")


@pytest.mark.parametrize(("resource", "verb"), TESTING)
def test_without_one_verb_helm_test_fails(
    control_plane: Access, kubectl: Kubectl, namespace: str, tmp_path: Path, resource: str, verb: str
) -> None:
    change = without_right(resource, verb)
    command = prepare_hook(control_plane, namespace, tmp_path, "test", change=change)
    ended = run_hook(command, "--timeout-seconds=1")
    assert ended.returncode == 1
    assert TESTING[resource, verb] in ended.stderr


def done_by(access: Access, user: str, namespace: str, name: str) -> set[str]:
    """Which verbs the API server lets that user carry out, on a Workflow that is there; nothing is changed by it."""
    path = f"/apis/flowweaver.io/v1alpha1/namespaces/{namespace}/workflows"
    dry = {"dryRun": "All"}
    label = {"metadata": {"labels": {"a": "b"}}}
    merge = {"Content-Type": "application/merge-patch+json"}
    with access.client() as client:
        there = client.get(f"{path}/{name}").json()
        client.headers["Impersonate-User"] = user
        answers = {
            "get": client.get(f"{path}/{name}"),
            "list": client.get(path),
            "watch": client.get(path, params={"watch": "true", "timeoutSeconds": "1"}),
            "create": client.post(path, params=dry, json=workflow("another", {"name": "task", "value": 1})),
            "patch": client.patch(f"{path}/{name}", params=dry, json=label, headers=merge),
            "update": client.put(f"{path}/{name}", params=dry, json=there),
            "delete": client.delete(f"{path}/{name}", params=dry),
            "deletecollection": client.delete(path, params=dry),
        }
    assert {answer.status_code for answer in answers.values()} <= {200, 201, 403}
    return {verb for verb, answer in answers.items() if answer.status_code != httpx.codes.FORBIDDEN}


@pytest.mark.parametrize("role", ["view", "edit"])
def test_the_roles_for_people_let_them_do_what_they_say_and_nothing_else(
    control_plane: Access, kubectl: Kubectl, namespace: str, role: str
) -> None:
    rendered = render_chart("flowweaver", namespace, {"rbac": {"aggregateToEdit": True}})
    (found,) = (item for item in rendered if item["metadata"]["name"] == f"{namespace}:flowweaver-{role}")
    group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "somebody"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": found["metadata"]["name"]},
        "subjects": [{"kind": "User", "apiGroup": group, "name": "somebody"}],
    }
    kubectl.apply(found, binding, workflow("mine", {"name": "task", "value": 1}))
    wanted = {verb for _, verb in verbs([found])}
    await_true("it is in force", lambda: done_by(control_plane, "somebody", namespace, "mine") == wanted, seconds=20)
