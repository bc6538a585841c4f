"""The fixtures themselves: what other tests build on."""

from __future__ import annotations

import pytest

from tests.cluster.control_plane import Access, ControlPlane
from tests.cluster.kubectl import Kubectl
from tests.cluster.processes import await_true

pytestmark = pytest.mark.control_plane


def test_the_administrator_reaches_a_real_api_server(control_plane: Access) -> None:
    with control_plane.client() as client:
        version = client.get("/version").json()
    assert version["major"] == "1"
    assert int(version["minor"].rstrip("+")) >= 31  # the oldest Kubernetes that is promised


def test_whoever_has_no_token_is_refused(control_plane: Access) -> None:
    with control_plane.client() as client:
        client.headers.pop("Authorization")
        assert client.get("/api/v1/namespaces").status_code == 403


def test_a_service_account_may_do_what_a_role_says_and_nothing_else(control_plane: Access) -> None:
    kubectl = control_plane.kubectl
    kubectl("create", "serviceaccount", "reader")
    token = kubectl("create", "token", "reader").strip()
    kubectl("create", "role", "reads", "--verb=get,list", "--resource=configmaps")
    kubectl("create", "rolebinding", "reads", "--role=reads", "--serviceaccount=default:reader")
    with control_plane.client() as client:
        client.headers["Authorization"] = f"Bearer {token}"
        maps = "/api/v1/namespaces/default/configmaps"
        await_true("the role counts", lambda: client.get(maps).status_code == 200)
        assert client.get("/api/v1/namespaces/default/secrets").status_code == 403


@pytest.mark.slow
def test_a_deleted_namespace_goes_with_what_is_in_it(control_plane: Access) -> None:
    kubectl = control_plane.kubectl
    kubectl("create", "namespace", "passing")
    kubectl("create", "configmap", "something", "--namespace", "passing")
    kubectl("delete", "namespace", "passing", "--wait", "--timeout=60s")
    assert kubectl.run("get", "configmap", "something", "--namespace", "passing").returncode == 1


@pytest.mark.slow
def test_what_etcd_held_is_there_after_the_api_server_came_back(own_control_plane: ControlPlane) -> None:
    kubectl: Kubectl = own_control_plane.access.kubectl
    kubectl("create", "configmap", "kept")
    own_control_plane.stop_api_server()
    assert kubectl.run("get", "configmap", "kept").returncode == 1
    own_control_plane.start_api_server()
    assert kubectl.json("get", "configmap", "kept")["metadata"]["name"] == "kept"
