"""The CustomResourceDefinition, generated from the models: the file in `crds/` is never edited by hand."""

from __future__ import annotations

import json
from typing import Any

import yaml

from flowweaver.manifest import rules
from flowweaver.manifest.fields import Part
from flowweaver.manifest.models import WorkflowSpec
from flowweaver.manifest.schemas import structural_schema
from flowweaver.manifest.status import WorkflowStatus

GROUP = "flowweaver.io"
VERSION = "v1alpha1"
CRD_FILE = "flowweaver.io_workflows.yaml"
"""The name of the file in `crds/`."""

_HEADER = "# Generated from the models in flowweaver.manifest by `flowweaver crds`. DO NOT EDIT.\n"

_COLUMNS: list[dict[str, Any]] = [
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase", "description": "Where the run stands"},
    {
        "name": "Progress",
        "type": "string",
        "jsonPath": ".status.progress",
        "description": "Tasks that have ended, of all",
    },
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {
        "name": "Started",
        "type": "date",
        "jsonPath": ".status.startedAt",
        "description": "How long ago the first attempt started",
        "priority": 1,
    },
    {
        "name": "Duration",
        "type": "string",
        "jsonPath": ".status.duration",
        "description": "From start to end",
        "priority": 1,
    },
    {
        "name": "Message",
        "type": "string",
        "jsonPath": ".status.message",
        "description": "What there is to say",
        "priority": 1,
    },
]
_NAMED_LISTS = ("spec.params", "spec.outputs", "spec.tasks.shell.env")
_RULES = {
    "": rules.ROOT,
    "spec": rules.SPEC,
    "spec.tasks": rules.TASK,
    "spec.tasks.python": rules.PYTHON,
    "spec.tasks.shell": rules.SHELL,
    "spec.tasks.wait": rules.WAIT,
    "status": rules.STATUS,
}


class _Object(Part):
    """A workflow: a graph of tasks that runs inside the operator's pod. Applying it starts it, like a Job."""

    spec: WorkflowSpec
    """What is to run."""
    status: WorkflowStatus | None = None
    """What the operator reports."""


def crd() -> dict[str, Any]:
    """The definition as `kubectl apply` takes it; a fresh copy."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"workflows.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": "Workflow",
                "listKind": "WorkflowList",
                "plural": "workflows",
                "singular": "workflow",
                "shortNames": ["fw"],
                "categories": ["flowweaver"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "selectableFields": [{"jsonPath": ".status.phase"}],
                    "additionalPrinterColumns": [dict(column) for column in _COLUMNS],
                    "schema": {"openAPIV3Schema": _schema()},
                }
            ],
        },
    }


def crd_yaml() -> str:
    """The text of the file in `crds/`."""
    plain = json.loads(json.dumps(crd()))  # no part is shared, so that none is written as an alias
    return _HEADER + yaml.safe_dump(plain, sort_keys=False, width=120, allow_unicode=True)


def _schema() -> dict[str, Any]:
    schema = structural_schema(_Object)
    for name, described in (
        ("metadata", {"type": "object"}),
        ("kind", {"type": "string"}),
        ("apiVersion", {"type": "string"}),
    ):
        schema["properties"] = {name: described, **schema["properties"]}
    status = _at(schema, "status")
    status["default"] = {"observedGeneration": -1, "phase": "Pending"}
    _by_key(_at(status, "conditions", items=False), "type")
    for path in _NAMED_LISTS:
        _by_key(_at(schema, path, items=False), "name")
    for path, found in _RULES.items():
        _at(schema, path)["x-kubernetes-validations"] = [dict(rule) for rule in found]
    _mark_atomic(schema)
    return schema


def _at(schema: dict[str, Any], path: str, *, items: bool = True) -> dict[str, Any]:
    """The part of a schema at a path of fields; of a list, its items or the list itself."""
    names = path.split(".") if path else []
    for position, name in enumerate(names):
        schema = schema["properties"][name]
        if "items" in schema and (items or position < len(names) - 1):
            schema = schema["items"]
    return schema


def _by_key(schema: dict[str, Any], key: str) -> None:
    schema["x-kubernetes-list-type"] = "map"
    schema["x-kubernetes-list-map-keys"] = [key]


def _mark_atomic(schema: dict[str, Any]) -> None:
    """Every other list is replaced as a whole: merging item by item doubles the object and its cost."""
    if schema.get("type") == "array":
        schema.setdefault("x-kubernetes-list-type", "atomic")
        _mark_atomic(schema["items"])
    for part in schema.get("properties", {}).values():
        _mark_atomic(part)
