"""What a person with kubectl sees."""

from __future__ import annotations

import json
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.cluster import assets
from tests.cluster.control_plane import Access
from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import Operator
from tests.cluster.processes import await_true
from tests.cluster.workflows import events_of, finish, workflow

pytestmark = pytest.mark.control_plane

ORDERS = [
    {"id": 1, "customer": "Ada", "amount": 10, "currency": "USD", "paid": True},
    {"id": 2, "customer": "Bo", "amount": 5, "currency": "GBP", "paid": False},
    {"id": 3, "customer": "Cy", "amount": 7, "currency": "GBP", "paid": True},
]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[str]:
    """A server on loopback with the files that the ETL example reads."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "orders.json").write_text(json.dumps(ORDERS))
    (folder / "rates.json").write_text(json.dumps({"USD": 0.9, "GBP": 1.2}))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def etl(
    source: str, operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path
) -> Callable[[], dict[str, Any]]:
    """Apply the example as it is, but for where it reads and writes, and wait until it has finished."""
    operator(unsafeBodies=["shell", "python.source"], httpAllow=["127.0.0.1/32"])
    manifest = yaml.safe_load((assets.ROOT / "examples/etl.yaml").read_text())
    own = {"source": source, "target": str(tmp_path / "orders.csv")}
    for param in manifest["spec"]["params"]:
        param["value"] = own.get(param["name"], param["value"])

    def run() -> dict[str, Any]:
        kubectl.apply(manifest)
        return finish(kubectl, "etl")

    return run


def test_the_etl_example_completes_and_its_columns_are_what_was_promised(
    etl: Callable[[], dict[str, Any]], kubectl: Kubectl, tmp_path: Path
) -> None:
    status = etl()
    assert status["phase"] == "Completed", status
    assert (tmp_path / "orders.csv").read_text().splitlines()[1:] == ["1,Ada,9.00", "3,Cy,8.40"]

    header, row = kubectl("get", "fw").splitlines()
    assert header.split() == ["NAME", "PHASE", "PROGRESS", "AGE"]
    assert row.split()[:3] == ["etl", "Completed", "4/4"]
    assert kubectl("get", "workflows.flowweaver.io").splitlines()[1].split()[:3] == ["etl", "Completed", "4/4"]
    header, row = kubectl("get", "workflows", "-o", "wide").splitlines()
    assert header.split() == ["NAME", "PHASE", "PROGRESS", "AGE", "STARTED", "DURATION", "MESSAGE"]
    assert re.search(r"^etl +Completed +4/4 +\d+s +\d+s ", row), row


def test_the_status_of_a_completed_workflow_says_what_happened(etl: Callable[[], dict[str, Any]]) -> None:
    status = etl()
    assert status["counts"] == {
        "pending": 0, "running": 0, "waiting": 0, "completed": 4, "failed": 0, "skipped": 0, "cancelled": 0,
    }  # fmt: skip
    assert [(task["name"], task["phase"], task["attempts"]) for task in status["tasks"]] == [
        ("orders", "Completed", 1), ("rates", "Completed", 1), ("transform", "Completed", 1), ("load", "Completed", 1),
    ]  # fmt: skip
    conditions = {found["type"]: (found["status"], found["reason"]) for found in status["conditions"]}
    assert conditions["Finished"] == ("True", "Completed")
    assert conditions["Succeeded"][0] == "True"
    assert conditions["Accepted"][0] == "True"
    assert (status["observedGeneration"], status.get("tasksTruncated", 0)) == (1, 0)
    assert {"name": "rows", "value": 2} in status["outputs"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", status["startedAt"])
    assert status["durationMilliseconds"] > 0


def test_events_tell_the_way_of_a_workflow(operator: Callable[..., Operator], kubectl: Kubectl) -> None:
    operator()
    kubectl.apply(workflow("told", {"name": "hello", "value": "hello"}))
    finish(kubectl, "told")
    await_true("the event of its end is there", lambda: "Completed" in events_of(kubectl, "told"))


def test_explain_tells_what_a_field_means(crd_installed: None, kubectl: Kubectl) -> None:
    # A server tells of a new definition a moment after it has begun to serve it.
    await_true("the definition is told", lambda: kubectl.run("explain", "fw.spec.tasks.retry").returncode == 0)
    told = kubectl("explain", "fw.spec.tasks.retry")
    for field in ("limit", "delay", "factor", "maxDelay", "jitter"):
        # The name, its type, and at least a few words of what it means.
        assert re.search(rf"^  {field}\t<\w+>\n(?:  enum: .*\n)?    \w+:? \w+", told, re.MULTILINE), told


def test_apply_twice_changes_nothing(operator: Callable[..., Operator], kubectl: Kubectl) -> None:
    operator()
    once = workflow("same", {"name": "hello", "value": "hello", "retry": {"limit": 2}})
    kubectl.apply(once)
    finish(kubectl, "same")
    assert kubectl.apply(once).strip().endswith("unchanged")


def test_how_long_a_workflow_of_one_task_takes_beside_an_empty_status_patch(
    operator: Callable[..., Operator], control_plane: Access, namespace: str, measured: Callable[[str], None]
) -> None:
    operator()
    path = f"/apis/flowweaver.io/v1alpha1/namespaces/{namespace}/workflows"
    with control_plane.client() as client:
        for warm in range(3):
            completed_after(client, path, f"warm-{warm}")
        took = sorted(completed_after(client, path, f"timed-{number}") for number in range(50))
        patches = sorted(empty_patch(client, f"{path}/timed-{number}/status") for number in range(50))
    measured(
        "one value task, from the POST's response to the watch event that says Completed: "
        f"median {statistics.median(took) * 1000:.0f} ms, p95 {took[47] * 1000:.0f} ms; "
        f"an empty status patch beside it: median {statistics.median(patches) * 1000:.0f} ms"
    )


def completed_after(client: httpx.Client, path: str, name: str) -> float:
    """Seconds from the response of the POST to the watch event that says Completed."""
    listed = client.get(path, params={"limit": "1"}).json()["metadata"]["resourceVersion"]
    watch = {"watch": "true", "resourceVersion": listed, "fieldSelector": f"metadata.name={name}"}
    with client.stream("GET", path, params=watch) as stream:
        created = client.post(path, json=workflow(name, {"name": "hello", "value": "hello"}))
        began = time.monotonic()
        assert created.status_code == 201, created.text
        for line in stream.iter_lines():
            if json.loads(line)["object"].get("status", {}).get("phase") == "Completed":
                return time.monotonic() - began
    raise AssertionError("the watch ended before")


def empty_patch(client: httpx.Client, path: str) -> float:
    began = time.monotonic()
    patched = client.patch(path, content=b"{}", headers={"Content-Type": "application/merge-patch+json"})
    assert patched.status_code == 200, patched.text
    return time.monotonic() - began
