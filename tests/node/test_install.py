"""The chart on a cluster that runs pods: what a user sees from `helm install` on, a killed pod, a second release."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.kubectl import Kubectl
from tests.cluster.processes import await_true
from tests.node.conftest import Release

pytestmark = pytest.mark.node

COMPLETED = """
SELECT task_name FROM task_runs JOIN runs ON runs.key = task_runs.run
WHERE runs.workflow = '{workflow}' AND task_runs.status = 'completed'
"""
ATTEMPTS = """
SELECT task_name, number, attempts.status, attempts.started_at, attempts.ended_at
FROM attempts JOIN task_runs ON task_runs.key = attempts.task JOIN runs ON runs.key = task_runs.run
WHERE runs.workflow = '{workflow}' ORDER BY attempts.started_at
"""


def workflow(name: str, *tasks: dict[str, Any], **spec: Any) -> dict[str, Any]:
    kind = {"apiVersion": "flowweaver.io/v1alpha1", "kind": "Workflow"}
    return {**kind, "metadata": {"name": name}, "spec": {"tasks": tasks, **spec}}


def chain(number: int, lanes: int, file: str, seconds: float) -> list[dict[str, Any]]:
    """Tasks that append their names to a file on the release's volume, in `lanes` chains side by side."""
    return [
        {
            "name": f"task-{index}",
            **({"dependsOn": [f"task-{index - lanes}"]} if index >= lanes else {}),
            "shell": {"script": f"echo task-{index} >> /var/lib/flowweaver/{file}; sleep {seconds}"},
        }
        for index in range(number)
    ]


def finish(kubectl: Kubectl, name: str, seconds: int = 300) -> dict[str, Any]:
    kubectl("wait", "--for=condition=Finished", f"fw/{name}", f"--timeout={seconds}s", timeout_seconds=seconds + 20)
    status: dict[str, Any] = kubectl.json("get", "fw", name)["status"]
    return status


def test_a_first_workflow_completes_soon_after_the_install(
    release: Release, workflows: Kubectl, measured: Callable[[str], None]
) -> None:
    workflows.apply(workflow("first", {"name": "hello", "value": "hello"}))
    status = finish(workflows, "first")
    seconds = time.time() - release.installed_at
    assert (status["phase"], status["progress"]) == ("Completed", "1/1")
    measured(f"from helm install to the first Completed workflow: {seconds:.1f} s")


def test_after_the_pod_was_deleted_by_force_nothing_completed_runs_again(
    release: Release, workflows: Kubectl, measured: Callable[[str], None]
) -> None:
    release.await_ready()
    key = f"{workflows.namespace}/killed"
    workflows.apply(workflow("killed", *chain(100, lanes=4, file="killed.txt", seconds=0.2)))
    await_true(
        "thirty tasks have completed",
        lambda: len(release.read(COMPLETED.format(workflow=key))) >= 30,
        seconds=120,
        every_seconds=0.2,
    )
    before = {name for (name,) in release.read(COMPLETED.format(workflow=key))}
    assert len(before) < 100, "the pod must go in the middle"
    killed = release.pod_uid()
    deleted_at = time.time()
    release.kubectl("delete", "pod", release.pod, "--grace-period=0", "--force", "--wait=false")

    status = finish(workflows, "killed")
    assert (status["phase"], status["progress"]) == ("Completed", "100/100")
    assert release.pod_uid() != killed, "another pod has ended it"
    attempts = release.read(ATTEMPTS.format(workflow=key))
    ran = release.kubectl("exec", release.pod, "--", "cat", "/var/lib/flowweaver/killed.txt").split()
    assert {name: ran.count(name) for name in before} == dict.fromkeys(before, 1)
    assert set(ran) == {f"task-{index}" for index in range(100)}
    assert len(ran) <= 100 + 4  # one body a worker
    for name in set(ran):
        own = [attempt for attempt in attempts if attempt[0] == name]
        assert [attempt[2] for attempt in own].count("completed") == 1
        assert own[-1][2] == "completed", f"{name} was started again after it had completed"

    interrupted = {attempt[0] for attempt in attempts if attempt[2] != "completed"}
    # The old pod may start a few more before it is told: the new one's first start is after the longest silence.
    starts = [deleted_at, *(started for _, _, _, started, _ in attempts if started > deleted_at)]
    _, next_start = max(itertools.pairwise(starts), key=lambda pair: pair[1] - pair[0])
    seconds = next_start - deleted_at
    measured(f"from the pod's deletion to the next task's start: {seconds:.1f} s; {len(interrupted)} bodies repeated")


def test_a_second_release_runs_nothing_twice(
    release: Release, new_release: Callable[[str], Release], workflows: Kubectl
) -> None:
    release.await_ready()
    second = new_release("flowweaver-second")
    second.install({"workers": 4, "unsafeBodies": ["shell"], "graceSeconds": 5})
    second.await_ready()

    names = [f"shared-{index}" for index in range(10)]
    workflows.apply(*(workflow(name, *chain(4, lanes=2, file="shared.txt", seconds=0.1)) for name in names))
    assert {finish(workflows, name)["phase"] for name in names} == {"Completed"}
    ran = []
    for one in (release, second):
        read = one.kubectl.run("exec", one.pod, "--", "cat", "/var/lib/flowweaver/shared.txt")
        ran += read.stdout.split()
    assert sorted(ran) == sorted(f"task-{index}" for _ in names for index in range(4))


def test_an_uninstalled_release_leaves_the_workflows_and_nothing_that_holds_them(
    release: Release, cluster: Kubectl, new_release: Callable[[str], Release], workflows: Kubectl
) -> None:
    gone = new_release("flowweaver-gone")
    gone.install({"instance": "gone"})
    gone.await_ready()
    mine = workflow("mine", {"name": "hello", "value": "hello"})
    mine["metadata"]["labels"] = {"flowweaver.io/instance": "gone"}
    workflows.apply(mine)
    finish(workflows, "mine")
    await_true("nothing holds it", lambda: not workflows.json("get", "fw", "mine")["metadata"].get("finalizers"))
    gone.remove()
    assert workflows.json("get", "fw", "mine")["status"]["phase"] == "Completed"
    assert "workflows.flowweaver.io" in cluster("get", "crd", "-o", "name")
    workflows("delete", "fw", "mine", "--timeout=30s")
