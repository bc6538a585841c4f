"""JSON text read as the API server reads it: what the YAML reader shares with JSON, and JSON itself.

What starts with a brace is JSON to kubectl first: it knows no `y` for true, and has escapes that YAML has not.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

from flowweaver.errors import ManifestError
from flowweaver.manifest.problems import Problem

DEPTH_LIMIT = 100


def read_json(text: str) -> list[dict[str, Any]] | None:
    """The JSON objects of which the text is made; None where it is no JSON, so that it may be YAML.

    Raises `ManifestError` for JSON that no manifest can be.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_without_duplicates)
    documents = []
    position = _skipped(text, 0)
    try:
        while position < len(text):
            document, end = decoder.raw_decode(text, position)
            documents.append(_normalized(document, DEPTH_LIMIT))
            position = _skipped(text, end)
    except ValueError as exc:
        if isinstance(exc, json.JSONDecodeError) or "digits" in str(exc):
            return None
        raise
    return documents if all(isinstance(document, dict) for document in documents) else None


def whole_number(value: float) -> int | float:
    """As it comes back from JSON: whole doubles below 1e21 are written, and so read, as integers."""
    return int(Decimal(repr(value))) if value.is_integer() and abs(value) < 1e21 else value


def unreadable(reason: str, message: str) -> ManifestError:
    """The one problem of a text that can not be read."""
    return ManifestError((Problem(reason, "", message),))


def _skipped(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise unreadable("InvalidYaml", f'the key "{_storable(key)}" stands twice in one map: remove one')
        content[key] = value
    return content


def _normalized(value: Any, depth: int) -> Any:
    if depth <= 0:
        raise unreadable("TooLarge", f"the document is nested more than {DEPTH_LIMIT} deep")
    match value:
        case dict():
            return {_storable(key): _normalized(item, depth - 1) for key, item in value.items()}
        case list():
            return [_normalized(item, depth - 1) for item in value]
        case str():
            return _storable(value)
        case float():
            return _finite(value)
        case int() if not -(2**63) <= value < 2**63:
            return _finite(float(value) if abs(value) < 2**1023 else math.inf)
        case _:
            return value


def _finite(value: float) -> int | float:
    if not math.isfinite(value):
        raise unreadable("InvalidYaml", f"{value} is no number in JSON: quote it, or write another one")
    return whole_number(value)


def _storable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
