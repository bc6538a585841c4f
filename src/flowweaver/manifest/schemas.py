"""From pydantic's JSON schema to the structural schema that the API server takes.

That is a schema without references and without unions; what may be absent is not required rather than null; unknown
fields are pruned by the API server instead of forbidden by the schema. Anything that can not be said so raises
`TypeError`, so that a model can not become a CRD that means something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

_KEPT = frozenset(
    {
        *("type", "format", "description", "enum", "pattern", "required", "items", "properties"),
        *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        *("nullable", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"),
    }
)
_DROPPED = frozenset({"title", "default", "additionalProperties", "$defs"})


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model; raises `TypeError` for what a structural schema can not say."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _converted(schema, schema.get("$defs", {}), model.__name__)


def _converted(schema: Mapping[str, Any], definitions: Mapping[str, Any], where: str) -> dict[str, Any]:
    if "$ref" in schema:
        target = definitions[schema["$ref"].rsplit("/", 1)[-1]]
        return _converted(
            {**target, **{key: item for key, item in schema.items() if key != "$ref"}}, definitions, where
        )
    if "anyOf" in schema:
        rest = {key: item for key, item in schema.items() if key != "anyOf"}
        return _converted({**_without_null(schema["anyOf"], where), **rest}, definitions, where)
    result: dict[str, Any] = {}
    for key, item in schema.items():
        if key == "const":
            result["enum"] = [item]
        elif key == "additionalProperties" and item is not False:
            raise TypeError(f"{where}: a map of free keys has no structural schema here: mark it as any JSON")
        elif key in _KEPT:
            result[key] = _part(key, item, definitions, where)
        elif key not in _DROPPED:
            raise TypeError(f'{where}: a structural schema has no "{key}"')
    return result


def _part(key: str, item: Any, definitions: Mapping[str, Any], where: str) -> Any:
    match key:
        case "description":
            return " ".join(item.split())
        case "items":
            return _converted(item, definitions, f"{where}[]")
        case "properties":
            return {name: _converted(part, definitions, f"{where}.{name}") for name, part in item.items()}
        case _:
            return item


def _without_null(options: list[dict[str, Any]], where: str) -> dict[str, Any]:
    left = [option for option in options if option.get("type") != "null"]
    if len(left) != 1:
        raise TypeError(f"{where}: a structural schema has no unions: write one optional field for each kind")
    return left[0]
