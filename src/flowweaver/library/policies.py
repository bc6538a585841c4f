"""What a task may be told about failures, besides the function: plain words and one frozen value."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from flowweaver.core import plan as core
from flowweaver.core.plan import FailurePolicy, Jitter, OnCrash, TriggerRule
from flowweaver.errors import ArgumentError
from flowweaver.policy import Isolation

T = TypeVar("T")
OnChange = Literal["warn", "error", "fresh"]
"""What becomes of an unfinished run whose workflow has other tasks now: see `ThreadedExecutor.execute`."""

__all__ = ["FailurePolicy", "Isolation", "OnChange", "OnCrash", "RetryPolicy", "TriggerRule", "choice"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How failed attempts are repeated; how often is the task's `retries`.

    The wait before retry n is `delay * factor ** (n - 1)` seconds, at most `maximum`, with `jitter` a random part of
    that. Waiting costs no thread. `on` are the exceptions that are worth another attempt, `timeouts` says whether a
    timeout is.
    """

    delay: float = 0.1  # seconds
    factor: float = 2.0
    maximum: float = 60.0  # seconds
    jitter: bool = False
    on: tuple[type[BaseException], ...] = (Exception,)
    timeouts: bool = True

    def __post_init__(self) -> None:
        """Raises `ArgumentError` where a number makes no sense."""
        for name, least in (("delay", 0.0), ("factor", 1.0), ("maximum", 0.0)):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (is_number and math.isfinite(value) and value >= least):
                raise ArgumentError(f"RetryPolicy({name}={value!r}): use a number of at least {least:g}")
        for name in ("jitter", "timeouts"):
            if not isinstance(getattr(self, name), bool):
                raise ArgumentError(f"RetryPolicy({name}={getattr(self, name)!r}): use True or False")
        on = tuple(self.on) if isinstance(self.on, Iterable) and not isinstance(self.on, (type, str)) else (self.on,)
        if not all(isinstance(each, type) and issubclass(each, BaseException) for each in on):
            raise ArgumentError(f"RetryPolicy(on={self.on!r}): name classes of exceptions")
        object.__setattr__(self, "on", on)

    def compiled(self, retries: int) -> core.RetryPolicy:
        """The same for the core."""
        return core.RetryPolicy(
            limit=retries,
            delay_seconds=float(self.delay),
            factor=float(self.factor),
            timeouts=self.timeouts,
            max_delay_seconds=float(self.maximum),
            jitter=Jitter.FULL if self.jitter else Jitter.NONE,
        )


def choice(kind: type[T], value: object, field: str) -> T:
    """`value` as a member of the enumeration `kind`: itself, or its name in any spelling (`all_finished`)."""
    if isinstance(value, kind):
        return value
    wanted = str(value).replace("_", "").replace("-", "").casefold()
    for member in kind:  # type: ignore[attr-defined]  # it is an enumeration
        if member.value.casefold() == wanted:
            return member  # type: ignore[no-any-return]  # a member of T
    words = ", ".join(f'"{_snake(member.value)}"' for member in kind)  # type: ignore[attr-defined]  # as above
    raise ArgumentError(f"{field} is {value!r}: use one of {words}")


def _snake(word: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in word).lstrip("_")
