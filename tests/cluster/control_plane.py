"""A real Kubernetes API server on loopback, with etcd and the few controllers that clean up. No nodes: no pod runs.

Authorization is RBAC, ServiceAccount tokens are issued and checked, validation and admission are those of a cluster.
Disk is not synced: what it holds is gone with the test anyway.
"""

from __future__ import annotations

import json
import secrets
import ssl
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from tests.cluster import assets, processes
from tests.cluster.keys import Keys, make_keys
from tests.cluster.kubectl import Kubectl

CONTROLLERS = "namespace-controller,garbage-collector-controller,serviceaccount-controller"
SERVICE_ADDRESSES = "198.51.100.128/25"  # a documentation range (RFC 5737): nothing outside can be meant


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a control plane as its administrator."""

    folder: str
    url: str
    token: str
    authority: str
    server_certificate: str
    server_key: str

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return Path(self.folder, "admin.kubeconfig")

    @property
    def kubectl(self) -> Kubectl:
        """The kubectl of its administrator."""
        return Kubectl(self.kubeconfig)

    def client(self, **options: Any) -> httpx.Client:
        """An HTTP client that speaks as the administrator; close it."""
        context = ssl.create_default_context(cafile=self.authority)
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.url, verify=context, headers=headers, timeout=30, trust_env=False, **options)

    def to_json(self) -> str:
        """What `from_json` reads in another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        return cls(**json.loads(text))


def write_kubeconfig(path: Path, *, url: str, authority: str, token: str, namespace: str = "default") -> None:
    """A kubeconfig for one user who has a token, readable by its owner alone."""
    path.touch(mode=0o600)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": authority}}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user", "namespace": namespace}}],
        "current-context": "test",
    }
    path.write_text(json.dumps(config, indent=2))


@dataclass(slots=True)
class ControlPlane:
    """One control plane of its own folder. The API server can be stopped and started again: etcd keeps what it held."""

    folder: Path
    access: Access = field(init=False)
    _keys: Keys = field(init=False)
    _etcd_port: int = field(init=False)
    _running: dict[str, subprocess.Popen[bytes]] = field(init=False, default_factory=dict)

    def start(self) -> Access:
        """Bring all of it up; gives how to reach it. Seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._keys = make_keys(self.folder / "keys")
        port, self._etcd_port = processes.free_port(), processes.free_port()
        self.access = Access(
            folder=str(self.folder),
            url=f"https://127.0.0.1:{port}",
            token=secrets.token_hex(16),
            authority=str(self._keys.authority),
            server_certificate=str(self._keys.server_certificate),
            server_key=str(self._keys.server_key),
        )
        (self.folder / "tokens.csv").write_text(f'{self.access.token},admin,admin,"system:masters"\n')
        write_kubeconfig(
            self.access.kubeconfig, url=self.access.url, authority=self.access.authority, token=self.access.token
        )
        self._start_etcd()
        self.start_api_server()
        self._start_controllers()
        return self.access

    def stop(self) -> None:
        """End every process, the API server before its store."""
        for name in ("kube-controller-manager", "kube-apiserver", "etcd"):
            if name in self._running:
                processes.stop(self._running.pop(name), grace_seconds=2)

    def stop_api_server(self) -> None:
        """Away: connections are cut, then refused. The store stays."""
        process = self._running.pop("kube-apiserver")
        process.kill()
        process.wait()

    def start_api_server(self) -> None:
        """Start it on its address, and wait until it serves."""
        keys, port = self._keys, self.access.url.rpartition(":")[2]
        self._start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={port}"),
            f"--service-cluster-ip-range={SERVICE_ADDRESSES}",
            *("--authorization-mode=RBAC", f"--token-auth-file={self.folder / 'tokens.csv'}"),
            *(f"--tls-cert-file={keys.server_certificate}", f"--tls-private-key-file={keys.server_key}"),
            *(
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={keys.token_key}",
            ),
            *(f"--service-account-signing-key-file={keys.token_key}", f"--cert-dir={self.folder / 'certs'}"),
            "--shutdown-delay-duration=0s",
        )
        with self.access.client() as client:
            self._await("kube-apiserver", lambda: _is_ready(client))

    def _start_etcd(self) -> None:
        address = f"http://127.0.0.1:{self._etcd_port}"
        self._start(
            "etcd",
            *(f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync"),
            *(f"--listen-client-urls={address}", f"--advertise-client-urls={address}"),
            *("--listen-peer-urls=http://127.0.0.1:0", "--logger=zap", "--log-level=error"),
        )
        with httpx.Client(trust_env=False) as client:
            self._await("etcd", lambda: _answers(client, f"{address}/health"))

    def _start_controllers(self) -> None:
        self._start(
            "kube-controller-manager",
            *(f"--kubeconfig={self.access.kubeconfig}", "--leader-elect=false", f"--controllers={CONTROLLERS}"),
            *("--bind-address=127.0.0.1", f"--secure-port={processes.free_port()}"),
            *(f"--cert-dir={self.folder / 'certs'}", f"--root-ca-file={self.access.authority}"),
        )

    def _start(self, name: str, *arguments: str) -> None:
        self._running[name] = processes.start([assets.find(name), *arguments], self.folder / f"{name}.log")

    def _await(self, name: str, holds: Any) -> None:
        process, log = self._running[name], self.folder / f"{name}.log"

        def up() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with status {process.returncode}:\n{processes.tail(log)}")
            return bool(holds())

        processes.await_true(f"{name} is ready", up, seconds=90)


def _is_ready(client: httpx.Client) -> bool:
    # The default namespaces are made after the server is ready; a test may need them at once.
    return _answers(client, "/readyz") and _answers(client, "/api/v1/namespaces/default")


def _answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
