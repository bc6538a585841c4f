from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from flowweaver.manifest import CRD_FILE, crd, crd_yaml
from flowweaver.manifest.fields import Part
from flowweaver.manifest.models import WorkflowSpec
from flowweaver.manifest.rules import MUTABLE, PINNED
from flowweaver.manifest.schemas import structural_schema

ROOT = Path(__file__).resolve().parents[2]


def schema():
    return crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def everywhere(part, path=""):
    """Every schema in a schema, with its path."""
    yield path, part
    for name, below in part.get("properties", {}).items():
        yield from everywhere(below, f"{path}.{name}")
    if "items" in part:
        yield from everywhere(part["items"], f"{path}[]")


def test_the_checked_in_definition_is_what_the_models_make():
    assert (ROOT / "crds" / CRD_FILE).read_text() == crd_yaml(), "run: flowweaver crds --write"


def test_the_file_warns_who_wants_to_edit_it_and_has_no_aliases():
    text = crd_yaml()
    assert "DO NOT EDIT" in text.splitlines()[0]
    assert "&id" not in text
    assert yaml.safe_load(text) == crd()


def test_it_is_structural():
    for path, part in everywhere(schema()):
        assert not {"$ref", "anyOf", "oneOf", "allOf", "not", "title", "additionalProperties", "const"} & set(part), (
            path
        )
        untyped = part.get("x-kubernetes-preserve-unknown-fields") or part.get("x-kubernetes-int-or-string")
        assert ("type" in part) != bool(untyped), path


def test_it_is_bounded_everywhere():
    for path, part in everywhere(schema()["properties"]["spec"], ".spec"):
        if part.get("type") == "array":
            assert "maxItems" in part, path
        if part.get("type") == "string":
            assert "maxLength" in part or "enum" in part, path
        if part.get("type") in {"integer", "number"}:
            assert {"minimum", "maximum"} <= set(part), path


def test_any_json_may_be_null():
    for path, part in everywhere(schema()):
        if part.get("x-kubernetes-preserve-unknown-fields"):
            assert part["nullable"] is True, path
            assert "type" not in part, path


def test_every_field_is_explained():
    for name in ("spec", "status"):
        for path, part in everywhere(schema()["properties"][name], f".{name}"):
            if not path.endswith("[]"):
                assert part.get("description"), path


def test_there_are_no_defaults_below_spec():
    assert [path for path, part in everywhere(schema()) if "default" in part] == [".status"]
    assert schema()["properties"]["status"]["default"] == {"observedGeneration": -1, "phase": "Pending"}


def test_tasks_are_replaced_as_a_whole_and_named_lists_are_merged():
    lists = {path: part["x-kubernetes-list-type"] for path, part in everywhere(schema()) if part.get("type") == "array"}
    assert {path for path, kind in lists.items() if kind == "map"} == {
        ".spec.params",
        ".spec.outputs",
        ".spec.tasks[].shell.env",
        ".status.conditions",
    }
    assert set(lists.values()) == {"map", "atomic"}


def test_every_field_of_the_spec_is_either_pinned_or_may_change():
    fields = {field.alias or name for name, field in WorkflowSpec.model_fields.items()}
    assert fields == set(MUTABLE) | set(PINNED)
    assert not set(MUTABLE) & set(PINNED)


def test_what_is_served():
    served = crd()["spec"]
    assert served["names"]["shortNames"] == ["fw"]
    assert served["names"]["categories"] == ["flowweaver"]
    version = served["versions"][0]
    assert version["subresources"] == {"status": {}}
    assert version["selectableFields"] == [{"jsonPath": ".status.phase"}]
    columns = version["additionalPrinterColumns"]
    assert [column["name"] for column in columns] == ["Phase", "Progress", "Age", "Started", "Duration", "Message"]
    assert [column.get("priority", 0) for column in columns] == [0, 0, 0, 1, 1, 1]


def test_each_call_gives_a_fresh_copy():
    first = crd()
    first["spec"]["versions"][0]["additionalPrinterColumns"][0]["name"] = "changed"
    json.dumps(first)
    assert crd()["spec"]["versions"][0]["additionalPrinterColumns"][0]["name"] == "Phase"


def test_a_model_that_has_no_structural_schema_is_refused():
    class Union(Part):
        x: int | str

    class FreeMap(Part):
        x: dict[str, int]

    class Tuple(BaseModel):
        x: tuple[int, Any]

    for model in (Union, FreeMap, Tuple):
        with pytest.raises(TypeError):
            structural_schema(model)
