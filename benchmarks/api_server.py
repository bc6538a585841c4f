"""An API server as a bare client sees it, and the Workflows that the benchmark makes there."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx

from tests.cluster.control_plane import Access
from tests.cluster.workflows import workflow

NAMESPACE = "bench"
BASE = f"/apis/flowweaver.io/v1alpha1/namespaces/{NAMESPACE}/workflows"
EVENTS = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
CLIENTS = 8  # threads that write, as many as a busy controller has


def chain(name: str, tasks: int) -> dict[str, Any]:
    """A Workflow whose tasks are values, each after the one before."""
    written = (
        {"name": f"t{number}", "value": number, **({"dependsOn": [f"t{number - 1}"]} if number else {})}
        for number in range(tasks)
    )
    return workflow(name, *written)


class Server:
    """The API server as a bare client sees it: no cache, no queue, eight threads."""

    def __init__(self, access: Access) -> None:
        self._local = threading.local()
        self._access = access
        self._pool = concurrent.futures.ThreadPoolExecutor(CLIENTS)

    def all(self, call: Callable[[httpx.Client, Any], None], items: Iterable[Any]) -> float:
        """Call for each of them, so many at once; gives the seconds."""
        began = time.monotonic()
        for _ in self._pool.map(lambda item: call(self._client(), item), items):
            pass
        return time.monotonic() - began

    def create(self, names: Iterable[str], tasks: int) -> float:
        """Create a Workflow of each name; gives the seconds."""
        return self.all(lambda client, name: sent(client.post(BASE, json=chain(name, tasks))), names)

    def pages(self) -> Iterator[dict[str, Any]]:
        """Every Workflow."""
        token = ""
        while True:
            answer = sent(self._client().get(BASE, params={"limit": 500, "continue": token})).json()
            yield from answer["items"]
            token = answer["metadata"].get("continue", "")
            if not token:
                return

    def read(self, name: str) -> dict[str, Any]:
        """One Workflow."""
        found: dict[str, Any] = sent(self._client().get(f"{BASE}/{name}")).json()
        return found

    def events(self) -> list[dict[str, Any]]:
        """A few Events."""
        found: list[dict[str, Any]] = sent(self._client().get(EVENTS, params={"limit": 10})).json()["items"]
        return found

    def _client(self) -> httpx.Client:
        if not hasattr(self._local, "client"):
            self._local.client = self._access.client()
        client: httpx.Client = self._local.client
        return client


def sent(answer: httpx.Response) -> httpx.Response:
    """The answer, where it is a good one; raises `httpx.HTTPStatusError`."""
    answer.raise_for_status()
    return answer
