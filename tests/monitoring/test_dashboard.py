"""The dashboard shows data: each of its expressions is asked of a real Prometheus after a run of real Workflows."""

from __future__ import annotations

import http.server
import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flowweaver.telemetry.metrics import CATALOGUE
from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import Operator
from tests.cluster.processes import await_true
from tests.cluster.workflows import finish, workflow
from tests.docs.blocks import ROOT
from tests.monitoring.prometheus import DASHBOARD, Prometheus, dashboard_expressions

PANELS = json.loads(DASHBOARD.read_text())["panels"]
METRIC = re.compile(r"\b(?:flowweaver|workqueue|controller_runtime|rest_client)_[a-z_]+")
FLAKY = """\
import random

def main():
    if random.random() < 0.4:
        raise OSError("not now")
"""
PICTURE_SECONDS = 240
"""So long a run is drawn where DASHBOARD_PICTURE names a file."""


def test_the_dashboard_is_as_its_program_makes_it() -> None:
    command = [sys.executable, ROOT / "hack/dashboard.py", "--check"]
    assert subprocess.run(command, check=False).returncode == 0


def test_no_panel_lies_on_another_one() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        grid = panel["gridPos"]
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert not cells & taken, panel["title"]
        assert grid["x"] + grid["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_the_dashboard_asks_only_for_metrics_that_there_are() -> None:
    for title, expression in dashboard_expressions():
        for name in METRIC.findall(expression):
            assert re.sub(r"_bucket$", "", name) in CATALOGUE, f"{title}: {name}"


@pytest.mark.control_plane
@pytest.mark.slow
def test_every_expression_of_the_dashboard_has_data_after_a_real_run(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path
) -> None:
    with answering() as port:
        running = operator(
            workers=4,
            unsafeBodies=["shell", "python.source", "thread"],
            httpAllow=["127.0.0.1/32"],
            env={"FLOWWEAVER_BACKUP_FOLDER": str(tmp_path / "backups"), "FLOWWEAVER_BACKUP_EVERY": "20s"},
        )
        with Prometheus(tmp_path / "prometheus", targets=[running.port]) as prometheus:
            await_true("it was scraped", lambda: prometheus.number("flowweaver_ready") == 1)
            url = f"http://127.0.0.1:{port}/orders/"
            work(kubectl, url, rounds=3)
            await_true("backups were written", lambda: prometheus.number("flowweaver_backups_total") >= 1)
            time.sleep(2.5)  # two more scrapes
            assert without_data(prometheus) == []
            assert prometheus.number('flowweaver_workflows{phase="completed"}') >= 3
            assert prometheus.number('sum(increase(flowweaver_task_attempts_total{body="http"}[1m]))') > 0
            draw(prometheus, running, kubectl, url)


def without_data(prometheus: Prometheus) -> list[str]:
    """The expressions of the dashboard that give nothing, or no number."""
    return [
        f"{title}: {expression}"
        for title, expression in dashboard_expressions("1m")
        if math.isnan(prometheus.number(expression))
    ]


def work(kubectl: Kubectl, url: str, *, rounds: int, first: int = 0) -> None:
    """Workflows as people have them: some steps beside each other, one that calls a server, one that fails at times."""
    for number in range(first, first + rounds):
        fetch = {"name": "fetch", "http": {"url": f"{url}{number}"}}
        parts = [
            {"name": f"part{part}", "dependsOn": ["fetch"], "shell": {"script": f"sleep 0.{part}"}} for part in range(8)
        ]
        flaky = {
            "name": "flaky",
            "retry": {"limit": 2, "delay": "200ms"},
            "python": {"source": FLAKY},
        }
        rest = {"name": "rest", "dependsOn": [part["name"] for part in parts], "wait": {"duration": "1s"}}
        total = {"name": "total", "dependsOn": ["rest"], "value": {"orders": number}}
        name = f"orders-{number}"
        kubectl.apply(workflow(name, fetch, *parts, flaky, rest, total))
        kubectl.apply(workflow(f"report-{number}", {"name": "t", "value": 1 if number % 6 else "${ [1, 2][7] }"}))
        finish(kubectl, name)


@contextmanager
def answering() -> Iterator[int]:
    """A server on loopback that answers each GET with a little JSON; gives its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(0.05)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"orders": 7}')

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def draw(prometheus: Prometheus, running: Operator, kubectl: Kubectl, url: str) -> None:
    """Go on for minutes, with a death of the operator in the middle, and have hack/dashboard_picture.py draw it."""
    picture = os.environ.get("DASHBOARD_PICTURE")
    if not picture:
        return
    began, killed = time.monotonic(), False
    for number in range(100, 10_000):
        work(kubectl, url, rounds=1, first=number)
        passed = time.monotonic() - began
        if passed > PICTURE_SECONDS:
            break
        if passed > PICTURE_SECONDS / 2 and not killed:
            sleepers = [{"name": f"t{number}", "shell": {"script": "sleep 4"}} for number in range(12)]
            kubectl.apply(workflow("surprised", *sleepers))
            await_true("workers are busy", lambda: prometheus.number("flowweaver_workers_busy") == 4)
            running.kill()
            running.start()
            killed = True
    command = [ROOT / ".cache/picture/bin/python", ROOT / "hack/dashboard_picture.py", prometheus.url, picture]
    subprocess.run([*command, str(time.monotonic() - began)], check=True)
