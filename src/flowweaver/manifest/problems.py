"""One finding about a manifest: where, what, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a manifest that must be changed before it can run.

    `reason` is one CamelCase word (the reason of the condition `Accepted`); `path` is the field as the user would write
    it (`spec.tasks[2].retry.limit`), empty for the whole; `message` names what is wrong and the fix.
    """

    reason: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message
