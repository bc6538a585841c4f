"""Lengths of time as users write them: `90s`, `5m`, `1h30m`, `250ms`."""

from __future__ import annotations

import re

PATTERN = r"^([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?([0-9]{1,9}ms)?$"
"""Units from large to small, each at most once. An empty text matches too and is refused beside it."""

HINT = "write a number with a unit, such as 90s, 5m, 1h30m or 250ms"

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"([0-9]+)(ms|h|m|s)")


def seconds(text: str) -> float:
    """The duration in seconds; raises `ValueError` with the fix for what is none."""
    if not text or not re.fullmatch(PATTERN, text):
        raise ValueError(f"{quoted(text)} is no duration: {HINT}")
    return sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def quoted(text: str, limit: int = 60) -> str:
    """The text in quotation marks, shortened where it is long."""
    return f'"{text}"' if len(text) <= limit else f'"{text[:limit]}…"'
