"""`flowweaver get` and `status` against a real API server, through a real kubectl and somebody's own kubeconfig."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.cluster import assets
from tests.cluster.control_plane import Access, write_kubeconfig
from tests.cluster.kubectl import Kubectl
from tests.cluster.processes import await_true
from tests.cluster.workflows import finish, workflow

BAD = {"name": "bad", "dependsOn": ["good"], "shell": {"script": "echo no luck >&2; exit 7"}}
GOOD = {"name": "good", "value": {"answer": 42}}
OUTPUTS = [{"name": "answer", "value": "${tasks.good.result.answer}"}]


def status_of(phase: str, *tasks: dict[str, object], generation: int = 1, **more: object) -> dict[str, object]:
    """A status as the operator writes one."""
    finished = phase in {"Completed", "Failed", "Cancelled"}
    condition = {
        "type": "Finished",
        "status": "True" if finished else "False",
        "reason": phase,
        "message": "",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    store = {"id": "a", "epoch": 1, "sequence": 1}
    return {
        "observedGeneration": generation,
        "phase": phase,
        "conditions": [condition],
        "tasks": tasks,
        "store": store,
        **more,
    }


@pytest.fixture
def user(control_plane: Access, namespace: str, folder: Path) -> dict[str, str]:
    """The environment of a person whose kubeconfig names the test's namespace."""
    config = folder / "kubeconfig"
    write_kubeconfig(
        config,
        url=control_plane.url,
        authority=control_plane.authority,
        token=control_plane.token,
        namespace=namespace,
    )
    scripts = Path(sys.executable).parent
    return {"KUBECONFIG": str(config), "PATH": f"{assets.find('kubectl').parent}:{scripts}:{os.environ['PATH']}"}


@pytest.fixture
def patch(kubectl: Kubectl) -> Callable[..., str]:
    """Write a status as the operator would."""

    def write(name: str, phase: str, *tasks: dict[str, object], **more: object) -> str:
        status = json.dumps({"status": status_of(phase, *tasks, **more)})
        return kubectl("patch", "fw", name, "--subresource=status", "--type=merge", "-p", status)

    return write


@pytest.mark.control_plane
def test_a_failed_workflow_is_shown_with_its_tasks_conditions_and_outputs(
    flowweaver, operator, kubectl, user, namespace
):
    operator(unsafeBodies=["shell"])
    kubectl.apply(workflow("shop", GOOD, BAD), workflow("fine", GOOD, outputs=OUTPUTS))
    finish(kubectl, "shop")
    finish(kubectl, "fine")

    listed = flowweaver("get", **user)
    shown = flowweaver("status", "shop", **user)
    fine = flowweaver("status", "fine", "--namespace", namespace, "--context", "test", **user)

    assert (listed.returncode, shown.returncode, fine.returncode) == (0, 0, 0), listed.stderr + shown.stderr
    header, first, second = listed.stdout.splitlines()
    assert header.split() == ["NAME", "PHASE", "PROGRESS", "RUNNING", "FAILED", "AGE", "DURATION", "MESSAGE"]
    assert first.split()[:3] == ["fine", "Completed", "1/1"]
    assert re.match(r'shop  Failed +2/2 +1 .* task "bad" failed: ', second)
    lines = shown.stdout.splitlines()
    assert lines[0] == f"Workflow  {namespace}/shop"
    assert re.fullmatch(r'Phase +Failed: task "bad" failed: .*', lines[1])
    assert any(re.fullmatch(r"Finished +True +Failed .*", line) for line in lines)
    assert any(re.fullmatch(r"good +Completed +1 +\d\d:\d\d:\d\d +\d+\.\d\d s", line) for line in lines)
    assert any(re.fullmatch(r"bad +Failed +1 .* TaskFailed: .*no luck", line) for line in lines)
    assert re.search(r"^answer  42$", fine.stdout, re.MULTILINE)


@pytest.mark.control_plane
def test_objects_are_given_to_programs_as_they_are(flowweaver, kubectl, user):
    kubectl.apply(workflow("one", GOOD))
    there = kubectl.json("get", "workflows.flowweaver.io", "one")

    assert json.loads(flowweaver("status", "one", "-o", "json", **user).stdout) == there
    assert yaml.safe_load(flowweaver("get", "one", "-o", "yaml", **user).stdout) == there
    assert json.loads(flowweaver("get", "-o", "json", **user).stdout)["items"] == [there]


