"""The fixtures that need a real control plane; a test that uses one carries the marker `control_plane`.

- `control_plane`: the session's API server, shared by all workers: how to reach it as its administrator
- `own_control_plane`: another one for this test alone, to be stopped, started and broken; without CRDs
- `crd_installed`: the CRDs of `crds/` are served by the session's API server
- `namespace`: a fresh namespace there, with the CRDs installed
- `kubectl`: kubectl as the administrator, in that namespace
- `operator`: starts the operator as its own process, with the chart's ServiceAccount and rules
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import assets
from tests.cluster.control_plane import Access, ControlPlane
from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import Operator
from tests.cluster.sharing import shared_control_plane

LOGS = pytest.StashKey[list[Path]]()


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base  # with xdist each worker has a folder inside
    with shared_control_plane(shared / "control-plane") as access:
        yield access


@pytest.fixture
def own_control_plane(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path / "control-plane")
    _show_on_failure(request, plane.folder / "kube-apiserver.log")
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="session")
def crd_installed(control_plane: Access) -> None:
    install_crds(control_plane.kubectl)


@pytest.fixture
def namespace(control_plane: Access, crd_installed: None) -> str:
    return fresh_namespace(control_plane.kubectl)


@pytest.fixture
def kubectl(control_plane: Access, namespace: str) -> Kubectl:
    return control_plane.kubectl.within(namespace)


@pytest.fixture
def operator(
    control_plane: Access, namespace: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Operator]]:
    """`operator(workers=4, unsafe_bodies=["shell"])` starts one that watches the test's namespace and waits until it is
    ready; see `Operator.start`. All that were started are stopped at the end.
    """
    with operators_of(control_plane, namespace, tmp_path, request) as start:
        yield start


class operators_of:  # noqa: N801 - used like a function
    """Gives what starts operators on that control plane, and stops them all when left."""

    def __init__(self, access: Access, namespace: str, folder: Path, request: pytest.FixtureRequest) -> None:
        self._access, self._namespace, self._folder, self._request = access, namespace, folder, request
        self._started: list[Operator] = []

    def __enter__(self) -> Callable[..., Operator]:
        return self._start

    def _start(self, name: str = "operator", **settings: object) -> Operator:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        operator = Operator.prepare(self._access, self._namespace, folder, release=name, **settings)
        _show_on_failure(self._request, operator.log)
        self._started.append(operator)
        operator.start()
        return operator

    def __exit__(self, *_: object) -> None:
        for operator in self._started:
            operator.close()


def install_crds(kubectl: Kubectl) -> None:
    """Apply every CRD of `crds/` and wait until it is served. Idempotent."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", assets.ROOT / "crds")
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", assets.ROOT / "crds")


def fresh_namespace(kubectl: Kubectl) -> str:
    """A new namespace of a name that nobody else has."""
    name = f"test-{secrets.token_hex(4)}"
    kubectl("create", "namespace", name)
    return name


def _show_on_failure(request: pytest.FixtureRequest, log: Path) -> None:
    request.node.stash.setdefault(LOGS, []).append(log)
