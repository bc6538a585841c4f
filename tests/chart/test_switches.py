"""Every value of the chart, on and off: each does something, and what comes of it is what the API server takes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.cluster.control_plane import Access
from tests.cluster.fixtures import fresh_namespace
from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import CHART, render_chart

pytestmark = pytest.mark.control_plane

Path = tuple[str, ...]

PEER = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
TERM = {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}
NEAR = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "database"}}}

SAMPLES: dict[str, Any] = {
    "namespaces": ["{namespace}"],
    "instance": "blue",
    "workers": 3,
    "functions": ["etl.*"],
    "unsafeBodies": ["shell", "thread"],
    "httpAllow": ["192.0.2.0/24", "{{namespace}}.example"],
    "graceSeconds": 7,
    "log.level": "debug",
    "log.format": "text",
    "http.port": 9000,
    "extraEnv": [
        {"name": "SSL_CERT_FILE", "value": "/certificates/ca.crt"},
        {"name": "PROXY", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url", "optional": True}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ],
    "persistence.size": "2Gi",
    "persistence.storageClass": "fast",
    "persistence.accessMode": "ReadWriteOnce",
    "persistence.whenDeleted": "Delete",
    "persistence.dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "yesterday"},
    "image.repository": "registry.example/flowweaver",
    "image.tag": "1.2.3",
    "image.digest": "sha256:" + "0" * 64,
    "image.pullPolicy": "Always",
    "imagePullSecrets": [{"name": "pull"}],
    "codePolicy.bodies": ["shell", "python.function"],
    "codePolicy.action": "Audit",
    "uninstall.waitSeconds": 30,
    "networkPolicy.scrapers": [PEER],
    "networkPolicy.dns": [{**PEER, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
    "networkPolicy.apiServer.cidrs": ["192.0.2.1/32", "2001:db8::1/128"],
    "networkPolicy.apiServer.ports": [6443],
    "networkPolicy.egress": [
        {"to": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.7/32"]}}], "ports": [{"port": 5432}]},
        {"to": [PEER], "ports": [{"port": 4317, "protocol": "TCP"}, {"port": 8000, "endPort": 8010}]},
    ],
    "startupSeconds": 30,
    "podDisruptionBudget.maxUnavailable": 0,
    "serviceAccount.name": "own",
    "serviceAccount.annotations": {"a": "b"},
    "nameOverride": "weaver",
    "fullnameOverride": "weaver",
    "resources.requests": {"cpu": "1", "memory": "1Gi"},
    "resources.limits": {"cpu": "2", "memory": "2Gi"},
    "tmpSize": "1Gi",
    "podAnnotations": {"c": "d"},
    "podLabels": {"e": "f"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [TERM]},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": TERM}],
        },
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [NEAR]},
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 2, "podAffinityTerm": NEAR}]
        },
    },
    "priorityClassName": "system-cluster-critical",
    "service.annotations": {"g": "h"},
    "log.levels": {"flowweaver.stores": "debug"},
    "tracing.endpoint": "http://collector.observability:4318",
    "extraVolumes": [{"name": "functions", "configMap": {"name": "functions"}}],
    "extraVolumeMounts": [{"name": "functions", "mountPath": "/functions", "readOnly": True}],
    "backup.every": "90m",
    "backup.keep": 3,
    "backup.size": "2Gi",
    "backup.storageClass": "slow",
    "backup.accessMode": "ReadWriteMany",
    "monitoring.serviceMonitor.interval": "1m",
    "monitoring.serviceMonitor.scrapeTimeout": "5s",
    "monitoring.serviceMonitor.labels": {"release": "prometheus"},
    "monitoring.prometheusRule.labels": {"release": "prometheus"},
    "monitoring.prometheusRule.runbooks": "https://runbooks.example/flowweaver",
    "monitoring.dashboard.labels": {"grafana": "yes"},
    "monitoring.dashboard.annotations": {"grafana_folder": "FlowWeaver"},
}
"""What stands for "set" of each value that is no switch."""

ALONE: dict[str, tuple[dict[str, Any], Any]] = {
    "persistence.existingClaim": ({}, "mine"),
    "backup.existingClaim": ({"backup": {"enabled": True}}, "mine"),
    "backup.restore": ({"backup": {"enabled": True, "size": "2Gi"}}, "newest"),
}
"""What stands in the place of others, and is tried by itself: beside these values, that one."""

WITHOUT = {
    "image.tag": "image.digest",
    "nameOverride": "fullnameOverride",
    "extraVolumes": "extraVolumeMounts",
}
"""Values that are tried without another one, which beats them or can not be without them."""


def leaves(values: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[str, Any]]:
    """Every value by its dotted path; one that a sample replaces as a whole is one value."""
    for name, value in values.items():
        dotted = ".".join((*path, name))
        if isinstance(value, Mapping) and value and dotted not in SAMPLES:
            yield from leaves(value, (*path, name))
        else:
            yield dotted, value


DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
SWITCHES = sorted(path for path, value in leaves(DEFAULTS) if isinstance(value, bool))
OTHERS = sorted(path for path, value in leaves(DEFAULTS) if not isinstance(value, bool) and path not in ALONE)


def with_value(values: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(dict(values))
    below = changed
    *folders, name = path.split(".")
    for folder in folders:
        below = below.setdefault(folder, {})
    below[name] = value
    return changed


def everything(namespace: str, *, on: bool) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path in SWITCHES:
        values = with_value(values, path, on)
    for path in SAMPLES if on else ():
        values = with_value(values, path, sample(path, namespace))
    return values


def sample(path: str, namespace: str) -> Any:
    return json.loads(json.dumps(SAMPLES[path]).replace("{namespace}", namespace))


def render(values: Mapping[str, Any], namespace: str = "workflows") -> list[dict[str, Any]]:
    return render_chart("flowweaver", namespace, values, hooks=True)


def test_every_value_that_is_no_switch_has_a_sample_that_is_not_its_default() -> None:
    assert sorted(SAMPLES) == OTHERS
    assert [path for path, value in leaves(DEFAULTS) if path in SAMPLES and sample(path, "workflows") == value] == []


@pytest.mark.slow
def test_every_value_does_something_and_the_api_server_takes_strictly_what_comes_of_it(
    control_plane: Access, crd_installed: None, measured: Callable[[str], None]
) -> None:
    namespace = fresh_namespace(control_plane.kubectl)
    all_on = everything(namespace, on=True)
    seen = [render(values, namespace) for values in ({}, everything(namespace, on=False), all_on)]
    with_all_on = seen[-1]

    idle = []
    for path, default in leaves(DEFAULTS):
        base, value = ALONE.get(path, (all_on, False if path in SWITCHES else default))
        before = with_all_on
        if path in WITHOUT:
            base = with_value(base, WITHOUT[path], dict(leaves(DEFAULTS))[WITHOUT[path]])
        if path in ALONE or path in WITHOUT:
            before = render(base, namespace)
        seen.append(render(with_value(base, path, value), namespace))
        if seen[-1] == before:
            idle.append(path)
    assert idle == []

    seen += [render(with_value({}, path, True), namespace) for path in SWITCHES]
    number = take_strictly(control_plane.kubectl, [item for rendered in seen for item in rendered])
    measured(f"{number} different objects from {len(seen)} sets of values: the API server takes each strictly")


def take_strictly(kubectl: Kubectl, objects: list[dict[str, Any]]) -> int:
    """Have the API server say of each different one whether it would take it; gives how many those are."""
    different = {json.dumps(item, sort_keys=True) for item in objects}
    items = [item for item in map(json.loads, different) if "monitoring.coreos.com" not in item["apiVersion"]]
    applying = ["apply", "--server-side", "--force-conflicts", "--validate=strict", "-f", "-"]
    # A pod is refused without its account, even where it is not going to be made.
    accounts = [item for item in items if item["kind"] == "ServiceAccount"]
    kubectl(*applying, stdin={"apiVersion": "v1", "kind": "List", "items": accounts})
    told = kubectl(*applying, "--dry-run=server", stdin={"apiVersion": "v1", "kind": "List", "items": items})
    assert told.count("serverside-applied (server dry run)") == len(items)
    return len(items)


def test_a_field_that_kubernetes_does_not_know_is_refused_by_that(control_plane: Access) -> None:
    namespace = fresh_namespace(control_plane.kubectl)
    (odd,) = (item for item in render({}, namespace) if item["kind"] == "StatefulSet")
    odd["spec"]["template"]["spec"]["hostNetworking"] = False
    applying = ["apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-"]
    refused = control_plane.kubectl.run(*applying, stdin=odd)
    assert "hostNetworking" in refused.stderr
