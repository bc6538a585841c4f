"""One run of 200 tasks, and everything that is done to an installation while it runs."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.kubectl import Kubectl, KubectlError
from tests.cluster.processes import await_true
from tests.node.conftest import IMAGE, Release, helm
from tests.node.long_runs import LongRun, first_starts
from tests.node.nodes import Node

pytestmark = [pytest.mark.node, pytest.mark.kind]

WORKERS = 4
VALUES = {"workers": WORKERS, "unsafeBodies": ["shell"], "graceSeconds": 10}
KILLS = 10
LIMIT_SECONDS = 10.0


def test_a_run_lives_through_kills_an_upgrade_a_bad_image_and_a_new_installation(
    new_release: Callable[[str], Release], workflows: Kubectl, measured: Callable[[str], None]
) -> None:
    seed = int(os.environ.get("SEED", time.time_ns() % 100_000))
    print(f"SEED={seed}")  # noqa: T201 - with it a failure can be tried again
    chance = random.Random(seed)
    release = new_release("flowweaver")
    run = LongRun(release, workflows, "disturbed")

    release.install(VALUES, chart=Path(os.environ["RELEASED_CHART"]), image=os.environ["RELEASED_IMAGE"])
    release.await_ready()
    run.apply()
    await_true("a first task has completed", lambda: run.look().done, every_seconds=0.3)
    for _ in range(3):
        kill(run, chance)

    run.note()
    replaced(release, lambda: release.upgrade(VALUES))
    for _ in range(4):
        kill(run, chance)

    run.note()
    release.upgrade(VALUES, image=f"{IMAGE}-that-is-not-there")
    await_true("the image can not be pulled", lambda: waits_for_an_image(release), every_seconds=0.3)
    replaced(release, lambda: helm("rollback", release.name, "--namespace", release.namespace))
    for _ in range(KILLS - 7):
        kill(run, chance)

    run.note()
    helm("uninstall", release.name, "--namespace", release.namespace, "--wait", "--timeout", "120s")
    assert "workflows.flowweaver.io" in release.kubectl("get", "crd", "-o", "name")
    assert workflows.json("get", "fw", run.name)["status"]["phase"] == "Running"
    claim = release.kubectl.json("get", "pvc")["items"][0]["metadata"]
    release.install(VALUES)

    workflows("wait", "--for=condition=Finished", f"fw/{run.name}", "--timeout=300s", timeout_seconds=320)
    assert release.kubectl.json("get", "pvc")["items"][0]["metadata"]["uid"] == claim["uid"]
    end = run.check(repeated_at_most=2 * KILLS * WORKERS)  # see `may_die`
    repeated = end.cut_off()
    ended = Counter(each.container_at for each in repeated)
    assert max(ended.values()) <= WORKERS, f"more than were under way: {ended}"
    starts = first_starts(end.begun)
    assert len(starts) >= 4, "one of the released version, one after each of the three changes"
    assert max(starts) <= LIMIT_SECONDS, starts
    measured(
        f"{KILLS} kills, an upgrade, a rollback, a new installation in one run of {run.tasks} tasks: {len(repeated)} "
        f"bodies repeated, none of a recorded completion, cut off with {len(ended)} of "
        f"{len(starts)} containers; from a container's start to its first task's start {min(starts):.1f} to "
        f"{max(starts):.1f} s; seed {seed}"
    )


def kill(run: LongRun, chance: random.Random) -> None:
    """Delete the pod with no grace, at some moment after its container has started, and wait for the next one's.

    The kubelet lets a pod that was deleted like this end in order all the same, so its process is killed right behind.
    """
    time.sleep(chance.uniform(0.0, 2.5))
    await_true("no task dies a third time", lambda: may_die(run), every_seconds=0.2)
    run.note()
    replaced(run.release, lambda: delete_with_no_grace(run.release))


def delete_with_no_grace(release: Release) -> None:
    pod = release.kubectl.json("get", "pod", release.pod)
    release.kubectl("delete", "pod", release.pod, "--grace-period=0", "--force", "--wait=false")
    Node(pod["spec"]["nodeName"], release.kubectl).kill_container(pod["status"]["containerStatuses"][0]["containerID"])


def may_die(run: LongRun) -> bool:
    """Whether no task that is to run has died before.

    A third death of the process at one task fails it, as the failure modes say, and a kill may be two: a kubelet that
    sees the process dead before it sees its pod deleted starts the container again, and then ends that one.
    """
    try:
        return not run.look().deaths
    except KubectlError:
        return False  # the container has not quite started


def replaced(release: Release, change: Callable[[], Any]) -> None:
    """Make a change that ends the pod, and wait until a container of another one runs."""
    before = release.pod_uid()
    change()
    await_true("another pod runs", lambda: running(release, before), seconds=120, every_seconds=0.2)


def running(release: Release, before: str) -> bool:
    try:
        pod = release.kubectl.json("get", "pod", release.pod)
    except KubectlError:
        return False  # between two pods
    containers = pod["status"].get("containerStatuses", [])
    return pod["metadata"]["uid"] != before and any("running" in one["state"] for one in containers)


def waits_for_an_image(release: Release) -> bool:
    try:
        pod = release.kubectl.json("get", "pod", release.pod)
    except KubectlError:
        return False
    reasons = {one["state"].get("waiting", {}).get("reason") for one in pod["status"].get("containerStatuses", [])}
    return bool(reasons & {"ErrImagePull", "ImagePullBackOff"})
