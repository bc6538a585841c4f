"""The operator's node is drained, cut off, or dead: what docs/failure-modes.md says of it is what happens."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.kubectl import Kubectl
from tests.cluster.processes import await_true
from tests.docs.blocks import commands, of
from tests.node.conftest import Release
from tests.node.long_runs import Beginning, LongRun
from tests.node.nodes import SHARED, Node, docker

pytestmark = [pytest.mark.node, pytest.mark.kind]

WORKERS = 4
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
# On the worker while that is there, else beside the control plane.
VALUES = {
    "workers": WORKERS,
    "unsafeBodies": ["shell"],
    "graceSeconds": 10,
    "tolerations": [{"key": CONTROL_PLANE, "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100,
                    "preference": {"matchExpressions": [{"key": CONTROL_PLANE, "operator": "DoesNotExist"}]},
                }
            ]
        }
    },
}
EVICTION_SECONDS = 10
COLLECTION_SECONDS = 20  # how often Kubernetes looks for pods of nodes that are gone
NAME = "flowweaver"
CLAIM = "moves"


def nodes(cluster: Kubectl) -> dict[bool, Node]:
    """Both of them, by whether it has the control plane."""
    items = cluster.json("get", "nodes")["items"]
    return {CONTROL_PLANE in item["metadata"]["labels"]: Node(item["metadata"]["name"], cluster) for item in items}


@pytest.fixture
def release(cluster: Kubectl) -> Iterator[Release]:
    """A release of its own for each test."""
    release = Release.in_new_namespace(NAME, cluster)
    yield release
    cluster.run("delete", "workflows.flowweaver.io", "--all", "--all-namespaces", "--timeout=60s")
    release.remove()
    cluster.run("delete", "crd", "workflows.flowweaver.io", "--timeout=60s")


@pytest.fixture
def worker(cluster: Kubectl, release: Release) -> Iterator[Node]:
    """The node that may be lost; it is mended before the release is removed."""
    node = nodes(cluster)[False]
    address = node.address()
    yield node
    node.mend(address)


@pytest.fixture
def other(cluster: Kubectl) -> Node:
    """The node that stays."""
    return nodes(cluster)[True]


@pytest.fixture
def moving(release: Release, cluster: Kubectl, other: Node) -> Iterator[str]:
    """A volume that both nodes can mount, with a claim in the release's namespace: gives its folder on each node."""
    folder = f"{SHARED}/{release.namespace}"
    docker("exec", other.name, "mkdir", "-m", "0777", folder)
    spec = {"accessModes": ["ReadWriteOncePod"], "storageClassName": ""}
    size = {"storage": "1Gi"}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": release.namespace},
            "spec": {
                **spec,
                "capacity": size,
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": folder},
                "claimRef": {"namespace": release.namespace, "name": CLAIM},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM, "namespace": release.namespace},
            "spec": {**spec, "volumeName": release.namespace, "resources": {"requests": size}},
        },
    )
    yield folder
    cluster("delete", "pv", release.namespace, "--wait=false")
    docker("exec", other.name, "rm", "-rf", folder)


def begin(release: Release, workflows: Kubectl, values: dict[str, Any], **shape: Any) -> LongRun:
    """Install, and have a run in its middle."""
    release.install({**VALUES, **values})
    release.await_ready()
    run = LongRun(release, workflows, "lost", **shape)
    run.apply()
    await_true("some tasks have completed", lambda: len(run.look().done) >= WORKERS, every_seconds=0.3)
    run.note()
    return run


def on_moving(**values: Any) -> dict[str, Any]:
    return {"persistence": {"existingClaim": CLAIM}, **values}


def bodies(node: Node, folder: str) -> list[Beginning]:
    """The bodies that have begun, as the volume's folder on that node has it: also where no pod can be asked."""
    return [Beginning.read(line) for line in node.read(f"{folder}/lost.txt").splitlines()]


def finish(run: LongRun, *, repeated_at_most: int) -> tuple[Beginning, ...]:
    run.workflows("wait", "--for=condition=Finished", f"fw/{run.name}", "--timeout=400s", timeout_seconds=420)
    return run.check(repeated_at_most=repeated_at_most).begun


def next_start(begun: tuple[Beginning, ...] | list[Beginning]) -> Beginning:
    """The first body of the second container."""
    first = begun[0].container_at
    return next(beginning for beginning in begun if beginning.container_at != first)


def say(words: str, node: Node, release: Release) -> float:
    """Do what the docs do with these words, to this node; gives how many seconds it took."""
    told = [command for block in of("console kind") for command, _ in commands(block.text)]
    (command,) = (command for command in told if command.startswith(f"kubectl {words} "))
    for ours, theirs in {"node-1": node.name, f"--namespace {NAME}": f"--namespace {release.namespace}"}.items():
        command = command.replace(ours, theirs)
    began = time.monotonic()
    node.kubectl(*shlex.split(command)[1:], timeout_seconds=180)
    return time.monotonic() - began


def test_a_drained_node_has_the_pod_wait_for_it_where_the_volume_is_its_own(
    release: Release, worker: Node, workflows: Kubectl, measured: Callable[[str], None]
) -> None:
    run = begin(release, workflows, {}, tasks=80)
    seconds = say("drain", worker, release)
    await_true("its pod waits", lambda: "PersistentVolume" in unscheduled(release), every_seconds=0.5)
    assert workflows.json("get", "fw", run.name)["status"]["phase"] == "Running"
    back_at = worker.clock()
    say("uncordon", worker, release)
    begun = finish(run, repeated_at_most=0)
    measured(
        f"drained, volume of the node: the drain took {seconds:.1f} s, no body was repeated; "
        f"{next_start(begun).at - back_at:.1f} s from uncordon to the next task's start"
    )