@pytest.mark.control_plane
def test_other_namespaces_are_shown_when_they_are_asked_for(flowweaver, control_plane, kubectl, user, namespace):
    kubectl.apply(workflow("here", GOOD))
    control_plane.kubectl.within("default").apply(workflow(f"there-{namespace}", GOOD))

    everywhere = flowweaver("get", "--all-namespaces", **user)
    there = flowweaver("get", f"there-{namespace}", "-n", "default", **user)

    rows = [line.split()[:3] for line in everywhere.stdout.splitlines()]
    assert rows[0] == ["NAMESPACE", "NAME", "PHASE"]
    assert [namespace, "here", "Pending"] in rows
    assert ["default", f"there-{namespace}", "Pending"] in rows
    assert there.stdout.splitlines()[1].split()[:2] == [f"there-{namespace}", "Pending"]
    assert f"there-{namespace}" not in flowweaver("get", **user).stdout
    control_plane.kubectl.within("default")("delete", "fw", f"there-{namespace}")


@pytest.mark.control_plane
def test_an_empty_namespace_says_so(flowweaver, user):
    result = flowweaver("get", **user)

    assert result.returncode == 0
    assert result.stdout == "No Workflows in this namespace; --all-namespaces looks everywhere\n"


@pytest.mark.control_plane
def test_what_a_status_says_can_not_steer_the_terminal_and_is_cut(flowweaver, kubectl, user, patch):
    kubectl.apply(workflow("odd", GOOD))
    task = {"name": "good", "phase": "Failed", "message": "a\x1b[2Jb", "attempts": 3}
    patch("odd", "Failed", task, message="c\x1b]0;d", outputs=[{"name": "long", "value": "x" * 5000}], tasksTruncated=7)

    result = flowweaver("status", "odd", **user)

    assert "\x1b" not in result.stdout
    assert "a\N{REPLACEMENT CHARACTER}[2Jb" in result.stdout
    assert f"{'x' * 200}… (5,000 characters)" in result.stdout
    assert "… and 7 more" in result.stdout


# ------------------------------------------------------------------------------------------------- watching


@pytest.mark.control_plane
@pytest.mark.parametrize(
    ("phase", "status"),
    [("Failed", 1), *(pytest.param(*each, marks=pytest.mark.slow) for each in (("Completed", 0), ("Cancelled", 3)))],
)
def test_a_watch_ends_with_the_workflow_and_tells_how_it_ended(start, kubectl, user, patch, phase, status):
    kubectl.apply(workflow("slow", GOOD))
    watching = start("status", "slow", "--watch", **user)
    assert watching.stdout.readline().split()[1:] == ["slow", "Pending"]
    patch("slow", "Running", message="at work")
    assert watching.stdout.readline().split()[1:] == ["slow", "Running", "at", "work"]
    patch("slow", phase)

    rest, errors = watching.communicate(timeout=60)

    assert watching.returncode == status, errors
    assert rest.splitlines()[0].split()[1:3] == ["slow", phase]
    assert rest.splitlines()[1].startswith("Workflow  ")


@pytest.mark.control_plane
def test_on_a_terminal_a_watch_is_one_table_that_is_drawn_again(terminal, kubectl, user, patch):
    kubectl.apply(workflow("slow", GOOD))
    seen = terminal("status", "slow", "--watch", rows=40, **user)
    seen.await_text("Phase     Pending")
    patch("slow", "Running", {"name": "good", "phase": "Running", "startedAt": "2026-01-02T03:04:05Z"})
    seen.await_text("Phase     Running")
    assert seen.screen.text.count("Workflow  ") == 1
    patch("slow", "Completed", {"name": "good", "phase": "Completed"})

    assert seen.end() == 0
    assert seen.screen.text.count("Workflow  ") == 1
    assert "Phase     Completed" in seen.screen.text


@pytest.mark.control_plane
def test_a_watch_of_all_goes_on_until_ctrl_c(start, kubectl, user, patch):
    watching = start("get", "--watch", "-o", "json", **user)
    kubectl.apply(workflow("one", GOOD))
    assert json.loads(watching.stdout.readline())["metadata"]["name"] == "one"
    patch("one", "Completed")
    assert json.loads(watching.stdout.readline())["status"]["phase"] == "Completed"
    watching.send_signal(signal.SIGINT)

    _, errors = watching.communicate(timeout=60)

    assert watching.returncode == 130
    assert errors == ""


