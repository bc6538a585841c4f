"""Installations of the chart on a cluster that runs pods: the one that KUBECONFIG names, with the image in IMAGE."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from tests.cluster import assets
from tests.cluster.kubectl import Kubectl

CHART = assets.ROOT / "charts/flowweaver"
IMAGE = os.environ.get("IMAGE", "flowweaver-operator:e2e")

# Read beside the running engine, by the SQLite that the image carries.
READ_STORE = """
import apsw, json, sys
rows = apsw.Connection("/var/lib/flowweaver/state.db", flags=apsw.SQLITE_OPEN_READONLY).execute(sys.argv[1])
print(json.dumps(list(rows)))
"""


def program(name: str) -> Path:
    found = shutil.which(name)
    assert found, f"{name} must be on PATH"
    return Path(found)


@dataclass(slots=True)
class Release:
    """One release of the chart, in a namespace of its own that enforces the restricted profile."""

    name: str
    namespace: str
    kubectl: Kubectl
    installed_at: float = field(default_factory=time.time)

    @classmethod
    def in_new_namespace(cls, name: str, cluster: Kubectl) -> Self:
        """Not installed yet."""
        namespace = f"{name}-{secrets.token_hex(3)}"
        cluster("create", "namespace", namespace)
        cluster("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
        return cls(name, namespace, cluster.within(namespace))

    @property
    def pod(self) -> str:
        """The pod's name: the same for each pod that follows another."""
        return f"{self.name}-0"

    def install(self, values: dict[str, Any], *, chart: Path = CHART, image: str = IMAGE) -> None:
        """`helm install` of the image under test; returns when helm does, the pod may still be starting."""
        self.installed_at = time.time()
        self._bring("install", values, chart, image)

    def upgrade(self, values: dict[str, Any], *, chart: Path = CHART, image: str = IMAGE) -> None:
        """`helm upgrade`, with these values and no others; returns when helm does, without waiting for the pod."""
        self._bring("upgrade", values, chart, image)

    def _bring(self, verb: str, values: dict[str, Any], chart: Path, image: str) -> None:
        repository, _, tag = image.rpartition(":")
        defaults = {"fullnameOverride": self.name, "image": {"repository": repository, "tag": tag}}
        helm(verb, self.name, chart, "--namespace", self.namespace, "--values", "-", stdin={**defaults, **values})

    def await_ready(self) -> None:
        """Wait until its pod is ready."""
        self.kubectl("rollout", "status", f"statefulset/{self.name}", "--timeout=180s", timeout_seconds=200)

    def pod_uid(self) -> str:
        """Which pod has its name now."""
        return self.kubectl("get", "pod", self.pod, "-o", "jsonpath={.metadata.uid}")

    def read(self, query: str) -> list[list[Any]]:
        """What its store answers to a query, while the engine runs."""
        return json.loads(self.kubectl("exec", self.pod, "--", "python3", "-c", READ_STORE, query))

    def remove(self) -> None:
        """`helm uninstall`, and the namespace with the claim."""
        helm("uninstall", self.name, "--namespace", self.namespace, "--ignore-not-found", "--wait", "--timeout", "120s")
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=120s", timeout_seconds=150)


def helm(*arguments: object, stdin: object = None) -> str:
    ended = subprocess.run(
        [program("helm"), *map(str, arguments)],
        input=None if stdin is None else json.dumps(stdin),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert ended.returncode == 0, f"helm {' '.join(map(str, arguments))}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="session")
def cluster() -> Kubectl:
    """Kubectl as whoever KUBECONFIG is."""
    return Kubectl(Path(os.environ["KUBECONFIG"]), program=program("kubectl"))


@pytest.fixture(scope="module")
def new_release(cluster: Kubectl) -> Iterator[Callable[[str], Release]]:
    label = "app.kubernetes.io/part-of=flowweaver"
    there = cluster("get", "statefulsets", "--all-namespaces", "-l", label, "-o", "name").split()
    assert not there, f"another FlowWeaver is in this cluster and would take the tests' Workflows: {there}"
    made: list[Release] = []

    def make(name: str) -> Release:
        made.append(Release.in_new_namespace(name, cluster))
        return made[-1]

    yield make
    # Workflows first, while there is an operator that lets them go; the CRDs, which a release keeps, last.
    cluster.run("delete", "workflows.flowweaver.io", "--all", "--all-namespaces", "--timeout=60s")
    with ExitStack() as leaving:  # each of them, also where one can not be removed
        for release in made:
            leaving.callback(release.remove)
    cluster.run("delete", "crd", "workflows.flowweaver.io", "--timeout=60s")


@pytest.fixture(scope="module")
def release(new_release: Callable[[str], Release]) -> Release:
    """The chart with shell bodies on, so that tasks can leave traces."""
    release = new_release("flowweaver")
    release.install({"workers": 4, "unsafeBodies": ["shell"], "graceSeconds": 5})
    return release


@pytest.fixture
def workflows(cluster: Kubectl) -> Iterator[Kubectl]:
    """Kubectl in a fresh namespace for Workflows, in which there is no operator."""
    name = f"workflows-{secrets.token_hex(3)}"
    cluster("create", "namespace", name)
    yield cluster.within(name)
    cluster("delete", "namespace", name, "--wait=false")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show the pods, the Events and the logs when a test failed."""
    report = yield
    if report.failed and os.environ.get("KUBECONFIG"):
        tell = Kubectl(Path(os.environ["KUBECONFIG"]), program=program("kubectl")).run
        commands = [
            ["get", "pods,pvc,workflows.flowweaver.io", "-A", "-o", "wide"],
            ["get", "events", "-A", "--field-selector=type=Warning"],
        ]
        label = "app.kubernetes.io/part-of=flowweaver"
        where = tell("get", "pods", "-A", "-l", label, "-o", "jsonpath={.items[*].metadata.namespace}").stdout.split()
        commands += [["logs", "-n", namespace, "-l", label, "--tail=60"] for namespace in where]
        for command in commands:
            told = tell(*command)
            report.sections.append((f"kubectl {' '.join(command)}", (told.stdout + told.stderr)[-8000:]))
    return report
