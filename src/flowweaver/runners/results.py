"""What a body returned, as the JSON text that is stored.

A result is encoded once, where it was made, and every consumer decodes its own copy: nobody can change what another one
sees, and the first run sees exactly what a resumed one does. So what JSON can not say is refused here with the place
and the fix, instead of being turned into something near it: a key that is a number would come back as text.

Tuples become lists, enums that are text or numbers become those, lone surrogates become U+FFFD. Integers of any size
stay exact here; other JSON readers may round beyond 2**53.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from flowweaver.core.phases import Reason
from flowweaver.runners.failures import Refused

MAX_RESULT_BYTES = 1024 * 1024
MAX_DEPTH = 100  # levels; deeper ones exhaust the recursion of JSON readers

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

_FIXES = {
    "bytes": "decode it to text, with base64 where it is binary",
    "bytearray": "decode it to text, with base64 where it is binary",
    "set": "return sorted(…) of it",
    "frozenset": "return sorted(…) of it",
    "generator": "return list(…) of it",
    "async_generator": "return [each async for each in …] of it",
    "date": "return its .isoformat()",
    "datetime": "return its .isoformat()",
    "time": "return its .isoformat()",
    "Decimal": "return str(…) of it, or float(…) where rounding is fine",
    "UUID": "return str(…) of it",
    "PosixPath": "return str(…) of it",
    "DataFrame": 'return its .to_dict("records"), or write it to a file and return the path',
    "ndarray": "return its .tolist()",
}


def encode_result(value: Any, *, name: str = "result", limit: int = MAX_RESULT_BYTES) -> bytes:
    """`value` as JSON text in UTF-8 of at most `limit` bytes; raises `Refused` with the reason, the place and the fix.

    `name` is what the value is called in messages.
    """
    if not _is_small(value):
        _check(value, name, limit)
    try:
        encoded = _encode(value)
    except (TypeError, ValueError):
        encoded = _encoded_slowly(value, name)
    if len(encoded) > limit:
        raise _too_large(name, f"is {len(encoded)} bytes", limit)
    return encoded


def decode_result(result: bytes) -> Any:
    """The value that a stored result is the text of; raises `ValueError` where it is none."""
    try:
        return _decode(result)
    except msgspec.DecodeError:  # it may have what JSON has not: NaN, lone surrogates, numbers beyond every float
        return json.loads(result.decode("utf-8", "surrogatepass"))


def _encoded_slowly(value: Any, name: str) -> bytes:
    """The same for what is rare: subclasses of text and numbers, and text that is none."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
    except ValueError as exc:  # an integer of more digits than Python converts
        raise Refused(Reason.RESULT_NOT_JSON, f"{name} can not be written as JSON: {exc}") from exc
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _is_small(value: Any) -> bool:
    """Whether it is a dict of a few short values, as most results are: then there is nothing in it to be refused."""
    if type(value) is not dict or len(value) > _FEW:
        return False
    kinds = set(map(type, value.values()))
    if not (kinds <= _PLAIN and _TEXT.issuperset(map(type, value))):
        return False
    return str not in kinds or max([len(child) for child in value.values() if type(child) is str]) <= _SHORT


def _check(value: Any, name: str, limit: int) -> None:
    if isinstance(value, (dict, list, tuple)):
        _check_container(value, name, limit)
    elif isinstance(value, str) and len(value) > limit:
        raise _too_large(name, f"has {len(value)} characters", limit)
    else:
        _check_scalar(value, name)


def _check_container(root: Any, name: str, limit: int) -> None:
    # Depth first with a stack of our own: no recursion to exhaust, and a loop of references is only a great depth.
    # Every node takes two bytes of JSON at least and every character one, so that something enormous is refused before
    # it is copied, also where it is one text many times.
    stack: list[tuple[Any, str, int]] = [(root, name, 1)]
    nodes = characters = 0
    while stack:
        container, path, depth = stack.pop()
        nodes += len(container)
        if nodes * 2 > limit:
            raise _too_large(name, f"has more than {limit // 2} values", limit)
        is_dict = isinstance(container, dict)
        for item in container.values() if is_dict else container:
            if type(item) is str:
                characters += len(item)
        if characters > limit:
            raise _too_large(name, f"has more than {limit} characters", limit)
        if depth > MAX_DEPTH:
            raise Refused(
                Reason.RESULT_NOT_JSON,
                f"{name} is nested more than {MAX_DEPTH} levels deep, or contains itself: return a flatter value",
            )
        members = _members if is_dict else _items
        for child, child_path in members(container, path):
            if isinstance(child, (dict, list, tuple)):
                stack.append((child, child_path, depth + 1))
            else:
                _check_scalar(child, child_path)


# These two give only the children that need a look, so that paths are made for few.
def _members(container: dict[Any, Any], path: str) -> Iterator[tuple[Any, str]]:
    for key, child in container.items():
        if not isinstance(key, str):
            raise _bad_key(key, path)
        if type(child) not in _PLAIN:
            yield child, f"{path}.{key}" if _PLAIN_KEY.match(key) else f"{path}[{json.dumps(key)}]"


def _items(container: Sequence[Any], path: str) -> Iterator[tuple[Any, str]]:
    for index, child in enumerate(container):
        if type(child) not in _PLAIN:
            yield child, f"{path}[{index}]"


_PLAIN = frozenset({str, int, bool, type(None)})  # what needs no look
_TEXT = frozenset({str})
_FEW = 16  # values
_SHORT = 256  # characters


def _check_scalar(value: Any, path: str) -> None:
    if value is None or isinstance(value, (str, int)):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Refused(
                Reason.RESULT_NOT_JSON, f"{path} is {value}, which JSON does not have: return None or text in its place"
            )
        return
    kind = type(value).__name__
    fix = _FIXES.get(kind, "return a dict, list, text, number, boolean or None")
    raise Refused(Reason.RESULT_NOT_JSON, f"{path} is of the type {kind}, which JSON does not have: {fix}")


def _bad_key(key: Any, path: str) -> Refused:
    shown = f"{key!r:.100}"
    return Refused(
        Reason.RESULT_NOT_JSON,
        f"{path} has the key {shown} of the type {type(key).__name__}, and JSON keys are text: use str(…) for its keys",
    )


def _too_large(name: str, what: str, limit: int) -> Refused:
    return Refused(
        Reason.RESULT_TOO_LARGE,
        f"{name} {what}, and at most {limit} bytes of JSON are kept: "
        "write it to a file or an object store and return where it is",
    )