def unscheduled(release: Release) -> str:
    pod = release.kubectl.run("get", "pod", release.pod, "-o", "jsonpath={.status.conditions[*].message}")
    return pod.stdout


def test_a_drained_node_hands_a_volume_that_can_move_to_the_other_node(
    release: Release, moving: str, worker: Node, workflows: Kubectl, measured: Callable[[str], None]
) -> None:
    run = begin(release, workflows, on_moving(), tasks=80)
    began_at = worker.clock()
    seconds = say("drain", worker, release)
    begun = finish(run, repeated_at_most=0)
    assert node_of(release) != worker.name
    measured(
        f"drained, volume that moves: the drain took {seconds:.1f} s, no body was repeated; "
        f"{next_start(begun).at - began_at:.1f} s from the drain's beginning to the next task's start"
    )


def node_of(release: Release) -> str:
    return release.kubectl("get", "pod", release.pod, "-o", "jsonpath={.spec.nodeName}")


def test_a_node_that_comes_back_has_gone_on_meanwhile(
    release: Release,
    moving: str,
    worker: Node,
    other: Node,
    workflows: Kubectl,
    measured: Callable[[str], None],
) -> None:
    run = begin(release, workflows, on_moving(), tasks=110, seconds=3.0)
    address, pod, cut_at = worker.address(), release.pod_uid(), worker.clock()
    worker.cut_off()
    await_true("Kubernetes has noticed", lambda: not worker.is_ready(), seconds=120, every_seconds=0.5)
    noticed = worker.clock() - cut_at
    before = len(bodies(other, moving))
    await_true("it goes on", lambda: len(bodies(other, moving)) > before, every_seconds=0.5)
    worker.connect(address)
    begun = finish(run, repeated_at_most=0)
    assert release.pod_uid() == pod
    during = sum(cut_at < beginning.at < cut_at + noticed for beginning in begun)
    measured(
        f"cut off for a minute: Kubernetes noticed after {noticed:.0f} s, {during} tasks began meanwhile, none twice"
    )


def test_a_node_that_stays_away_keeps_its_pod_and_what_is_started_elsewhere_waits_for_it(
    release: Release,
    moving: str,
    worker: Node,
    other: Node,
    workflows: Kubectl,
    measured: Callable[[str], None],
) -> None:
    """There is no failover. A person who forces one before the node is off gets a second pod, and no second engine."""
    away = [
        {"key": f"node.kubernetes.io/{word}", "effect": "NoExecute", "tolerationSeconds": EVICTION_SECONDS}
        for word in ("unreachable", "not-ready")
    ]
    values = on_moving(tolerations=[*VALUES["tolerations"], *away])
    run = begin(release, workflows, values, tasks=300, seconds=2.5)
    pod, cut_at = release.pod_uid(), worker.clock()
    worker.cut_off()
    await_true("its pod is to go", lambda: deleted(release), seconds=180, every_seconds=0.5)
    evicted = worker.clock() - cut_at
    time.sleep(2 * COLLECTION_SECONDS + 5)
    assert (release.pod_uid(), deleted(release)) == (pod, True), "nobody has taken over"

    release.kubectl("delete", "pod", release.pod, "--grace-period=0", "--force", "--wait=false")
    await_true("there is another pod", lambda: runs_on(release, other), every_seconds=0.5)
    await_true("it waits for the file", lambda: "waiting up to" in logs(release), every_seconds=0.5)
    before = len(bodies(other, moving))
    await_true("the old one goes on", lambda: len(bodies(other, moving)) > before + WORKERS, every_seconds=0.5)
    assert len({beginning.container_at for beginning in bodies(other, moving)}) == 1

    killed_at = other.clock()
    worker.kill()
    begun = finish(run, repeated_at_most=WORKERS)
    repeated = len(begun) - run.tasks
    measured(
        f"cut off for good: to be evicted after {evicted:.0f} s ({EVICTION_SECONDS} s of them tolerated), nothing else "
        f"happens; forced elsewhere, begins {next_start(begun).at - killed_at:.1f} s after the node was killed, "
        f"{repeated} bodies repeated"
    )


def deleted(release: Release) -> bool:
    return bool(release.kubectl("get", "pod", release.pod, "-o", "jsonpath={.metadata.deletionTimestamp}"))


def runs_on(release: Release, node: Node) -> bool:
    where = "jsonpath={.spec.nodeName} {.status.phase}"
    return release.kubectl.run("get", "pod", release.pod, "-o", where).stdout == f"{node.name} Running"


def logs(release: Release) -> str:
    return release.kubectl.run("logs", release.pod).stdout + release.kubectl.run("logs", "-p", release.pod).stdout


WAYS = [("taint",), ("delete node",), ("cordon", "delete pod")]


@pytest.mark.parametrize("way", WAYS, ids=" and ".join)
def test_a_dead_node_is_left_by(
    way: tuple[str, ...],
    release: Release,
    moving: str,
    worker: Node,
    other: Node,
    workflows: Kubectl,
    measured: Callable[[str], None],
) -> None:
    run = begin(release, workflows, on_moving(), tasks=80)
    killed_at = other.clock()
    worker.kill()
    for words in way:
        say(words, worker, release)
    begun = finish(run, repeated_at_most=WORKERS)
    assert node_of(release) == other.name
    seconds = next_start(begun).at - killed_at
    repeated = len(begun) - run.tasks
    measured(f"killed, `{way[-1]}` at once: {seconds:.1f} s to the next task's start, {repeated} bodies repeated")
