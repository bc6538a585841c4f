"""The proxy does to a real API server's answers what it says, and nothing else."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.cluster.control_plane import Access
from tests.cluster.faults import WATCHES, FaultProxy, Match
from tests.cluster.processes import await_true

pytestmark = pytest.mark.control_plane

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def faults(control_plane: Access) -> Iterator[FaultProxy]:
    with FaultProxy(control_plane) as proxy:
        yield proxy


@pytest.fixture
def client(control_plane: Access, faults: FaultProxy) -> Iterator[httpx.Client]:
    with client_of(control_plane, faults) as client:
        yield client


def client_of(access: Access, faults: FaultProxy) -> httpx.Client:
    trust = ssl.create_default_context(cafile=access.authority)
    return httpx.Client(
        base_url=faults.url,
        verify=trust,
        headers={"Authorization": f"Bearer {access.token}"},
        timeout=30,
        trust_env=False,
    )


@contextmanager
def watching(client: httpx.Client, seconds: float = 30) -> Iterator[Iterator[str]]:
    with client.stream("GET", MAPS, params={"watch": "true"}, timeout=seconds) as stream:
        yield stream.iter_lines()


def make(client: httpx.Client, name: str) -> httpx.Response:
    return client.post(MAPS, json={"metadata": {"name": name}})


def test_what_is_not_disturbed_passes_as_it_is(client: httpx.Client, control_plane: Access) -> None:
    with control_plane.client() as direct:
        path = "/openapi/v2"  # large, compressed, with an ETag
        through, straight = client.get(path), direct.get(path)
    assert (through.status_code, through.content) == (200, straight.content)
    assert through.headers["etag"] == straight.headers["etag"]


def test_watch_events_pass_as_they_come(client: httpx.Client) -> None:
    with watching(client) as lines:
        assert make(client, "passes").status_code == 201
        assert any(json.loads(line)["object"]["metadata"]["name"] == "passes" for line in lines)


def test_the_next_fitting_requests_get_the_answer_and_then_no_more(client: httpx.Client, faults: FaultProxy) -> None:
    faults.answer(429, Match(method="GET", path="configmaps$"), times=2, retry_after=1)
    first, second, third = (client.get(MAPS) for _ in range(3))
    assert [first.status_code, second.status_code, third.status_code] == [429, 429, 200]
    assert first.headers["retry-after"] == "1"
    assert first.json()["kind"] == "Status"
    assert client.get("/version").status_code == 200
    assert faults.answers_left() == 0


@pytest.mark.parametrize("status", [409, 410, 500, 503])
def test_a_status_is_answered_in_the_words_of_the_api_server(
    client: httpx.Client, faults: FaultProxy, status: int
) -> None:
    faults.answer(status)
    answered = client.get("/version")
    assert (answered.status_code, answered.json()["code"]) == (status, status)


def test_a_held_watch_is_silent_and_goes_on_when_released(client: httpx.Client, faults: FaultProxy) -> None:
    with watching(client, seconds=1) as lines, faults.hold(WATCHES):
        make(client, "held")
        with pytest.raises(httpx.ReadTimeout):
            any("held" in line for line in lines)
    with watching(client) as lines:
        assert any("held" in line for line in lines)


def test_a_dropped_connection_is_an_error_and_a_new_one_works(client: httpx.Client, faults: FaultProxy) -> None:
    with watching(client) as lines:
        await_true("the watch is open", lambda: faults.open_requests(WATCHES))
        assert faults.drop(WATCHES) == 1
        with pytest.raises(httpx.TransportError):
            list(lines)
    assert client.get("/version").status_code == 200


def test_away_means_refused_connections_until_it_is_back(
    client: httpx.Client, control_plane: Access, faults: FaultProxy
) -> None:
    client.get("/version")
    with faults.away(), client_of(control_plane, faults) as another:
        with pytest.raises(httpx.TransportError):
            client.get("/version")
        with pytest.raises(httpx.ConnectError):
            another.get("/version")
    assert client.get("/version").status_code == 200


def test_an_expired_watch_ends_with_the_event_that_says_so(client: httpx.Client, faults: FaultProxy) -> None:
    with watching(client) as lines:
        await_true("the watch is open", lambda: faults.open_requests(WATCHES))
        assert faults.expire() == 1
        last = json.loads(list(lines)[-1])
    assert (last["type"], last["object"]["code"], last["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_a_delayed_request_takes_that_long(client: httpx.Client, faults: FaultProxy) -> None:
    with faults.delay(0.3, Match(path="^/version$")):
        began = time.monotonic()
        client.get("/version")
        assert time.monotonic() - began >= 0.3


def test_what_was_seen_is_told(client: httpx.Client, faults: FaultProxy) -> None:
    client.get("/version")
    client.delete(f"{MAPS}/not-there")
    assert [(seen.method, seen.path, seen.status) for seen in faults.seen] == [
        ("GET", "/version", 200),
        ("DELETE", f"{MAPS}/not-there", 404),
    ]
