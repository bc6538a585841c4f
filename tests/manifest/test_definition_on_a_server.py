"""What a real API server makes of the generated definition."""

from __future__ import annotations

import json

import pytest

from flowweaver.manifest import load_documents
from tests.manifest.manifests import value, workflow
from tests.manifest.test_documents import AS_THE_API_SERVER_READS

pytestmark = pytest.mark.control_plane


def applied(*tasks, **more):
    obj = workflow(*tasks, **more)
    del obj["metadata"]["namespace"], obj["metadata"]["uid"]
    return obj


def refusal(kubectl, obj):
    """What kubectl says; empty where the object is accepted."""
    ended = kubectl.run("create", "--dry-run=server", "-f", "-", stdin=obj)
    return ended.stderr.strip() if ended.returncode else ""


def test_it_is_established_and_structural(kubectl):
    conditions = kubectl.json("get", "crd", "workflows.flowweaver.io")["status"]["conditions"]
    assert {condition["type"]: condition["status"] for condition in conditions} == {
        "NamesAccepted": "True",
        "Established": "True",
    }


def test_a_thousand_tasks_with_all_dependencies_are_affordable(kubectl):
    tasks = [
        value(f"t{number}", *[f"t{other}" for other in range(max(0, number - 64), number)]) for number in range(1000)
    ]
    assert refusal(kubectl, applied(*tasks)) == ""


@pytest.mark.parametrize(
    ("obj", "says"),
    [
        (applied(value("a"), name="x" * 53), "metadata.name has more than 52 characters: shorten it"),
        (
            applied(value("a", "a")),
            "spec.tasks[0]: Invalid value: a task can not depend on itself: remove it from dependsOn",
        ),
        (
            applied({"name": "a", "shell": {"script": "x"}, "wait": {"duration": "5s"}}),
            "spec.tasks[0]: Invalid value: a task has exactly one body: keep one of value, python, http, shell, wait",
        ),
        (
            applied({"name": "a", "python": {"function": "m:f", "source": "x"}}),
            "spec.tasks[0].python: Invalid value: write exactly one of function and source",
        ),
        (
            applied({"name": "a", "shell": {}}),
            "spec.tasks[0].shell: Invalid value: write exactly one of command and script",
        ),
        (
            applied({"name": "a", "wait": {}}),
            "spec.tasks[0].wait: Invalid value: write exactly one of duration and until",
        ),
        (
            applied(*[value(f"t{number}") for number in range(1001)]),
            "spec.tasks: Too many: 1001: must have at most 1000 items",
        ),
        (applied(), "spec.tasks in body should have at least 1 items"),
        (applied(value("a" * 300)), "spec.tasks[0].name: Too long: may not be more than 63 bytes"),
        (applied({"name": "a", "value": 1, "timeout": "5 minutes"}), "spec.tasks[0].timeout in body should match"),
        (applied({"name": "a", "value": 1, "timeout": ""}), "should be at least 2 chars long"),
        (applied({"name": "a", "value": 1, "forEach": {}}), 'unknown field "spec.tasks[0].forEach"'),
        (applied(value("a"), params=[{"name": "p"}, {"name": "p"}]), "spec.params[1]: Duplicate value"),
    ],
)
def test_the_api_server_refuses(kubectl, obj, says):
    assert says in refusal(kubectl, obj)


def test_any_json_may_stand_in_values(kubectl):
    content = {"a": None, "b": [1, None, {"c": 2.5}], "d": ""}
    obj = applied({"name": "a", "value": content}, {"name": "b", "python": {"function": "m:f", "args": content}})
    kubectl("create", "-f", "-", stdin=obj)
    tasks = kubectl.json("get", "fw", "etl")["spec"]["tasks"]
    assert [tasks[0]["value"], tasks[1]["python"]["args"]] == [content, content]


def test_a_new_workflow_is_pending_and_never_looks_current(kubectl):
    kubectl("create", "-f", "-", stdin=applied(value("a")))
    assert kubectl.json("get", "fw", "etl")["status"] == {"observedGeneration": -1, "phase": "Pending"}
    assert kubectl("get", "fw").splitlines()[0].split() == ["NAME", "PHASE", "PROGRESS", "AGE"]
    wide = kubectl("get", "fw", "-o", "wide").splitlines()[0].split()
    assert wide == ["NAME", "PHASE", "PROGRESS", "AGE", "STARTED", "DURATION", "MESSAGE"]


