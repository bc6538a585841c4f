"""Rights as a test takes them away: one verb of one resource, out of what the chart has rendered."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from tests.cluster.kubectl import Kubectl
from tests.cluster.processes import await_true

Objects = list[dict[str, Any]]


def rules(objects: Objects) -> Iterator[dict[str, Any]]:
    """Every rule of every role."""
    for item in objects:
        if item["kind"] in {"Role", "ClusterRole"}:
            yield from item["rules"]


def verbs(objects: Objects) -> set[tuple[str, str]]:
    """Every resource with a verb that is given to it."""
    return {(resource, verb) for rule in rules(objects) for resource in rule["resources"] for verb in rule["verbs"]}


def without(objects: Objects, resource: str, verb: str) -> Objects:
    """The same roles, and that one right in none of them."""
    less = copy.deepcopy([item for item in objects if item["kind"] in {"Role", "ClusterRole"}])
    for rule in rules(less):
        if resource in rule["resources"]:
            rule["verbs"] = [kept for kept in rule["verbs"] if kept != verb]
    for item in less:
        item["rules"] = [rule for rule in item["rules"] if rule["verbs"]]
    assert (resource, verb) in verbs(objects) - verbs(less)
    return less


def take_away(kubectl: Kubectl, objects: Objects, account: str, resource: str, verb: str) -> None:
    """Apply the roles without that right, and wait until the API server goes by them."""
    kubectl.apply(*without(objects, resource, verb))
    plain, _, subresource = resource.partition("/")
    group = next(rule["apiGroups"][0] for rule in rules(objects) if resource in rule["resources"])
    names = next((rule["resourceNames"] for rule in rules(objects) if _named(rule, resource, verb)), [""])
    asking = ["auth", "can-i", verb, f"{plain}.{group}" + (f"/{names[0]}" if names[0] else "")]
    asking += ["--as", f"system:serviceaccount:{kubectl.namespace}:{account}"]
    asking += ["--subresource", subresource] if subresource else []
    await_true(f"{verb} of {resource} is gone", lambda: "no" in kubectl.run(*asking).stdout, every_seconds=0.2)


def _named(rule: dict[str, Any], resource: str, verb: str) -> bool:
    return resource in rule["resources"] and verb in rule["verbs"] and "resourceNames" in rule
