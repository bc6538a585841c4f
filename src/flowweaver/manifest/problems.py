"""One finding about a manifest: where, what, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # keys of a manifest may hold what a terminal obeys


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
        text = f"{self.path}: {self.message}" if self.path else self.message
        return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)
