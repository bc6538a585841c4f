"""What the chart makes of the rules and the dashboard, and what the page of metrics says about having it scraped."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.operators import render_chart
from tests.docs.blocks import ROOT, of
from tests.monitoring.prometheus import DASHBOARD, RULES, program

ON = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}


def rendered(release: str = "blue", **monitoring: Any) -> list[dict[str, Any]]:
    return render_chart(release, "workflows", {"monitoring": {**ON, **monitoring}})


def one(objects: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    (found,) = (item for item in objects if item["kind"] == kind and name in item["metadata"]["name"])
    return found


def block(start: str) -> str:
    """The block of the page of metrics that begins so."""
    (found,) = (found for found in of("text") if found.page == "docs/metrics.md" and found.text.startswith(start))
    return found.text


@pytest.mark.control_plane  # helm comes with it
def test_nothing_of_it_is_there_by_default() -> None:
    kinds = {item["kind"] for item in render_chart("blue", "workflows", {})}
    assert not kinds & {"ServiceMonitor", "PrometheusRule"}


@pytest.mark.control_plane
def test_the_rules_watch_this_release_alone_and_are_the_shipped_ones_otherwise(tmp_path: Path) -> None:
    spec = one(rendered(), "PrometheusRule")["spec"]
    text = yaml.safe_dump(spec)
    ours = 'namespace="workflows", job="blue-flowweaver"'
    selectors = re.findall(r"[a-z_]+\{[^}]*\}", " ".join(rule["expr"] for rule in spec["groups"][0]["rules"]))
    assert selectors
    assert all(ours in selector for selector in selectors)
    for rule in spec["groups"][0]["rules"]:
        rule["expr"] = rule["expr"].replace(ours, 'job="flowweaver"')
    assert spec == yaml.safe_load(RULES.read_text())

    (tmp_path / "rules.yaml").write_text(text)
    subprocess.run([program("promtool"), "check", "rules", tmp_path / "rules.yaml"], check=True)


@pytest.mark.control_plane
def test_the_service_monitor_finds_the_service_by_the_job_that_the_rules_name() -> None:
    objects = rendered()
    service, monitor = one(objects, "Service"), one(objects, "ServiceMonitor")
    assert service["metadata"]["name"] == "blue-flowweaver"
    wanted = monitor["spec"]["selector"]["matchLabels"]
    chosen = [
        item["metadata"]["name"]
        for item in objects
        if item["kind"] == "Service" and wanted.items() <= item["metadata"]["labels"].items()
    ]
    assert chosen == ["blue-flowweaver"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


@pytest.mark.control_plane
def test_the_dashboard_arrives_as_it_is_where_the_sidecar_looks() -> None:
    config = one(rendered(), "ConfigMap", "dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(config["data"]["flowweaver.json"]) == json.loads(DASHBOARD.read_text())


@pytest.mark.control_plane
def test_labels_and_the_address_of_the_runbooks_are_where_they_were_asked_for() -> None:
    values = yaml.safe_load(block("# values of the chart"))["monitoring"]
    objects = rendered(**values)
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert one(objects, kind)["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    for rule in one(objects, "PrometheusRule")["spec"]["groups"][0]["rules"]:
        section = f"#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook_url"] == f"https://wiki.example.com/flowweaver/runbooks{section}"


def test_prometheus_takes_the_configuration_of_the_page_of_metrics(tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(block("# prometheus.yml"))
    (tmp_path / "flowweaver.yaml").write_text(RULES.read_text())
    checking = subprocess.run(
        [program("promtool"), "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checking.returncode == 0, checking.stderr
    assert "14 rules found" in checking.stdout


def test_the_picture_of_the_page_of_metrics_is_there() -> None:
    assert (ROOT / "docs/images/dashboard.png").stat().st_size > 100_000
