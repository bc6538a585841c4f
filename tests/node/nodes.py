"""What happens to a node, done to the container that kind made it of."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime

from tests.cluster.kubectl import Kubectl
from tests.cluster.processes import await_true
from tests.node.conftest import program

NETWORK = "kind"
SHARED = "/flowweaver-shared"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
READY = "{.status.conditions[?(@.type=='Ready')].status}"


def run_docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """How it ended; the engine is the one that DOCKER_HOST names."""
    return subprocess.run([program("docker"), *arguments], capture_output=True, text=True, check=False, timeout=60)


def docker(*arguments: str) -> str:
    """What it printed; raises `AssertionError` where it fails."""
    ended = run_docker(*arguments)
    assert ended.returncode == 0, f"docker {' '.join(arguments)}\n{ended.stdout}{ended.stderr}"
    return ended.stdout.strip()


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the cluster."""

    name: str
    kubectl: Kubectl

    def clock(self) -> float:
        """Seconds since the machine was started: the clock of the bodies."""
        return float(docker("exec", self.name, "cat", "/proc/uptime").split()[0])

    def read(self, path: str) -> str:
        """A file on it; "" where it is not there."""
        return docker("exec", self.name, "sh", "-c", f"cat {path} 2>/dev/null || true")

    def cut_off(self) -> None:
        """Take its network away; what is on it goes on."""
        docker("network", "disconnect", NETWORK, self.name)

    def connect(self, address: str) -> None:
        """Give it its network back."""
        docker("network", "connect", "--ip", address, NETWORK, self.name)

    def kill(self) -> None:
        """As if its power went: whatever ran on it has ended when this returns."""
        docker("kill", self.name)

    def mend(self, address: str) -> None:
        """Whatever was done to it: it runs, is reachable, and takes pods. The address is what it had before."""
        if NETWORK not in json.loads(self._inspect("{{json .NetworkSettings.Networks}}")):
            self.connect(address)  # before it starts: it looks for its gateway then
        if self._inspect("{{.State.Running}}") != "true":
            docker("start", self.name)
        began = time.time()
        await_true("its node is back", lambda: self._was_seen_since(began), seconds=180, every_seconds=1)
        self.kubectl("uncordon", self.name)
        self.kubectl.run("taint", "node", self.name, f"{OUT_OF_SERVICE}-")

    def kill_container(self, container: str) -> None:
        """SIGKILL to its first process, by its id in a pod's status; one that has ended is no error."""
        command = ["ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", container.split("://")[1]]
        ended = run_docker("exec", self.name, *command)
        assert ended.returncode == 0 or "not found" in ended.stderr or "already finished" in ended.stderr, ended.stderr

    def address(self) -> str:
        """Its address in kind's network."""
        return self._inspect(f"{{{{.NetworkSettings.Networks.{NETWORK}.IPAddress}}}}")

    def is_ready(self) -> bool:
        """Whether Kubernetes takes it for alive."""
        return self.kubectl("get", "node", self.name, "-o", f"jsonpath={READY}") == "True"

    def _was_seen_since(self, moment: float) -> bool:
        lease = self.kubectl.run("get", "lease", self.name, "-n", "kube-node-lease", "-o", "jsonpath={.spec.renewTime}")
        seen = lease.stdout and datetime.fromisoformat(lease.stdout).timestamp() > moment
        return bool(seen) and self.is_ready()

    def _inspect(self, what: str) -> str:
        return docker("inspect", "--format", what, self.name)
