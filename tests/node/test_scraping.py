"""A real Prometheus scrapes the operator in its pod: the dashboard has data, and the chart's alerts see it gone."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import processes
from tests.cluster.kubectl import Kubectl
from tests.monitoring.prometheus import Prometheus, an_hour_in_a_minute
from tests.monitoring.test_dashboard import without_data, work
from tests.node.conftest import CHART, Release, program

pytestmark = [pytest.mark.node, pytest.mark.timeout(300)]


def test_the_dashboard_and_the_alerts_of_the_chart_show_the_pod(
    new_release: Callable[[str], Release], workflows: Kubectl, tmp_path: Path
) -> None:
    release = new_release("scraped")
    service = f"scraped.{release.namespace}.svc"
    values: dict[str, Any] = {
        "fullnameOverride": "scraped",
        "workers": 4,
        "unsafeBodies": ["shell", "python.source"],
        "httpAllow": [service],
        "backup": {"enabled": True, "every": "20s"},
        "persistence": {"accessMode": "ReadWriteOnce"},  # the other kind is few where volumes are not made on demand
    }
    release.install(values)
    release.await_ready()
    with (
        forwarded(release, tmp_path) as port,
        Prometheus(
            tmp_path / "prometheus",
            targets=[port],
            rules=an_hour_in_a_minute(rules_of(release, values)),
            # As the chart's ServiceMonitor has them.
            job="scraped",
            labels={"namespace": release.namespace, "pod": release.pod},
        ) as prometheus,
    ):
        processes.await_true("it was scraped", lambda: prometheus.number("flowweaver_ready") == 1)
        processes.await_true("nothing fires", lambda: prometheus.alerts() == {})
        work(workflows, f"http://{service}:8080/healthz?n=", rounds=3)
        processes.await_true("each panel has data", lambda: without_data(prometheus) == [], seconds=30)

        release.kubectl("scale", "statefulset", release.name, "--replicas=0")
        prometheus.await_alert("FlowWeaverGone", seconds=90)
        assert prometheus.alerts()["FlowWeaverGone"]["labels"]["namespace"] == release.namespace


def rules_of(release: Release, values: dict[str, Any]) -> str:
    """What the chart's PrometheusRule of that release says, as a file of Prometheus."""
    template = ["template", release.name, CHART, "--namespace", release.namespace, "--values", "-"]
    rendered = subprocess.run(
        [program("helm"), *template, "--show-only", "templates/monitoring-prometheusrule.yaml"],
        input=json.dumps({**values, "monitoring": {"prometheusRule": {"enabled": True}}}),
        capture_output=True,
        text=True,
        check=True,
    )
    return yaml.safe_dump(yaml.safe_load(rendered.stdout)["spec"])


@contextmanager
def forwarded(release: Release, folder: Path) -> Iterator[int]:
    """A port of this machine that leads to the pod's /metrics, wherever the pods' network is."""
    log = folder / "port-forward.log"
    command = [release.kubectl.program, "--kubeconfig", release.kubectl.kubeconfig, "--namespace", release.namespace]
    process = processes.start([*command, "port-forward", f"pod/{release.pod}", ":8080"], log)
    try:
        said = re.compile(r"127\.0\.0\.1:(\d+) ->")
        processes.await_true("the port is forwarded", lambda: said.search(log.read_text()))
        found = said.search(log.read_text())
        assert found
        yield int(found[1])
    finally:
        processes.stop(process)
