"""The chart's hooks on a cluster that runs pods: `helm test`, and `helm uninstall` with Workflows under way."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.kubectl import Kubectl
from tests.cluster.processes import await_true
from tests.node.conftest import Release, helm, program

pytestmark = pytest.mark.node

FINALIZER = "flowweaver.io/engine"
# Volumes that one pod alone may have are few where they are not made on demand; nothing here is about them.
INSTANCE = {"instance": "leaving", "graceSeconds": 5, "persistence": {"accessMode": "ReadWriteOnce"}}


def under_way() -> dict[str, Any]:
    return {
        "apiVersion": "flowweaver.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "mine", "labels": {"flowweaver.io/instance": "leaving"}},
        "spec": {"tasks": [{"name": "one", "value": 1}, {"name": "long", "wait": {"duration": "1h"}}]},
    }


def finalizers(kubectl: Kubectl) -> list[str]:
    found: list[str] = kubectl.json("get", "fw", "mine")["metadata"].get("finalizers", [])
    return found


def tell(*arguments: str) -> str:
    """All that helm says, with what it tells of its hooks."""
    ended = subprocess.run([program("helm"), *arguments], capture_output=True, text=True, check=False, timeout=200)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_a_release_lets_go_of_what_is_under_way_and_takes_it_up_again_when_it_is_back(
    new_release: Callable[[str], Release], workflows: Kubectl, measured: Callable[[str], None]
) -> None:
    release = new_release("flowweaver-leaving")
    release.install(INSTANCE)
    release.await_ready()
    told = tell("test", release.name, "--namespace", release.namespace, "--timeout", "120s")
    assert "Phase:          Succeeded" in told
    assert ": Completed: " in told, "the log of the hook is shown"

    workflows.apply(under_way())
    await_true("it is under way", lambda: finalizers(workflows) == [FINALIZER])
    began = time.monotonic()
    told = tell("uninstall", release.name, "--namespace", release.namespace, "--timeout", "150s")
    measured(f"helm uninstall with a Workflow under way: {time.monotonic() - began:.1f} s")
    assert "1 Workflow let go" in told
    assert finalizers(workflows) == []
    label = "app.kubernetes.io/part-of=flowweaver"
    kinds = "pods,jobs,serviceaccounts,roles,rolebindings"
    await_true("nothing is left of it", lambda: not release.kubectl("get", kinds, "-l", label, "-o", "name"))
    assert release.kubectl("get", "pvc", "-o", "name").split() == [f"persistentvolumeclaim/state-{release.pod}"]

    release.install(INSTANCE)
    await_true("it has taken it up again", lambda: finalizers(workflows) == [FINALIZER], seconds=120)
    tasks = workflows.json("get", "fw", "mine")["status"]["tasks"]
    assert {task["name"]: task["attempts"] for task in tasks} == {"one": 1, "long": 1}


def test_without_the_hooks_an_uninstallation_goes_on_as_before(
    new_release: Callable[[str], Release], workflows: Kubectl
) -> None:
    release = new_release("flowweaver-hookless")
    release.install({**INSTANCE, "image": {"repository": "nowhere.invalid/none", "tag": "none"}})
    helm("uninstall", release.name, "--namespace", release.namespace, "--no-hooks", "--timeout", "60s")
    assert release.kubectl("get", "statefulsets", "-o", "name") == ""
