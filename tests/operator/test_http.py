"""The probes and the metrics, over a real socket."""

from __future__ import annotations

import httpx
import pytest

from flowweaver.errors import UserError
from flowweaver.operator.http import HttpServer
from flowweaver.telemetry.metrics import Metrics


def serving(**changed) -> HttpServer:
    found = {"host": "127.0.0.1", "port": 0, "healthy": dict, "ready": dict, "metrics": Metrics().exposition}
    server = HttpServer(**{**found, **changed})
    server.start()
    return server


def get(server: HttpServer, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{server.port}{path}", trust_env=False)


def test_a_probe_says_what_is_wrong_by_name():
    server = serving(ready=lambda: {"store": "the disk is full"})
    try:
        assert (get(server, "/healthz").status_code, get(server, "/healthz").text) == (200, "ok\n")
        assert (get(server, "/readyz").status_code, get(server, "/readyz").text) == (503, "store: the disk is full\n")
        assert get(server, "/other").status_code == 404
    finally:
        server.stop()


def test_metrics_are_read_by_prometheus_and_have_the_usual_names():
    metrics = Metrics()
    metrics.reconciled("success", 0.01)
    metrics.watch("flowweaver_workers", lambda: 42)
    server = serving(metrics=metrics.exposition)
    try:
        answer = get(server, "/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = answer.text.splitlines()
        assert 'controller_runtime_reconcile_total{controller="workflow",result="success"} 1.0' in lines
        assert 'workqueue_depth{name="workflow"} 0.0' in lines
        assert "flowweaver_workers 42.0" in lines
    finally:
        server.stop()


def test_an_address_that_is_taken_is_a_clear_error():
    first = serving()
    try:
        with pytest.raises(UserError, match=f"--http: can not listen on 127.0.0.1:{first.port}"):
            serving(port=first.port)
    finally:
        first.stop()
