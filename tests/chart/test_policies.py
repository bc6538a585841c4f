"""Who may write code into a Workflow, asked of a real API server."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.cluster import assets
from tests.cluster.control_plane import Access
from tests.cluster.fixtures import fresh_namespace
from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import render_chart
from tests.cluster.processes import await_true
from tests.cluster.workflows import workflow

pytestmark = pytest.mark.control_plane

SHELL = {"name": "task", "shell": {"command": ["true"]}}
VALUE = {"name": "task", "value": 1}
CODE = {
    "shell": {"shell": {"command": ["true"]}},
    "python.source": {"python": {"source": "def main(): pass"}},
    "thread": {"python": {"function": "math:sqrt", "isolation": "Thread"}},
    "python.function": {"python": {"function": "math:sqrt"}},
}
RIGHTS = {"apiGroups": ["flowweaver.io"], "resources": ["workflows"], "verbs": ["get", "create", "patch", "delete"]}
REFUSED = "may not write code that runs in the operator"


class Users:
    """A namespace with an author, who may create Workflows, and a coder, who also has the chart's role for code."""

    def __init__(self, kubectl: Kubectl, code_role: str) -> None:
        self.kubectl = kubectl
        self.code_role = code_role
        kubectl.apply(
            {**_role("Role"), "metadata": {"name": "author"}, "rules": [RIGHTS]},
            _binding("author", {"kind": "Role", "name": "author"}, ["author", "coder"]),
            _binding("coder", {"kind": "ClusterRole", "name": code_role}, ["coder"]),
        )

    def move_to(self, namespace: str) -> Users:
        """The same users, in another namespace."""
        return Users(self.kubectl.within(namespace), self.code_role)

    def create(self, user: str, body: Mapping[str, Any], **metadata: Any) -> str:
        """What kubectl says on the standard error when that user creates a Workflow with this body; empty: it did."""
        made = workflow(f"w-{secrets.token_hex(3)}", {"name": "task", **body})
        made["metadata"] |= metadata
        return self.say(user, "create", made)

    def say(self, user: str, verb: str, made: dict[str, Any], *more: str) -> str:
        return self.kubectl.run(verb, "--as", user, "-f", "-", *more, stdin=made).stderr

    def patch(self, user: str, name: str, change: dict[str, Any]) -> str:
        return self.kubectl.run("patch", "fw", name, "--as", user, "--type=merge", "-p", json.dumps(change)).stderr


def _role(kind: str) -> dict[str, Any]:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind}


def _binding(name: str, role: dict[str, str], users: list[str]) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    subjects = [{"kind": "User", "apiGroup": group, "name": user} for user in users]
    ref = {"apiGroup": group, **role}
    return {**_role("RoleBinding"), "metadata": {"name": name}, "roleRef": ref, "subjects": subjects}


@pytest.fixture
def install_policy(control_plane: Access, kubectl: Kubectl, namespace: str) -> Iterator[Any]:
    """`install_policy(bodies=[…])` puts the policy on the test's namespace; gives its users."""
    applied: list[dict[str, Any]] = []

    def install(instance: str = "default", **policy: Any) -> Users:
        values = {"namespaces": [namespace], "instance": instance, "codePolicy": {"enabled": True, **policy}}
        rendered = render_chart("policed", namespace, values)
        kinds = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ClusterRole"}
        mine = [item for item in rendered if item["kind"] in kinds]
        applied.extend(mine)
        control_plane.kubectl.apply(*mine)
        (code_role,) = (
            item["metadata"]["name"]
            for item in mine
            if item["kind"] == "ClusterRole" and item["metadata"]["name"].endswith("-code")
        )
        users = Users(kubectl, code_role)
        probe = {**CODE["shell"]}
        await_true(
            "the policy is in force",
            lambda: REFUSED in users.create("author", probe, labels={"flowweaver.io/instance": instance}),
            every_seconds=0.2,
        )
        return users

    yield install
    objects = {"apiVersion": "v1", "kind": "List", "items": applied}
    control_plane.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=objects)


def test_code_is_refused_to_whoever_has_not_the_right_to_it(install_policy: Any) -> None:
    users = install_policy()
    for body in ("shell", "python.source", "thread"):
        said = users.create("author", CODE[body])
        assert REFUSED in said, body
        assert f"which the ClusterRole {users.code_role} has" in said
        assert users.create("coder", CODE[body]) == ""
    for body in (CODE["python.function"], {"value": 1}, {"http": {"url": "https://example.org"}}):
        assert users.create("author", body) == ""


