"""What the chart's network policy lets through, as it is rendered: the clusters of the tests do not enforce it."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from tests.chart.test_chart import one, render

pytestmark = pytest.mark.control_plane  # helm comes with it


def within(address: str, block: dict[str, Any]) -> bool:
    where = ipaddress.ip_address(address)
    if where not in ipaddress.ip_network(block["cidr"]):
        return False
    return not any(where in ipaddress.ip_network(left_out) for left_out in block.get("except", []))


def lets_out(policy: dict[str, Any], address: str, port: int) -> bool:
    """Whether a connection to that address by TCP is let through; peers that are pods are no addresses."""
    for rule in policy["spec"]["egress"]:
        ports = [each["port"] for each in rule.get("ports", []) if each["protocol"] == "TCP"]
        blocks = [peer["ipBlock"] for peer in rule.get("to", []) if "ipBlock" in peer]
        if (not rule.get("ports") or port in ports) and (
            "to" not in rule or any(within(address, block) for block in blocks)
        ):
            return True
    return False


def policy(name: str = "flowweaver", **values: Any) -> dict[str, Any]:
    rendered = render({"networkPolicy": {"enabled": True, **values}})
    (found,) = (each for each in rendered if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] == name)
    return found


def test_by_default_names_the_api_server_and_public_addresses_are_reached() -> None:
    reached = [
        ("93.184.216.34", 443),  # what an `http` task is for
        ("93.184.216.34", 8443),
        ("2606:2800:220:1::1", 443),
        ("10.0.0.1", 443),  # the API server may be anywhere
        ("10.0.0.1", 6443),
        ("10.0.0.10", 53),
    ]
    out_of_reach = [
        ("169.254.169.254", 80),  # the metadata of a node
        ("169.254.169.254", 443),
        ("fe80::1", 443),
        ("10.0.0.1", 80),
        ("100.64.0.1", 5432),
        ("192.168.1.1", 22),
        ("fd00::1", 80),
    ]
    default = policy()
    assert [(address, port) for address, port in reached + out_of_reach if lets_out(default, address, port)] == reached


def test_what_is_said_is_reached_and_nothing_else() -> None:
    block = {"ipBlock": {"cidr": "10.9.0.0/16"}}
    strict = policy(
        publicAddresses=False,
        dns=[{"podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
        apiServer={"cidrs": ["10.0.0.1/32"], "ports": [6443]},
        egress=[{"to": [block], "ports": [{"port": 5432, "protocol": "TCP"}]}],
    )
    assert lets_out(strict, "10.0.0.1", 6443)
    assert lets_out(strict, "10.9.1.1", 5432)
    for address, port in (("10.0.0.1", 443), ("10.0.0.2", 6443), ("10.0.0.10", 53), ("93.184.216.34", 443)):
        assert not lets_out(strict, address, port)


def test_nobody_comes_in_but_who_scrapes() -> None:
    assert policy()["spec"]["ingress"] == []
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    ports = [{"port": 8080, "protocol": "TCP"}]
    assert policy(scrapers=[peer])["spec"]["ingress"] == [{"from": [peer], "ports": ports}]


def test_hooks_reach_the_api_server_and_nothing_public() -> None:
    hooks = policy("flowweaver-hooks")
    assert lets_out(hooks, "10.0.0.1", 443)
    assert not lets_out(hooks, "93.184.216.34", 8443)
    assert hooks["spec"]["podSelector"] != one(render(), "StatefulSet")["spec"]["selector"]
