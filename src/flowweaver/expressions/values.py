"""JSON on its way into an expression and out of it.

In: whole numbers are ints where 64 bits hold them and doubles beyond, also `3.0`. Out: plain JSON; times and durations
become strings. Inputs are copied, so that no expression can change what it reads.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from typing import Any

from flowweaver.errors import ExpressionError
from flowweaver.expressions.metering import Meter, size_of

DEPTH_LIMIT = 100

_INT_MAX = 2**63 - 1
_EXACT = 2**53
_NUL = "\0"
_NONCHARACTERS = [chr(code) for code in range(0xFDD0, 0xFDF0)]
_MARKED = re.compile(f"[{_NUL}{_NONCHARACTERS[0]}-{_NONCHARACTERS[-1]}]")


class Passage:
    """One evaluation's way in and out, charged to an attempt's account.

    The library ends a text at its first NUL, so that a noncharacter which nothing else uses stands in for it.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._marked: set[str] = set()
        self._stand_in = ""

    def enter(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """JSON values as the language takes them; raises `ExpressionError` for one that is too deep."""
        entered = {name: self._enter(value, DEPTH_LIMIT) for name, value in variables.items()}
        if _NUL not in self._marked:
            return entered
        self._stand_in = next((free for free in _NONCHARACTERS if free not in self._marked), "\ufffd")
        replaced: dict[str, Any] = _replaced(entered, _NUL, self._stand_in)
        return replaced

    def leave(self, value: Any) -> Any:
        """What the expression gave as plain JSON; raises `ExpressionError` for what JSON can not hold."""
        left = _leave(value, DEPTH_LIMIT)
        self._meter.made(size_of(left))
        return _replaced(left, self._stand_in, _NUL) if self._stand_in else left

    def _enter(self, value: Any, depth: int) -> Any:
        match value:
            case None | bool():
                return value
            case str():
                return self._enter_text(value)
            case int():
                return value if -_INT_MAX - 1 <= value <= _INT_MAX else _as_double(value)
            case float():
                return int(value) if value.is_integer() and abs(value) <= _EXACT else value
            case Mapping() | list() | tuple() if depth <= 0:
                raise ExpressionError(f"a value is nested more than {DEPTH_LIMIT} deep: expressions can not read it")
            case Mapping():
                return {self._enter_text(str(key)): self._enter(item, depth - 1) for key, item in value.items()}
            case list() | tuple():
                return [self._enter(item, depth - 1) for item in value]
        raise ExpressionError(f"a value of type {type(value).__name__} is no JSON")

    def _enter_text(self, text: str) -> str:
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode("utf-8")
            self._marked.update(_MARKED.findall(text))
        elif _NUL in text:
            self._marked.add(_NUL)
        return text


def _replaced(value: Any, old: str, new: str) -> Any:
    match value:
        case str():
            return value.replace(old, new)
        case dict():
            return {key.replace(old, new): _replaced(item, old, new) for key, item in value.items()}
        case list():
            return [_replaced(item, old, new) for item in value]
        case _:
            return value


def _as_double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def _leave(value: Any, depth: int) -> Any:
    match value:
        case dict() | list() if depth <= 0:
            raise ExpressionError(f"it gives a value that is nested more than {DEPTH_LIMIT} deep")
        case dict():
            return {_key(key): _leave(item, depth - 1) for key, item in value.items()}
        case list():
            return [_leave(item, depth - 1) for item in value]
        case _:
            return _leave_scalar(value)


def _leave_scalar(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            raise ExpressionError("it gives a number that JSON does not have (NaN or infinity)")
        case dt.datetime():
            return timestamp(value)
        case dt.timedelta():
            return duration(value)
        case bytes() | bytearray():
            raise ExpressionError("it gives bytes, which JSON does not have: convert them with string(…)")
        case None | bool() | int() | float() | str():
            return value
    raise ExpressionError("it gives a value that is no JSON: take a field of it, or convert it with string(…)")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
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