@pytest.mark.slow
def test_functions_that_are_not_for_everybody_are_code_where_that_is_said(install_policy: Any) -> None:
    users = install_policy(bodies=["shell", "python.function"])
    assert REFUSED in users.create("author", CODE["python.function"])
    assert users.create("coder", CODE["python.function"]) == ""
    assert users.create("author", CODE["python.source"]) == ""


@pytest.mark.slow
def test_no_edit_brings_code_in_or_has_it_run_again(install_policy: Any) -> None:
    users = install_policy()
    assert users.say("author", "create", workflow("data", VALUE)) == ""
    assert users.say("coder", "create", workflow("code", SHELL)) == ""
    assert REFUSED in users.patch("author", "data", {"spec": {"tasks": [SHELL]}})
    assert REFUSED in users.patch("author", "code", {"spec": {"params": [{"name": "p", "value": 1}]}})
    assert REFUSED in users.patch("author", "code", {"spec": {"rerun": "again"}})
    for change in ({"suspend": True}, {"priority": 3}, {"shutdown": "Terminate"}):
        assert users.patch("author", "code", {"spec": change}) == ""
    assert users.patch("author", "code", {"metadata": {"labels": {"team": "a"}}}) == ""
    assert users.patch("coder", "code", {"spec": {"rerun": "again"}}) == ""


@pytest.mark.slow
def test_what_another_instance_runs_is_its_own_policys_business_until_it_is_moved_here(install_policy: Any) -> None:
    users = install_policy(instance="blue")
    assert users.create("author", CODE["shell"]) == ""
    assert users.create("author", CODE["shell"], name="moved") == ""
    moving = {"metadata": {"labels": {"flowweaver.io/instance": "blue"}}}
    assert REFUSED in users.patch("author", "moved", moving)
    assert users.patch("coder", "moved", moving) == ""


@pytest.mark.slow
def test_other_namespaces_than_the_named_ones_are_left_alone(install_policy: Any, control_plane: Access) -> None:
    users = install_policy()
    elsewhere = users.move_to(fresh_namespace(control_plane.kubectl))
    assert elsewhere.create("author", CODE["shell"]) == ""
    assert REFUSED in users.create("author", CODE["shell"])


@pytest.mark.slow
def test_it_can_only_warn(install_policy: Any, namespace: str) -> None:
    users = install_policy(action="Warn")
    said = users.create("author", CODE["shell"], name="warned")
    assert said.startswith("Warning: ")
    assert REFUSED in said
    assert users.kubectl.json("get", "fw", "warned")["metadata"]["name"] == "warned"


@pytest.mark.slow
def test_a_thousand_tasks_are_within_what_a_policy_may_cost(install_policy: Any) -> None:
    users = install_policy()
    tasks = [{"name": f"t{number}", "value": number} for number in range(999)]
    data = workflow("data", *tasks, {"name": "last", "value": 1})
    code = workflow("code", *tasks, {**SHELL, "name": "last"})
    assert users.say("author", "create", data) == ""
    assert users.say("coder", "create", code) == ""
    assert REFUSED in users.say("author", "create", {**code, "metadata": {"name": "refused"}})
    assert users.patch("author", "data", {"spec": {"priority": 1}}) == ""
    assert users.patch("author", "code", {"spec": {"priority": 1}}) == ""


def test_every_kind_that_may_carry_code_has_a_policy() -> None:
    carriers = set()
    for path in (assets.ROOT / "crds").glob("*.yaml"):
        definition = yaml.safe_load(path.read_text())
        for version in definition["spec"]["versions"]:
            found = specs_with_code(version["schema"]["openAPIV3Schema"])
            carriers |= {(definition["spec"]["names"]["plural"], spec) for spec in found}
    rendered = render_chart("x", "y", {"codePolicy": {"enabled": True}})
    policed = set()
    for item in rendered:
        if item["kind"] == "ValidatingAdmissionPolicy":
            (rule,) = item["spec"]["matchConstraints"]["resourceRules"]
            code = next(found for found in item["spec"]["matchConditions"] if found["name"] == "it-has-code")
            policed.add((rule["resources"][0], code["expression"].removeprefix("object.").partition(".tasks.")[0]))
    assert carriers == policed
    assert carriers


def specs_with_code(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Where in the object lists of tasks are that may have a body with code, without the last `.tasks`."""
    properties = schema.get("properties", {})
    if {"shell", "python"} & properties.keys():
        yield path.removesuffix(".tasks")
    for name, below in properties.items():
        yield from specs_with_code(below, f"{path}.{name}" if path else name)
    if isinstance(schema.get("items"), dict):
        yield from specs_with_code(schema["items"], path)