@pytest.mark.control_plane
@pytest.mark.slow
def test_a_workflow_that_is_deleted_ends_its_watch(start, kubectl, user):
    kubectl.apply(workflow("gone", GOOD))
    watching = start("status", "gone", "--watch", **user)
    watching.stdout.readline()
    kubectl("delete", "fw", "gone")

    _, errors = watching.communicate(timeout=60)

    assert watching.returncode == 1
    assert errors == "flowweaver: gone was deleted\n"


@pytest.mark.control_plane
@pytest.mark.slow
def test_no_kubectl_outlives_a_watch(start, kubectl, user):
    kubectl.apply(workflow("one", GOOD))
    watching = start("get", "--watch", **user)
    watching.stdout.readline()
    (child,) = Path(f"/proc/{watching.pid}/task/{watching.pid}/children").read_text().split() or children(watching.pid)
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=60)

    await_true("kubectl has ended", lambda: not Path(f"/proc/{child}").exists(), seconds=20)


def children(pid: int) -> list[str]:
    """Those of every thread."""
    return [child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]


# ------------------------------------------------------------------------------------------------- refusals


@pytest.mark.control_plane
def test_a_name_that_is_not_there_is_told_in_kubectls_words(flowweaver, user):
    result = flowweaver("status", "nobody", **user)

    assert result.returncode == 1
    assert result.stderr == (
        'flowweaver: kubectl: Error from server (NotFound): workflows.flowweaver.io "nobody" not found\n'
    )


@pytest.mark.control_plane
def test_who_may_not_look_is_told_so(flowweaver, control_plane, kubectl, user, folder, namespace):
    kubectl("create", "serviceaccount", "nobody")
    token = kubectl("create", "token", "nobody").strip()
    config = folder / "nobody"
    write_kubeconfig(config, url=control_plane.url, authority=control_plane.authority, token=token, namespace=namespace)

    result = flowweaver("get", **{**user, "KUBECONFIG": str(config)})

    assert result.returncode == 1
    assert "(Forbidden)" in result.stderr
    assert "ask the administrator for a role that allows it" in result.stderr
    assert token not in result.stderr


@pytest.mark.control_plane
@pytest.mark.slow
def test_a_cluster_without_the_resource_is_told_with_the_way_to_install_it(flowweaver, own_control_plane, user):
    environment = {**user, "KUBECONFIG": str(own_control_plane.access.kubeconfig)}

    result = flowweaver("get", **environment)

    assert result.returncode == 1
    assert "flowweaver crds | kubectl apply --server-side -f -" in result.stderr


@pytest.mark.control_plane  # kubectl comes with it
def test_a_server_that_is_not_there_is_told_in_one_line(flowweaver, folder):
    config = folder / "kubeconfig"
    write_kubeconfig(config, url="http://127.0.0.1:1", authority="", token="")

    result = flowweaver("get", KUBECONFIG=str(config), PATH=str(assets.find("kubectl").parent))

    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "refused" in result.stderr
    assert "is the right context set?" in result.stderr


@pytest.mark.parametrize("arguments", [["get"], ["status", "x"], ["get", "--watch"]])
def test_without_kubectl_it_says_what_to_install(flowweaver, folder, arguments):
    result = flowweaver(*arguments, PATH=str(folder))

    assert result.returncode == 2
    assert result.stderr == (
        "flowweaver: kubectl is not on PATH, and clusters are reached through it: install it "
        "(https://kubernetes.io/docs/tasks/tools/)\n"
    )


def test_one_name_and_all_namespaces_are_refused(flowweaver):
    assert flowweaver("get", "x", "--all-namespaces").returncode == 2


@pytest.mark.control_plane
def test_a_name_is_never_an_option_of_kubectl(flowweaver, user):
    result = flowweaver("status", "--", "--raw", **user)

    assert result.returncode == 1
    assert result.stderr.endswith('workflows.flowweaver.io "--raw" not found\n')


# ----------------------------------------------------------------------------------------------- the plugin


@pytest.mark.control_plane
def test_it_is_a_plugin_of_kubectl(kubectl, user, folder):
    kubectl.apply(workflow("one", GOOD))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(assets.find("kubectl")), "flowweaver", *arguments]
        environment = {**os.environ, **user, "COLUMNS": "200"}
        return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)

    assert run("get").stdout.splitlines()[1].split()[:2] == ["one", "Pending"]
    assert "Usage: kubectl flowweaver get [OPTIONS] [NAME]" in run("get", "--help").stdout
    assert "Usage: flowweaver " not in run("--help").stdout
