"""JSON on its way into an expression and out of it.

In: whole numbers are ints where 64 bits hold them and doubles beyond, also `3.0`. Out: plain JSON; times and durations
become strings. Inputs are copied, so that no expression can change what it reads.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

from flowweaver.errors import ExpressionError

DEPTH_LIMIT = 100

_INT_MAX = 2**63 - 1
_EXACT = 2**53
_NUL, _NUL_STAND_IN = "\0", "\ufdd0"  # the library ends a text at NUL; this noncharacter stands in for it


def enter(value: Any, depth: int = DEPTH_LIMIT) -> Any:
    """A JSON value as the language takes it; raises `ExpressionError` for one that is too deep."""
    match value:
        case None | bool():
            return value
        case str():
            return _enter_text(value)
        case int():
            return value if -_INT_MAX - 1 <= value <= _INT_MAX else _as_double(value)
        case float():
            return int(value) if value.is_integer() and abs(value) <= _EXACT else value
        case Mapping() | list() | tuple() if depth <= 0:
            raise ExpressionError(f"a value is nested more than {DEPTH_LIMIT} deep: expressions can not read it")
        case Mapping():
            return {_enter_text(str(key)): enter(item, depth - 1) for key, item in value.items()}
        case list() | tuple():
            return [enter(item, depth - 1) for item in value]
        case _:
            raise ExpressionError(f"a value of type {type(value).__name__} is no JSON")


def _enter_text(text: str) -> str:
    if text.isascii():
        return text.replace(_NUL, _NUL_STAND_IN)
    return text.replace(_NUL, _NUL_STAND_IN).encode("utf-8", "replace").decode("utf-8")


def _as_double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def leave(value: Any, depth: int = DEPTH_LIMIT) -> Any:
    """What an expression gave as plain JSON; raises `ExpressionError`, naming the fix, for what JSON can not hold."""
    match value:
        case dict() | list() if depth <= 0:
            raise ExpressionError(f"it gives a value that is nested more than {DEPTH_LIMIT} deep")
        case dict():
            return {_key(key): leave(item, depth - 1) for key, item in value.items()}
        case list():
            return [leave(item, depth - 1) for item in value]
        case _:
            return _leave_scalar(value)


def _leave_scalar(value: Any) -> Any:
    match value:
        case str():
            return value.replace(_NUL_STAND_IN, _NUL)
        case float() if not math.isfinite(value):
            raise ExpressionError("it gives a number that JSON does not have (NaN or infinity)")
        case dt.datetime():
            return timestamp(value)
        case dt.timedelta():
            return duration(value)
        case bytes() | bytearray():
            raise ExpressionError("it gives bytes, which JSON does not have: convert them with string(…)")
        case None | bool() | int() | float():
            return value
    raise ExpressionError("it gives a value that is no JSON: take a field of it, or convert it with string(…)")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key.replace(_NUL_STAND_IN, _NUL)
    raise ExpressionError(f"it gives a map with the key {key!r}, and JSON has only texts as keys: write string(…)")


def as_text(value: Any) -> str:
    """How a JSON value stands within text; raises `ExpressionError` for what has no one spelling."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < _EXACT else repr(value)
        case None:
            raise ExpressionError('it is null within text: give a default, such as x == null ? "" : x')
        case _:
            kind = "map" if isinstance(value, dict) else "list"
            raise ExpressionError(
                f"it is a {kind} within text: make it the whole field, or take single values out of it"
            )


def timestamp(value: dt.datetime) -> str:
    """RFC 3339 in UTC."""
    text = value.astimezone(dt.UTC).isoformat()
    return text.replace("+00:00", "Z")


def duration(value: dt.timedelta) -> str:
    """Seconds, as CEL spells them: `5400s`, `0.25s`."""
    micros = value // dt.timedelta(microseconds=1)
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    fraction = f"{micros % 1_000_000:06}".rstrip("0")
    return f"{sign}{micros // 1_000_000}{'.' + fraction if fraction else ''}s"
