"""Functions that another process, or a manifest, can import."""

from __future__ import annotations

from typing import Any

attempts: list[str] = []


def numbers() -> list[int]:
    return [1, 2, 3]


async def doubled(numbers: list[int]) -> list[int]:
    return [2 * number for number in numbers]


def total(numbers: list[int], doubled: list[int], bonus: int = 100) -> int:
    return sum(numbers) + sum(doubled) + bonus


def everything(**results: Any) -> dict[str, Any]:
    return results


def by_position(numbers: list[int], /) -> int:
    return len(numbers)


def nothing() -> None:
    """Takes and gives nothing."""
