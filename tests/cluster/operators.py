"""The operator as a process of its own, with the ServiceAccount, the rules and the environment that the chart gives it.

Nothing here is made up beside the chart: the chart is rendered by helm, its roles and bindings are applied, and its
container's environment is the process's. Only what a pod has and a process has not is replaced: paths, the port, the
token's place.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from tests.cluster import assets, processes
from tests.cluster.control_plane import Access, write_kubeconfig

CHART = assets.ROOT / "charts/flowweaver"
COMMAND = Path(sys.executable).with_name("flowweaver")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the CRD is long
RIGHTS = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def render_chart(
    release: str, namespace: str, values: Mapping[str, Any], *, hooks: bool = False
) -> list[dict[str, Any]]:
    """The chart's objects, as `helm install` would apply them; raises `AssertionError` with what helm said.

    With `hooks` also those that helm applies for a moment: for `helm test` and before `helm uninstall`.
    """
    which = [] if hooks else ["--no-hooks"]
    rendering = subprocess.run(
        [assets.find("helm"), "template", release, CHART, "--namespace", namespace, *which, "--values", "-"],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
    )
    assert rendering.returncode == 0, rendering.stderr
    return [found for found in yaml.load_all(rendering.stdout, Loader=LOADER) if found]


@dataclass(slots=True, kw_only=True)
class Operator:
    """One installation of the chart without its pod: start it, kill it, start it again on the same state file."""

    state: Path
    log: Path
    environment: dict[str, str]
    port: int
    rendered: list[dict[str, Any]]
    _process: subprocess.Popen[bytes] | None = field(default=None)
    _client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=5, trust_env=False))

    @classmethod
    def prepare(
        cls,
        access: Access,
        namespace: str,
        folder: Path,
        *,
        release: str = "operator",
        cluster_wide: bool = False,
        state: Path | None = None,
        api: str | None = None,
        env: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Self:
        """Apply the chart's rights and set the process up.

        `values` are values of the chart (`unsafeBodies=["shell"]`). It watches `namespace` alone unless `cluster_wide`.
        `api` is the address of a proxy before the API server, `env` what the process gets beside the chart's variables.
        """
        watched = [] if cluster_wide else [namespace]
        rendered = render_chart(release, namespace, {"namespaces": watched, "crds": {"install": False}, **values})
        access.kubectl.apply(*(found for found in rendered if found["kind"] in RIGHTS))
        account = next(found for found in rendered if found["kind"] == "ServiceAccount")["metadata"]["name"]
        token = access.kubectl("create", "token", account, "--namespace", namespace, "--duration", "2h").strip()
        kubeconfig = folder / "operator.kubeconfig"
        write_kubeconfig(kubeconfig, url=api or access.url, authority=access.authority, token=token)
        port = processes.free_port()
        own = {
            "KUBECONFIG": str(kubeconfig),
            "POD_NAME": f"{release}-0",
            "POD_NAMESPACE": namespace,
            "FLOWWEAVER_STATE": str(state or folder / "state.db"),
            "FLOWWEAVER_HTTP": f"127.0.0.1:{port}",
            "FLOWWEAVER_LOG_FORMAT": "text",
        }
        return cls(
            state=state or folder / "state.db",
            log=folder / f"{release}.log",
            environment={**inherited(), **container_environment(rendered), **own, **(env or {})},
            port=port,
            rendered=rendered,
        )

    def start(self, *, ready: bool = True) -> Self:
        """Start its process, and wait until it says that it is ready."""
        assert self._process is None, "it is running already"
        self._process = processes.start([COMMAND, "operator"], self.log, self.environment)
        if ready:
            self.await_ready()
        return self

    def await_ready(self) -> None:
        """Wait until /readyz says yes; raises `AssertionError` where its process ends before."""
        processes.await_true("the operator is ready", self.is_ready, seconds=60)

    def is_ready(self) -> bool:
        """Whether /readyz says yes; raises `AssertionError` where its process has ended."""
        assert self.running, f"the operator ended with status {self.status}:\n{processes.tail(self.log)}"
        try:
            return self.get("/readyz").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def get(self, path: str) -> httpx.Response:
        """What it answers on its own port."""
        return self._client.get(f"http://127.0.0.1:{self.port}{path}")

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None, "it was not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status of its process; None while it lives."""
        return None if self._process is None else self._process.poll()

    def kill(self) -> None:
        """`kill -9`: no goodbye."""
        assert self._process is not None, "it was not started"
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def terminate(self, seconds: float = 60.0) -> int:
        """SIGTERM, as a pod gets it; gives the exit status."""
        assert self._process is not None, "it was not started"
        self._process.terminate()
        status = self._process.wait(seconds)
        self._process = None
        return status

    def wait(self, seconds: float = 60.0) -> int:
        """Wait until its process has ended by itself; gives the exit status."""
        assert self._process is not None, "it was not started"
        return self._process.wait(seconds)

    def close(self) -> None:
        """End whatever is left. Idempotent."""
        if self._process is not None:
            processes.stop(self._process)
            self._process = None
        self._client.close()

    def output(self) -> str:
        """All that it has printed, over all its lives."""
        return self.log.read_text(errors="replace")


def container_environment(rendered: list[dict[str, Any]]) -> dict[str, str]:
    """The variables that the chart gives to the operator's container as plain values."""
    pod = next(found for found in rendered if found["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    return {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"] if "value" in entry}


def inherited() -> dict[str, str]:
    """What any process needs; no setting, proxy or credential of whoever runs the tests."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