def started(kubectl, **spec):
    obj = applied(value("a"), {"name": "b", "python": {"function": "m:f", "args": {"x": 1}}}, timeout="5m", **spec)
    kubectl("create", "-f", "-", stdin=obj)
    patch(
        kubectl,
        {"status": {"startedAt": "2026-01-01T00:00:00Z", "store": {"id": "s", "epoch": 5, "sequence": 1}}},
        "status",
    )
    return obj


def patch(kubectl, change, *subresource):
    """What kubectl says; empty where the change is accepted."""
    extra = [f"--subresource={name}" for name in subresource]
    ended = kubectl.run("patch", "fw", "etl", "--type=merge", "-p", json.dumps(change), *extra)
    return ended.stderr.strip() if ended.returncode else ""


def test_before_the_start_everything_may_be_mended(kubectl):
    kubectl("create", "-f", "-", stdin=applied(value("a")))
    assert patch(kubectl, {"spec": {"tasks": [value("b")], "timeout": "1m", "params": [{"name": "p"}]}}) == ""


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"timeout": "6m"}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"params": [{"name": "p", "value": 2}]}, "params"),
        ({"outputs": [{"name": "o", "value": 1}]}, "outputs"),
        ({"retry": {"limit": 1}}, "retry"),
        ({"failurePolicy": "Continue"}, "failurePolicy"),
        ({"tasks": [value("a")]}, "tasks"),
        ({"tasks": [value("a", content=2), {"name": "b", "python": {"function": "m:f", "args": {"x": 1}}}]}, "tasks"),
        ({"tasks": [value("a"), {"name": "b", "python": {"function": "m:f", "args": {"x": 2}}}]}, "tasks"),
    ],
)
def test_after_the_start_nothing_that_ran_may_change(kubectl, change, field):
    started(kubectl, params=[{"name": "p", "value": 1}])
    says = patch(kubectl, {"spec": change})
    assert (
        f"spec.{field}: Invalid value: {field} can not change once the run has started: create a new Workflow" in says
    )


def test_after_the_start_the_rest_may_change(kubectl):
    started(kubectl)
    change = {"suspend": True, "priority": 5, "parallelism": 3, "rerun": "1", "ttlSecondsAfterFinished": 60}
    assert patch(kubectl, {"spec": change}) == ""


def test_a_shutdown_goes_further_and_never_back(kubectl):
    kubectl("create", "-f", "-", stdin=applied(value("a"), shutdown="Stop"))
    assert "shutdown can not be taken back" in patch(kubectl, {"spec": {"shutdown": None}})
    assert patch(kubectl, {"spec": {"shutdown": "Terminate"}}) == ""
    assert "shutdown can not be taken back" in patch(kubectl, {"spec": {"shutdown": "Stop"}})


def test_an_epoch_only_grows_on_one_store(kubectl):
    started(kubectl)
    assert "store.epoch may only grow" in patch(kubectl, {"status": {"store": {"epoch": 4}}}, "status")
    assert "store.epoch may only grow" in patch(kubectl, {"status": {"store": None}}, "status")
    assert patch(kubectl, {"status": {"store": {"epoch": 6}}}, "status") == ""
    assert patch(kubectl, {"status": {"store": {"id": "adopted", "epoch": 1}}}, "status") == ""


@pytest.mark.parametrize("field", ["spec.tasks.retry", "spec.tasks.http.expect", "spec.tasks.value", "status.counts"])
def test_kubectl_explains(kubectl, field):
    says = kubectl("explain", f"fw.{field}")
    assert "DESCRIPTION:" in says
    assert "<empty>" not in says


def test_a_laptop_reads_yaml_as_kubectl_does(kubectl):
    lines = [f"  - {{name: p{number}, value: {text}}}" for number, text in enumerate(AS_THE_API_SERVER_READS)]
    text = "\n".join(
        [
            "apiVersion: flowweaver.io/v1alpha1",
            "kind: Workflow",
            "metadata: {name: etl}",
            "spec:",
            "  tasks: [{name: a, value: {y: 1, 0644: 2}}]",
            "  params:",
            *lines,
        ]
    )
    kubectl("create", "-f", "-", stdin=text)
    here, there = load_documents(text)[0]["spec"], kubectl.json("get", "fw", "etl")["spec"]
    assert here["tasks"] == there["tasks"]
    assert [repr(param["value"]) for param in here["params"]] == [repr(param["value"]) for param in there["params"]]
