"""What is written behind options that several commands have, and behind `-p`: parameters of a workflow as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NoReturn

from flowweaver.errors import UserError


class OutputFormat(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class ProgressMode(StrEnum):
    """How a run is followed."""

    AUTO = "auto"
    LIVE = "live"
    PLAIN = "plain"
    QUIET = "quiet"


def parse_parameters(texts: Iterable[str]) -> dict[str, Any]:
    """`NAME=JSON`, several of them; raises `UserError` that names the one that is wrong and how to write it."""
    parameters: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"-p {text}: write a name, =, and a JSON value, such as -p count=3")
        if name in parameters:
            raise UserError(f"-p {text}: {name} is given twice")
        parameters[name] = _parse_value(text, name, value)
    return parameters


def with_parameters(content: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with these values in `spec.params`; raises `UserError` for a name that it does not have.

    What is off in the manifest itself stays as it is: validation finds it and says so better.
    """
    spec = content.get("spec")
    if not parameters or not isinstance(spec, Mapping):
        return dict(content)
    params = spec.get("params") or []
    if not isinstance(params, list) or not all(isinstance(param, Mapping) for param in params):
        return dict(content)
    declared = [param.get("name") for param in params]
    for name in parameters:
        if name not in declared:
            known = ", ".join(map(str, declared)) or "none"
            raise UserError(f"-p {name}: the workflow has no such parameter (it has: {known}); add it to spec.params")
    replaced = [
        {**param, "value": parameters[param["name"]]} if param.get("name") in parameters else param for param in params
    ]
    return {**content, "spec": {**spec, "params": replaced}}


def _parse_value(text: str, name: str, value: str) -> Any:
    try:
        return json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        fixed = json.dumps(value, ensure_ascii=False)
        raise UserError(
            f"-p {text}: {value or 'nothing'} is not JSON; text is written as -p '{name}={fixed}'"
        ) from None


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)
